//! Daemons that do what no real one of these tests does: odd answers, the other byte
//! order, refused requests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::ffi::c_int;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, send};
use socket2::SockRef;
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

#[test]
fn a_connection_that_broke_unseen_is_told_of_once() {
    let (listener, address) = listen();
    for round in 0..20 {
        let daemon = listener.try_clone().expect("a second handle");
        let (reset, told) = mpsc::channel();
        let daemon = thread::spawn(move || {
            let (mut client, _) = daemon.accept().expect("a client");
            client.write_all(OPENING).expect("written");
            told.recv().expect("told");
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("set");
        });
        let (connected, mailbox) = connect(&address);
        assert_eq!(connected, 1);
        // The second is gathered, and mostly written when the daemon has gone.
        assert_eq!((multicast(mailbox, c"group", b"text"), multicast(mailbox, c"group", b"text")), (4, 4));
        reset.send(()).expect("listens");
        daemon.join().expect("no panic");
        thread::sleep(Duration::from_millis(5));
        assert_eq!(receive(mailbox, 0, 1, 4).result, -8, "round {round}");
        assert_eq!(receive(mailbox, 0, 1, 4).result, -18, "round {round}");
        assert_eq!(multicast(mailbox, c"group", b"text"), -18, "round {round}");
        disconnect(mailbox);
    }
}

/// Fills a connection with bytes of no meaning; returns how many.
fn fill(mailbox: c_int) -> usize {
    // SAFETY: the session of this mailbox is open.
    let socket = unsafe { BorrowedFd::borrow_raw(mailbox) };
    let (mut bytes, mut in_vain) = (0, 0);
    // For a moment the system finds room again.
    while in_vain < 20 {
        match send(socket, &[0; 4096], SendFlags::DONTWAIT) {
            Ok(count) => (bytes, in_vain) = (bytes + count, 0),
            Err(_) => in_vain += 1,
        }
        thread::sleep(Duration::from_millis(if in_vain > 0 { 5 } else { 0 }));
    }
    bytes
}

#[test]
fn a_goodbye_waits_for_a_sender_that_gets_on() {
    const BODY_BYTES: usize = 143_000;
    let (listener, address) = listen();
    SockRef::from(&listener).set_recv_buffer_size(16 << 10).expect("set");
    let (go_on, told) = mpsc::channel();
    let is_over = Arc::new(AtomicBool::new(false));
    let hurry = Arc::clone(&is_over);
    let daemon = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        client.write_all(OPENING).expect("written");
        told.recv().expect("told");
        let (mut taken, mut piece) = (0, [0; 8 << 10]);
        while let Ok(count @ 1..) = client.read(&mut piece) {
            taken += count;
            // What the sender has left takes it longer than a daemon may take nothing.
            thread::sleep(Duration::from_millis(if hurry.load(Ordering::Relaxed) { 0 } else { 200 }));
        }
        taken
    });
    let (connected, mailbox) = connect(&address);
    assert_eq!(connected, 1);
    let filled = fill(mailbox);
    let sender = thread::spawn(move || multicast(mailbox, c"group", &[0; BODY_BYTES]));
    thread::sleep(Duration::from_millis(50));
    go_on.send(()).expect("listens");
    let begun = Instant::now();
    disconnect(mailbox);
    let took = begun.elapsed();
    is_over.store(true, Ordering::Relaxed);
    assert_eq!(sender.join().expect("no panic"), BODY_BYTES as c_int);
    let (handshake_bytes, message_bytes, goodbye_bytes) = (7 + 90, 48 + 32 + BODY_BYTES, 48 + 32);
    let expected = handshake_bytes + filled + message_bytes + goodbye_bytes;
    assert_eq!(daemon.join().expect("no panic"), expected);
    assert!(took > Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_disconnect_waits_for_a_daemon_that_still_sends_something() {
    let (listener, address) = listen();
    let (over, told) = mpsc::channel();
    let daemon = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        client.write_all(OPENING).expect("written");
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(500));
            client.write_all(&frame(false, 0x200, "group", &[], b"")).expect("the client is there");
        }
        over.send(()).expect("listens");
    });
    let (connected, mailbox) = connect(&address);
    assert_eq!(connected, 1);
    disconnect(mailbox);
    assert_eq!(told.try_recv(), Ok(()), "the daemon had not closed");
    daemon.join().expect("no panic");
}
