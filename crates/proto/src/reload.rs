//! Another list of daemons for a cluster that runs (docs/protocol.md, M17).
//!
//! Datagrams carry the hash of their sender's list, and one with an unknown hash is ignored. So a daemon that is given a
//! new list first understands both hashes and says so, in order; once all members of its ring have said the same, each
//! of them goes over to the new list, at its leisure. No ring is left for that, and nobody who has the old list still
//! is left behind by others of its ring.

use std::collections::BTreeMap;

use antiphon_wire::ids::ProcessId;
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
    ready: BTreeMap<ProcessId, u32>,
}

impl Reload {
    /// Takes the list to go over to, or the present one, so that there is none. Returns whether that is news.
    pub(crate) fn prepare(&mut self, cluster: &Cluster, config: &mut Config) -> bool {
        let next = Some(cluster).filter(|cluster| cluster.hash != config.cluster);
        if self.next.as_ref() == next {
            return false;
        }
        if let Some(next) = next {
            config.understand(next.hash);
        }
        self.next = next.cloned();
        true
    }

    /// Says which list I have, if there was ever more than one.
    pub(crate) fn announce(&self, cx: &mut Cx<'_>) {
        if cx.config.other_hashes.is_empty() {
            return;
        }
        let hash = self.next.as_ref().map_or(cx.config.cluster, |next| next.hash);
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
    pub(crate) fn on_configuration(&mut self, configuration: &Configuration, cx: &mut Cx<'_>) {
        self.ready.clear();
        self.members.clear();
        if let Configuration::Regular { members, .. } = configuration {
            self.members.clone_from(members);
            self.announce(cx);
        }
    }

    /// The list to go over to, once all are ready for it.
    pub(crate) fn take_due(&mut self) -> Option<Cluster> {
        let is_due = !self.members.is_empty() && self.lacking().next().is_none();
        self.next.take_if(|_| is_due)
    }

    /// What is waited for, if anything is.
    pub(crate) fn awaited(&self) -> Option<NextCluster> {
        let next = self.next.as_ref()?;
        Some(NextCluster { hash: next.hash, lacking: self.lacking().collect() })
    }

    /// Members that have another list than the next one, as far as they said.
    fn lacking(&self) -> impl Iterator<Item = ProcessId> + '_ {
        let hash = self.next.as_ref().map(|next| next.hash);
        self.members.iter().copied().filter(move |member| self.ready.get(member).copied() != hash)
    }
}

/// Says that I have a list with that hash: 1 u8 · hash u32, little-endian.
fn encode(hash: u32) -> Bytes {
    let mut out = BytesMut::with_capacity(5);
    out.put_u8(Saying::Ready as u8);
    out.put_u32_le(hash);
    out.freeze()
}

fn decode(bytes: &[u8]) -> Result<u32, DecodeError> {
    let mut reader = Reader::new(bytes, "list of daemons");
    let (_, hash) = (reader.u8()?, reader.u32()?);
    reader.finish()?;
    Ok(hash)
}
