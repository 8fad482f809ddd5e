//! Why a load could not be measured.

use std::io;

use thiserror::Error;

use crate::stamp::STAMP_BYTES;

/// Why a load could not be measured.
#[derive(Debug, Error)]
pub enum BenchError {
    /// A daemon could not be reached; the error says which.
    #[error(transparent)]
    Connect(antiphon::Error),
    /// A session ended, or refused what it was given.
    #[error("{address}: {source}")]
    Client {
        /// The daemon.
        address: String,
        /// What happened.
        source: antiphon::Error,
    },
    /// The messages have no room for what the senders must write.
    #[error(
        "messages of {0} bytes are too short: expected {STAMP_BYTES} at least, for sender, number and time"
    )]
    TooShort(usize),
    /// More than can be had.
    #[error("{wanted} {what} are too many: expected {most} at most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many were asked for.
        wanted: f64,
        /// How many there may be.
        most: f64,
    },
    /// A daemon would be counted for two.
    #[error("the daemon {0} is given twice; give each once")]
    DaemonTwice(String),
    /// Nothing came to be judged.
    #[error(
        "no message came in the {seconds} s that were measured; measure for longer, or send more a second"
    )]
    Silent {
        /// How long was measured.
        seconds: f64,
    },
    /// Memory has not been looked at often enough to say whether it grows.
    #[error("{seconds} s are too short for a soak: expected {least} at least")]
    ShortSoak {
        /// What was asked for.
        seconds: f64,
        /// What there must be.
        least: u64,
    },
    /// The sizes of groups make no sequence.
    #[error("the sizes of groups must begin with 1 or more and ascend, as 1,10,100")]
    Sizes,
    /// Levels below fifo promise no order, so nothing can be said about the correctness of a run.
    #[error("{0} messages have no order to check; choose fifo, causal, agreed or safe")]
    Unordered(&'static str),
    /// The load has none of something that it needs.
    #[error("nothing to measure: {0}; expected some")]
    Nothing(&'static str),
    /// Nothing came for so long that nothing more is expected.
    #[error(
        "{address}: nothing was received for {seconds} s before {wanted}, after {network_views} views that the network caused"
    )]
    Stalled {
        /// The daemon.
        address: String,
        /// What the receiver waited for.
        wanted: &'static str,
        /// How long it waited.
        seconds: u64,
        /// How often it was told before that daemons came or went.
        network_views: u64,
    },
    /// A group did not come to what it should be.
    #[error("{wanted}: not within {seconds} s; the logs of the daemons may say why")]
    Late {
        /// What was waited for.
        wanted: String,
        /// How long.
        seconds: u64,
    },
    /// The socket of an idle session has no room for one request.
    #[error("{address}: a request was not taken whole; is the daemon stopped or overloaded?")]
    RequestNotTaken {
        /// The daemon.
        address: String,
    },
    /// A socket, a file or the poll of sockets.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// The test bed of the figures could not be made.
    #[error(
        "{program}: {said}\nThe figures need hosts of their own: root, and iproute2 with network namespaces."
    )]
    Bed {
        /// The program that failed.
        program: String,
        /// What it said.
        said: String,
    },
    /// A picture could not be drawn.
    #[error("{file}.svg: {said}")]
    Plot {
        /// Which.
        file: &'static str,
        /// What the drawing library said.
        said: String,
    },
    /// There is no such experiment.
    #[error("there is no experiment '{0}'; there are {1}")]
    Unknown(String, String),
    /// Something else than this run's messages is in its group.
    #[error("{0}: a message that no sender of this run has sent; use a group that nobody else does")]
    Foreign(String),
    /// A daemon does not take what clients send.
    #[error("{0}: the daemon rejected a message")]
    Rejected(String),
    /// The process of a daemon could not be looked at.
    #[error("process {pid}: {source}; expected the process of a daemon on this machine")]
    Process {
        /// Its id.
        pid: u32,
        /// What the system says.
        source: io::Error,
    },
    /// There is no memory for latencies.
    #[error("no room for a histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// A thread of the run ended too early; if with a panic, its message stands on standard error.
    #[error("a thread of the run failed; standard error may say why")]
    Thread,
}

impl BenchError {
    /// Says what the system was asked for.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}
