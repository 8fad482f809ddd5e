//! What every handler of the core is given beside its own state.

use crate::config::Config;
use crate::io::Outputs;
use crate::patience::Patience;
use crate::send_queue::SendQueue;
use crate::stats::Stats;
use crate::time::{Instant, Timers};

/// The surroundings of one call of [`crate::Node::handle`].
pub(crate) struct Cx<'a> {
    /// The time of the call.
    pub(crate) now: Instant,
    /// The settings.
    pub(crate) config: &'a Config,
    /// The deadlines.
    pub(crate) timers: &'a mut Timers,
    /// How long to wait for others.
    pub(crate) patience: &'a mut Patience,
    /// Messages that wait for the token.
    pub(crate) queue: &'a mut SendQueue,
    /// The counters.
    pub(crate) stats: &'a mut Stats,
    /// What the call wants done.
    pub(crate) out: &'a mut Outputs,
}
