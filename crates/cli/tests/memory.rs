//! Whether daemons keep what sessions, groups, messages and configurations took, measured on demand:
//! `cargo test --release --package antiphon-cli --test memory -- --ignored --nocapture`, with
//! `ANTIPHON_CYCLES=n` for more cycles.
//!
//! In each cycle clients come to three daemons, join groups of names that were never used before, and send
//! messages of all sizes, while the network parts and heals; half of the clients leave in order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::time::Duration;

use antiphon::{Connection, ServiceLevel};
use antiphon_bench::process::Usage;
use support::cluster::{Cluster, Layout};

const DAEMONS: usize = 3;
const CLIENTS_OF_EACH: usize = 3;
const GROUPS: usize = 20;
/// Cycles until every table and buffer has had its greatest size, and after which memory is compared.
const WARM_UP: usize = 30;
/// Memory is the median of so many cycles.
const WINDOW: usize = 15;
/// What a daemon's memory may grow by; the pages of an allocator come and go.
const MARGIN_BYTES: u64 = 2 << 20;
/// A client that has received nothing for so long has received all there is.
const QUIET: Duration = Duration::from_millis(30);

/// One cycle, whose names no other one has.
fn cycle(cluster: &Cluster, number: usize) {
    let mut clients: Vec<Connection> = (0..DAEMONS * CLIENTS_OF_EACH)
        .map(|client| cluster.client(client % DAEMONS, &format!("c{number}-{client}")))
        .collect();
    for group in 0..GROUPS {
        clients.iter_mut().for_each(|client| client.join(format!("g{number}-{group}").as_str()).unwrap());
    }
    talk(&mut clients, number);
    cluster.partition(&[&[0], &[1, 2]]);
    cluster.settle(&[0]);
    cluster.settle(&[1, 2]);
    talk(&mut clients, number);
    cluster.heal();
    cluster.settle(&[0, 1, 2]);
    talk(&mut clients, number);
    for (index, client) in clients.into_iter().enumerate() {
        if index % 2 == 0 {
            client.disconnect().unwrap();
        }
    }
}

/// Every client sends to every group and to itself, and receives what comes.
fn talk(clients: &mut [Connection], number: usize) {
    for client in &mut *clients {
        for group in 0..GROUPS {
            let group = format!("g{number}-{group}");
            client.multicast(ServiceLevel::Agreed, group.as_str(), [7; 1000]).unwrap();
        }
        client.multicast(ServiceLevel::Safe, client.member(), [7; 100_000]).unwrap();
    }
    for client in clients {
        while client.receive_timeout(QUIET).unwrap().is_some() {}
    }
}

fn median(mut of: Vec<u64>) -> u64 {
    of.sort_unstable();
    of[of.len() / 2]
}

#[test]
#[ignore = "minutes of measurement, on demand"]
fn memory_stays_flat_over_joins_messages_and_partitions() {
    let cycles = std::env::var("ANTIPHON_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(120);
    assert!(cycles >= WARM_UP + 2 * WINDOW, "too few cycles to compare");
    let cluster = Cluster::running(Layout::OwnSegments, DAEMONS as u8, "");
    let resident = |host: usize| Usage::of(cluster.process(host).pid()).unwrap().resident_bytes;
    let mut memory = vec![Vec::new(); DAEMONS];
    for number in 0..cycles {
        cycle(&cluster, number);
        memory.iter_mut().enumerate().for_each(|(host, taken)| taken.push(resident(host)));
    }
    for (host, taken) in memory.iter().enumerate() {
        let (early, late) = (taken[WARM_UP..WARM_UP + WINDOW].to_vec(), taken[cycles - WINDOW..].to_vec());
        let (early, late) = (median(early), median(late));
        println!("{}: {} kB early, {} kB after {cycles} cycles", cluster.name(host), early >> 10, late >> 10);
        assert!(late <= early + MARGIN_BYTES, "the memory of {} grows", cluster.name(host));
    }
}
