//! Daemons that say anything: programs must neither crash nor hang.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[allow(dead_code, reason = "shared with the tests that replay whole exchanges")]
#[path = "../../cli/tests/support/golden.rs"]
mod golden;
mod support;

use std::time::{Duration, Instant};

use golden::Exchange;
use support::{connect, disconnect, flush_connect, flush_receive, listen, read_view, receive, serve};

/// Mutations of each sample, unless a time is given.
const ROUNDS: usize = 30;
const DROP_RECV: i32 = 0x0100_0000;
const REG_MEMB: i32 = 0x1000;

/// What daemons say in the recorded exchanges, each connection for itself.
fn streams() -> Vec<Vec<u8>> {
    let streams = Exchange::all().into_iter().flat_map(|exchange| exchange.expected());
    streams.filter(|stream| stream.len() > 60).collect()
}

/// Changes some bytes, mostly after the handshake.
fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    const ODD: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    for _ in 0..random.usize(0..5) {
        let first = if random.u8(..10) == 0 { 0 } else { 30 };
        if bytes.len() <= first {
            return;
        }
        let at = random.usize(first..bytes.len());
        match random.u32(..5) {
            0 => bytes[at] ^= 1 << random.u32(..8),
            1 => bytes[at] = ODD[random.usize(..ODD.len())],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.u8(..)),
            _ => {
                let again = bytes[at..(at + 20).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

/// Receives with all sorts of room until the session is over; returns how much was received.
fn receive_all(mailbox: i32, random: &mut fastrand::Rng) -> usize {
    let mut received = 0;
    let mut short = 0;
    loop {
        let ample = short > 3 || random.bool();
        let (groups, bytes) = if ample { (200, 1 << 20) } else { (random.usize(0..5), random.usize(0..200)) };
        let told = receive(mailbox, if random.u8(..8) == 0 { DROP_RECV } else { 0 }, groups, bytes);
        match told.result {
            0.. => {
                assert!(told.result as usize <= bytes && told.group_count <= groups as i32, "{told:?}");
                let is_whole = told.group_count >= 0 && told.service & 0x0040_0000 == 0;
                if is_whole && told.service & REG_MEMB != 0 {
                    assert!(read_view(&told) > 0);
                }
                received += 1;
                short = 0;
            }
            -16 => {
                assert!(told.group_count < 0 && told.group_count < -(groups as i32));
                short += 1;
            }
            -15 => short += 1,
            -8 | -13 | -18 => return received,
            other => panic!("an unexpected result: {other}"),
        }
        // More groups than any room here can only be dropped.
        if short > 10 {
            let told = receive(mailbox, DROP_RECV, 0, 0);
            assert!(told.result <= 0, "{told:?}");
            short = 0;
        }
    }
}

/// Receives through the flush layer until the session is over; returns how much was received.
fn flush_receive_all(mailbox: i32) -> usize {
    for received in 0.. {
        let told = flush_receive(mailbox, 0, 200, 1 << 20);
        match told.result {
            0.. => assert!(told.result as usize <= 1 << 20 && told.group_count <= 200, "{told:?}"),
            -8 | -13 | -18 => return received,
            // A layer of its own cannot go on when too much comes for a view that is not installed.
            -19 => return received,
            other => panic!("an unexpected result: {other}"),
        }
    }
    0
}

#[test]
fn mutated_daemons_do_not_harm_programs() {
    let minutes = std::env::var("ANTIPHON_HOSTILE_MINUTES").ok().and_then(|minutes| minutes.parse().ok());
    let limit = minutes.map(|minutes: u64| Duration::from_secs(60 * minutes));
    let begun = Instant::now();
    let seed = if limit.is_some() { fastrand::u64(..) } else { 4803 };
    println!("seed {seed}");
    let random = &mut fastrand::Rng::with_seed(seed);
    let streams = streams();
    assert!(streams.len() > 30, "there are samples");
    let (listener, address) = listen();
    let (mut opened, mut received, mut runs) = (0, 0, 0);
    while limit.map_or(runs < ROUNDS * streams.len(), |limit| begun.elapsed() < limit) {
        let mut stream = streams[runs % streams.len()].clone();
        mutate(&mut stream, random);
        runs += 1;
        let daemon = serve(&listener, stream);
        // One in three has the flush layer.
        let flushes = runs % 3 == 0;
        let (connected, mailbox) = if flushes { flush_connect(&address) } else { connect(&address) };
        if connected == 1 {
            opened += 1;
            received += if flushes { flush_receive_all(mailbox) } else { receive_all(mailbox, random) };
            disconnect(mailbox);
        }
        daemon.join().expect("no panic");
    }
    println!("{runs} streams, {opened} sessions, {received} messages");
    assert!(opened > runs / 4 && received > opened, "most mutations leave something to read");
}
