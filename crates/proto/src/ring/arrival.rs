//! How long to wait for a sign that a passed token arrived, before it is passed again.
//!
//! The sign is a packet that was numbered after it, or the next token. It comes after one hop where everyone sends,
//! after a round where nobody does. A lost token holds everyone up, so that time is measured; a token that came
//! twice costs next to nothing.

use std::time::Duration;

use crate::time::Instant;

/// The least time, as a share of the configured one, which is the longest.
const LEAST: u32 = 8;
/// So many times as long as a sign takes is too long.
const FACTOR: u32 = 3;

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// What a sign takes when no token is lost, roughly; zero before the first.
    usual: Duration,
    /// When the token was passed for the first time, unless the sign is there or says nothing.
    passed: Option<Instant>,
    /// How often it was passed again.
    repeats: u32,
}

impl Arrival {
    /// The token is passed. If it `may_rest`, no sign may come for a while.
    pub(crate) fn note_passed(&mut self, now: Instant, may_rest: bool) {
        self.passed = Some(now).filter(|_| !may_rest);
        self.repeats = 0;
    }

    /// The token is passed again.
    pub(crate) fn note_repeated(&mut self) {
        self.repeats += 1;
    }

    /// It has arrived.
    pub(crate) fn note_sign(&mut self, now: Instant) {
        let Some(passed) = self.passed.take() else { return };
        let took = now.since(passed);
        if self.usual.is_zero() {
            self.usual = took;
        }
        // Some of those that took longer were passed again: they count for little, or a few losses would make
        // the next ones cost more.
        self.usual += took.saturating_sub(self.usual).min(self.usual) / 8;
        self.usual -= self.usual.saturating_sub(took) / 2;
    }

    /// How long to wait before it is passed again, longer each time.
    pub(crate) fn patience(&self, longest: Duration) -> Duration {
        if self.usual.is_zero() {
            return longest;
        }
        let least = (self.usual * FACTOR).max(longest / LEAST);
        let doubled = 1_u32.checked_shl(self.repeats).unwrap_or(u32::MAX);
        least.saturating_mul(doubled).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(8);

    fn at(micros: u64) -> Instant {
        Instant(micros * 1000)
    }

    /// The patience in microseconds after tokens whose signs took so long, each of them so often.
    fn after(arrival: &mut Arrival, signs: &[u64]) -> u128 {
        for took in signs {
            arrival.note_passed(at(0), false);
            arrival.note_sign(at(*took));
        }
        arrival.patience(LONGEST).as_micros()
    }

    #[test]
    fn it_follows_what_signs_take_within_limits() {
        let mut arrival = Arrival::default();
        assert_eq!(arrival.patience(LONGEST), LONGEST, "nothing is known");
        assert_eq!(after(&mut arrival, &[1500]), 4500);
        assert_eq!(after(&mut arrival, &[100; 20]), 1000, "the least");
        assert_eq!(after(&mut arrival, &[9000; 60]), 8000, "the most");
    }

    #[test]
    fn signs_of_lost_tokens_count_for_little() {
        let mut arrival = Arrival::default();
        for _ in 0..50 {
            let patience = after(&mut arrival, &[700, 8000, 700, 700, 8000]);
            assert!(patience < 3000, "{patience} us");
        }
    }

    #[test]
    fn each_repetition_waits_twice_as_long_and_the_next_token_does_not() {
        let mut arrival = Arrival::default();
        assert_eq!(after(&mut arrival, &[1000]), 3000);
        arrival.note_passed(at(0), false);
        let waits: Vec<_> = (0..3)
            .map(|_| {
                arrival.note_repeated();
                arrival.patience(LONGEST).as_millis()
            })
            .collect();
        assert_eq!(waits, [6, 8, 8]);
        arrival.note_passed(at(0), false);
        assert_eq!(arrival.patience(LONGEST).as_millis(), 3);
    }

    #[test]
    fn a_token_that_may_rest_says_nothing() {
        let mut arrival = Arrival::default();
        arrival.note_passed(at(0), true);
        arrival.note_sign(at(50));
        assert_eq!(arrival.patience(LONGEST), LONGEST);
    }
}
