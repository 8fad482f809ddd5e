//! What all threads of a run look at: where it is, and what time it is.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

/// Where a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Messages flow and are checked, but not measured.
    WarmUp = 0,
    /// Messages are measured.
    Measuring = 1,
    /// Senders end; receivers take what is left.
    Over = 2,
}

/// The phase and the clock that all threads of a run share.
#[derive(Debug)]
pub(crate) struct Progress {
    phase: AtomicU8,
    pub(crate) clock: Clock,
}

/// One monotonic clock for stamps and receptions.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Nanoseconds since the run began.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { phase: AtomicU8::new(Phase::WarmUp as u8), clock: Clock { start: Instant::now() } }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measuring,
            _ => Phase::Over,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}
