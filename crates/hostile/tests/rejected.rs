//! R2 (docs/testing.md): what is rejected changes nothing.

use std::net::Ipv4Addr;

use antiphon_hostile::{CLUSTER, Fed, samples};
use antiphon_proto::config::{Cluster, Config, Daemon};
use antiphon_proto::time::Instant;
use antiphon_proto::{Boot, Event, Input, NameHash, Node, Outputs, Stats};
use antiphon_wire::ids::{ClusterHash, DaemonId, RingId, Seq};
use antiphon_wire::names::DaemonName;
use antiphon_wire::ring::packet::PacketHeader;
use antiphon_wire::ring::{DatagramKind, HEADER_BYTES, VERSION};
use bytes::{Bytes, BytesMut};

/// The hash of another configuration.
const OTHER_CLUSTER: ClusterHash = ClusterHash(CLUSTER.0 ^ 1);

/// Everything that a daemon knows, but for its counters.
fn knowledge(node: &Node) -> String {
    let all = format!("{node:?}");
    let (before, rest) = all.split_once("stats: Stats {").unwrap_or((&all, ""));
    let (counters, after) = rest.split_once('}').unwrap_or_default();
    assert!(counters.contains("datagrams_rejected"), "the counters are told apart");
    format!("{before}{after}")
}

fn daemon() -> (Node, Outputs) {
    let names = ["d0", "d1", "d2"].iter().filter_map(|name| DaemonName::new(name.as_bytes()).ok());
    let address = Ipv4Addr::LOCALHOST;
    let daemons = names.map(|name| Daemon { name, address }).collect();
    let mut out = Outputs::default();
    let config = Config::new(Cluster { daemons, hash: CLUSTER }, DaemonId(0));
    let boot = Boot { incarnation: 7, epoch: 7, seed: 1, name_hash: NameHash::fixed() };
    (Node::new(config, boot, Instant::default(), &mut out), out)
}

/// What is wrong with a datagram: its version, its end, or the configuration that it is for.
fn spoilt(random: &mut fastrand::Rng) -> Vec<Bytes> {
    let mut spoilt = samples::datagrams(random, OTHER_CLUSTER);
    for mut datagram in samples::datagrams(random, CLUSTER).into_iter().map(BytesMut::from) {
        let end = random.usize(..8);
        spoilt.push(Bytes::copy_from_slice(&datagram[..end]));
        datagram[0] ^= 1 << random.u32(..8);
        spoilt.push(datagram.freeze());
    }
    spoilt
}

#[test]
fn a_rejected_datagram_changes_nothing() {
    let (mut node, mut out) = daemon();
    let mut random = fastrand::Rng::with_seed(1);
    // The first of a foreign configuration, and of each version, is remembered, so that it is reported once.
    for datagram in (0..8).flat_map(|_| spoilt(&mut random)) {
        node.handle(Instant::default(), Input::Datagram(datagram), &mut out);
    }
    for _ in 0..200 {
        refuses(&mut node, Instant::default(), spoilt(&mut random), |stats| stats.datagrams_rejected);
    }
}

#[test]
fn what_a_daemon_in_a_ring_rejects_changes_nothing() {
    let mut fed = Fed::in_ring();
    let (mut random, now) = (fastrand::Rng::with_seed(1), fed.now);
    let mut out = Outputs::default();
    for datagram in (0..8).flat_map(|_| spoilt(&mut random)) {
        fed.node.handle(now, Input::Datagram(datagram), &mut out);
    }
    for _ in 0..50 {
        refuses(&mut fed.node, now, spoilt(&mut random), |stats| stats.datagrams_rejected);
        refuses(&mut fed.node, now, cut_off(&mut random), |stats| stats.datagrams_rejected);
        let old = of_other_rings(fed.node.status().ring, &mut random);
        refuses(&mut fed.node, now, old, |stats| stats.datagrams_stale);
    }
}

/// Feeds datagrams, each of which is to be counted and to do nothing else.
fn refuses(node: &mut Node, now: Instant, datagrams: Vec<Bytes>, count: fn(&Stats) -> u64) {
    assert!(!datagrams.is_empty());
    let (before, mut out) = (knowledge(node), Outputs::default());
    for datagram in datagrams {
        let counted = count(&node.stats());
        node.handle(now, Input::Datagram(datagram.clone()), &mut out);
        assert_eq!(count(&node.stats()), counted + 1, "{datagram:?} was taken");
        assert!(out.transmits.is_empty() && out.events.is_empty(), "{datagram:?} was answered");
        assert!(knowledge(node) == before, "{datagram:?} changed something");
    }
}

/// Datagrams that end in what their kind has of its own. Packets and pieces end anywhere.
fn cut_off(random: &mut fastrand::Rng) -> Vec<Bytes> {
    let ends = |kind| !matches!(kind, DatagramKind::Packet | DatagramKind::Piece);
    let whole = samples::datagrams(random, CLUSTER).into_iter();
    let whole = whole.filter(|datagram| DatagramKind::of(datagram).is_some_and(ends));
    whole.map(|datagram| datagram.slice(..random.usize(HEADER_BYTES..datagram.len()))).collect()
}

/// Packets as of the ring, but for rings that were before or are elsewhere.
fn of_other_rings(ring: RingId, random: &mut fastrand::Rng) -> Vec<Bytes> {
    let mut others = [ring; 3];
    others[0].epoch -= 1;
    others[1].leader.incarnation -= 1;
    others[2].leader.daemon = DaemonId(2);
    let packet = |ring: RingId| {
        let header = PacketHeader {
            ring: ring.tag(),
            sender: DaemonId(1),
            seq: Seq(random.u64(1..20)),
            visit: 1,
            after_token: random.bool(),
            has_unordered: random.bool(),
            wants_ack: random.bool(),
            ack: Seq(0),
        };
        let mut packet = BytesMut::new();
        header.encode(CLUSTER, &mut packet);
        packet.extend_from_slice(&samples::chunks(random));
        packet.freeze()
    };
    others.map(packet).to_vec()
}

#[test]
fn daemons_of_another_version_are_reported_once_each() {
    let (mut node, mut out) = daemon();
    let mut random = fastrand::Rng::with_seed(1);
    let mut hear = |cluster: ClusterHash, version: u8| {
        out.clear();
        for mut datagram in samples::datagrams(&mut random, cluster).into_iter().map(BytesMut::from) {
            datagram[0] = version;
            node.handle(Instant::default(), Input::Datagram(datagram.freeze()), &mut out);
        }
        let of_version = |event: &&Event| matches!(event, Event::ForeignVersion { .. });
        out.events.iter().filter(of_version).cloned().collect::<Vec<_>>()
    };
    assert_eq!(hear(CLUSTER, VERSION), []);
    assert_eq!(hear(OTHER_CLUSTER, VERSION + 1), [], "of another cluster");
    for version in [VERSION - 1, VERSION + 1] {
        assert_eq!(hear(CLUSTER, version), [Event::ForeignVersion { version }]);
        assert_eq!(hear(CLUSTER, version), [], "again");
    }
}
