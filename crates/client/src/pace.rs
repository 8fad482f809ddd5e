//! When what was gathered is written.
//!
//! A lone message leaves at once. Of many in quick succession, the first leaves at once and the others
//! are written together: when they fill a buffer, when the last write was [`QUIET`] ago, or when the
//! sender goes idle. Writing each by itself would take several times as long.

use std::time::{Duration, Instant};

/// What was gathered is written when it has this many bytes.
pub(crate) const GATHER_BYTES: usize = 64 * 1024;
/// A body of this size is sent from where it lies instead of being copied.
pub(crate) const LARGE_BODY_BYTES: usize = 16 * 1024;
/// A sender that has written nothing for so long sends lone messages.
const QUIET: Duration = Duration::from_micros(100);

/// The times of one sender's writes.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last_write: Option<Instant>,
    /// Writes so far.
    writes: u64,
}

impl Pace {
    /// Whether so many gathered bytes are to be written without waiting for more.
    pub(crate) fn is_due(&self, gathered_bytes: usize, now: Instant) -> bool {
        let is_quiet = |last: Instant| now.saturating_duration_since(last) >= QUIET;
        gathered_bytes >= GATHER_BYTES || self.last_write.is_none_or(is_quiet)
    }

    pub(crate) fn on_write(&mut self, now: Instant) {
        self.last_write = Some(now);
        self.writes = self.writes.wrapping_add(1);
    }

    /// How often something was written.
    pub(crate) fn writes(&self) -> u64 {
        self.writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_request_is_due_at_once_and_one_close_behind_it_is_not() {
        let mut pace = Pace::default();
        let now = Instant::now();
        assert!(pace.is_due(1, now));
        pace.on_write(now);
        assert!(!pace.is_due(1, now + QUIET / 2));
        assert!(pace.is_due(GATHER_BYTES, now + QUIET / 2));
        assert!(pace.is_due(1, now + QUIET));
        assert_eq!(pace.writes(), 1);
    }
}
