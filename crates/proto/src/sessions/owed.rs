//! What all clients together are owed: it has a limit of its own, as there may be thousands of them.

use antiphon_wire::ids::SessionId;
use bytes::Buf;

use super::{Session, Sessions};
use crate::cx::Cx;
use crate::io::CloseReason;

/// Once the limit is passed, sessions are closed until this much of eight parts is left, so that it is not
/// passed again with the next message.
const KEPT_OF_EIGHT: usize = 7;

/// The bytes of all established sessions' outboxes.
#[derive(Debug, Default)]
pub(super) struct Owed {
    bytes: usize,
    /// The session whose outbox the host was given last: something may have been taken out since.
    lent: Option<SessionId>,
}

impl Owed {
    /// The bytes, as far as is known: at least what all are owed.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A session is owed so much more.
    pub(super) fn add(&mut self, session: &mut Session, bytes: usize) {
        session.counted += bytes;
        self.bytes += bytes;
    }

    /// A session is not owed anything any more.
    pub(super) fn forget(&mut self, session: &Session) {
        self.bytes -= session.counted;
    }
}

impl Sessions {
    /// The host is about to write what a session is owed.
    pub(super) fn lend(&mut self, id: SessionId) {
        self.take_back();
        self.owed.lent = Some(id);
    }

    /// The bytes that all established sessions together are owed.
    pub(super) fn owed_bytes(&mut self) -> usize {
        self.take_back();
        self.owed.bytes
    }

    fn take_back(&mut self) {
        if let Some(session) = self.owed.lent.take().and_then(|id| self.established.get_mut(&id)) {
            let left = session.outbox.remaining();
            self.owed.bytes -= session.counted - left;
            session.counted = left;
        }
    }

    /// Closes the sessions that are furthest behind if all together are owed too much.
    pub(super) fn relieve(&mut self, cx: &mut Cx<'_>) {
        let limit = cx.config.sessions.max_owed_bytes;
        if self.owed.bytes <= limit || self.owed_bytes() <= limit {
            return;
        }
        let owed = |id: &SessionId| Some((self.established.get(id)?.outbox.remaining(), *id));
        let mut sessions: Vec<(usize, SessionId)> = self.ids.iter().filter_map(owed).collect();
        sessions.sort_unstable();
        while self.owed.bytes > limit / 8 * KEPT_OF_EIGHT
            && let Some((_, furthest)) = sessions.pop()
        {
            self.close(furthest, CloseReason::OutboxesFull, cx);
        }
    }
}
