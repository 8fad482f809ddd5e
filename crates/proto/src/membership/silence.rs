//! How much is sent to daemons of which nothing is heard (docs/protocol.md, M3b).
//!
//! A system holds what is sent to a host that does not answer for some seconds, and takes that from the memory for all
//! that a socket sends. Once that is full, nothing leaves for hosts that do answer either.

use std::time::Duration;

use crate::time::Instant;

/// How long a system holds what is sent to a host before it gives the host up. Linux asks for its address three times,
/// once a second.
const HELD: Duration = Duration::from_secs(3);

/// What was sent to silent daemons.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// When all of it will have been given up, if that takes each datagram its share of the time.
    held_until: Instant,
    /// The place in the list of all others from which on silent ones have their turn.
    turn: usize,
}

impl Silence {
    /// Begins behind a place, so that not all daemons greet the same ones first.
    pub(super) fn from_place(turn: usize) -> Self {
        Self { turn, ..Self::default() }
    }

    /// Those of `all` to whom so many datagrams may go, of which a system may hold `most`: whoever is not silent, and
    /// of the silent ones as many as there is room for, each in its turn. They count as sent to.
    pub(super) fn admit<T: Copy>(
        &mut self,
        all: &[T],
        is_silent: impl Fn(T) -> bool,
        datagrams: u32,
        most: u32,
        now: Instant,
    ) -> Admitted<T> {
        let (early, late) = all.split_at(self.turn.min(all.len()));
        let mut admitted = Admitted { heard: Vec::new(), silent: Vec::new(), withheld: 0 };
        for (place, one) in late.iter().chain(early).copied().enumerate() {
            if !is_silent(one) {
                admitted.heard.push(one);
            } else if admitted.withheld == 0 && self.has_room(datagrams, most, now) {
                admitted.silent.push(one);
            } else {
                if admitted.withheld == 0 {
                    self.turn = (self.turn + place) % all.len();
                }
                admitted.withheld += 1;
            }
        }
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

/// Who may be sent to.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Admitted<T> {
    pub(super) heard: Vec<T>,
    pub(super) silent: Vec<T>,
    /// Silent ones that have to wait for their turn.
    pub(super) withheld: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::default() + Duration::from_millis(ms)
    }

    /// Of ten daemons, the first three are heard.
    fn admit(silence: &mut Silence, datagrams: u32, most: u32, ms: u64) -> Vec<u8> {
        let all: Vec<u8> = (0..10).collect();
        let admitted = silence.admit(&all, |one| one >= 3, datagrams, most, at(ms));
        assert_eq!(admitted.heard.len(), 3, "whatever goes to silent ones");
        assert_eq!(admitted.withheld, 7 - admitted.silent.len() as u64);
        admitted.silent
    }

    #[test]
    fn silent_ones_get_no_more_than_may_be_held_and_each_has_its_turn() {
        let mut silence = Silence::default();
        assert_eq!(admit(&mut silence, 1, 6, 1000), [3, 4, 5, 6, 7, 8]);
        assert_eq!(admit(&mut silence, 1, 6, 1000), []);
        assert_eq!(admit(&mut silence, 1, 6, 1499), [], "it is too early");
        assert_eq!(admit(&mut silence, 1, 6, 1500), [9]);
        assert_eq!(admit(&mut silence, 1, 6, 2500), [3, 4]);
        assert_eq!(admit(&mut silence, 1, 6, 60_000), [5, 6, 7, 8, 9, 3], "what was not used is not saved");
    }

    #[test]
    fn many_datagrams_take_the_room_of_many_and_are_not_refused_for_ever() {
        let mut silence = Silence::from_place(4);
        assert_eq!(admit(&mut silence, 3, 6, 1000), [4, 5]);
        assert_eq!(admit(&mut silence, 3, 6, 2499), []);
        assert_eq!(admit(&mut silence, 3, 6, 2500), [6]);
        assert_eq!(admit(&mut silence, 9, 6, 60_000), [7], "more than there is room for");
        assert_eq!(admit(&mut silence, 9, 6, 64_499), []);
        assert_eq!(admit(&mut silence, 9, 6, 64_500), [8]);
        assert_eq!(admit(&mut silence, 1, 0, 90_000), [9], "room for one at least");
    }

    #[test]
    fn much_room_holds_nobody_back() {
        let mut silence = Silence::default();
        for ms in 0..1000 {
            assert_eq!(admit(&mut silence, 9, u32::MAX, ms).len(), 7);
        }
    }
}
