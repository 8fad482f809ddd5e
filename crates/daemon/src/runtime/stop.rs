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
        if let Some(waker) = self.shared.waker.get()
            && let Err(error) = waker.wake()
        {
            tracing::warn!("cannot wake the daemon to stop it: {error}");
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
}
