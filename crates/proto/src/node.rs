//! One daemon.

use std::sync::Arc;

use antiphon_wire::ids::SessionId;

use crate::config::Config;
use crate::io::{Channel, Input, Outputs};
use crate::stats::Stats;
use crate::time::{Instant, Timer};

/// One daemon, without its sockets and clock. See the [crate documentation](crate) for the contract.
pub struct Node {
    config: Arc<Config>,
}

impl Node {
    /// Boots a daemon.
    ///
    /// `incarnation` must differ from that of every earlier run of this daemon (milliseconds since
    /// 1970 do), `epoch` is a lower bound for ring epochs (seconds since 1970, so that group ids
    /// look as existing clients know them), `seed` feeds the only random choices: jitter of timers
    /// and names for clients that bring none.
    pub fn new(
        config: Config,
        incarnation: u64,
        epoch: u64,
        seed: u64,
        now: Instant,
        out: &mut Outputs,
    ) -> Self {
        let _ = (incarnation, epoch, seed, now, out);
        Self { config: Arc::new(config) }
    }

    /// Takes one input and does everything that follows from it.
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Outputs) {
        let _ = (now, input, out);
    }

    /// When to call [`Node::handle`] with [`Input::Timeout`] at the latest, and what for.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Instant, Timer)> {
        None
    }

    /// Which socket to read first when both have something.
    #[must_use]
    pub fn receive_preference(&self) -> Channel {
        Channel::Data
    }

    /// Whether clients should be read (and accepted); false while enough of their messages wait.
    #[must_use]
    pub fn accepts_submissions(&self) -> bool {
        true
    }

    /// Bytes owed to a session; the host writes what the socket takes and advances the buffer.
    pub fn outbox(&mut self, session: SessionId) -> Option<&mut crate::sessions::Outbox> {
        let _ = session;
        None
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let _ = &self.config;
        Stats::default()
    }
}
