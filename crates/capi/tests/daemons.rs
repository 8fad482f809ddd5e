//! Daemons that do what no real one of these tests does: odd answers, the other byte
//! order, refused requests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::ffi::c_int;
use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use support::{
    OPENING, connect, disconnect, flush_connect, flush_receive, frame, listen, multicast, read_view, receive,
    serve, wait_until_held_up,
};

#[test]
fn a_big_endian_daemon_is_understood() {
    let field = |name: &str| [name.as_bytes(), &vec![0; 32 - name.len()]].concat();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let sets = [words(&[1]), field("#you#there"), words(&[2]), field("#me#fake"), field("#it#fake")].concat();
    let view = [words(&[1, 2, 3, 2, 36]), sets].concat();
    let members = ["#you#there", "#me#fake", "#it#fake"];
    let stream = [
        OPENING.to_vec(),
        frame(true, 0x1800, "group", &members, &view),
        frame(true, 0x2000, "group", &[], &words(&[1, 2, 3])),
        frame(true, 0x10, "#you#there", &["group"], b"text"),
    ];
    let (listener, address) = listen();
    let daemon = serve(&listener, stream.concat());
    let (connected, mailbox) = connect(&address);
    assert_eq!(connected, 1);
    let told = receive(mailbox, 0, 5, 500);
    assert_eq!((told.service, told.group_count, told.endian_mismatch), (0x1800, 3, 0));
    assert_eq!(read_view(&told), 3);
    assert_eq!(told.body[..4], 1_u32.to_ne_bytes());
    let told = receive(mailbox, 0, 0, 12);
    assert_eq!((told.result, told.service, &told.body[8..]), (12, 0x2000, &3_u32.to_ne_bytes()[..]));
    let told = receive(mailbox, 0, 1, 4);
    assert_eq!((told.result, told.endian_mismatch, told.body.as_slice()), (4, 1, b"text".as_slice()));
    assert_eq!(receive(mailbox, 0, 1, 4).result, -8);
    assert_eq!(receive(mailbox, 0, 1, 4).result, -18);
    disconnect(mailbox);
    daemon.join().expect("no panic");
}

/// Opens a session, and then neither reads nor says anything until it is told that this is over.
fn serve_in_silence(listener: TcpListener) -> (mpsc::Sender<()>, JoinHandle<()>) {
    let (over, end) = mpsc::channel();
    let daemon = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        client.write_all(OPENING).expect("written");
        end.recv().expect("told");
    });
    (over, daemon)
}

#[test]
fn a_sender_that_waits_is_woken_by_a_goodbye_which_waits_no_longer_than_it_may() {
    let (listener, address) = listen();
    let (over, daemon) = serve_in_silence(listener);
    let (connected, mailbox) = connect(&address);
    assert_eq!(connected, 1);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let sender = thread::spawn(move || {
        loop {
            let result = multicast(mailbox, c"group", &[0; 4000]);
            if result < 0 {
                return result;
            }
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    wait_until_held_up(&sent);
    disconnect(mailbox);
    let told = sender.join().expect("no panic");
    assert!([-8, -11].contains(&told), "{told}");
    over.send(()).expect("listens");
    daemon.join().expect("no panic");
}

#[test]
fn who_must_not_wait_does_not_wait_for_a_receiver_either() {
    let (listener, address) = listen();
    let (over, daemon) = serve_in_silence(listener);
    let (connected, mailbox) = flush_connect(&address);
    assert_eq!(connected, 1);
    let receiver = thread::spawn(move || flush_receive(mailbox, 0, 1, 10).result);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(flush_receive(mailbox, 0x1000_0000, 1, 10).result, -25);
    over.send(()).expect("listens");
    assert_eq!(receiver.join().expect("no panic"), -8);
    disconnect(mailbox);
    daemon.join().expect("no panic");
}

#[test]
fn a_refused_request_comes_back_with_its_type() {
    let mut refused = frame(false, 0x0040_0000, "#me#fake", &["group", "#me#fake"], b"text");
    refused.splice(48..48, 0x8000_0090_u32.to_le_bytes());
    let (listener, address) = listen();
    let daemon = serve(&listener, [OPENING, &refused].concat());
    let (connected, mailbox) = connect(&address);
    assert_eq!(connected, 1);
    let told = receive(mailbox, 0, 5, 10);
    assert_eq!((told.result, told.service, told.group_count), (4, 0x0040_0010, 2));
    disconnect(mailbox);
    daemon.join().expect("no panic");
}

#[test]
fn answers_that_are_no_accept_are_told_apart() {
    let answers: [(&[u8], c_int); 8] = [
        (b"\xfd", -3),
        (b"\xf9", -7),
        (b"\x05NULL \xf7", -9),
        (b"\x05NULL \xfa", -6),
        (b"\x04PWORD ", -9),
        (b"", -8),
        (b"\x05NULL \x01\x02\x00\x00\x08#me#fake", -7),
        (b"\x05NULL \x01\x04\x04\x00\x03bad", -19),
    ];
    let (listener, address) = listen();
    for (answer, expected) in answers {
        let daemon = serve(&listener, answer.to_vec());
        assert_eq!(connect(&address).0, expected, "after {answer:?}");
        daemon.join().expect("no panic");
    }
}
