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

/// Milliseconds since 1970, which tell the runs of a daemon apart.
pub(crate) fn milliseconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
