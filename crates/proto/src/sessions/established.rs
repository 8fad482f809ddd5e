//! The established sessions: found by a hash for each message, and in order for what concerns them all.

use std::collections::{BTreeSet, HashMap};

use antiphon_wire::ids::SessionId;
use foldhash::fast::FixedState;

use super::Session;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Established {
    sessions: HashMap<SessionId, Session, FixedState>,
    ids: BTreeSet<SessionId>,
}

impl Established {
    pub(super) fn insert(&mut self, id: SessionId, session: Session) {
        self.sessions.insert(id, session);
        self.ids.insert(id);
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Session> {
        self.ids.remove(&id);
        self.sessions.remove(&id)
    }

    pub(super) fn contains(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// All of them, in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.ids.iter().filter_map(|id| Some((*id, self.sessions.get(id)?)))
    }

    /// Empties it, in the order of ids.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (SessionId, Session)> + use<> {
        let Self { mut sessions, ids } = std::mem::take(self);
        ids.into_iter().filter_map(move |id| Some((id, sessions.remove(&id)?)))
    }
}
