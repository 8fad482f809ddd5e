//! Five daemons on hosts of their own, joined by a bridge, ten clients, and everything that goes wrong
//! with hosts and cables; the logs of all clients are judged by the checkers of the simulator.
//!
//! One round by default, two minutes of them with `ANTIPHON_NIGHTLY=1`, others with
//! `ANTIPHON_CHAOS_MINUTES=n`; `ANTIPHON_SEED=n` repeats the faults of one round. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "cluster/client.rs"]
mod client;
#[path = "chaos/faults.rs"]
mod faults;
#[path = "cluster/round.rs"]
mod round;
mod support;

use std::time::{Duration, Instant};

use support::cluster::{Cluster, Layout};
use support::directory::Directory;
use support::namespaces::Namespaces;
use support::nightly;

const DAEMONS: u8 = 5;
/// How long each state of the network lasts in the rounds of one segment.
const STATE: Duration = Duration::from_millis(800);

#[test]
fn clients_see_one_order_whatever_happens_to_hosts_and_cables() {
    if !Namespaces::are_possible() {
        return;
    }
    let variable = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let minutes = variable("ANTIPHON_CHAOS_MINUTES").unwrap_or(if nightly() { 2 } else { 0 });
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let (mut rounds, mut happened) = (0, faults::Tally::default());
    let mut seed = variable("ANTIPHON_SEED").unwrap_or(1);
    loop {
        println!("seed {seed}");
        let mut cluster = Cluster::in_namespaces(Layout::OwnSegments, DAEMONS, "");
        let logs = round::round(seed, &mut cluster, |cluster, random| {
            faults::happen(cluster, random, &mut happened)
        });
        assert_eq!(round::violations(&logs), Vec::<String>::new(), "seed {seed}");
        rounds += 1;
        seed += 1;
        if Instant::now() >= end {
            break;
        }
    }
    println!("{rounds} rounds without a violation; {happened:?}");
}

/// What is lost is sent again, and not always by the daemon that sent it first.
#[test]
fn clients_see_one_order_where_daemons_seal_what_they_send() {
    if !Namespaces::are_possible() {
        return;
    }
    let (directory, mut happened) = (Directory::new(), faults::Tally::default());
    std::fs::write(directory.file("key"), "5a".repeat(32)).expect("writable");
    let directives = format!("KeyFile = {}\n", directory.file("key").display());
    let mut cluster = Cluster::in_namespaces(Layout::OwnSegments, DAEMONS, &directives);
    let logs = round::round(2, &mut cluster, |cluster, random| {
        faults::happen(cluster, random, &mut happened);
    });
    assert_eq!(round::violations(&logs), Vec::<String>::new(), "{happened:?}");
    for host in 0..cluster.count() {
        let log = cluster.process(host).log();
        assert!(!log.contains("is not sealed"), "{log}");
    }
}

/// As the README says: with a broadcast address, and with a multicast group.
#[test]
fn clients_see_one_order_where_hosts_reach_all_others_at_once() {
    if !Namespaces::are_possible() {
        return;
    }
    for (layout, counter) in [(Layout::Broadcast, "InBcastPkts"), (Layout::SharedSegment, "InMcastPkts")] {
        let mut cluster = Cluster::in_namespaces(layout, DAEMONS, "");
        println!("{layout:?}");
        let logs = round::round(1, &mut cluster, |cluster, _| part_and_crash(cluster));
        assert_eq!(round::violations(&logs), Vec::<String>::new(), "{layout:?}");
        for host in 0..cluster.count() {
            let packets = cluster.namespaces().counter(host, counter);
            assert!(packets > 100, "{layout:?}: host {host} has received {packets} packets only");
        }
    }
}

/// A host that is cut off and comes back, and one whose daemon crashes and starts again.
fn part_and_crash(cluster: &mut Cluster) {
    std::thread::sleep(STATE);
    cluster.namespaces().unplug(1);
    std::thread::sleep(STATE);
    cluster.namespaces().heal();
    cluster.kill(2);
    std::thread::sleep(STATE);
    cluster.launch(2);
}
