//! R2 (EVS contract §8): what is rejected changes nothing.

use std::net::Ipv4Addr;

use antiphon_hostile::{CLUSTER, samples};
use antiphon_proto::config::{Config, Daemon};
use antiphon_proto::time::Instant;
use antiphon_proto::{Event, Input, Node, Outputs};
use antiphon_wire::ids::DaemonId;
use antiphon_wire::names::DaemonName;
use antiphon_wire::ring::VERSION;
use bytes::{Bytes, BytesMut};

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
    let config = Config::new(daemons, DaemonId(0), CLUSTER);
    (Node::new(config, 7, 7, 1, Instant::default(), &mut out), out)
}

/// What is wrong with a datagram: its version, its end, or the configuration that it is for.
fn spoilt(random: &mut fastrand::Rng) -> Vec<Bytes> {
    let mut spoilt = samples::datagrams(random, CLUSTER ^ 1);
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
    let before = knowledge(&node);
    for _ in 0..200 {
        for datagram in spoilt(&mut random) {
            let rejected = node.stats().datagrams_rejected;
            out.clear();
            node.handle(Instant::default(), Input::Datagram(datagram.clone()), &mut out);
            assert_eq!(node.stats().datagrams_rejected, rejected + 1, "{datagram:?} was taken");
            assert!(out.transmits.is_empty() && out.events.is_empty(), "{datagram:?} was answered");
            assert!(knowledge(&node) == before, "{datagram:?} changed something");
        }
    }
}

#[test]
fn daemons_of_another_version_are_reported_once_each() {
    let (mut node, mut out) = daemon();
    let mut random = fastrand::Rng::with_seed(1);
    let mut hear = |cluster: u32, version: u8| {
        out.clear();
        for mut datagram in samples::datagrams(&mut random, cluster).into_iter().map(BytesMut::from) {
            datagram[0] = version;
            node.handle(Instant::default(), Input::Datagram(datagram.freeze()), &mut out);
        }
        let of_version = |event: &&Event| matches!(event, Event::ForeignVersion { .. });
        out.events.iter().filter(of_version).cloned().collect::<Vec<_>>()
    };
    assert_eq!(hear(CLUSTER, VERSION), []);
    assert_eq!(hear(CLUSTER ^ 1, VERSION + 1), [], "of another cluster");
    for version in [VERSION - 1, VERSION + 1] {
        assert_eq!(hear(CLUSTER, version), [Event::ForeignVersion { version }]);
        assert_eq!(hear(CLUSTER, version), [], "again");
    }
}
