//! How long to wait for the token before the ring counts as broken.
//!
//! The configured time is for a daemon that runs whenever it wants to, in a ring whose rounds are
//! short. A daemon that sees itself run late, or rounds take long, waits longer: it would accuse
//! others of what its own machine does (docs/protocol.md, M16).
//!
//! A ring is young until its groups are known and the token has come some more times. Members of
//! hundreds of thousands of groups are busy for long, just then: in turns, each of which may on a busy
//! machine be longer than others wait. If rings break while they are young, the next one has more time
//! until it is not young any more; else no ring would ever last.

use std::time::Duration;

use crate::time::Instant;

/// A lateness counts half as much after each of these.
const HALF_LIFE: Duration = Duration::from_secs(2);
/// So many rounds without the token are too many.
const ROUNDS: u32 = 20;
/// How much longer than it was late a daemon waits.
const LATENESS_FACTOR: u32 = 4;
/// A ring of which the groups are known is young for so many visits more.
const YOUNG_VISITS: u32 = 10;
/// So many doublings are enough for what a daemon does with all groups that it may have.
const MAX_DOUBLINGS: u32 = 4;

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// By how much this call came after the deadline it was to come by.
    late_now: Duration,
    /// The greatest lateness of late, and when it was seen.
    late: Duration,
    late_at: Instant,
    /// Smoothed time of a round in which the token did not rest.
    round: Duration,
    visited_at: Option<Instant>,
    /// Whether the loss of the current token was put off once already.
    spared: bool,
    /// How old the ring is.
    age: Age,
    /// How often a young ring has twice the time.
    doublings: u32,
}

/// What a ring has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Age {
    /// Its groups are not known yet.
    Unsettled,
    /// They are, and the token has come so often since.
    Settled { visits: u32 },
    /// It works.
    Grown,
}

impl Default for Age {
    /// A daemon that is alone waits for no token.
    fn default() -> Self {
        Self::Grown
    }
}

impl Patience {
    /// The daemon runs, and was to run at `due` at the latest.
    pub(crate) fn note_call(&mut self, now: Instant, due: Option<Instant>) {
        self.late_now = due.map_or(Duration::ZERO, |due| now.since(due));
        if self.late_now > self.lateness(now) {
            self.late = self.late_now;
            self.late_at = now;
        }
    }

    /// The token is here; `busy` says that it has not rested since its last visit.
    pub(crate) fn note_visit(&mut self, now: Instant, busy: bool) {
        self.spared = false;
        if let Age::Settled { visits } = &mut self.age {
            *visits += 1;
            if *visits >= YOUNG_VISITS {
                self.age = Age::Grown;
                self.doublings = self.doublings.saturating_sub(1);
            }
        }
        let last = self.visited_at.replace(now);
        if let Some(last) = last.filter(|_| busy) {
            self.round = (self.round * 7 + now.since(last)) / 8;
        }
    }

    /// A new ring: its rounds are not those of the last, and it has more time if that one broke young.
    pub(crate) fn note_ring(&mut self, is_alone: bool) {
        self.doublings = (self.doublings + u32::from(self.age != Age::Grown)).min(MAX_DOUBLINGS);
        self.age = if is_alone { Age::Grown } else { Age::Unsettled };
        (self.round, self.visited_at, self.spared) = (Duration::ZERO, None, false);
    }

    /// The groups of the ring are known.
    pub(crate) fn note_settled(&mut self) {
        if self.age == Age::Unsettled {
            self.age = Age::Settled { visits: 0 };
        }
    }

    /// How long to wait for the token, given the configured time: up to three times that, and sixteen times as long in
    /// a young ring.
    pub(crate) fn for_token(&self, now: Instant, configured: Duration) -> Duration {
        let rounds = configured.max((self.round * ROUNDS).min(configured * 2));
        let grown = rounds + (self.lateness(now) * LATENESS_FACTOR).min(configured);
        if self.age == Age::Grown { grown } else { grown * (1 << self.doublings) }
    }

    /// How long to wait at least from now on: when this daemon was not run while it waited, the
    /// others may not have been run either. Given once for a token.
    pub(crate) fn grace(&mut self, configured: Duration) -> Option<Duration> {
        let stalled = self.late_now > configured / 10;
        (stalled && !std::mem::replace(&mut self.spared, true)).then_some(configured / 2)
    }

    fn lateness(&self, now: Instant) -> Duration {
        let halvings = now.since(self.late_at).as_millis() / HALF_LIFE.as_millis();
        if halvings < 32 { self.late / (1 << halvings) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURED: Duration = Duration::from_millis(200);

    fn at(millis: u64) -> Instant {
        Instant(millis * 1_000_000)
    }

    #[test]
    fn a_punctual_daemon_waits_as_configured() {
        let mut patience = Patience::default();
        patience.note_call(at(10), Some(at(10)));
        patience.note_call(at(11), None);
        assert_eq!(patience.for_token(at(11), CONFIGURED), CONFIGURED);
        assert_eq!(patience.grace(CONFIGURED), None);
    }

    #[test]
    fn a_late_daemon_waits_longer_for_a_while() {
        let mut patience = Patience::default();
        patience.note_call(at(30), Some(at(10)));
        patience.note_call(at(32), Some(at(32)));
        assert_eq!(patience.for_token(at(32), CONFIGURED), Duration::from_millis(280));
        assert_eq!(patience.for_token(at(2040), CONFIGURED), Duration::from_millis(240));
        patience.note_call(at(9000), Some(at(3000)));
        assert_eq!(patience.for_token(at(9000), CONFIGURED), CONFIGURED * 2);
        assert_eq!(patience.for_token(at(200_000), CONFIGURED), CONFIGURED);
    }

    #[test]
    fn long_rounds_need_more_time_but_rests_do_not_count() {
        let mut patience = Patience::default();
        for round in 0..100 {
            patience.note_visit(at(round * 30), round % 2 == 0);
        }
        let (patience_ms, long) = (patience.for_token(at(3000), CONFIGURED).as_millis(), 400);
        assert_eq!(patience_ms, long);
        patience.note_ring(false);
        for round in 0..100 {
            patience.note_visit(at(round * 30), false);
        }
        assert_eq!(patience.for_token(at(3000), CONFIGURED), CONFIGURED);
    }

    #[test]
    fn a_stall_is_forgiven_once_for_each_token() {
        let mut patience = Patience::default();
        patience.note_call(at(300), Some(at(200)));
        assert_eq!(patience.grace(CONFIGURED), Some(CONFIGURED / 2));
        assert_eq!(patience.grace(CONFIGURED), None);
        patience.note_visit(at(301), true);
        assert_eq!(patience.grace(CONFIGURED), Some(CONFIGURED / 2));
    }

    #[test]
    fn rings_that_break_young_make_the_next_ones_patient_until_one_works() {
        let mut patience = Patience::default();
        for doublings in [0, 1, 2, 3, 4, 4] {
            patience.note_ring(false);
            assert_eq!(patience.for_token(at(1), CONFIGURED), CONFIGURED * (1 << doublings));
            // It may break with its groups known, as some members take longer for that than others.
            patience.note_settled();
            patience.note_visit(at(1), false);
            // To be alone in between changes nothing.
            patience.note_ring(true);
            assert_eq!(patience.for_token(at(1), CONFIGURED), CONFIGURED);
        }
        patience.note_ring(false);
        (0..YOUNG_VISITS).for_each(|_| patience.note_visit(at(1), false));
        assert_eq!(patience.for_token(at(1), CONFIGURED), CONFIGURED * 16, "its groups are not known yet");
        patience.note_settled();
        (0..YOUNG_VISITS).for_each(|_| patience.note_visit(at(1), false));
        assert_eq!(patience.for_token(at(1), CONFIGURED), CONFIGURED, "a crash is noticed as soon as ever");
        patience.note_ring(false);
        assert_eq!(
            patience.for_token(at(1), CONFIGURED),
            CONFIGURED * 8,
            "the next exchange may take as long"
        );
    }
}
