//! How much is sent to daemons of which nothing is heard (docs/protocol.md, M3b).
//!
//! A system holds what is sent to a host that does not answer for some seconds, and takes that from the memory for all
//! that a socket sends. Once that is full, nothing leaves for hosts that do answer either.

use std::time::Duration;

use antiphon_wire::ids::DaemonId;

use crate::time::Instant;

/// How long a system holds what is sent to a host before it gives the host up. Linux asks for its address three times,
/// once a second.
const HELD: Duration = Duration::from_secs(3);

/// What was sent to silent daemons.
#[derive(Debug)]
pub(super) struct Silence {
    /// When all of it will have been given up, if that takes each datagram its share of the time.
    held_until: Instant,
    /// The one that had its turn last.
    last: DaemonId,
}

impl Silence {
    /// Begins behind `me`, so that not all daemons greet the same ones first.
    pub(super) fn new(me: DaemonId) -> Self {
        Self { held_until: Instant::default(), last: me }
    }

    /// Those of `silent`, ascending, to whom so many datagrams may go, of which a system may hold `most`: as many as
    /// there is room for, each in its turn. They count as sent to.
    pub(super) fn admit(
        &mut self,
        silent: &[DaemonId],
        datagrams: u32,
        most: u32,
        now: Instant,
    ) -> Vec<DaemonId> {
        let (early, late) = silent.split_at(silent.partition_point(|daemon| *daemon <= self.last));
        let in_turn = late.iter().chain(early).copied();
        let admitted: Vec<DaemonId> = in_turn.take_while(|_| self.has_room(datagrams, most, now)).collect();
        self.last = admitted.last().copied().unwrap_or(self.last);
        admitted
    }

    /// Whether there is room for so many datagrams more, which is then taken. For the first there always is.
    fn has_room(&mut self, datagrams: u32, most: u32, now: Instant) -> bool {
        let held_until = self.held_until.max(now) + HELD / most.max(1) * datagrams;
        let has_room = self.held_until <= now || held_until.since(now) <= HELD;
        if has_room {
            self.held_until = held_until;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets some of the daemons 3 to 9 have their turn.
    fn admit(silence: &mut Silence, datagrams: u32, most: u32, ms: u64) -> Vec<u16> {
        let silent: Vec<DaemonId> = (3..10).map(DaemonId).collect();
        let now = Instant::default() + Duration::from_millis(ms);
        silence.admit(&silent, datagrams, most, now).into_iter().map(|daemon| daemon.0).collect()
    }

    #[test]
    fn silent_ones_get_no_more_than_may_be_held_and_each_has_its_turn() {
        let mut silence = Silence::new(DaemonId(0));
        assert_eq!(admit(&mut silence, 1, 6, 1000), [3, 4, 5, 6, 7, 8]);
        assert_eq!(admit(&mut silence, 1, 6, 1000), []);
        assert_eq!(admit(&mut silence, 1, 6, 1499), [], "it is too early");
        assert_eq!(admit(&mut silence, 1, 6, 1500), [9]);
        assert_eq!(admit(&mut silence, 1, 6, 2500), [3, 4]);
        assert_eq!(admit(&mut silence, 1, 6, 60_000), [5, 6, 7, 8, 9, 3], "what was not used is not saved");
    }

    #[test]
    fn many_datagrams_take_the_room_of_many_and_are_not_refused_for_ever() {
        let mut silence = Silence::new(DaemonId(5));
        assert_eq!(admit(&mut silence, 3, 6, 1000), [6, 7]);
        assert_eq!(admit(&mut silence, 3, 6, 2499), []);
        assert_eq!(admit(&mut silence, 3, 6, 2500), [8]);
        assert_eq!(admit(&mut silence, 9, 6, 60_000), [9], "more than there is room for");
        assert_eq!(admit(&mut silence, 9, 6, 64_499), []);
        assert_eq!(admit(&mut silence, 9, 6, 64_500), [3]);
        assert_eq!(admit(&mut silence, 1, 0, 90_000), [4], "room for one at least");
    }

    #[test]
    fn much_room_holds_nobody_back() {
        let mut silence = Silence::new(DaemonId(0));
        for ms in 0..1000 {
            assert_eq!(admit(&mut silence, 9, u32::MAX, ms).len(), 7);
        }
    }
}
