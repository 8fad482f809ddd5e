//! What the daemon has for its clients, and how much of it their sockets take in a turn.
//!
//! The shape is that of the daemon's own loop: each session in turn, only so many of them in a turn of the
//! loop, and those whose sockets are full not before these take something again.

use std::collections::{BTreeSet, VecDeque};

use antiphon_proto::{Input, Node};
use antiphon_wire::ids::SessionId;
use bytes::Buf;

use super::World;

/// Sessions that have something to read.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Those that are to be offered it, in the order of their turns.
    unwritten: VecDeque<SessionId>,
    /// Those whose sockets took less than they were offered.
    blocked: BTreeSet<SessionId>,
}

impl Writes {
    /// The session has something, or its socket takes something again.
    pub(super) fn mark(&mut self, session: SessionId) {
        self.blocked.remove(&session);
        if !self.unwritten.contains(&session) {
            self.unwritten.push_back(session);
        }
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        self.blocked.remove(&session);
        self.unwritten.retain(|other| *other != session);
    }

    /// Whether every session was offered what is for it.
    fn all_offered(&self) -> bool {
        self.unwritten.is_empty()
    }
}

impl World {
    /// The poller tells the daemon of sockets that take something again.
    pub(super) fn unblock(&mut self, host: usize) {
        for session in self.hosts[host].writes.blocked.clone() {
            if self.client_reads(session) {
                let unblocked = &mut self.hosts[host];
                unblocked.writes.mark(session);
                if let Some(outbox) = unblocked.node.as_mut().and_then(|node| node.outbox(session)) {
                    outbox.set_refused(false);
                }
            }
        }
    }

    /// Whether a client has something to read that its socket would take.
    pub(super) fn has_writes(&self, host: usize) -> bool {
        let writes = &self.hosts[host].writes;
        !writes.all_offered() || writes.blocked.iter().any(|session| self.client_reads(*session))
    }

    /// Writes once to clients, each in turn, to so many of them; returns how many frames.
    pub(super) fn write(&mut self, host: usize) -> u32 {
        let sessions = self.hosts[host].writes.unwritten.len().min(self.settings.host.write_sessions);
        let mut frames = 0;
        for _ in 0..sessions {
            let Some(session) = self.hosts[host].writes.unwritten.pop_front() else { break };
            frames += self.write_to(host, session);
        }
        frames
    }

    /// Lets the daemon go on with what it put off until all were offered what is for them.
    pub(super) fn go_on(&mut self, host: usize) {
        if self.awaits_offers(host) && self.hosts[host].writes.all_offered() {
            self.input(host, Input::OutboxesOffered);
        }
    }

    pub(super) fn awaits_offers(&self, host: usize) -> bool {
        self.hosts[host].node.as_ref().is_some_and(Node::awaits_offers)
    }

    /// Closes what the daemon wants closed, after what the sockets take.
    pub(super) fn close_sessions(&mut self, host: usize) -> u32 {
        let mut frames = 0;
        for (session, reason) in std::mem::take(&mut self.hosts[host].out.closed) {
            frames += self.write_to(host, session);
            self.hosts[host].writes.forget(session);
            self.close_client(session, Some(reason));
        }
        frames
    }

    /// Writes to a client what its socket takes; returns how many whole frames.
    fn write_to(&mut self, host: usize, session: SessionId) -> u32 {
        let mut frames = 0;
        let mut room = if self.client_reads(session) { self.settings.host.write_bytes } else { 0 };
        loop {
            let outbox = self.hosts[host].node.as_mut().and_then(|node| node.outbox(session));
            let Some(outbox) = outbox.filter(|outbox| outbox.has_remaining()) else { return frames };
            let chunk = outbox.chunk().len().min(room);
            outbox.set_refused(chunk == 0);
            if chunk == 0 {
                self.hosts[host].writes.blocked.insert(session);
                return frames;
            }
            let unwritten = outbox.messages();
            let bytes = outbox.copy_to_bytes(chunk);
            frames += (unwritten - outbox.messages()) as u32;
            room -= chunk;
            self.feed_client(session, &bytes);
        }
    }
}
