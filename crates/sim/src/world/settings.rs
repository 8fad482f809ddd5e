//! How a world is set up.

use std::time::Duration;

use antiphon_proto::config::{MembershipConfig, RingConfig, SessionConfig};

use crate::network::Quality;

/// Names of the first simulated daemons; those beyond are named by their numbers. They are not sorted, so that
/// the order of daemons and the order of names can be told apart.
pub const DAEMON_NAMES: [&str; 20] = [
    "zeta", "alpha", "mid", "omega", "beta", "nu", "delta", "kappa", "xi", "gamma", "pi", "eta", "tau",
    "chi", "iota", "rho", "mu", "theta", "psi", "lambda",
];

/// What it takes to name a process in a hello, at most.
const PROCESS_ID_BYTES: usize = 12;

/// How a world is set up; nothing of it changes during a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many daemons are configured; seeds have 20 at most.
    pub daemons: usize,
    /// Limits and times of their rings.
    pub ring: RingConfig,
    /// Times of their membership.
    pub membership: MembershipConfig,
    /// Limits for their clients.
    pub sessions: SessionConfig,
    /// The links at the start.
    pub quality: Quality,
    /// How hosts treat their daemons.
    pub host: HostSettings,
    /// By how many millionths the clock of each host runs fast; the last one counts for the rest.
    pub clock_ppm: Vec<i64>,
    /// How many of the last daemons the files do not have at first. They boot once their own has them.
    pub newcomers: usize,
    /// How many of the last daemons run with another configuration file, on the same network.
    pub strangers: usize,
    /// A host that, by mistake, runs the daemon of another host too, instead of its own: first the
    /// other, then that host. Both get what is sent to that daemon. It does not boot by itself.
    pub double: Option<(usize, usize)>,
    /// Whether daemons boot one after the other over 200 ms instead of at once.
    pub staggered_start: bool,
    /// The fault that all daemons have.
    #[cfg(feature = "mutants")]
    pub mutant: Option<antiphon_proto::mutant::Mutant>,
    /// The fault that all flush layers have.
    #[cfg(feature = "mutants")]
    pub flush_mutant: Option<antiphon::flush::mutant::Mutant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            daemons: 3,
            ring: RingConfig::default(),
            membership: MembershipConfig::default(),
            sessions: SessionConfig::default(),
            quality: Quality::default(),
            host: HostSettings::default(),
            clock_ppm: vec![0],
            newcomers: 0,
            strangers: 0,
            double: None,
            staggered_start: false,
            #[cfg(feature = "mutants")]
            mutant: None,
            #[cfg(feature = "mutants")]
            flush_mutant: None,
        }
    }
}

/// What a socket takes at once, at least, for whoever reads not to fall behind.
const MUCH_ROOM_BYTES: usize = 256 << 10;

/// What may wait for a session, at least, for whoever reads not to fall behind.
const MANY_MESSAGES: usize = 100_000;

/// From this way on daemons count as far apart.
const LONG_WAY: Duration = Duration::from_millis(5);

impl Settings {
    /// Whether daemons are so far from each other that their times are for a wide area network.
    #[must_use]
    pub fn is_wide_area(&self) -> bool {
        self.quality.delay >= LONG_WAY
    }

    /// Whether clients may seem slow although they read.
    #[must_use]
    pub fn gives_little_room(&self) -> bool {
        self.host.write_bytes < MUCH_ROOM_BYTES && self.sessions.max_outbox_messages < MANY_MESSAGES
    }

    /// Datagrams that an idle ring may send in a second: the token goes round once each time its rest
    /// is over, and each hop may be said three times; and since a daemon may have been stopped for
    /// good, each of the others may greet everyone once an interval, in as many pieces as it takes to
    /// name all daemons twice.
    #[must_use]
    pub fn idle_datagrams(&self) -> u64 {
        let a_second = |interval: Duration| {
            1_000_000_000 / u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1)
        };
        let greetings = (self.daemons as u64 - 1) * a_second(self.membership.hello * 4 / 5);
        let pieces = (64 + self.daemons * 2 * PROCESS_ID_BYTES).div_ceil(self.ring.datagram_bytes) as u64;
        self.daemons as u64 * (3 * a_second(self.ring.token_rest) + greetings * pieces + 20)
    }
}

/// How a host treats its daemon: the shape of its event loop and the size of its buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostSettings {
    /// Most datagrams taken in one turn of the loop.
    pub receive_batch: usize,
    /// Most pieces of client streams taken in one turn.
    pub stream_batch: usize,
    /// Processor time of a turn.
    pub turn_cost: Duration,
    /// Processor time of a datagram.
    pub datagram_cost: Duration,
    /// Processor time of a frame for a client.
    pub frame_cost: Duration,
    /// Bytes that the data socket holds.
    pub data_buffer_bytes: usize,
    /// Bytes that the control socket holds.
    pub control_buffer_bytes: usize,
    /// Most bytes that a client's socket takes in one write.
    pub write_bytes: usize,
    /// Most clients that are written to in one turn.
    pub write_sessions: usize,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            receive_batch: 8,
            stream_batch: 8,
            turn_cost: Duration::from_micros(2),
            datagram_cost: Duration::from_micros(3),
            frame_cost: Duration::ZERO,
            data_buffer_bytes: 1 << 20,
            control_buffer_bytes: 256 << 10,
            write_bytes: 256 << 10,
            write_sessions: usize::MAX,
        }
    }
}
