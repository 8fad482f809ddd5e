//! How long a daemon is waited for when a session ends.

use std::time::{Duration, Instant};

/// Waits for a daemon as long as it gets on, and for some time in which it stands still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    stall: Duration,
    until: Instant,
    /// When it is over, however the daemon gets on.
    end: Option<Instant>,
}

impl Patience {
    /// From now on, with a daemon that stands still for so long at most.
    pub(crate) fn new(stall: Duration) -> Self {
        Self { stall, until: Instant::now() + stall, end: None }
    }

    /// The same for so long in all.
    pub(crate) fn at_most(self, most: Duration) -> Self {
        Self { end: Some(Instant::now() + most), ..self }
    }

    /// How long a daemon that stands still is waited for yet.
    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether it is over, now that the daemon has got on, or has not.
    pub(crate) fn is_over(&mut self, has_got_on: bool) -> bool {
        let now = Instant::now();
        if has_got_on {
            self.until = now + self.stall;
        }
        now >= self.end.map_or(self.until, |end| end.min(self.until))
    }
}
