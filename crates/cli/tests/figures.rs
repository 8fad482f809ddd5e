//! First speed figures, measured on demand:
//! `cargo test --release --package antiphon-cli --test figures -- --ignored --nocapture`.
//!
//! Everything runs on one machine: daemons, senders and receivers. Half of the daemons serve three
//! senders each, the others one receiver each; a single daemon serves both. A run with a gap, a
//! duplicate or an order difference is an error, not a figure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use antiphon::{Connector, Event, Message, ServiceLevel};
use hdrhistogram::Histogram;
use support::cluster::{Cluster, Layout};

const GROUP: &str = "figures";
const SENDERS: usize = 3;
const WARM_UP: Duration = Duration::from_millis(500);
const DURATION: Duration = Duration::from_secs(3);
const RUNS: usize = 3;

/// What a sender writes at the start of a body: who it is, its count, and when.
const STAMP_BYTES: usize = 20;

fn stamp(body: &mut [u8], sender: u32, count: u64, nanoseconds: u64) {
    body[..4].copy_from_slice(&sender.to_le_bytes());
    body[4..12].copy_from_slice(&count.to_le_bytes());
    body[12..STAMP_BYTES].copy_from_slice(&nanoseconds.to_le_bytes());
}

fn read_stamp(message: &Message) -> (u32, u64, u64) {
    let body = &message.body;
    let sender = u32::from_le_bytes(body[..4].try_into().unwrap());
    let count = u64::from_le_bytes(body[4..12].try_into().unwrap());
    (sender, count, u64::from_le_bytes(body[12..STAMP_BYTES].try_into().unwrap()))
}

/// Daemons that serve senders, and daemons that serve receivers.
fn halves(daemons: usize) -> (Vec<usize>, Vec<usize>) {
    match daemons {
        1 => (vec![0], vec![0]),
        _ => ((0..daemons / 2).collect(), (daemons / 2..daemons).collect()),
    }
}

/// Sends as fast as the daemon takes it until told to stop.
fn flood(address: &str, sender: u32, bytes: usize, stop: &AtomicBool) {
    let mut connection = Connector::new(address).membership(false).connect().unwrap();
    connection.set_buffered(true);
    let mut body = vec![7; bytes];
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        stamp(&mut body, sender, count, 0);
        if connection.multicast(ServiceLevel::Agreed, GROUP, &body).is_err() {
            return;
        }
    }
}

/// Receives for the time of a run; returns messages a second and a digest of the order.
fn count_received(address: &str, begin: &std::sync::Barrier) -> (f64, Vec<(u32, u64)>) {
    let mut connection = Connector::new(address).connect().unwrap();
    connection.join(GROUP).unwrap();
    while !matches!(connection.receive().unwrap(), Event::View(_)) {}
    begin.wait();
    let start = Instant::now();
    let mut next = std::collections::BTreeMap::new();
    let (mut counted, mut first) = (0u64, Vec::new());
    while start.elapsed() < WARM_UP + DURATION {
        let Some(event) = connection.receive_timeout(Duration::from_secs(10)).expect("stays connected")
        else {
            panic!("nothing received for 10 s");
        };
        let Event::Message(message) = event else { continue };
        let (sender, count, _) = read_stamp(&message);
        let expected = next.insert(sender, count + 1).unwrap_or(count);
        assert_eq!(count, expected, "a gap or a duplicate of sender {sender}");
        counted += u64::from(start.elapsed() > WARM_UP);
        if first.len() < 10_000 {
            first.push((sender, count));
        }
    }
    (counted as f64 / DURATION.as_secs_f64(), first)
}

fn throughput(daemons: usize, bytes: usize) -> f64 {
    let cluster = Cluster::running(Layout::OwnSegments, u8::try_from(daemons).unwrap(), "");
    let (sending, receiving) = halves(daemons);
    let stop = Arc::new(AtomicBool::new(false));
    let begin = Arc::new(std::sync::Barrier::new(receiving.len() + 1));
    let receivers: Vec<_> = receiving
        .iter()
        .map(|host| {
            let (address, begin) = (cluster.address(*host), Arc::clone(&begin));
            thread::spawn(move || count_received(&address, &begin))
        })
        .collect();
    begin.wait();
    let senders: Vec<_> = sending
        .iter()
        .flat_map(|host| (0..SENDERS).map(move |number| (*host, number)))
        .map(|(host, number)| {
            let (address, stop) = (cluster.address(host), Arc::clone(&stop));
            let sender = u32::try_from(host * SENDERS + number).unwrap();
            thread::spawn(move || flood(&address, sender, bytes, &stop))
        })
        .collect();
    let results: Vec<_> = receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect();
    stop.store(true, Ordering::Relaxed);
    drop(cluster);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let shortest = results.iter().map(|(_, order)| order.len()).min().unwrap();
    let same = results.windows(2).all(|pair| pair[0].1[..shortest] == pair[1].1[..shortest]);
    assert!(same, "receivers saw different orders");
    results.iter().map(|(rate, _)| rate).sum::<f64>() / results.len() as f64
}

/// One-way latency of 1000-byte messages at 200 a second, in microseconds: p50 and p99.
fn latency(daemons: usize, service: ServiceLevel) -> (u64, u64) {
    let cluster = Cluster::running(Layout::OwnSegments, u8::try_from(daemons).unwrap(), "");
    let mut receiver = Connector::new(cluster.address(daemons - 1)).connect().unwrap();
    receiver.join(GROUP).unwrap();
    while !matches!(receiver.receive().unwrap(), Event::View(_)) {}
    let mut sender = Connector::new(cluster.address(0)).membership(false).connect().unwrap();
    let start = Instant::now();
    let clock = move || u64::try_from(start.elapsed().as_nanos()).unwrap();
    let sending = thread::spawn(move || {
        let mut body = vec![0; 1000];
        for count in 0..600u64 {
            // The time at which it should be sent: a late send counts against the latency.
            let due = count * 5_000_000;
            thread::sleep(Duration::from_nanos(due.saturating_sub(clock())));
            stamp(&mut body, 0, count, due.max(1));
            sender.multicast(service, GROUP, &body).unwrap();
        }
        sender
    });
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    for expected in 0..600u64 {
        let Some(Event::Message(message)) = receiver.receive_timeout(Duration::from_secs(10)).unwrap() else {
            panic!("no message for 10 s");
        };
        let (_, count, due) = read_stamp(&message);
        assert_eq!(count, expected);
        histogram.saturating_record(clock().saturating_sub(due) / 1000);
    }
    drop(sending.join().unwrap());
    (histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
#[ignore = "a measurement, not a check"]
fn first_figures() {
    println!("agreed, {SENDERS} senders on each sending daemon; median of {RUNS} runs of {DURATION:?}");
    println!("| daemons | bytes | messages/s | Mbit/s |\n|---|---|---|---|");
    for daemons in [1, 2, 4] {
        for bytes in [100, 1350] {
            let rate = median((0..RUNS).map(|_| throughput(daemons, bytes)).collect());
            println!("| {daemons} | {bytes} | {rate:.0} | {:.0} |", rate * bytes as f64 * 8.0 / 1e6);
        }
    }
    println!("one-way latency of 1000 bytes at 200 messages/s, in microseconds");
    println!("| daemons | agreed p50 | p99 | safe p50 | p99 |\n|---|---|---|---|---|");
    for daemons in [1, 2, 4] {
        let (agreed, safe) = (latency(daemons, ServiceLevel::Agreed), latency(daemons, ServiceLevel::Safe));
        println!("| {daemons} | {} | {} | {} | {} |", agreed.0, agreed.1, safe.0, safe.1);
    }
}
