//! What clients did to their connections and their daemon has not read yet.
//!
//! Every client has a socket of its own, and the daemon reads one after the other: who floods its own
//! does not delay what another says. While it takes no submissions it reads only what is part of a
//! handshake.

use std::collections::{BTreeMap, VecDeque};

use antiphon_wire::ids::SessionId;
use bytes::Bytes;

/// What a client does to its connection.
#[derive(Debug)]
pub(super) enum StreamInput {
    Open,
    Bytes(Bytes),
    Close,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Who has something unread, in the order in which they are read.
    turns: VecDeque<SessionId>,
    unread: BTreeMap<SessionId, VecDeque<StreamInput>>,
}

impl Streams {
    pub(super) fn push(&mut self, session: SessionId, input: StreamInput) {
        let unread = self.unread.entry(session).or_default();
        if unread.is_empty() {
            self.turns.push_back(session);
        }
        unread.push_back(input);
    }

    /// The next input of the client whose turn it is, among those who are read at all.
    pub(super) fn pop(&mut self, is_read: impl Fn(SessionId) -> bool) -> Option<(SessionId, StreamInput)> {
        let turn = self.turns.iter().position(|session| is_read(*session))?;
        let session = self.turns.remove(turn)?;
        let unread = self.unread.get_mut(&session)?;
        let input = unread.pop_front()?;
        if unread.is_empty() {
            self.unread.remove(&session);
        } else {
            self.turns.push_back(session);
        }
        Some((session, input))
    }

    /// Whether there is an input of a client who is read.
    pub(super) fn has_any(&self, is_read: impl Fn(SessionId) -> bool) -> bool {
        self.turns.iter().any(|session| is_read(*session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seed 2036497: behind a flood of others, a client could not even finish its handshake.
    #[test]
    fn clients_take_turns_and_each_keeps_its_order() {
        let mut streams = Streams::default();
        let [flood, other] = [SessionId(1), SessionId(2)];
        streams.push(flood, StreamInput::Open);
        for byte in 0..3_u8 {
            streams.push(flood, StreamInput::Bytes(vec![byte].into()));
        }
        streams.push(other, StreamInput::Close);
        let mut order = Vec::new();
        assert!(!streams.has_any(|_| false) && streams.pop(|_| false).is_none());
        while let Some((session, input)) = streams.pop(|_| true) {
            let byte = if let StreamInput::Bytes(bytes) = &input { bytes.first().copied() } else { None };
            order.push((session, byte));
        }
        let flooded = [None, Some(0), Some(1), Some(2)].map(|byte| (flood, byte));
        assert_eq!(order, [flooded[0], (other, None), flooded[1], flooded[2], flooded[3]]);
        assert!(!streams.has_any(|_| true));
    }
}
