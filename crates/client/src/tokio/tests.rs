//! Against a stand-in for a daemon that plays recorded bytes, and one that reads nothing.

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ::tokio::runtime::Builder;
use ::tokio::time::timeout;
use futures_util::{SinkExt, StreamExt};
use socket2::{Domain, SockAddr, Socket, Type};

use super::connect::open_one_of;
use super::*;
use crate::blocking::tests::{
    JOIN_VIEW, SELF_LEAVE, accept_alice, bytes, close_late, daemon, say, send_for_ever, stand_still,
    two_addresses,
};
use crate::patience::{LAST_LIMIT, STALL_LIMIT};
use crate::reconnect::tests::{
    QUICK, assert_is_gap, assert_is_view, daemon_with, die_in_a_frame, die_in_the_handshake,
    die_with_messages, end_after_a_leave, live, refuse,
};
use crate::{Connector, Event, ReplyCode, reconnect};

const MESSAGE_BYTES: usize = 48 + 32 + 1;
const SOON: Duration = Duration::from_millis(20);

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

pub(super) async fn connect(address: &str) -> Connection {
    Connector::new(address).name("alice").connect_tokio().await.expect("accepted")
}

#[test]
fn a_receive_that_is_dropped_again_and_again_loses_nothing() {
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        for piece in [bytes(JOIN_VIEW), bytes(SELF_LEAVE)].concat().chunks(37) {
            stream.write_all(piece).expect("written");
            stream.read_exact(&mut [0; MESSAGE_BYTES]).expect("asked for more");
        }
    });
    block_on(async {
        let mut connection = connect(&address).await;
        let mut kinds = String::new();
        while kinds.len() < 2 {
            match timeout(Duration::ZERO, connection.receive()).await {
                Ok(Ok(Event::View(_))) => kinds.push('v'),
                Ok(Ok(Event::SelfLeave(_))) => kinds.push('l'),
                Ok(other) => panic!("{other:?}"),
                Err(_) => connection.multicast(ServiceLevel::Fifo, "grp", "x").await.expect("sent"),
            }
        }
        assert_eq!(kinds, "vl");
    });
    playing.join().expect("played");
}

#[test]
fn a_send_that_is_dropped_is_sent_whole_or_not_at_all() {
    let (go_on, waiting) = mpsc::channel();
    let (address, playing) = daemon(move |mut stream| {
        accept_alice(&mut stream);
        waiting.recv().expect("three sends were dropped");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("closed in order");
        all.len()
    });
    let sent = block_on(async {
        let mut connection = connect(&address).await;
        let envelope = Envelope::new(ServiceLevel::Fifo).to("grp").expect("legal");
        let (mut sent, mut dropped) = (0, 0);
        while dropped < 3 {
            let pieces = [Bytes::from_static(&[1; 100]), Bytes::new(), Bytes::from(vec![1; 19_900])];
            let sending = connection.send_vectored(&envelope, &pieces);
            match timeout(SOON, sending).await {
                Ok(done) => done.map(|()| sent += 1).expect("connected"),
                Err(_) => dropped += 1,
            }
        }
        go_on.send(()).expect("the daemon waits");
        connection.disconnect().await.expect("said goodbye");
        sent
    });
    assert_eq!(playing.join().expect("played"), sent * (48 + 32 + 20_000) + 80);
}

#[test]
fn a_daemon_that_reads_nothing_does_not_hold_up_a_disconnect() {
    let (over, end) = mpsc::channel();
    let (address, playing) = daemon(move |stream| stand_still(stream, &end));
    block_on(async {
        let mut connection = connect(&address).await;
        while timeout(SOON, connection.multicast(ServiceLevel::Fifo, "grp", vec![7; 50_000])).await.is_ok() {}
        let late = connection.disconnect().await;
        assert!(matches!(&late, Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut), "{late:?}");
        ::tokio::task::yield_now().await;
        assert_eq!(::tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    });
    over.send(()).expect("listens");
    playing.join().expect("played");
}

#[test]
fn a_session_whose_goodbye_was_not_taken_ends_when_the_daemon_goes_on() {
    let (over, end) = mpsc::channel();
    let (address, playing) = daemon(move |mut stream| {
        accept_alice(&mut stream);
        end.recv().expect("told");
        stream.read_to_end(&mut Vec::new()).expect("an end");
    });
    block_on(async {
        let (mut sender, mut receiver) = connect(&address).await.split();
        while timeout(SOON, sender.multicast(ServiceLevel::Fifo, "grp", vec![7; 50_000])).await.is_ok() {}
        assert!(sender.disconnect().await.is_err());
        over.send(()).expect("listens");
        assert!(matches!(receiver.receive().await, Err(Error::Closed)));
    });
    playing.join().expect("played");
}

#[test]
fn a_disconnect_waits_for_a_daemon_that_still_sends_something() {
    let (over, told) = mpsc::channel();
    let (address, playing) = daemon(move |stream| close_late(stream, &told));
    block_on(async { connect(&address).await.disconnect().await.expect("said goodbye") });
    let _ = over.send(());
    assert!(playing.join().expect("played"), "before the daemon had closed");
}

#[test]
fn a_disconnect_from_a_daemon_that_does_not_close_is_no_success() {
    let (over, end) = mpsc::channel();
    let (address, playing) = daemon(move |stream| stand_still(stream, &end));
    let late = block_on(async {
        connect(&address).await.disconnect_within(Patience::within(SOON, LAST_LIMIT)).await
    });
    assert!(matches!(&late, Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut), "{late:?}");
    over.send(()).expect("listens");
    playing.join().expect("played");
}

#[test]
fn a_daemon_that_sends_for_ever_does_not_hold_up_a_disconnect() {
    let (address, playing) = daemon(send_for_ever);
    let late = block_on(async {
        connect(&address).await.disconnect_within(Patience::within(STALL_LIMIT, SOON)).await
    });
    assert!(matches!(&late, Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut), "{late:?}");
    playing.join().expect("played");
}

#[test]
fn a_daemon_that_takes_nothing_before_it_is_rid_of_its_events_gets_the_goodbye() {
    const BODY_BYTES: usize = 50_000;
    // As many as the system does not hold.
    let (filled, told) = mpsc::channel();
    let (address, playing) = daemon(move |mut stream| {
        accept_alice(&mut stream);
        let sent: usize = told.recv().expect("told");
        stream.write_all(&bytes(SELF_LEAVE).repeat(100_000)).expect("the client reads");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("an end");
        assert_eq!(all.len(), sent * (48 + 32 + BODY_BYTES) + 80);
    });
    block_on(async {
        let mut connection = connect(&address).await;
        let mut sent = 0;
        while timeout(SOON, connection.multicast(ServiceLevel::Fifo, "grp", vec![7; BODY_BYTES]))
            .await
            .is_ok()
        {
            sent += 1;
        }
        filled.send(sent).expect("listens");
        connection.disconnect().await.expect("said goodbye");
    });
    playing.join().expect("played");
}

#[test]
fn a_goodbye_comes_back_as_the_end_of_the_session_over_tokio() {
    for is_sink in [false, true] {
        let (address, playing) = daemon(|mut stream| {
            accept_alice(&mut stream);
            stream.read_to_end(&mut Vec::new()).expect("a goodbye");
            say(&mut stream, SELF_LEAVE);
        });
        block_on(async {
            let (mut sender, mut receiver) = connect(&address).await.split();
            if is_sink {
                SinkExt::<Outgoing>::close(&mut sender).await.expect("said goodbye");
            } else {
                sender.disconnect().await.expect("said goodbye");
            }
            assert!(matches!(receiver.receive().await, Ok(Event::SelfLeave(_))));
            assert!(matches!(receiver.receive().await, Err(Error::Ended)));
        });
        playing.join().expect("played");
    }
}

#[test]
fn the_halves_work_in_two_tasks() {
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        for _ in 0..100 {
            stream.read_exact(&mut [0; MESSAGE_BYTES]).expect("a message");
            say(&mut stream, SELF_LEAVE);
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("closed in order");
        rest.len()
    });
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let received = runtime.block_on(async {
        let (mut sender, receiver) = connect(&address).await.split();
        let receiving = ::tokio::spawn(receiver.map(|event| event.is_ok()).collect::<Vec<_>>());
        ::tokio::spawn(async move {
            let envelope = Envelope::new(ServiceLevel::Agreed).to("grp").expect("legal");
            for _ in 0..100 {
                let message = Outgoing { envelope: envelope.clone(), body: Bytes::from_static(b"x") };
                sender.feed(message).await.expect("sent");
            }
            SinkExt::<Outgoing>::close(&mut sender).await.expect("said goodbye");
        });
        receiving.await.expect("received")
    });
    assert_eq!(received, [vec![true; 100], vec![false]].concat());
    assert_eq!(playing.join().expect("played"), 80);
}

#[test]
fn the_last_of_many_leave_without_being_asked_and_a_dropped_sender_leaves_nothing() {
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        stream.read_exact(&mut [0; 1000 * MESSAGE_BYTES]).expect("all of them");
        say(&mut stream, SELF_LEAVE);
        stream.read_exact(&mut [0; 1000 * MESSAGE_BYTES]).expect("the others");
    });
    block_on(async {
        let (mut sender, mut receiver) = connect(&address).await.split();
        for _ in 0..1000 {
            sender.multicast(ServiceLevel::Fifo, "grp", "x").await.expect("sent");
        }
        receiver.receive().await.expect("they came, although nothing was flushed");
        for _ in 0..1000 {
            sender.multicast(ServiceLevel::Fifo, "grp", "x").await.expect("sent");
        }
        drop(sender);
        assert!(matches!(receiver.receive().await, Err(Error::Closed)));
    });
    playing.join().expect("played");
}

#[test]
fn what_was_sent_right_before_the_runtime_ends_is_written() {
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("closed in order");
        all.len()
    });
    block_on(async {
        let mut connection = connect(&address).await;
        for _ in 0..100 {
            connection.multicast(ServiceLevel::Fifo, "grp", "x").await.expect("sent");
        }
    });
    assert_eq!(playing.join().expect("played"), 100 * MESSAGE_BYTES);
}

#[test]
fn what_was_sent_by_one_who_outlives_the_runtime_is_written() {
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        stream.read_exact(&mut [0; 100 * MESSAGE_BYTES]).expect("all of them");
    });
    let connection = block_on(async {
        let mut connection = connect(&address).await;
        for _ in 0..100 {
            connection.multicast(ServiceLevel::Fifo, "grp", "x").await.expect("sent");
        }
        connection
    });
    playing.join().expect("played");
    drop(connection);
}

#[test]
fn a_daemon_that_reads_nothing_does_not_keep_what_was_dropped() {
    let (over, end) = mpsc::channel();
    let (address, playing) = daemon(move |stream| stand_still(stream, &end));
    block_on(async {
        let mut connection = connect(&address).await;
        while timeout(SOON, connection.multicast(ServiceLevel::Fifo, "grp", vec![7; 50_000])).await.is_ok() {}
        let tasks = || ::tokio::runtime::Handle::current().metrics().num_alive_tasks();
        drop(connection);
        let dropped = Instant::now();
        while tasks() > 0 && dropped.elapsed() < 4 * STALL_LIMIT {
            ::tokio::time::sleep(SOON).await;
        }
        assert_eq!(tasks(), 0);
        assert!(dropped.elapsed() >= STALL_LIMIT, "it has its time");
    });
    over.send(()).expect("listens");
    playing.join().expect("played");
}

#[test]
fn addresses_are_tried_in_turn_over_tokio_too() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addresses = two_addresses(&listener);
    block_on(async {
        assert!(open_one_of(&addresses, None).await.is_ok());
        assert!(open_one_of(&addresses[..1], None).await.is_err());
    });
}

#[test]
fn a_unix_socket_is_reached_over_tokio() {
    let directory = std::env::temp_dir().join(format!("antiphon-tokio-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let listener = UnixListener::bind(directory.join("4901")).expect("a socket");
    let playing = thread::spawn(move || accept_alice(&mut listener.accept().expect("a client").0));
    let connector = Connector::new("4902").or("4901").name("alice").unix_directory(&directory);
    block_on(async {
        let connection = connector.connect_tokio().await.expect("the second is there");
        assert_eq!(connection.member().to_string(), "#alice#localhost");
    });
    playing.join().expect("played");
    std::fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn a_unix_socket_with_a_full_queue_is_waited_for() {
    let directory = std::env::temp_dir().join(format!("antiphon-tokio-queue-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("4901");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    socket.bind(&SockAddr::unix(&path).expect("a path")).expect("bound");
    socket.listen(0).expect("listening");
    let listener = UnixListener::from(OwnedFd::from(socket));
    let first = UnixStream::connect(&path).expect("there is room for one");
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    probe.set_nonblocking(true).expect("set");
    let full = probe.connect(&SockAddr::unix(&path).expect("a path")).expect_err("and for no other");
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    let playing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        listener.accept().expect("the first");
        accept_alice(&mut listener.accept().expect("a client").0);
    });
    let connector = Connector::new("4901").name("alice").unix_directory(&directory);
    block_on(async {
        let connection = connector.connect_tokio().await.expect("waited for");
        assert_eq!(connection.member().to_string(), "#alice#localhost");
    });
    playing.join().expect("played");
    drop(first);
    std::fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn refusals_and_silence_are_told() {
    let (address, playing) = daemon(|mut stream| say(&mut stream, "fd"));
    let refused = block_on(Connector::new(address).name("alice").connect_tokio());
    assert!(matches!(refused, Err(Error::Refused(ReplyCode::Quota) | Error::Closed)), "{refused:?}");
    playing.join().expect("played");
    let (address, playing) = daemon(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let silent = block_on(Connector::new(address).timeout(SOON).connect_tokio());
    assert!(matches!(silent, Err(Error::Timeout)), "{silent:?}");
    playing.join().expect("played");
}

#[test]
fn who_sends_over_a_broken_connection_is_told() {
    let (address, playing) = daemon(|mut stream| accept_alice(&mut stream));
    block_on(async {
        let mut connection = connect(&address).await;
        playing.join().expect("played");
        let sending = async {
            loop {
                connection.multicast(ServiceLevel::Fifo, "grp", vec![0; 50_000]).await?;
            }
        };
        let ended: Result<(), Error> = sending.await;
        assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
        assert!(matches!(connection.flush().await, Err(Error::Closed)));
    });
}

#[test]
fn a_connection_that_is_opened_anew_tells_of_the_gap_even_if_receives_are_dropped() {
    let (connector, playing) = daemon_with(&[die_in_a_frame, die_in_the_handshake, refuse, live]);
    block_on(async {
        let mut connection = Reconnecting::open(connector, QUICK).await.expect("accepted");
        connection.join("grp").await.expect("sent");
        assert_is_view(&connection.next().await.expect("no end").expect("a view"));
        let gap = loop {
            match timeout(Duration::from_millis(1), connection.receive()).await {
                Ok(event) => break event.expect("a gap"),
                Err(_) => ::tokio::task::yield_now().await,
            }
        };
        assert_is_gap(&gap, 0);
        assert_is_view(&connection.receive().await.expect("it was joined again"));
        connection.disconnect().await.expect("said goodbye");
    });
    playing.join().expect("played");
}

#[test]
fn what_came_before_a_request_failed_is_still_received_over_tokio() {
    let (connector, playing) = daemon_with(&[end_after_a_leave, live]);
    block_on(async {
        let mut connection = Reconnecting::open(connector, QUICK).await.expect("accepted");
        connection.join("grp").await.expect("sent");
        assert_is_view(&connection.receive().await.expect("a view"));
        while connection.multicast(ServiceLevel::Agreed, "grp", vec![0; 50_000]).await.is_ok() {
            ::tokio::task::yield_now().await;
        }
        let event = connection.receive().await.expect("what was sent before the end");
        assert!(matches!(event, reconnect::Event::Delivered(Event::SelfLeave(_))), "{event:?}");
        assert!(matches!(connection.receive().await, Ok(reconnect::Event::Gap(_))));
        connection.disconnect().await.expect("said goodbye");
    });
    playing.join().expect("played");
}

#[test]
fn messages_that_did_not_come_back_over_tokio_are_counted_too() {
    let (connector, playing) = daemon_with(&[die_with_messages, live]);
    block_on(async {
        let mut connection = Reconnecting::open(connector, QUICK).await.expect("accepted");
        connection.join("grp").await.expect("sent");
        assert_is_view(&connection.receive().await.expect("a view"));
        for text in ["1", "2", "3"] {
            connection.multicast(ServiceLevel::Agreed, "grp", text).await.expect("sent");
        }
        assert!(matches!(connection.receive().await, Ok(reconnect::Event::Delivered(Event::Message(_)))));
        assert_is_gap(&connection.receive().await.expect("a gap"), 2);
        connection.multicast(ServiceLevel::Agreed, "grp", "y").await.expect("sent");
        connection.disconnect().await.expect("said goodbye");
    });
    playing.join().expect("played");
}

#[test]
fn a_group_that_was_left_is_not_joined_again_over_tokio() {
    fn die_before_the_leave(stream: &mut std::net::TcpStream) {
        accept_alice(stream);
        stream.read_exact(&mut [0; 2 * (48 + 32)]).expect("a join and a leave");
    }
    fn expect_only_a_goodbye(stream: &mut std::net::TcpStream) {
        accept_alice(stream);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("an end");
        assert_eq!(all.len(), 48 + 32, "the goodbye alone");
    }
    let (connector, playing) = daemon_with(&[die_before_the_leave, expect_only_a_goodbye]);
    block_on(async {
        let mut connection = Reconnecting::open(connector, QUICK).await.expect("accepted");
        connection.join("grp").await.expect("sent");
        connection.leave("grp").await.expect("sent");
        let event = connection.receive().await.expect("a gap");
        let reconnect::Event::Gap(gap) = event else { panic!("{event:?}") };
        assert!(gap.groups.is_empty() && gap.left.len() == 1, "{gap:?}");
        connection.disconnect().await.expect("said goodbye");
    });
    playing.join().expect("played");
}
