//! The only clock.

use std::time::{Instant as SystemInstant, SystemTime, UNIX_EPOCH};

use antiphon_proto::time::Instant;

/// Counts monotonic time from its making.
#[derive(Debug)]
pub(crate) struct Clock {
    start: SystemInstant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: SystemInstant::now() }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Random bits of an incarnation.
const CHANCE_BITS: u32 = 16;

/// Milliseconds since 1970, or 0 before it.
pub(crate) fn milliseconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Tells the runs of a daemon apart, and which is the later. Not by the time alone: a host without a clock of its own
/// begins each life at the same time, and so may its daemon.
pub(crate) fn incarnation(begun_ms: u64, random: u64) -> u64 {
    let chance = random & ((1 << CHANCE_BITS) - 1);
    begun_ms.saturating_mul(1 << CHANCE_BITS) | chance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_begin_at_the_same_time_differ_and_later_ones_have_greater_numbers() {
        assert_ne!(incarnation(0, 5), incarnation(0, 6));
        assert!(incarnation(1_800_000_000_001, 0) > incarnation(1_800_000_000_000, u64::MAX));
        assert_eq!(incarnation(u64::MAX, u64::MAX), u64::MAX);
    }
}
