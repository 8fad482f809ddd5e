use std::io::Write;
use std::net::{Ipv4Addr, Shutdown};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use antiphon::Envelope;
use antiphon::session::{Handshake, Options, Session as Client, Step};
use antiphon_proto::config::{Cluster, Config, Daemon};
use antiphon_proto::{Boot, NameHash, Origin, StateName};
use antiphon_wire::ids::{ClusterHash, DaemonId};
use antiphon_wire::names::DaemonName;
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;
use mio::{Events, Poll};

use super::*;
use crate::buffers::BUFFER_BYTES;

/// A connected client, and its session.
fn connected(sessions: &mut SessionIo, poll: &Poll) -> (UnixStream, SessionId) {
    let (client, near) = UnixStream::pair().expect("a pair");
    near.set_nonblocking(true).expect("non-blocking");
    let stream = Stream::Unix(mio::net::UnixStream::from_std(near));
    (client, sessions.open(stream, poll.registry()).expect("taken in"))
}

fn node() -> Node {
    node_with(|_| {})
}

fn node_with(change: impl FnOnce(&mut Config)) -> Node {
    let name = DaemonName::new(b"a").expect("legal");
    let daemons = vec![Daemon { name, address: Ipv4Addr::LOCALHOST }];
    let mut config = Config::new(Cluster { daemons, hash: ClusterHash(1) }, DaemonId(0));
    change(&mut config);
    let boot = Boot { incarnation: 1, epoch: 1, seed: 1, name_hash: NameHash::fixed() };
    Node::new(config, boot, Instant(0), &mut Outputs::default())
}

/// The system tells a client of unread bytes by an error, for which it may discard what the client has
/// not read.
#[test]
fn a_client_that_is_closed_reads_to_the_end_whatever_it_has_sent() {
    let (poll, mut sessions) = (Poll::new().expect("a poller"), SessionIo::new());
    let (mut client, id) = connected(&mut sessions, &poll);
    client.write_all(&[7; 2 * BUFFER_BYTES]).expect("written");
    let session = sessions.sessions.get_mut(&id).expect("open");
    session.stream.write_all(b"last").expect("written");
    sessions.close(id, &mut node());
    let mut seen = Vec::new();
    client.read_to_end(&mut seen).expect("no error");
    assert_eq!(seen, b"last");
}

#[test]
fn no_more_is_read_than_there_is_room_and_the_rest_has_its_turn() {
    let (poll, mut sessions) = (Poll::new().expect("a poller"), SessionIo::new());
    let (mut client, id) = connected(&mut sessions, &poll);
    client.write_all(&[7; 1000]).expect("written");
    let mut read = |most| match sessions.read(id, most) {
        Some(Input::SessionBytes(_, bytes)) => (bytes.len(), sessions.unread.pop_front()),
        other => panic!("not bytes: {other:?}"),
    };
    assert_eq!(read(600), (600, Some(id)), "there may be more");
    assert_eq!(read(600), (400, None), "all is read");
}

/// A session of a daemon that has formed its ring of one.
fn greeted(node: &mut Node, id: SessionId) -> Client {
    let mut out = Outputs::default();
    while let Some((due, _)) = node.next_timeout().filter(|_| node.status().state != StateName::Operational) {
        node.handle(due, Input::Timeout, &mut out);
    }
    let now = Instant(1 << 40);
    node.handle(now, Input::SessionOpened(id, Origin::Unix), &mut out);
    let (mut handshake, hello) = Handshake::begin(&Options::default());
    let mut step = Step::Write(hello);
    loop {
        let mut answer = Bytes::new();
        match step {
            Step::Write(bytes) => node.handle(now, Input::SessionBytes(id, bytes), &mut out),
            Step::Read => {
                let outbox = node.outbox(id).expect("a session");
                answer = outbox.copy_to_bytes(outbox.remaining());
                assert!(!answer.is_empty(), "an answer");
            }
            Step::Open(client) => return *client,
        }
        step = handshake.on_bytes(&answer).expect("a daemon");
    }
}

#[test]
fn a_turn_writes_so_much_and_the_rest_has_its_turn() {
    let (poll, mut sessions, mut node) = (Poll::new().expect("a poller"), SessionIo::new(), node());
    let mut envelope = Envelope::new(ServiceLevel::Agreed);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let (socket, id) = connected(&mut sessions, &poll);
        let client = greeted(&mut node, id);
        envelope = envelope.to(client.outbox.member().to_string()).expect("legal");
        clients.push((socket, id, client));
    }
    let sender = &mut clients[0];
    sender.2.outbox.send(&envelope, &[7; 100_000]).expect("legal");
    let sent = Input::SessionBytes(sender.1, sender.2.outbox.take());
    let mut out = Outputs::default();
    node.handle(Instant(1 << 40), sent, &mut out);
    sessions.mark_dirty(&out.dirty);
    let mut empty = || {
        sessions.flush(&mut node, poll.registry());
        let mut owes = |id: SessionId| node.outbox(id).is_some_and(|outbox| outbox.has_remaining());
        (clients.iter().map(|(_, id, _)| *id).filter(|id| !owes(*id)).count(), sessions.has_work(&node))
    };
    assert_eq!(empty(), (11, true), "so many make the megabyte");
    assert_eq!(empty(), (20, false));
}

/// Works until there is nothing to be done without the poller.
fn turn(sessions: &mut SessionIo, node: &mut Node, poll: &Poll) {
    let (now, mut out) = (Instant(1 << 40), Outputs::default());
    while sessions.has_work(node) || node.has_put_off() {
        out.clear();
        sessions.drain(node, now, &mut out);
        node.handle(now, Input::OutboxesOffered, &mut out);
        sessions.mark_dirty(&out.dirty);
        sessions.flush(node, poll.registry());
    }
}

#[test]
fn a_client_that_takes_nothing_any_more_is_read_to_its_end() {
    let (poll, mut sessions, mut node) = (Poll::new().expect("a poller"), SessionIo::new(), node());
    let (mut socket, id) = connected(&mut sessions, &poll);
    let (mut client, receiver) = (greeted(&mut node, id), SessionId(99));
    let to = [client.outbox.member(), greeted(&mut node, receiver).outbox.member()];
    let envelope = Envelope::new(ServiceLevel::Agreed);
    let to = to.iter().fold(envelope, |envelope, name| envelope.to(name.to_string()).expect("legal"));
    socket.shutdown(Shutdown::Read).expect("shut");
    for sent in [250, 500] {
        (0..250).for_each(|_| client.outbox.send(&to, &[7; 100]).expect("legal"));
        socket.write_all(&client.outbox.take()).expect("the system holds it");
        let session = sessions.sessions.get_mut(&id).expect("still open");
        session.wait_for_read(id, &mut sessions.unread);
        turn(&mut sessions, &mut node, &poll);
        assert_eq!(node.outbox(receiver).map(|outbox| outbox.messages()), Some(sent));
        assert_eq!(node.outbox(id).map(|outbox| outbox.remaining()), Some(0), "it is thrown away");
    }
    client.outbox.send(&to, b"last").expect("legal");
    socket.write_all(&client.outbox.take()).expect("the system holds it");
    drop(socket);
    sessions.broken.push(id);
    turn(&mut sessions, &mut node, &poll);
    assert_eq!(node.outbox(receiver).map(|outbox| outbox.messages()), Some(501));
    assert!(sessions.count() == 0 && node.outbox(id).is_none(), "it has ended");
}

#[test]
fn nothing_more_is_taken_in_or_handed_up_before_the_rest_was_offered() {
    let (poll, mut sessions) = (Poll::new().expect("a poller"), SessionIo::new());
    let mut node = node_with(|config| config.sessions.frames_at_once = 1);
    let (_socket, id) = connected(&mut sessions, &poll);
    let mut client = greeted(&mut node, id);
    let to_itself =
        Envelope::new(ServiceLevel::Agreed).to(client.outbox.member().to_string()).expect("legal");
    for _ in 0..2 {
        client.outbox.send(&to_itself, b"x").expect("legal");
    }
    let (now, mut out) = (Instant(1 << 40), Outputs::default());
    node.handle(now, Input::SessionBytes(id, client.outbox.take()), &mut out);
    sessions.mark_dirty(&out.dirty);
    let messages = |node: &mut Node| node.outbox(id).map(|outbox| outbox.messages());
    assert_eq!((messages(&mut node), node.has_put_off()), (Some(1), true));
    assert!(!node.accepts_submissions() && node.room_for(id) == 0 && !sessions.has_written());
    sessions.unread.push_back(id);
    sessions.drain(&mut node, now, &mut Outputs::default());
    assert_eq!(sessions.unread.len(), 1, "nothing is read");
    sessions.flush(&mut node, poll.registry());
    assert!(sessions.has_written() && !sessions.has_work(&node));
    out.clear();
    node.handle(now, Input::OutboxesOffered, &mut out);
    assert_eq!((messages(&mut node), out.dirty), (Some(1), vec![id]));
    node.handle(now, Input::OutboxesOffered, &mut Outputs::default());
    assert!(!node.has_put_off() && node.accepts_submissions() && node.room_for(id) > 0);
    assert!(sessions.has_work(&node), "it has its turn");
}

/// As in a full send queue, where the core takes what one of them has sent and nothing more in that turn.
#[test]
fn nobody_is_read_again_before_the_others_had_their_turn() {
    let (poll, mut sessions) = (Poll::new().expect("a poller"), SessionIo::new());
    let mut node = node_with(|config| config.sessions.frames_at_once = 1);
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let (mut socket, id) = connected(&mut sessions, &poll);
        let mut client = greeted(&mut node, id);
        let to_itself = Envelope::new(ServiceLevel::Agreed).to(client.outbox.member().to_string());
        let to_itself = to_itself.expect("legal");
        (0..150).for_each(|_| client.outbox.send(&to_itself, &[7; 1000]).expect("legal"));
        socket.write_all(&client.outbox.take()).expect("the system holds it");
        sockets.push((socket, id));
        sessions.unread.push_back(id);
    }
    let ids: Vec<_> = sockets.iter().map(|(_, id)| *id).collect();
    let (now, mut out) = (Instant(1 << 40), Outputs::default());
    for turn in 0..6 {
        sessions.drain(&mut node, now, &mut out);
        while node.has_put_off() {
            node.handle(now, Input::OutboxesOffered, &mut out);
        }
        let mut took = |id: &SessionId| {
            let outbox = node.outbox(*id).expect("a session");
            outbox.advance(outbox.remaining());
            out.dirty.contains(id)
        };
        let readers: Vec<_> = ids.iter().copied().filter(|id| took(id)).collect();
        assert_eq!(readers, [ids[turn % ids.len()]]);
        out.clear();
    }
}

#[test]
fn a_client_is_greeted_although_nobody_else_is_read() {
    let (mut poll, mut sessions) = (Poll::new().expect("a poller"), SessionIo::new());
    let mut node = node_with(|config| config.sessions.frames_at_once = 1);
    let mut client = greeted(&mut node, SessionId(99));
    let to_itself =
        Envelope::new(ServiceLevel::Agreed).to(client.outbox.member().to_string()).expect("legal");
    (0..2).for_each(|_| client.outbox.send(&to_itself, b"x").expect("legal"));
    let (now, mut out) = (Instant(1 << 40), Outputs::default());
    node.handle(now, Input::SessionBytes(SessionId(99), client.outbox.take()), &mut out);
    assert!(!node.accepts_submissions());

    let (mut socket, id) = connected(&mut sessions, &poll);
    node.handle(now, Input::SessionOpened(id, Origin::Unix), &mut out);
    socket.write_all(&Handshake::begin(&Options::default()).1).expect("written");
    let mut events = Events::with_capacity(1);
    poll.poll(&mut events, Some(Duration::from_secs(10))).expect("polled");
    events.iter().for_each(|event| sessions.on_ready(event, &mut node));
    sessions.drain(&mut node, now, &mut out);
    assert!(node.outbox(id).is_some_and(|outbox| outbox.has_remaining()), "an answer");
}
