//! Another list of daemons for a cluster that runs (docs/protocol.md, M17).
//!
//! Datagrams carry the hash of their sender's list, and one with an unknown hash is ignored. So a daemon that is given a
//! new list first understands both hashes and says so, in order; once all members of its ring have said the same, each
//! of them goes over to the new list, at its leisure. No ring is left for that, and nobody who has the old list still
//! is left behind by others of its ring.
//!
//! What is said: 1 u8 · hash u32, little-endian.

use std::collections::BTreeMap;

use antiphon_wire::ids::{ClusterHash, ProcessId};
use antiphon_wire::reader::{DecodeError, Reader};
use antiphon_wire::service::ServiceLevel;
use bytes::{BufMut, Bytes, BytesMut};

use crate::config::{Cluster, Config};
use crate::cx::Cx;
use crate::delivery::{Configuration, Kind, Message, Saying};
use crate::send_queue::Outgoing;
use crate::stats::NextCluster;

/// Who is ready for which list.
#[derive(Debug, Default)]
pub(crate) struct Reload {
    /// What I am to go over to.
    next: Option<Cluster>,
    /// Members of the present configuration; none while it is being closed.
    members: Vec<ProcessId>,
    /// The hash that each of them said last.
    ready: BTreeMap<ProcessId, ClusterHash>,
    /// Whether I have something to say that was not said in the present configuration.
    must_announce: bool,
}

impl Reload {
    /// Takes the list to go over to, or the present one, so that there is none. One that cannot be had is ignored.
    pub(crate) fn prepare(&mut self, cluster: &Cluster, config: &mut Config) {
        let next = Some(cluster).filter(|cluster| cluster.hash != config.cluster.hash);
        if self.next.as_ref() == next || !config.can_have(cluster) {
            return;
        }
        if let Some(next) = next {
            config.understand(next.clone());
        }
        self.next = next.cloned();
    }

    /// I was given a list, maybe again.
    pub(crate) fn on_given(&mut self) {
        self.must_announce = true;
    }

    /// Says which list I have, if that is to be said and there was ever more than one. Only once the configuration of the
    /// installed ring was delivered: it would be said in that ring.
    pub(crate) fn announce(&mut self, cx: &mut Cx<'_>) {
        if !std::mem::take(&mut self.must_announce) || cx.config.other_clusters.is_empty() {
            return;
        }
        let hash = self.next.as_ref().map_or(cx.config.cluster.hash, |next| next.hash);
        cx.queue.push_control(Outgoing {
            kind: Kind::Daemon,
            service: ServiceLevel::Agreed,
            payload: encode(hash).into(),
        });
    }

    /// A member said which list it has.
    pub(crate) fn on_ready(&mut self, message: Message<'_>, cx: &mut Cx<'_>) {
        match decode(message.bytes.bytes()) {
            Ok(hash) => drop(self.ready.insert(message.sender, hash)),
            Err(_) => cx.stats.groups_messages_rejected += 1,
        }
    }

    /// Takes a configuration change, in stream order. What was said in an earlier configuration was not heard by all.
    pub(crate) fn on_configuration(&mut self, configuration: &Configuration) {
        self.ready.clear();
        self.members.clear();
        if let Configuration::Regular { members, .. } = configuration {
            self.members.clone_from(members);
            self.must_announce = true;
        }
    }

    /// The list to go over to, once all are ready for it. Only while the present configuration is that of the installed
    /// ring: others of that have not said so yet.
    pub(crate) fn take_due(&mut self) -> Option<Cluster> {
        let hash = self.next.as_ref()?.hash;
        let is_due = !self.members.is_empty() && self.lacking(hash).next().is_none();
        self.next.take_if(|_| is_due)
    }

    /// What others have to be given before it takes effect; or, if nothing is to, before all members have what I have.
    pub(crate) fn awaited(&self, present: ClusterHash) -> Option<NextCluster> {
        if let Some(Cluster { hash, .. }) = self.next {
            return Some(NextCluster { hash, lacking: self.lacking(hash).collect() });
        }
        let others = self.ready.iter().filter(|(_, hash)| **hash != present);
        let lacking: Vec<ProcessId> = others.map(|(member, _)| *member).collect();
        (!lacking.is_empty()).then_some(NextCluster { hash: present, lacking })
    }

    /// Members that have not said that they have that list.
    fn lacking(&self, hash: ClusterHash) -> impl Iterator<Item = ProcessId> + '_ {
        self.members.iter().copied().filter(move |member| self.ready.get(member) != Some(&hash))
    }
}

/// Says that I have a list with that hash.
fn encode(hash: ClusterHash) -> Bytes {
    let mut out = BytesMut::with_capacity(5);
    out.put_u8(Saying::Ready as u8);
    out.put_u32_le(hash.0);
    out.freeze()
}

fn decode(bytes: &[u8]) -> Result<ClusterHash, DecodeError> {
    let mut reader = Reader::new(bytes, "list of daemons");
    let (_, hash) = (reader.u8()?, ClusterHash(reader.u32()?));
    reader.finish()?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use antiphon_wire::ids::{DaemonId, RingId};
    use antiphon_wire::names::DaemonName;

    use super::*;
    use crate::config::Daemon;

    /// A list of daemons with these names; its hash is made of them.
    fn cluster(names: &str) -> Cluster {
        let daemon = |name: u8| Daemon {
            name: DaemonName::new(&[name]).expect("a name"),
            address: Ipv4Addr::new(10, 0, 0, name),
        };
        let hash = names.bytes().fold(7, |hash, name| hash * 31 + u32::from(name));
        Cluster { daemons: names.bytes().map(daemon).collect(), hash: ClusterHash(hash) }
    }

    /// Daemon b of the two.
    fn config() -> Config {
        Config::new(cluster("ab"), DaemonId(1))
    }

    /// Gives a daemon a list; returns the length of the one that it is to go over to then.
    fn next(reload: &mut Reload, names: &str, config: &mut Config) -> Option<usize> {
        reload.prepare(&cluster(names), config);
        reload.next.as_ref().map(|next| next.daemons.len())
    }

    fn is_understood(config: &Config, names: &str) -> bool {
        config.understands(cluster(names).hash)
    }

    #[test]
    fn only_lists_with_the_same_places_can_be_had() {
        let (mut reload, mut config) = (Reload::default(), config());
        for names in ["a", "ba", "acb", "xb"] {
            assert_eq!(next(&mut reload, names, &mut config), None, "{names}");
            assert!(
                !is_understood(&config, names) && reload.awaited(config.cluster.hash).is_none(),
                "{names}"
            );
        }
        assert_eq!(next(&mut reload, "ab", &mut config), None, "it is the present one");
        assert_eq!(next(&mut reload, "abc", &mut config), Some(3));
        assert_eq!(next(&mut reload, "xbc", &mut config), Some(3), "another one is ignored");
        assert_eq!(next(&mut reload, "ab", &mut config), None, "it is taken back");
        assert!(is_understood(&config, "abc"), "others may have it by now");
    }

    /// The daemon that had the place before may still run, and must not speak for the one that has it now.
    #[test]
    fn a_list_with_another_daemon_at_a_place_is_understood_no_more() {
        let (mut reload, mut config) = (Reload::default(), config());
        for names in ["abx", "ab", "aby"] {
            reload.prepare(&cluster(names), &mut config);
            config.change_cluster(reload.next.take().expect("the next one"));
        }
        assert!(is_understood(&config, "ab") && is_understood(&config, "aby"));
        assert!(!is_understood(&config, "abx"));
    }

    /// Takes a configuration of daemons a and b.
    fn configure(reload: &mut Reload, members: [ProcessId; 2]) {
        let (ring, members) = (RingId { epoch: 4, leader: members[0] }, members.to_vec());
        reload.on_configuration(&Configuration::Regular { ring, members, all_from_one_ring: true });
    }

    /// Who comes from elsewhere has not heard it.
    #[test]
    fn what_was_said_in_the_last_ring_does_not_count_in_the_next() {
        let (mut reload, mut config) = (Reload::default(), config());
        let members = [0, 1].map(|daemon| ProcessId { daemon: DaemonId(daemon), incarnation: 1 });
        reload.prepare(&cluster("abc"), &mut config);
        let next = cluster("abc").hash;
        let say = |reload: &mut Reload, member: usize| {
            reload.ready.insert(members[member], next);
        };
        configure(&mut reload, members);
        say(&mut reload, 0);
        configure(&mut reload, members);
        say(&mut reload, 1);
        assert_eq!(reload.take_due(), None);
        let lacking = vec![members[0]];
        assert_eq!(reload.awaited(config.cluster.hash), Some(NextCluster { hash: next, lacking }));
        say(&mut reload, 0);
        assert_eq!(reload.take_due(), Some(cluster("abc")));
    }
}
