//! Up to where each member of a ring holds everything (docs/protocol.md, O3).
//!
//! Each entry has one author, its member, and only grows; so whatever is heard, in whichever order
//! and however often, can be taken, and there is nothing to reset.

use antiphon_wire::ids::Seq;

/// One entry for each member, in the order of the members.
#[derive(Debug)]
pub(super) struct AckVector {
    acks: Vec<Seq>,
    /// The least of them: it is asked for with every packet.
    stable: Seq,
    /// Which entry is mine: nobody tells me what I hold.
    me: usize,
}

impl AckVector {
    /// Everyone holds everything up to `before`.
    pub(super) fn new(members: usize, me: usize, before: Seq) -> Self {
        Self { acks: vec![before; members], stable: before, me }
    }

    /// All entries.
    pub(super) fn entries(&self) -> &[Seq] {
        &self.acks
    }

    /// What I say that I hold.
    pub(super) fn mine(&self) -> Seq {
        self.acks.get(self.me).copied().unwrap_or_default()
    }

    /// Up to where every member holds everything.
    pub(super) fn stable(&self) -> Seq {
        self.stable
    }

    /// I hold everything up to there.
    pub(super) fn raise_mine(&mut self, ack: Seq) {
        self.raise(self.me, ack);
    }

    /// A member holds everything up to there.
    pub(super) fn learn(&mut self, member: usize, ack: Seq) {
        if member != self.me {
            self.raise(member, ack);
        }
    }

    /// Takes what is told of each member, in the order of the members.
    pub(super) fn learn_all(&mut self, told: impl IntoIterator<Item = Seq>) {
        for (member, ack) in told.into_iter().enumerate() {
            self.learn(member, ack);
        }
    }

    fn raise(&mut self, member: usize, ack: Seq) {
        let Some(entry) = self.acks.get_mut(member).filter(|entry| **entry < ack) else { return };
        let was_least = std::mem::replace(entry, ack) == self.stable;
        if was_least {
            self.stable = self.acks.iter().copied().min().unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_only_grow_and_mine_is_only_raised_by_me() {
        let mut acks = AckVector::new(3, 1, Seq(10));
        acks.learn_all([Seq(30), Seq(30), Seq(5)]);
        assert_eq!(acks.entries(), [Seq(30), Seq(10), Seq(10)]);
        acks.learn(0, Seq(20));
        acks.learn(1, Seq(20));
        acks.learn(2, Seq(40));
        acks.learn(3, Seq(50));
        assert_eq!(acks.entries(), [Seq(30), Seq(10), Seq(40)]);
        acks.raise_mine(Seq(35));
        acks.raise_mine(Seq(34));
        assert_eq!((acks.mine(), acks.stable()), (Seq(35), Seq(30)));
    }
}
