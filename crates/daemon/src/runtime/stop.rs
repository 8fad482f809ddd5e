//! Stopping a daemon from another thread or a signal handler's thread.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use mio::Waker;

/// Asks a running daemon to stop. Clones ask the same daemon; one handle belongs to one run.
#[derive(Clone, Debug, Default)]
pub struct StopHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    requests: AtomicUsize,
    waker: OnceLock<Arc<Waker>>,
}

impl StopHandle {
    /// A handle to give to [`crate::Daemon::run`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the daemon to leave its ring and stop; asked twice, it stops without waiting.
    pub fn stop(&self) {
        self.shared.requests.fetch_add(1, Ordering::Release);
        self.wake();
    }

    /// Asks as [`StopHandle::stop`] does, unless somebody has asked before: to be asked twice is to stop without a
    /// goodbye.
    pub(crate) fn stop_once(&self) {
        let requests = &self.shared.requests;
        if requests.compare_exchange(0, 1, Ordering::Release, Ordering::Relaxed).is_ok() {
            self.wake();
        }
    }

    /// How often a stop was asked for.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Acquire)
    }

    /// Lets later requests interrupt the poller.
    pub(crate) fn attach(&self, waker: &Arc<Waker>) {
        // A handle given to a second run keeps its first waker; that run sees requests at its next turn.
        let _ = self.shared.waker.set(Arc::clone(waker));
    }

    fn wake(&self) {
        if let Some(waker) = self.shared.waker.get()
            && let Err(error) = waker.wake()
        {
            tracing::warn!("cannot wake the daemon to stop it: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_once_adds_nothing_to_what_others_asked() {
        let stop = StopHandle::new();
        stop.stop_once();
        stop.stop_once();
        assert_eq!(stop.requests(), 1);
        stop.stop();
        stop.stop_once();
        assert_eq!(stop.requests(), 2);
    }
}
