//! How long to wait for the token before the ring counts as broken.
//!
//! The configured time is for a daemon that runs whenever it wants to, in a ring whose rounds are
//! short. A daemon that sees itself run late, or rounds take long, waits longer: it would accuse
//! others of what its own machine does (docs/protocol.md, M16).

use std::time::Duration;

use crate::time::Instant;

/// A lateness counts half as much after each of these.
const HALF_LIFE: Duration = Duration::from_secs(2);
/// So many rounds without the token are too many.
const ROUNDS: u32 = 20;
/// How much longer than it was late a daemon waits.
const LATENESS_FACTOR: u32 = 4;

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
        let last = self.visited_at.replace(now);
        if let Some(last) = last.filter(|_| busy) {
            self.round = (self.round * 7 + now.since(last)) / 8;
        }
    }

    /// A new ring: its rounds are not those of the last.
    pub(crate) fn note_ring(&mut self) {
        (self.round, self.visited_at, self.spared) = (Duration::ZERO, None, false);
    }

    /// How long to wait for the token, given the configured time: up to three times that.
    pub(crate) fn for_token(&self, now: Instant, configured: Duration) -> Duration {
        let rounds = configured.max((self.round * ROUNDS).min(configured * 2));
        rounds + (self.lateness(now) * LATENESS_FACTOR).min(configured)
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
        patience.note_ring();
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
}
