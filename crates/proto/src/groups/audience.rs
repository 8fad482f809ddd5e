//! Which sessions of this daemon are in which group.
//!
//! Every message asks for those of its groups. So they stand apart from the table of all members, and the first of a
//! group beside its name: however many groups there are, a message touches no more memory than that for each of its
//! groups, and less for one that has nobody here.

use antiphon_wire::ids::SessionId;
use antiphon_wire::names::GroupName;
use smallvec::{SmallVec, smallvec};

use super::by_group::ByGroup;
use crate::NameHash;
use crate::sessions::{Receiver, Sessions};

/// The sessions of mine in a group, in the order in which they came; one at least.
#[derive(Debug)]
pub(super) struct Audience(SmallVec<[Receiver; 1]>);

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Audiences {
    by_group: ByGroup<Audience>,
    /// Sessions in all of them, each counted once a group.
    memberships: usize,
}

impl Audience {
    /// All of them.
    pub(super) fn receivers(&self) -> &[Receiver] {
        &self.0
    }

    /// Those that are to be told about the group's membership.
    pub(super) fn viewers(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.0.iter().filter(|receiver| receiver.wants_membership).map(|receiver| receiver.session)
    }

    /// Whether anyone reads what it is told about the group's membership. Who is closed stays in its groups until the
    /// stream says so, but reads nothing any more.
    pub(super) fn has_viewers(&self, sessions: &Sessions) -> bool {
        self.viewers().any(|session| sessions.is_established(session))
    }
}

impl Audiences {
    /// No groups.
    pub(super) fn new(hash: &NameHash) -> Self {
        Self { by_group: ByGroup::new(hash), memberships: 0 }
    }

    /// Groups with sessions of mine.
    pub(super) fn groups(&self) -> usize {
        self.by_group.len()
    }

    /// Memberships of sessions of mine.
    pub(super) fn memberships(&self) -> usize {
        self.memberships
    }

    /// The sessions in a group, if there are any.
    pub(super) fn of(&self, group: &GroupName) -> Option<&Audience> {
        self.by_group.get(group)
    }

    /// Adds a session to a group that it is not in.
    pub(super) fn enter(&mut self, group: &GroupName, receiver: Receiver) {
        self.memberships += 1;
        match self.by_group.get_mut(group) {
            Some(Audience(receivers)) => receivers.push(receiver),
            None => self.by_group.insert(*group, Audience(smallvec![receiver])),
        }
    }

    /// Takes a session out of a group that it is in.
    pub(super) fn leave(&mut self, group: &GroupName, session: SessionId) {
        let Some(audience) = self.by_group.get_mut(group) else { return };
        self.memberships -= 1;
        audience.0.retain(|receiver| receiver.session != session);
        if audience.0.is_empty() {
            self.by_group.remove(group);
        }
    }
}
