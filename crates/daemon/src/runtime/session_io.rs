//! Bytes in and out of clients' connections.
//!
//! The poller tells about a change once, so a session whose bytes were not all read is remembered
//! in a queue, and one whose bytes were not all written is remembered by its interest. Work per turn
//! is proportional to the sessions that are ready, not to those that exist.

use std::collections::VecDeque;
use std::io::{self, Read};

use antiphon_proto::time::Instant;
use antiphon_proto::{Input, Node, Outputs};
use antiphon_wire::ids::SessionId;
use bytes::{Buf, BytesMut};
use foldhash::{HashMap, HashMapExt};
use mio::{Interest, Registry, Token as PollToken};

use super::stream::{Stream, Written};
use crate::buffers::Buffers;

/// Most bytes that are read from all sessions in a turn; the ring must not wait longer. Each gets its part of that.
const TURN_BYTES: usize = 2 << 20;
/// A part is not less than this, which is what is worth a read.
const LEAST_PART_BYTES: usize = 8 << 10;
/// Most bytes that are written to all sessions in a turn, for the same reason.
const TURN_WRITTEN_BYTES: usize = 1 << 20;
/// What a write takes beside its bytes, as if it were so many of them.
const WRITE_COST_BYTES: usize = 4 << 10;
/// Writes to a session that is being closed; a client that keeps up gets megabytes with these.
const CLOSING_WRITES: usize = 64;
/// Sessions have the poll tokens from here on; smaller ones are for everything else.
pub(crate) const FIRST_TOKEN: usize = 1 << 16;

/// The connections of all clients.
#[derive(Debug)]
pub(crate) struct SessionIo {
    sessions: HashMap<SessionId, Session>,
    /// The next session's number; none is used twice.
    next: u64,
    /// Sessions that are not established yet and have unread bytes. They are always read.
    greeting: VecDeque<SessionId>,
    /// Others that may have unread bytes, in the order of their turns; they are read while the core takes submissions.
    unread: VecDeque<SessionId>,
    /// The same of which enough waits in the core. Each session is in one of the three at most.
    paused: Vec<SessionId>,
    /// Sessions to write to, in the order of their turns.
    unwritten: VecDeque<SessionId>,
    /// Sessions to which nothing can be written any more.
    broken: Vec<SessionId>,
    /// What the next read fills, at most; a turn gives no more to one session.
    buffer: BytesMut,
    buffers: Buffers,
}

#[derive(Debug)]
struct Session {
    stream: Stream,
    /// Whether it is among the `greeting`, `unread` or `paused`.
    queued: bool,
    /// The client has closed its side, or takes nothing any more, so reading must go on to the end.
    ending: bool,
    /// The poller is asked about writability; nothing is written until it answers.
    blocked: bool,
    /// Whether it is among the `unwritten`.
    unwritten: bool,
}

impl SessionIo {
    pub(crate) fn new() -> Self {
        let mut buffers = Buffers::default();
        Self {
            sessions: HashMap::new(),
            next: 1,
            greeting: VecDeque::new(),
            unread: VecDeque::new(),
            paused: Vec::new(),
            unwritten: VecDeque::new(),
            broken: Vec::new(),
            buffer: buffers.spare(),
            buffers,
        }
    }

    /// Takes a new connection in.
    ///
    /// # Errors
    /// When the poller does not take it; the connection is then closed.
    pub(crate) fn open(&mut self, mut stream: Stream, registry: &Registry) -> io::Result<SessionId> {
        let id = SessionId(self.next);
        registry.register(&mut stream, poll_token(id), Interest::READABLE)?;
        self.next += 1;
        let session = Session { stream, queued: false, ending: false, blocked: false, unwritten: false };
        self.sessions.insert(id, session);
        Ok(id)
    }

    /// Takes note of what the poller said about a session.
    pub(crate) fn on_ready(&mut self, event: &mio::event::Event, node: &mut Node) {
        let id = SessionId((event.token().0.saturating_sub(FIRST_TOKEN)) as u64);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.ending |= event.is_read_closed() || event.is_error();
        if event.is_readable() || session.ending {
            let turns = if node.is_greeting(id) { &mut self.greeting } else { &mut self.unread };
            session.wait_for_read(id, turns);
        }
        if session.blocked && event.is_writable() {
            if let Some(outbox) = node.outbox(id) {
                outbox.set_refused(false);
            }
            session.wait_for_write(id, &mut self.unwritten);
        }
    }

    /// Whether every session was offered what is for it.
    pub(crate) fn has_written(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Whether something can be done without waiting for the poller.
    pub(crate) fn has_work(&self, node: &Node) -> bool {
        let may_read = !self.unread.is_empty() && node.accepts_submissions();
        may_read || !self.unwritten.is_empty() || !self.broken.is_empty()
    }

    /// How many clients are connected.
    pub(crate) fn count(&self) -> usize {
        self.sessions.len()
    }

    /// Hands the core what clients sent, each client in turn, until it has enough.
    pub(crate) fn drain(&mut self, node: &mut Node, now: Instant, out: &mut Outputs) {
        while let Some(id) = self.broken.pop() {
            if let Some(input) = self.give_up_writing(id, node) {
                node.handle(now, input, out);
            }
        }
        while let Some(id) = self.greeting.pop_front() {
            if let Some(input) = self.read(id, usize::MAX) {
                node.handle(now, input, out);
            }
        }
        self.resume(node);
        self.drain_unread(node, now, out);
        self.resume(node);
    }

    /// Who is not read in this turn is the first in the next one, ahead of those that were.
    fn drain_unread(&mut self, node: &mut Node, now: Instant, out: &mut Outputs) {
        let mut budget = TURN_BYTES;
        let part = (budget / self.unread.len().max(1)).max(LEAST_PART_BYTES);
        for _ in 0..self.unread.len() {
            if budget == 0 || !node.accepts_submissions() {
                return;
            }
            let Some(id) = self.unread.pop_front() else { return };
            let room = node.room_for(id);
            if room == 0 {
                self.paused.push(id);
            } else if let Some(input) = self.read(id, room.min(part)) {
                if let Input::SessionBytes(_, bytes) = &input {
                    budget = budget.saturating_sub(bytes.len());
                }
                node.handle(now, input, out);
            }
        }
    }

    /// Lets those sessions have their turn again of which the core takes something.
    pub(crate) fn resume(&mut self, node: &Node) {
        if node.accepts_submissions() {
            self.unread.extend(self.paused.extract_if(.., |id| node.room_for(*id) > 0));
        }
    }

    /// Reads once from a session, so many bytes at most; none when there was nothing.
    fn read(&mut self, id: SessionId, most: usize) -> Option<Input> {
        let session = self.sessions.get_mut(&id)?;
        session.queued = false;
        let most = most.min(self.buffer.len());
        let room = self.buffer.get_mut(..most)?;
        let length = match session.stream.read(room) {
            Ok(0) => return self.ended(id),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(_) => return self.ended(id),
        };
        // A short read has emptied the connection; what comes later is announced again.
        if length == 0 || length == most || session.ending {
            session.wait_for_read(id, &mut self.unread);
        }
        (length > 0).then(|| Input::SessionBytes(id, self.buffers.take(&mut self.buffer, length)))
    }

    /// Ends a session to which nothing can be written any more, at once if nothing that its client has sent is still
    /// to be read, else when it is. Until then what is for the client is thrown away, and nobody waits for it.
    fn give_up_writing(&mut self, id: SessionId, node: &mut Node) -> Option<Input> {
        let session = self.sessions.get_mut(&id)?;
        if session.stream.is_at_end() {
            return self.ended(id);
        }
        if let Some(outbox) = node.outbox(id) {
            outbox.advance(outbox.remaining());
        }
        // Every later write fails too, so that nothing comes behind half a message.
        let _ = session.stream.end_writing();
        session.ending = true;
        session.wait_for_read(id, &mut self.unread);
        None
    }

    fn ended(&mut self, id: SessionId) -> Option<Input> {
        self.sessions.remove(&id);
        Some(Input::SessionClosed(id))
    }

    /// Notes that sessions have something to be written.
    pub(crate) fn mark_dirty(&mut self, dirty: &[SessionId]) {
        for id in dirty {
            if let Some(session) = self.sessions.get_mut(id) {
                session.wait_for_write(*id, &mut self.unwritten);
            }
        }
    }

    /// Writes once to each session that has something and can take it, each in turn, until enough is written.
    pub(crate) fn flush(&mut self, node: &mut Node, registry: &Registry) {
        let mut budget = TURN_WRITTEN_BYTES;
        // What is left over of a session goes to the end of the same list and is not visited in this turn.
        for _ in 0..self.unwritten.len() {
            if budget == 0 {
                return;
            }
            let Some(id) = self.unwritten.pop_front() else { return };
            budget = budget.saturating_sub(WRITE_COST_BYTES + self.write(id, node, registry));
        }
    }

    /// Writes once to a session; returns how many bytes.
    fn write(&mut self, id: SessionId, node: &mut Node, registry: &Registry) -> usize {
        let Some(session) = self.sessions.get_mut(&id) else { return 0 };
        session.unwritten = false;
        let Some(outbox) = node.outbox(id) else { return 0 };
        let owed = outbox.remaining();
        let written = session.stream.write_once(outbox);
        let block = written == Written::Blocked;
        outbox.set_refused(block);
        let bytes = owed - outbox.remaining();
        match written {
            Written::All | Written::Blocked => {
                if block != session.blocked && session.set_blocked(block, id, registry).is_err() {
                    self.broken.push(id);
                }
            }
            Written::Some => session.wait_for_write(id, &mut self.unwritten),
            Written::Broken => self.broken.push(id),
        }
        bytes
    }

    /// Closes a session, after writing what its client takes without waiting.
    pub(crate) fn close(&mut self, id: SessionId, node: &mut Node) {
        let Some(mut session) = self.sessions.remove(&id) else { return };
        if let Some(outbox) = node.outbox(id) {
            for _ in 0..CLOSING_WRITES {
                if session.stream.write_once(outbox) != Written::Some {
                    break;
                }
            }
        }
        session.stream.finish(&mut self.buffer);
    }
}

impl Session {
    fn wait_for_read(&mut self, id: SessionId, unread: &mut VecDeque<SessionId>) {
        if !std::mem::replace(&mut self.queued, true) {
            unread.push_back(id);
        }
    }

    fn wait_for_write(&mut self, id: SessionId, unwritten: &mut VecDeque<SessionId>) {
        if !std::mem::replace(&mut self.unwritten, true) {
            unwritten.push_back(id);
        }
    }

    fn set_blocked(&mut self, blocked: bool, id: SessionId, registry: &Registry) -> io::Result<()> {
        self.blocked = blocked;
        let interest = if blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        registry.reregister(&mut self.stream, poll_token(id), interest)
    }
}

fn poll_token(id: SessionId) -> PollToken {
    PollToken(FIRST_TOKEN.saturating_add(usize::try_from(id.0).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Ipv4Addr, Shutdown};
    use std::os::unix::net::UnixStream;

    use antiphon::Envelope;
    use antiphon::session::{Handshake, Options, Session as Client, Step};
    use antiphon_proto::config::{Cluster, Config, Daemon};
    use antiphon_proto::{Boot, NameHash, Origin, StateName};
    use antiphon_wire::ids::{ClusterHash, DaemonId};
    use antiphon_wire::names::DaemonName;
    use antiphon_wire::service::ServiceLevel;
    use bytes::Bytes;
    use mio::Poll;

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
        while let Some((due, _)) =
            node.next_timeout().filter(|_| node.status().state != StateName::Operational)
        {
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
}
