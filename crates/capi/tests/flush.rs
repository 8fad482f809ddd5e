//! The flush layer with daemons that hold up its senders, or send a frame in parts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use support::{
    OPENING, disconnect, flush_connect, flush_multicast, flush_receive, frame, listen, wait_until_held_up,
};

const FIFO: u32 = 0x4;
const VIEW_BY_JOIN: u32 = 0x1100;
const DONT_BLOCK: i32 = 0x1000_0000;
const WOULD_BLOCK: i32 = -25;
/// The word of a header that has the message type, for that of a flush acknowledgement.
const FLUSH_OK: [u8; 4] = 0x8080_0080_u32.to_le_bytes();
const HEADER_BYTES: usize = 48;
/// What a client says before its session is open.
const HANDSHAKE_BYTES: usize = 7 + 90;

/// A view of a group that this client alone has joined.
fn own_view(group: &str, counter: u32) -> Vec<u8> {
    let me = [b"#me#fake".as_slice(), &[0; 24]].concat();
    let words: Vec<u8> = [1, 2, counter, 1, 0, 1].iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    frame(false, VIEW_BY_JOIN, group, &["#me#fake"], &[words, me].concat())
}

/// This client's acknowledgement of that view.
fn own_flush(group: &str, counter: u32) -> Vec<u8> {
    let id: Vec<u8> = [1, 2, counter].iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    let mut bytes = frame(false, FIFO, "#me#fake", &[group], &id);
    bytes[40..44].copy_from_slice(&FLUSH_OK);
    bytes
}

/// Reads all requests; returns how often views of `group` are acknowledged, and how many messages there are that
/// have bodies of `body_bytes` or more.
fn read_requests(client: &mut TcpStream, group: &str, body_bytes: usize) -> (usize, usize) {
    let (mut acknowledged, mut messages) = (0, 0);
    let mut header = [0; HEADER_BYTES];
    while client.read_exact(&mut header).is_ok() {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte])) as usize;
        let mut rest = vec![0; word(36) * 32 + word(44)];
        client.read_exact(&mut rest).expect("all of it");
        acknowledged += usize::from(header[40..44] == FLUSH_OK && rest.starts_with(group.as_bytes()));
        // The layer adds the view to the body.
        messages += usize::from(word(44) >= body_bytes);
    }
    (acknowledged, messages)
}

/// Makes a call that must not wait for ever.
fn in_time<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(call()));
    result.recv_timeout(Duration::from_secs(10)).expect("it returns")
}

#[test]
fn a_receiver_does_not_wait_for_a_sender_that_the_daemon_holds_up() {
    const BODY_BYTES: usize = 4000;
    let (listener, address) = listen();
    let (go_on, told) = mpsc::channel();
    let daemon = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let opening = [OPENING, &own_view("g", 1), &own_flush("g", 1)].concat();
        client.write_all(&opening).expect("written");
        told.recv().expect("told");
        // Of this second group the client has no view yet, so that it acknowledges by itself.
        let text = frame(false, FIFO, "#me#fake", &["g"], b"text");
        client.write_all(&[own_view("grp", 7), text].concat()).expect("written");
        told.recv().expect("told");
        client.read_exact(&mut [0; HANDSHAKE_BYTES]).expect("what came first");
        read_requests(&mut client, "grp", BODY_BYTES)
    });
    let (connected, mailbox) = flush_connect(&address);
    assert_eq!(connected, 1);
    assert_eq!(flush_receive(mailbox, 0, 1, 100).service as u32, VIEW_BY_JOIN);
    let (sent, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, stop) = (Arc::clone(&sent), Arc::clone(&is_over));
    let sender = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(flush_multicast(mailbox, c"g", &[0; BODY_BYTES]), BODY_BYTES as i32);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    wait_until_held_up(&sent);
    go_on.send(()).expect("listens");
    assert_eq!(in_time(move || flush_receive(mailbox, 0, 1, 100).result), 4);
    assert_eq!(in_time(move || flush_receive(mailbox, DONT_BLOCK, 1, 100).result), WOULD_BLOCK);
    is_over.store(true, Ordering::Relaxed);
    go_on.send(()).expect("listens");
    sender.join().expect("no panic");
    disconnect(mailbox);
    assert_eq!(daemon.join().expect("no panic"), (1, sent.load(Ordering::Relaxed)));
}

#[test]
fn who_must_not_wait_does_not_wait_for_the_rest_of_a_frame_and_loses_no_part_of_it() {
    let (listener, address) = listen();
    let (go_on, told) = mpsc::channel();
    let daemon = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let view = [own_view("g", 1), own_flush("g", 1)].concat();
        client.write_all(OPENING).expect("written");
        for part in [&view[..10], &view[10..60], &view[60..]] {
            client.write_all(part).expect("written");
            told.recv().expect("told");
        }
    });
    let (connected, mailbox) = flush_connect(&address);
    assert_eq!(connected, 1);
    for _ in 0..2 {
        thread::sleep(Duration::from_millis(50));
        assert_eq!(in_time(move || flush_receive(mailbox, DONT_BLOCK, 1, 100).result), WOULD_BLOCK);
        go_on.send(()).expect("listens");
    }
    assert_eq!(in_time(move || flush_receive(mailbox, 0, 1, 100).service as u32), VIEW_BY_JOIN);
    go_on.send(()).expect("listens");
    daemon.join().expect("no panic");
    assert_eq!(in_time(move || flush_receive(mailbox, DONT_BLOCK, 1, 100).result), -8, "it has ended");
    disconnect(mailbox);
}
