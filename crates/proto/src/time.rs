//! Virtual time and the table of timers.
//!
//! The core never reads a clock: the caller passes `now` to every call, and asks for the next
//! deadline. In the daemon an [`Instant`] is the monotonic time since start, in the simulator it
//! is whatever the world says.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds since the host started its clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// How long ago `earlier` was; zero when it was not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

/// What a deadline is for. When several are due at once they fire in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// The token that I passed may be lost: send it again.
    TokenRetransmit,
    /// No token for too long: the ring is broken.
    TokenLoss,
    /// The idle token has been held long enough.
    TokenRest,
    /// Messages wait while the token is held elsewhere: ask for it again.
    Wake,
    /// Gossip who I hear.
    Join,
    /// The gather window is over.
    Gather,
    /// Send the current step of a membership attempt again.
    AttemptRetransmit,
    /// A membership attempt has made no progress for too long.
    AttemptDeadline,
    /// Announce my ring to daemons outside of it.
    Hello,
    /// Say goodbye again.
    Goodbye,
    /// What clients had sent has been handed over for long enough: leave.
    LeaveBy,
    /// A client has not finished its handshake in time.
    Handshake,
    /// Look whether readers have caught up.
    Pressure,
}

impl Timer {
    /// Every timer, in firing order.
    pub const ALL: [Self; 13] = [
        Self::TokenRetransmit,
        Self::TokenLoss,
        Self::TokenRest,
        Self::Wake,
        Self::Join,
        Self::Gather,
        Self::AttemptRetransmit,
        Self::AttemptDeadline,
        Self::Hello,
        Self::Goodbye,
        Self::LeaveBy,
        Self::Handshake,
        Self::Pressure,
    ];
}

/// One that is missing there could be set, and would never fire.
const _: () = assert!(Timer::ALL.len() == Timer::Pressure as usize + 1, "each of all timers up to the last");

/// One deadline for each [`Timer`].
#[derive(Debug, Default)]
pub(crate) struct Timers {
    deadlines: [Option<Instant>; Timer::ALL.len()],
}

impl Timers {
    /// Sets a timer, replacing its earlier deadline.
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.change(timer, |_| Some(at));
    }

    /// Moves a timer to `at` if it is stopped or set to later.
    pub(crate) fn set_no_later(&mut self, timer: Timer, at: Instant) {
        self.change(timer, |set| Some(set.map_or(at, |set| set.min(at))));
    }

    /// Moves a timer to `at` if it is stopped or set to earlier.
    pub(crate) fn set_no_earlier(&mut self, timer: Timer, at: Instant) {
        self.change(timer, |set| Some(set.map_or(at, |set| set.max(at))));
    }

    /// Stops a timer.
    pub(crate) fn stop(&mut self, timer: Timer) {
        self.change(timer, |_| None);
    }

    fn change(&mut self, timer: Timer, to: impl FnOnce(Option<Instant>) -> Option<Instant>) {
        let Some(deadline) = self.deadlines.get_mut(timer as usize) else {
            unreachable!("{timer:?} is missing in Timer::ALL")
        };
        *deadline = to(*deadline);
    }

    /// Whether the timer is running.
    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.deadline(timer).is_some()
    }

    /// The earliest deadline and what it is for.
    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        self.running().min()
    }

    /// Stops and returns the first timer that is due at `now`.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Timer> {
        let (_, timer) = self.running().find(|(at, _)| *at <= now)?;
        self.stop(timer);
        Some(timer)
    }

    fn deadline(&self, timer: Timer) -> Option<Instant> {
        self.deadlines.get(timer as usize).copied().flatten()
    }

    /// The timers that are running, in firing order.
    fn running(&self) -> impl Iterator<Item = (Instant, Timer)> {
        Timer::ALL.into_iter().filter_map(|timer| Some((self.deadline(timer)?, timer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_timers_are_listed_in_the_order_of_their_numbers() {
        assert!(Timer::ALL.into_iter().map(|timer| timer as usize).eq(0..Timer::ALL.len()));
    }

    #[test]
    fn the_earliest_deadline_is_next_and_due_timers_fire_in_order() {
        let mut timers = Timers::default();
        timers.set(Timer::Hello, Instant(5));
        timers.set(Timer::TokenLoss, Instant(7));
        timers.set_no_later(Timer::TokenLoss, Instant(9));
        assert_eq!(timers.next(), Some((Instant(5), Timer::Hello)));
        assert_eq!(timers.expire(Instant(4)), None);
        assert_eq!(timers.expire(Instant(8)), Some(Timer::TokenLoss));
        assert_eq!(timers.expire(Instant(8)), Some(Timer::Hello));
        assert_eq!(timers.next(), None);
    }
}
