//! How long a daemon is waited for when a session ends.

use std::time::{Duration, Instant};

/// How long it may stand still before it is given up. One that is only slow takes or sends something.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(3);
/// How long the end of a session may take, however the daemon gets on.
pub(crate) const LAST_LIMIT: Duration = Duration::from_secs(60);

/// Waits for a daemon as long as it gets on, a minute at most, and for three seconds in which it stands still.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    stall: Duration,
    until: Instant,
    end: Instant,
}

impl Default for Patience {
    fn default() -> Self {
        Self::within(STALL_LIMIT, LAST_LIMIT)
    }
}

impl Patience {
    /// From now on, with a daemon that stands still for so long at most, and for so long in all.
    pub(crate) fn within(stall: Duration, most: Duration) -> Self {
        let now = Instant::now();
        Self { stall, until: now + stall.min(most), end: now + most }
    }

    /// The daemon has got on.
    pub fn renew(&mut self) {
        self.until = self.end.min(Instant::now() + self.stall);
    }

    /// How long it is waited for yet if it stands still.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether it was waited for long enough.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_renewed_by_progress_but_not_for_ever() {
        let hour = Duration::from_secs(3600);
        let mut patience = Patience::within(Duration::ZERO, hour);
        assert!(patience.is_over(), "it stands still");
        patience.stall = hour * 2;
        patience.renew();
        assert!(!patience.is_over() && patience.left() <= hour, "it got on");
        patience.end = Instant::now();
        patience.renew();
        assert!(patience.is_over(), "it got on, but the time is over");
    }
}
