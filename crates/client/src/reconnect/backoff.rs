//! When to try again.

use std::time::{Duration, Instant};

use antiphon_wire::names::MemberName;

use crate::error::Error;

/// What is longer is no different to a program, but a clock may not be able to tell when it is over.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long to wait between attempts: twice as long after each, up to a limit. Each wait is drawn from
/// the upper half of that time by the client's name, so that the clients of a daemon that died do not
/// come all at once. Sessions that end sooner than the longest wait, one after the other, lengthen it as
/// failed attempts do: a daemon that accepts a client and drops it at once is not asked again and again.
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

/// The time of one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    opened: Instant,
    /// Sessions before it, one after the other, that ended soon.
    short_before: u32,
}

impl Life {
    /// That of the first session.
    pub(crate) fn new(now: Instant) -> Self {
        Self { opened: now, short_before: 0 }
    }

    /// Ends it.
    pub(crate) fn end(self, cause: Error, now: Instant, backoff: &Backoff, member: &MemberName) -> Outage {
        let was_short = now.saturating_duration_since(self.opened) < backoff.longest;
        let (waits, short) =
            if was_short { (self.short_before, self.short_before.saturating_add(1)) } else { (0, 0) };
        Outage { cause, next: now + backoff.wait(waits, member).min(LONGEST_WAIT), attempt: 0, waits, short }
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
    /// Waits that it has skipped, since sessions before it were short.
    waits: u32,
    /// Sessions before it, one after the other, that ended soon.
    short: u32,
}

impl Outage {
    /// Ends it.
    pub(crate) fn end(&self, now: Instant) -> Life {
        Life { opened: now, short_before: self.short }
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
        let wait = backoff.wait(self.attempt.saturating_add(self.waits), member).min(LONGEST_WAIT);
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
        let mut outage = Life::new(now).end(Error::Closed, now, &backoff, &alice);
        for _ in 0..2 {
            assert!(outage.on_failure(Error::Timeout, now, &backoff, &alice).is_ok());
            assert!(outage.next > now);
            assert!(matches!(outage.on_failure(Error::Timeout, now, &backoff, &alice), Err(Error::Timeout)));
            assert_eq!(outage.next, now);
        }
    }

    #[test]
    fn sessions_that_end_soon_count_as_attempts_until_one_lasts() {
        let (backoff, alice) = (Backoff::default(), member("#alice#d1"));
        let mut now = Instant::now();
        let mut life = Life::new(now);
        for short in 0..10 {
            let mut outage = life.end(Error::Closed, now, &backoff, &alice);
            assert_eq!(outage.next, now + backoff.wait(short, &alice), "after {short} others");
            outage.on_failure(Error::Timeout, now, &backoff, &alice).expect("no limit");
            assert_eq!(outage.next, now + backoff.wait(short + 1, &alice), "after {short} others");
            life = outage.end(now);
        }
        now += backoff.longest;
        let life = life.end(Error::Closed, now, &backoff, &alice).end(now);
        assert_eq!(life.end(Error::Closed, now, &backoff, &alice).next, now, "one that lasted");
    }
}
