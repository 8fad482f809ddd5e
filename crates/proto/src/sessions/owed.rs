//! The memory that what clients are owed takes: all together have a limit, as there may be thousands of them.

use antiphon_wire::ids::SessionId;
use bytes::Buf;

use super::Sessions;
use super::outbox::{Kept, Outbox};
use crate::cx::Cx;
use crate::io::CloseReason;

/// Once the limit is passed, sessions are closed until this much of eight parts is left, so that it is not
/// passed again with the next message.
const KEPT_OF_EIGHT: usize = 7;

/// What one session is owed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// The memory for it. Of what is shared with other outboxes each has its part.
    memory_bytes: usize,
    /// What its socket had taken when that was looked at last.
    taken: u64,
}

impl Share {
    /// What is left of it. What single bytes take of the memory is not known.
    fn left(self, outbox: &Outbox) -> Self {
        let (bytes, taken) = (outbox.remaining() as u64, outbox.taken());
        if bytes == 0 {
            return Self { memory_bytes: 0, taken };
        }
        let before = bytes + (taken - self.taken);
        let memory_bytes = u128::from(bytes) * self.memory_bytes as u128 / u128::from(before.max(1));
        Self { memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX), taken }
    }
}

/// What all established sessions are owed.
#[derive(Debug, Default)]
pub(super) struct Owed {
    memory_bytes: usize,
    /// The session whose outbox the host was given last: something may have been taken out since.
    lent: Option<SessionId>,
}

impl Owed {
    /// The memory that it takes, as far as is known: at least what it does.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// A session begins with what its handshake has left.
    pub(super) fn begin(&mut self, outbox: &Outbox) -> Share {
        self.memory_bytes += outbox.remaining();
        Share { memory_bytes: outbox.remaining(), taken: outbox.taken() }
    }

    /// A session is owed another message, as `receivers` are.
    pub(super) fn add(&mut self, share: &mut Share, kept: Kept, receivers: usize) {
        let part = if kept.shared == 0 { 0 } else { kept.shared / receivers.max(1) };
        let memory_bytes = kept.copied + part;
        share.memory_bytes += memory_bytes;
        self.memory_bytes += memory_bytes;
    }

    /// A session is not owed anything any more.
    pub(super) fn forget(&mut self, share: Share) {
        self.memory_bytes -= share.memory_bytes;
    }
}

impl Sessions {
    /// The host is about to write what a session is owed.
    pub(super) fn lend(&mut self, id: SessionId) {
        self.take_back();
        self.outflow.owed.lent = Some(id);
    }

    /// The memory that what is owed to all established sessions takes.
    pub(super) fn owed_memory_bytes(&mut self) -> usize {
        self.take_back();
        self.outflow.owed.memory_bytes
    }

    fn take_back(&mut self) {
        if let Some(session) = self.outflow.owed.lent.take().and_then(|id| self.established.get_mut(&id)) {
            let left = session.owes.left(&session.outbox);
            self.outflow.owed.memory_bytes -= session.owes.memory_bytes - left.memory_bytes;
            session.owes = left;
        }
    }

    /// Closes the sessions for which the most memory is taken if that for all is too much.
    pub(super) fn relieve(&mut self, cx: &mut Cx<'_>) {
        let limit = cx.config.sessions.max_owed_bytes;
        if self.outflow.owed.memory_bytes <= limit || self.owed_memory_bytes() <= limit {
            return;
        }
        let owed = |id: &SessionId| Some((self.established.get(id)?.owes.memory_bytes, *id));
        let mut sessions: Vec<(usize, SessionId)> = self.ids.iter().filter_map(owed).collect();
        sessions.sort_unstable();
        while self.outflow.owed.memory_bytes > limit / 8 * KEPT_OF_EIGHT
            && let Some((_, furthest)) = sessions.pop()
        {
            self.close(furthest, CloseReason::OutboxesFull, cx);
        }
    }
}
