//! Against a stand-in for a daemon that plays recorded bytes.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::*;
use crate::dial;
use crate::message::{Message, Transition};
use crate::patience::{LAST_LIMIT, STALL_LIMIT};
use crate::{Address, AuthMethod, Change, GroupId, ReplyCode};

pub(crate) const HELLO: &str = "0404000105616c696365";
pub(crate) const LIST: &str = "054e554c4c20";
const ACCEPT: &str = "010404001023616c696365236c6f63616c686f7374";
pub(crate) const JOIN: &str = "8000018023616c696365236c6f63616c686f7374000000000000000000000000000000000100000080000080\
    000000006772700000000000000000000000000000000000000000000000000000000000";
pub(crate) const JOIN_VIEW: &str = "8011008067727000000000000000000000000000000000000000000000000000000000000100000080000080380000002361\
    6c696365236c6f63616c686f7374000000000000000000000000000000000100007f209e046b01000000010000000000\
    00000100000023616c696365236c6f63616c686f737400000000000000000000000000000000";
const BIG_ENDIAN_DATA: &str = "9000008023626967656e64236c6f63616c686f73740000000000000000000000000000000100000000123400070000006772\
    70000000000000000000000000000000000000000000000000000000000066726f6d204245";
const TRANSITION: &str = "80200080677270000000000000000000000000000000000000000000000000000000000000000000800000800c0000000300\
    007fd098046b04000000";
pub(crate) const SELF_LEAVE: &str = "8002008067727000000000000000000000000000000000000000000000000000000000000000000080000080\
    00000000";

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

/// Listens once and lets `play` be the daemon.
pub(crate) fn daemon<T: Send + 'static>(
    play: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let playing = thread::spawn(move || play(listener.accept().expect("a client").0));
    (format!("{port}@127.0.0.1"), playing)
}

/// Opens a session, and stands still until it is told that this is over.
pub(crate) fn stand_still(mut stream: TcpStream, over: &mpsc::Receiver<()>) {
    accept_alice(&mut stream);
    over.recv().expect("told");
}

/// Says something for longer than a daemon usually takes to close, and then closes; whether it is not over by then.
pub(crate) fn close_late(mut stream: TcpStream, over: &mpsc::Receiver<()>) -> bool {
    accept_alice(&mut stream);
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(500));
        say(&mut stream, SELF_LEAVE);
    }
    stream.read_to_end(&mut Vec::new()).expect("an end");
    over.try_recv().is_err()
}

/// Sends until the client has closed.
pub(crate) fn send_for_ever(mut stream: TcpStream) {
    accept_alice(&mut stream);
    while stream.write_all(&bytes(SELF_LEAVE)).is_ok() {
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn expect(stream: &mut impl Read, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    stream.read_exact(&mut read).expect("so many bytes");
    assert_eq!(read, expected);
}

pub(crate) fn say(stream: &mut impl Write, hex: &str) {
    stream.write_all(&bytes(hex)).expect("written");
}

pub(crate) fn accept_alice(stream: &mut (impl Read + Write)) {
    expect(stream, &bytes(HELLO));
    say(stream, LIST);
    let mut choice = [0; 90];
    choice[..4].copy_from_slice(b"NULL");
    expect(stream, &choice);
    say(stream, ACCEPT);
}

fn refused_with(hex: &'static str) -> Error {
    let (address, playing) = daemon(move |mut stream| {
        expect(&mut stream, &bytes(HELLO));
        say(&mut stream, hex);
    });
    let error = Connection::connect(&address, "alice").expect_err("refused");
    playing.join().expect("played");
    error
}

#[test]
fn a_session_is_opened_used_and_ended() {
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        expect(&mut stream, &bytes(JOIN));
        for recorded in [JOIN_VIEW, BIG_ENDIAN_DATA, TRANSITION, SELF_LEAVE] {
            // Byte by byte, as a network may cut it.
            bytes(recorded).iter().for_each(|byte| stream.write_all(&[*byte]).expect("written"));
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("closed in order");
        rest
    });
    let mut connection = Connection::connect(&address, "alice").expect("accepted");
    assert_eq!(connection.member().to_string(), "#alice#localhost");
    assert_eq!(connection.daemon_version().number(), 40_400);
    connection.join("grp").expect("sent");
    let Event::View(view) = connection.receive().expect("an event") else { panic!("not a view") };
    assert_eq!((view.change, view.my_index), (Change::Join(connection.member()), Some(0)));
    assert_eq!((view.vs_sets, view.my_vs_set), (vec![], 0));
    let Event::Message(message) = connection.receive().expect("an event") else { panic!("not a message") };
    let Message { sender, service, message_type, endian_mismatch, body, .. } = message;
    assert_eq!((sender.to_string().as_str(), service), ("#bigend#localhost", ServiceLevel::Agreed));
    assert_eq!((message_type, endian_mismatch, body.as_ref()), (0x1234, true, b"from BE".as_slice()));
    let id = GroupId { leader: 0x7f00_0003, time: 0x6b04_98d0, counter: 4 };
    assert_eq!(
        connection.receive().expect("an event"),
        Event::Transition(Transition { group: view.group, id })
    );
    assert_eq!(connection.receive().expect("an event"), Event::SelfLeave(view.group));
    connection.disconnect().expect("said goodbye");
    let rest = playing.join().expect("played");
    assert_eq!((rest.len(), rest[2]), (80, 0x04));
    assert!(rest[48..].starts_with(b"#alice#localhost\0"));
}

#[test]
fn events_in_the_flight_of_the_accept_are_not_lost() {
    let (address, playing) = daemon(|mut stream| {
        expect(&mut stream, &bytes(HELLO));
        say(&mut stream, LIST);
        expect(&mut stream, &[b"NULL".as_slice(), &[0; 86]].concat());
        stream.write_all(&[bytes(ACCEPT), bytes(SELF_LEAVE)].concat()).expect("written");
    });
    let mut connection = Connection::connect(&address, "alice").expect("accepted");
    assert!(matches!(connection.receive(), Ok(Event::SelfLeave(_))));
    assert!(matches!(connection.receive_ready(), Ok(None)));
    assert!(matches!(connection.receive(), Err(Error::Closed)));
    playing.join().expect("played");
}

/// An address where nobody listens, and one where somebody does.
pub(crate) fn two_addresses(listener: &TcpListener) -> [SocketAddr; 2] {
    [SocketAddr::from(([127, 0, 0, 1], 1)), listener.local_addr().expect("bound")]
}

#[test]
fn the_addresses_of_a_host_are_tried_in_turn() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addresses = two_addresses(&listener);
    assert!(dial::tcp(&addresses, None).is_ok());
    assert!(dial::tcp(&addresses[..1], None).is_err());
    let deadline = Instant::now().checked_add(Duration::from_secs(20));
    assert!(dial::tcp(&addresses, deadline).is_ok());
    assert!(dial::tcp(&[], deadline).is_err_and(|error| error.kind() == ErrorKind::NotFound));
}

#[test]
fn a_daemon_is_reached_by_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        // What is printed with `eprintln!` is only seen of tests that fail.
        let _ = writeln!(std::io::stderr(), "skipped a_daemon_is_reached_by_ipv6: this machine has no IPv6");
        return;
    };
    let port = listener.local_addr().expect("bound").port();
    let playing = thread::spawn(move || accept_alice(&mut listener.accept().expect("a client").0));
    let address = Address::Tcp { host: "::1".to_owned(), port };
    assert!(Connection::connect(address, "alice").is_ok());
    playing.join().expect("played");
}

#[test]
fn a_unix_socket_is_found_by_its_port() {
    let directory = std::env::temp_dir().join(format!("antiphon-client-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let listener = UnixListener::bind(directory.join("4901")).expect("a socket");
    let playing = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        accept_alice(&mut stream);
    });
    let connector = Connector::new(Address::Unix { port: 4901 }).name("alice").unix_directory(&directory);
    assert!(connector.connect().is_ok());
    playing.join().expect("played");
    let missing = Connector::new("4902").unix_directory(&directory).connect();
    let error = missing.expect_err("nobody is there");
    assert!(matches!(error, Error::Connect { .. }));
    let path = directory.join("4902");
    assert!(error.to_string().contains(&format!("at 4902 ({})", path.display())), "{error}");
    std::fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn what_a_daemon_said_before_it_ended_is_received_although_nothing_can_be_sent() {
    let directory = std::env::temp_dir().join(format!("antiphon-client-ended-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let listener = UnixListener::bind(directory.join("4901")).expect("a socket");
    let playing = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        accept_alice(&mut stream);
        say(&mut stream, TRANSITION);
    });
    let connector = Connector::new("4901").name("alice").unix_directory(&directory);
    let mut connection = connector.connect().expect("accepted");
    playing.join().expect("played");
    assert!(connection.multicast(ServiceLevel::Agreed, "grp", "x").is_err());
    assert!(matches!(connection.receive(), Ok(Event::Transition(_))));
    assert!(matches!(connection.receive(), Err(Error::Closed)));
    std::fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn refusals_say_why() {
    assert!(matches!(refused_with("fa"), Error::Refused(ReplyCode::NotUnique)));
    assert!(matches!(refused_with("fd"), Error::Refused(ReplyCode::Quota)));
    assert!(matches!(refused_with("88"), Error::Protocol(_)));
    assert!(matches!(refused_with(""), Error::Closed));
    let Error::AuthNotOffered { offered, .. } = refused_with("03495020") else { panic!("not about auth") };
    assert_eq!(offered, "IP");
}

#[test]
fn a_quota_refusal_is_understood_although_it_comes_unasked() {
    let (address, playing) = daemon(|mut stream| say(&mut stream, "fd"));
    let error = Connection::connect(&address, "alice").expect_err("refused");
    assert!(matches!(error, Error::Refused(ReplyCode::Quota) | Error::Closed), "{error}");
    playing.join().expect("played");
}

#[test]
fn connecting_ends_at_its_time_limit() {
    let (address, playing) = daemon(|mut stream| {
        // Who waits for longer finds the connection closed.
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("settable");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let connected = Connector::new(address).timeout(Duration::from_millis(50)).connect();
    assert!(matches!(connected, Err(Error::Timeout)));
    playing.join().expect("played");
}

#[test]
fn bad_names_are_refused_before_connecting() {
    assert!(matches!(Connector::new("4803@nowhere.invalid").name("a b").connect(), Err(Error::Name(_))));
    assert!(matches!(Connector::new("nowhere").connect(), Err(Error::Address(_))));
    let methods = [AuthMethod::Null, AuthMethod::Ip].map(AuthMethod::name);
    assert_eq!(methods, ["NULL", "IP"]);
}

#[test]
fn waiting_for_an_event_ends_at_its_time_limit_and_loses_nothing() {
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        let (first, second) = (bytes(JOIN_VIEW), bytes(SELF_LEAVE));
        stream.write_all(&first[..50]).expect("written");
        expect(&mut stream, &bytes(JOIN));
        stream.write_all(&[&first[50..], &second].concat()).expect("written");
        let _ = stream.read(&mut [0]);
    });
    let mut connection = Connection::connect(&address, "alice").expect("accepted");
    assert_eq!(connection.receive_timeout(Duration::ZERO).expect("nothing wrong"), None);
    assert_eq!(connection.receive_timeout(Duration::from_millis(20)).expect("nothing wrong"), None);
    connection.join("grp").expect("sent");
    assert!(matches!(connection.receive_timeout(Duration::MAX), Ok(Some(Event::View(_)))));
    assert!(matches!(connection.receive_timeout(Duration::from_secs(10)), Ok(Some(Event::SelfLeave(_)))));
    drop(connection);
    playing.join().expect("played");
}

#[test]
fn gathered_requests_leave_together_when_flushed() {
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        assert!(stream.read(&mut [0]).is_err(), "nothing may be written before the flush");
        stream.set_read_timeout(None).expect("set");
        say(&mut stream, SELF_LEAVE);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("closed in order");
        all.len()
    });
    let connection = Connection::connect(&address, "alice").expect("accepted");
    let (mut sender, mut receiver) = connection.split();
    sender.set_buffered(true);
    for _ in 0..10 {
        sender.multicast(ServiceLevel::Fifo, "grp", "x").expect("gathered");
    }
    let receiving = thread::spawn(move || receiver.events().map(|event| event.is_ok()).collect::<Vec<_>>());
    thread::sleep(Duration::from_millis(100));
    sender.flush().expect("written");
    sender.disconnect().expect("said goodbye");
    assert_eq!(playing.join().expect("played"), 10 * (48 + 32 + 1) + 80);
    assert_eq!(receiving.join().expect("received"), [true, false]);
}

#[test]
fn what_was_gathered_leaves_when_nothing_is_to_be_gathered_any_more() {
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        let mut message = [0; 48 + 32 + 1];
        stream.read_exact(&mut message).expect("a message without a flush");
        say(&mut stream, SELF_LEAVE);
    });
    let (mut sender, mut receiver) = Connection::connect(&address, "alice").expect("accepted").split();
    sender.set_buffered(true);
    sender.multicast(ServiceLevel::Fifo, "grp", "x").expect("gathered");
    sender.set_buffered(false);
    let answer = receiver.receive_timeout(Duration::from_secs(10));
    assert!(matches!(answer, Ok(Some(Event::SelfLeave(_)))));
    playing.join().expect("played");
}

#[test]
fn a_hostile_daemon_gets_an_error_and_no_memory() {
    let huge =
        "9000008023626967656e64236c6f63616c686f7374000000000000000000000000000000ffffff7f80000080ffffff7f";
    let no_kind = huge.replacen("90000080", "80000080", 1).replace("ffffff7f", "00000000");
    for hex in [huge.to_owned(), no_kind] {
        let (address, playing) = daemon(move |mut stream| {
            accept_alice(&mut stream);
            say(&mut stream, &hex);
        });
        let mut connection = Connection::connect(&address, "alice").expect("accepted");
        assert!(matches!(connection.receive(), Err(Error::Protocol(_))));
        playing.join().expect("played");
    }
}

#[test]
fn a_lone_message_leaves_at_once_and_the_last_ones_of_many_without_being_asked() {
    const MESSAGE_BYTES: usize = 48 + 32 + 1;
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        stream.read_exact(&mut [0; MESSAGE_BYTES]).expect("the lone message");
        say(&mut stream, SELF_LEAVE);
        stream.read_exact(&mut [0; 1000 * MESSAGE_BYTES]).expect("all of the others");
        say(&mut stream, SELF_LEAVE);
        let _ = stream.read(&mut [0]);
    });
    let (mut sender, mut receiver) = Connection::connect(&address, "alice").expect("accepted").split();
    sender.multicast(ServiceLevel::Fifo, "grp", "x").expect("written");
    receiver.receive().expect("the lone message came");
    for _ in 0..1000 {
        sender.multicast(ServiceLevel::Fifo, "grp", "x").expect("gathered");
    }
    receiver.receive().expect("the others came, although nothing was flushed");
    drop((sender, receiver));
    playing.join().expect("played");
}

#[test]
fn a_large_body_follows_what_was_gathered_before_it() {
    let body = vec![7; 100_000];
    let expected = body.clone();
    let (address, playing) = daemon(move |mut stream| {
        accept_alice(&mut stream);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("closed in order");
        assert_eq!((all.len(), &all[..80]), (80 + 80 + 100_000 + 80, bytes(JOIN).as_slice()));
        assert_eq!(&all[160..100_160], expected);
    });
    let mut connection = Connection::connect(&address, "alice").expect("accepted");
    connection.set_buffered(true);
    connection.join("grp").expect("gathered");
    let envelope = Envelope::new(ServiceLevel::Fifo).to("grp").expect("legal");
    let pieces = [&body[..1], &[], &body[1..]].map(IoSlice::new);
    connection.send_vectored(&envelope, &pieces).expect("written");
    connection.disconnect().expect("said goodbye");
    playing.join().expect("played");
}

#[test]
fn several_daemons_are_tried_in_turn_and_all_that_fail_are_named() {
    let (busy, playing_busy) = daemon(|mut stream| {
        expect(&mut stream, &bytes(HELLO));
        say(&mut stream, "fa");
    });
    let (free, playing_free) = daemon(|mut stream| accept_alice(&mut stream));
    let connector = Connector::new("1@127.0.0.1").name("alice").or(&busy);
    assert!(connector.clone().or(free).connect().is_ok());
    playing_busy.join().expect("played");
    playing_free.join().expect("played");
    let Err(Error::NoDaemon(attempts)) = connector.connect() else { panic!("there is no daemon") };
    assert_eq!(
        attempts.iter().map(|attempt| attempt.address.to_string()).collect::<Vec<_>>(),
        ["1@127.0.0.1", &busy]
    );
    assert!(attempts.iter().all(|attempt| matches!(attempt.error, Error::Connect { .. })));
}

/// Requests that are gathered until the daemon, which does not read, has no room for all of them; returns how
/// many there are.
fn fill(connection: &mut Connection) -> usize {
    connection.set_buffered(true);
    let mut requests = 1;
    while connection.post(|outbox| outbox.join("grp")).expect("legal") == 0 {
        requests += 1;
    }
    requests
}

#[test]
fn waiting_for_an_event_writes_what_is_left_of_the_requests() {
    let (filled, told) = mpsc::channel();
    let (address, playing) = daemon(move |mut stream| {
        accept_alice(&mut stream);
        let requests = told.recv().expect("told");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        (0..requests).for_each(|_| expect(&mut stream, &bytes(JOIN)));
        say(&mut stream, SELF_LEAVE);
        let _ = stream.read(&mut [0]);
    });
    let mut connection = Connection::connect(&address, "alice").expect("accepted");
    filled.send(fill(&mut connection)).expect("listens");
    assert!(matches!(connection.receive_timeout(Duration::from_secs(20)), Ok(Some(Event::SelfLeave(_)))));
    drop(connection);
    playing.join().expect("played");
}

#[test]
fn a_daemon_that_takes_nothing_before_its_events_are_received_is_not_waited_for() {
    let (received, told) = mpsc::channel();
    let (address, playing) = daemon(move |mut stream| {
        accept_alice(&mut stream);
        say(&mut stream, SELF_LEAVE);
        let requests = told.recv_timeout(Duration::from_secs(10)).expect("the client receives");
        (0..requests).for_each(|_| expect(&mut stream, &bytes(JOIN)));
    });
    let mut connection = Connection::connect(&address, "alice").expect("accepted");
    let requests = fill(&mut connection);
    assert!(matches!(connection.receive(), Ok(Event::SelfLeave(_))));
    received.send(requests).expect("listens");
    assert!(matches!(connection.receive(), Err(Error::Closed)), "after all requests");
    playing.join().expect("played");
}

#[test]
fn a_disconnect_waits_for_a_daemon_that_still_sends_something() {
    let (over, told) = mpsc::channel();
    let (address, playing) = daemon(move |stream| close_late(stream, &told));
    let connection = Connection::connect(&address, "alice").expect("accepted");
    connection.disconnect().expect("said goodbye");
    let _ = over.send(());
    assert!(playing.join().expect("played"), "before the daemon had closed");
}

#[test]
fn a_disconnect_from_a_daemon_that_does_not_close_is_no_success() {
    let (over, end) = mpsc::channel();
    let (address, playing) = daemon(move |stream| stand_still(stream, &end));
    let connection = Connection::connect(&address, "alice").expect("accepted");
    let late = connection.disconnect_within(Patience::within(Duration::from_millis(20), LAST_LIMIT));
    assert!(matches!(&late, Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut), "{late:?}");
    over.send(()).expect("listens");
    playing.join().expect("played");
}

#[test]
fn a_daemon_that_sends_for_ever_does_not_hold_up_a_disconnect() {
    let (address, playing) = daemon(send_for_ever);
    let connection = Connection::connect(&address, "alice").expect("accepted");
    let late = connection.disconnect_within(Patience::within(STALL_LIMIT, Duration::from_millis(50)));
    assert!(matches!(&late, Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut), "{late:?}");
    playing.join().expect("played");
}

#[test]
fn a_daemon_that_takes_nothing_before_it_is_rid_of_its_events_gets_the_goodbye() {
    // Several times as many as the system holds for either side.
    const MANY: usize = 100_000;
    let (address, playing) = daemon(move |mut stream| {
        accept_alice(&mut stream);
        stream.write_all(&bytes(SELF_LEAVE).repeat(MANY)).expect("the client reads");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("an end");
        assert_eq!(all.len(), (MANY + 1) * 80);
    });
    let mut connection = Connection::connect(&address, "alice").expect("accepted");
    let request = |outbox: &mut Outbox| (0..MANY).try_for_each(|_| outbox.join("grp"));
    connection.post(request).expect("legal");
    connection.disconnect().expect("said goodbye");
    playing.join().expect("played");
}
