//! What all threads of a run look at: what is measured of it, what time it is, and what the network did.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A time that has not come.
const NEVER: u64 = u64::MAX;

/// The times of a run, by the clock that all its threads share.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) clock: Clock,
    sending_from_ns: AtomicU64,
    measured_from_ns: AtomicU64,
    measured_until_ns: AtomicU64,
    network_views: AtomicU64,
}

/// One monotonic clock for stamps and receptions.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Nanoseconds since the run began.
    pub(crate) fn now_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock { start: Instant::now() },
            sending_from_ns: AtomicU64::new(NEVER),
            measured_from_ns: AtomicU64::new(NEVER),
            measured_until_ns: AtomicU64::new(NEVER),
            network_views: AtomicU64::new(0),
        }
    }

    /// Everyone is there: what is sent at a fixed rate is due from now on, after `lead`.
    pub(crate) fn begin_sending(&self, lead: Duration) {
        self.sending_from_ns.store(self.clock.now_ns() + nanoseconds(lead), Ordering::Relaxed);
    }

    pub(crate) fn sending_from_ns(&self) -> u64 {
        self.sending_from_ns.load(Ordering::Relaxed)
    }

    /// The warm-up is over.
    pub(crate) fn begin_measuring(&self) {
        self.measured_from_ns.store(self.clock.now_ns(), Ordering::Relaxed);
    }

    /// Senders end, and receivers take what is left.
    pub(crate) fn end(&self) {
        self.measured_until_ns.store(self.clock.now_ns(), Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.measured_until_ns() != NEVER
    }

    /// When the run was over; the end of time before that.
    pub(crate) fn measured_until_ns(&self) -> u64 {
        self.measured_until_ns.load(Ordering::Relaxed)
    }

    /// Whether what happened, or was due, at that time is measured.
    pub(crate) fn measures(&self, at_ns: u64) -> bool {
        self.measured_from_ns.load(Ordering::Relaxed) <= at_ns && at_ns < self.measured_until_ns()
    }

    /// Daemons told clients so often that other daemons came or went.
    pub(crate) fn note_network_views(&self, views: u64) {
        self.network_views.fetch_add(views, Ordering::Relaxed);
    }

    pub(crate) fn network_views(&self) -> u64 {
        self.network_views.load(Ordering::Relaxed)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_between_warm_up_and_end_is_measured_whenever_it_comes() {
        let progress = Progress::new();
        let due = progress.clock.now_ns();
        assert!(!progress.measures(due), "the warm-up");
        progress.begin_measuring();
        let due = progress.clock.now_ns();
        assert!(progress.measures(due) && !progress.is_over());
        std::thread::sleep(Duration::from_millis(1));
        progress.end();
        assert!(progress.measures(due) && progress.is_over(), "it comes late");
        assert!(!progress.measures(progress.clock.now_ns()));
    }
}
