//! The memory that what clients are owed takes: all together have a limit, as there may be thousands of them.

use antiphon_wire::ids::SessionId;
use bytes::Buf;

use super::Sessions;
use super::outbox::Kept;
use crate::cx::Cx;
use crate::io::CloseReason;

/// Once the limit is passed, sessions are closed until this much of eight parts is left, so that it is not
/// passed again with the next message.
const KEPT_OF_EIGHT: usize = 7;

/// What one session is owed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    /// Bytes in its outbox when it was looked at last.
    bytes: usize,
    /// The memory for them. Of what is shared with other outboxes each has its part.
    memory_bytes: usize,
}

impl Share {
    /// What it is when so many bytes are left. What they take of the memory is not known for each.
    fn of(self, bytes: usize) -> Self {
        let memory_bytes = self.memory_bytes as u128 * bytes as u128 / self.bytes.max(1) as u128;
        Self { bytes, memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX) }
    }
}

/// What all established sessions are owed since their accept.
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

    /// A session is owed another message, as `receivers` are.
    pub(super) fn add(&mut self, share: &mut Share, kept: Kept, receivers: usize) {
        let memory_bytes = kept.copied + kept.shared / receivers.max(1);
        share.bytes += kept.copied + kept.shared;
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
        self.owed.lent = Some(id);
    }

    /// The memory that what is owed to all established sessions takes.
    pub(super) fn owed_memory_bytes(&mut self) -> usize {
        self.take_back();
        self.owed.memory_bytes
    }

    fn take_back(&mut self) {
        if let Some(session) = self.owed.lent.take().and_then(|id| self.established.get_mut(&id)) {
            // The answers of its handshake are not counted.
            let left = session.owes.of(session.outbox.remaining().min(session.owes.bytes));
            self.owed.memory_bytes -= session.owes.memory_bytes - left.memory_bytes;
            session.owes = left;
        }
    }

    /// Closes the sessions for which the most memory is taken if that for all is too much.
    pub(super) fn relieve(&mut self, cx: &mut Cx<'_>) {
        let limit = cx.config.sessions.max_owed_bytes;
        if self.owed.memory_bytes <= limit || self.owed_memory_bytes() <= limit {
            return;
        }
        let owed = |id: &SessionId| Some((self.established.get(id)?.owes.memory_bytes, *id));
        let mut sessions: Vec<(usize, SessionId)> = self.ids.iter().filter_map(owed).collect();
        sessions.sort_unstable();
        while self.owed.memory_bytes > limit / 8 * KEPT_OF_EIGHT
            && let Some((_, furthest)) = sessions.pop()
        {
            self.close(furthest, CloseReason::OutboxesFull, cx);
        }
    }
}
