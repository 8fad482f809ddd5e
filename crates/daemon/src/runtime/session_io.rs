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
mod tests;
