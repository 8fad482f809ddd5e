//! The members of a ring, as one of them sees them.

use std::sync::Arc;

use antiphon_wire::ids::{DaemonId, ProcessId};

/// Who is in the ring, and where in it I am. Never changes; there is always me.
#[derive(Debug)]
pub(super) struct Roster {
    members: Vec<ProcessId>,
    /// Where in `members` the member of each daemon is: every message asks.
    positions: Vec<Option<u16>>,
    me: ProcessId,
    /// Where I am in `members`.
    position: usize,
    predecessor: ProcessId,
    successor: ProcessId,
    others: Arc<[DaemonId]>,
}

impl Roster {
    /// The members, ascending, of which `me` is one.
    pub(super) fn new(members: Vec<ProcessId>, me: ProcessId) -> Self {
        let position = members.iter().position(|member| *member == me);
        assert!(position.is_some(), "a process never installs a ring without itself");
        let position = position.unwrap_or_default();
        let (before, behind) = members.split_at(position);
        let behind = behind.get(1..).unwrap_or_default();
        let nearest = |first: Option<&ProcessId>, then: Option<&ProcessId>| *first.or(then).unwrap_or(&me);
        let mut positions = vec![None; members.last().map_or(0, |last| last.daemon.index() + 1)];
        for (position, member) in (0..).zip(&members) {
            if let Some(place) = positions.get_mut(member.daemon.index()) {
                *place = Some(position);
            }
        }
        Self {
            me,
            positions,
            position,
            predecessor: nearest(before.last(), behind.last()),
            successor: nearest(behind.first(), before.first()),
            others: before.iter().chain(behind).map(|member| member.daemon).collect(),
            members,
        }
    }

    /// Everyone, ascending.
    pub(super) fn members(&self) -> &[ProcessId] {
        &self.members
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Me.
    pub(super) fn me(&self) -> ProcessId {
        self.me
    }

    /// Where I am among all.
    pub(super) fn my_position(&self) -> usize {
        self.position
    }

    /// Everyone but me, as datagrams are addressed.
    pub(super) fn others(&self) -> Arc<[DaemonId]> {
        self.others.clone()
    }

    /// The first one, who adapts the window of the ring and merges the ring with others.
    pub(super) fn representative(&self) -> ProcessId {
        *self.members.first().unwrap_or(&self.me)
    }

    /// Who passes the token to me; myself if I am alone.
    pub(super) fn predecessor(&self) -> ProcessId {
        self.predecessor
    }

    /// Whom I pass the token to; myself if I am alone.
    pub(super) fn successor(&self) -> ProcessId {
        self.successor
    }

    /// Whether the process is a member.
    pub(super) fn contains(&self, process: ProcessId) -> bool {
        self.members.binary_search(&process).is_ok()
    }

    /// Where among all the member of that daemon is, in whichever incarnation.
    pub(super) fn position_of(&self, daemon: DaemonId) -> Option<usize> {
        self.positions.get(daemon.index()).copied().flatten().map(usize::from)
    }

    /// The member of that daemon, in whichever incarnation.
    pub(super) fn member_of(&self, daemon: DaemonId) -> Option<ProcessId> {
        self.members.get(self.position_of(daemon)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(daemon: u16) -> ProcessId {
        ProcessId { daemon: DaemonId(daemon), incarnation: 7 }
    }

    #[test]
    fn neighbours_are_those_of_a_circle() {
        let neighbours = |of: &[u16], me: u16| {
            let roster = Roster::new(of.iter().copied().map(process).collect(), process(me));
            let others: Vec<u16> = roster.others().iter().map(|daemon| daemon.0).collect();
            (roster.predecessor().daemon.0, roster.successor().daemon.0, others)
        };
        assert_eq!(neighbours(&[1, 3, 5], 1), (5, 3, vec![3, 5]));
        assert_eq!(neighbours(&[1, 3, 5], 3), (1, 5, vec![1, 5]));
        assert_eq!(neighbours(&[1, 3, 5], 5), (3, 1, vec![1, 3]));
        assert_eq!(neighbours(&[1, 3], 1), (3, 3, vec![3]));
        assert_eq!(neighbours(&[4], 4), (4, 4, vec![]));
    }
}
