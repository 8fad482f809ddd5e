//! When to try again.

use std::time::{Duration, Instant};

use antiphon_wire::names::MemberName;

use crate::error::Error;

/// What is longer is no different to a program, but a clock may not be able to tell when it is over.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long to wait between attempts: twice as long after each, up to a limit. Each wait is drawn from
/// the upper half of that time by the client's name, so that the clients of a daemon that died do not
/// come all at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// The wait after the first attempt, which comes at once.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// Attempts before a call fails with the error of the last one; `None` for no limit. An attempt
    /// tries all daemons of the connector.
    pub attempts: Option<u32>,
}

impl Default for Backoff {
    /// From 50 milliseconds to 5 seconds, for ever.
    fn default() -> Self {
        Self { first: Duration::from_millis(50), longest: Duration::from_secs(5), attempts: None }
    }
}

impl Backoff {
    /// The wait before an attempt, counted from 0, of the client with that name.
    #[must_use]
    pub fn wait(&self, attempt: u32, member: &MemberName) -> Duration {
        let Some(doublings) = attempt.checked_sub(1) else { return Duration::ZERO };
        let whole = 2_u32.checked_pow(doublings).and_then(|factor| self.first.checked_mul(factor));
        let whole = whole.unwrap_or(self.longest).min(self.longest);
        let seed = member
            .as_bytes()
            .iter()
            .fold(attempt, |seed, byte| seed.wrapping_mul(0x0100_0193) ^ u32::from(*byte));
        whole / 2 + (whole / 2).mul_f64(f64::from(seed % 1024) / 1024.0)
    }
}

/// The time between two sessions.
#[derive(Debug)]
pub(crate) struct Outage {
    /// Why the session ended.
    pub(crate) cause: Error,
    /// When the next attempt is due.
    pub(crate) next: Instant,
    attempt: u32,
}

impl Outage {
    pub(crate) fn new(cause: Error, now: Instant) -> Self {
        Self { cause, next: now, attempt: 0 }
    }

    /// After an attempt that failed: gives the error back when it was the last one, and begins anew.
    pub(crate) fn on_failure(
        &mut self,
        error: Error,
        now: Instant,
        backoff: &Backoff,
        member: &MemberName,
    ) -> Result<(), Error> {
        self.attempt = self.attempt.saturating_add(1);
        if backoff.attempts.is_some_and(|attempts| self.attempt >= attempts) {
            (self.attempt, self.next) = (0, now);
            return Err(error);
        }
        let wait = backoff.wait(self.attempt, member).min(LONGEST_WAIT);
        self.next = now + wait;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> MemberName {
        MemberName::parse(name.as_bytes()).expect("legal")
    }

    #[test]
    fn waits_double_up_to_the_longest_and_never_exceed_it() {
        let backoff = Backoff::default();
        let alice = member("#alice#d1");
        assert_eq!(backoff.wait(0, &alice), Duration::ZERO);
        for (attempt, ms) in [(1, 50), (2, 100), (3, 200), (7, 3200), (8, 5000), (40, 5000)] {
            let wait = backoff.wait(attempt, &alice);
            let whole = Duration::from_millis(ms);
            assert!(wait >= whole / 2 && wait <= whole, "{attempt}: {wait:?}");
        }
        assert_ne!(backoff.wait(8, &alice), backoff.wait(8, &member("#bob#d1")));
    }

    #[test]
    fn the_last_attempt_gives_its_error_back_and_the_next_call_begins_anew() {
        let backoff = Backoff { attempts: Some(2), ..Backoff::default() };
        let (now, alice) = (Instant::now(), member("#alice#d1"));
        let mut outage = Outage::new(Error::Closed, now);
        for _ in 0..2 {
            assert!(outage.on_failure(Error::Timeout, now, &backoff, &alice).is_ok());
            assert!(outage.next > now);
            assert!(matches!(outage.on_failure(Error::Timeout, now, &backoff, &alice), Err(Error::Timeout)));
            assert_eq!(outage.next, now);
        }
    }
}
