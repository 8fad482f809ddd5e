//! Why a command failed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use antiphon_bench::BenchError;
use antiphon_daemon::conf::LoadError;
use thiserror::Error;

/// Why a command failed, in words for the person who gave it.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The daemon could not be reached, or the session is over.
    #[error("{0}{hint}", hint = hint(.0))]
    Client(#[from] antiphon::Error),
    /// A group name on the command line is not legal.
    #[error(transparent)]
    Name(#[from] antiphon::NameError),
    /// A daemon does not say where it stands.
    #[error(
        "no status at {}: {source}\nIs a daemon running there, and are you the user who runs it? \
         Say where with --port and --unix-dir.", path.display()
    )]
    Status {
        /// Its socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A daemon has a status, but does not tell it.
    #[error(
        "no answer at {} within {} seconds\nThe daemon there is stopped (as by SIGSTOP), out of open files \
         or busy; look at its log and ask again.", path.display(), patience.as_secs()
    )]
    StatusLate {
        /// Its socket.
        path: PathBuf,
        /// How long was waited.
        patience: Duration,
    },
    /// The answer is not a whole status.
    #[error(
        "what came from {} is not a whole status: {source}\nThe daemon there may have ended meanwhile; ask again.",
        path.display()
    )]
    StatusCut {
        /// Its socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The configuration file.
    #[error(transparent)]
    Configuration(#[from] LoadError),
    /// A daemon was named twice.
    #[error("{name} is named twice")]
    DaemonTwice {
        /// Its name.
        name: String,
    },
    /// A daemon that was told to end goes on.
    #[error(
        "{name} still answers; does its file have DangerousMonitor = yes? Its log says what it does not do"
    )]
    DaemonLives {
        /// Its name.
        name: String,
    },
    /// All daemons would be in one part.
    #[error("nothing to part: all configured daemons ({names}) would be together; name some of several")]
    NothingToPart {
        /// Their names.
        names: String,
    },
    /// Daemons are in one ring that were told to part.
    #[error(
        "{names} do not part: set DangerousMonitor = yes in the file of each; its log says what it does not do"
    )]
    NotParted {
        /// Their names.
        names: String,
    },
    /// There is no daemon to be told anything.
    #[error("no answer from {names}; are they running, and is this the host of one of them?")]
    NoAnswer {
        /// Their names.
        names: String,
    },
    /// Datagrams cannot be exchanged with daemons.
    #[error(
        "daemons cannot be asked from here: {0}\nThis runs on the host of a configured daemon; -n says which."
    )]
    Monitor(#[source] io::Error),
    /// Standard output, or what else is written to.
    #[error("could not write the output: {0}")]
    Output(#[source] io::Error),
    /// Standard input.
    #[error("could not read the input: {0}")]
    Input(#[source] io::Error),
    /// A file to send.
    #[error("could not read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// Fewer messages than asked for came in time.
    #[error("{received} of {expected} messages came within {} seconds", timeout.as_secs_f64())]
    TimedOut {
        /// How many came.
        received: u64,
        /// How many were asked for.
        expected: u64,
        /// How long they were waited for.
        timeout: Duration,
    },
    /// The line editor.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] rustyline::error::ReadlineError),
    /// Where this program is.
    #[error("this program cannot be found: {0}")]
    Program(#[source] io::Error),
    /// Datagrams without a daemon.
    #[error("datagrams: {0}")]
    Datagrams(#[source] io::Error),
    /// A measurement.
    #[error("{0}{hint}", hint = bench_hint(.0))]
    Bench(#[from] BenchError),
    /// The daemons of the demo.
    #[error("the demo could not run: {0}")]
    Demo(#[source] io::Error),
    /// The port that the demo was given.
    #[error("port {0} or the next one is taken; give another with --port, or none")]
    DemoPortTaken(u16),
    /// None that the demo tried.
    #[error("no free port found; give one with --port")]
    DemoNoPort,
    /// A daemon of the demo accepts no clients.
    #[error("daemon {name} did not start:\n{log}")]
    DemoDaemon {
        /// Its name.
        name: &'static str,
        /// What it said.
        log: String,
    },
    /// The demo did not get on.
    #[error("the demo waited {} seconds in vain for {wanted}", patience.as_secs())]
    DemoTimedOut {
        /// What it waited for.
        wanted: String,
        /// How long it waited.
        patience: Duration,
    },
}

impl CliError {
    /// Whether the reader of the output went away, which is no failure.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What to do about an error of the client library, where that is not obvious.
fn hint(error: &antiphon::Error) -> &'static str {
    use antiphon::{Error, ReplyCode};
    match error {
        Error::Address(_) => {
            "\n-c is --connect here; `antiphon daemon` and `antiphon monitor` take a configuration file."
        }
        Error::Connect { .. } => {
            "\nIs a daemon running there? Say where it is with --connect PORT (this machine, with --unix-dir unless its \
             sockets are in /tmp) or PORT@HOST."
        }
        Error::Refused(ReplyCode::NotUnique) => "\nChoose another with --name, or give none.",
        Error::Refused(ReplyCode::Auth) => {
            "\nTry --auth ip or --auth null; with ip, the daemon's spread.access_ip must list where this comes from."
        }
        Error::AuthNotOffered { .. } => {
            "\nChoose one that it offers with --auth; if these are no names of methods, it is no daemon that answers."
        }
        Error::Timeout => "\nIs that the port of a daemon? If so, its log may say why it is late.",
        Error::Closed => "\nIt stopped, or dropped this client for reading too slowly; its log says which.",
        _ => "",
    }
}

/// The same of a measurement, whose daemons are not given by `--connect`.
fn bench_hint(error: &BenchError) -> &'static str {
    match error {
        BenchError::Connect(source) | BenchError::Client { source, .. } => match source {
            antiphon::Error::Connect { .. } | antiphon::Error::Address(_) => {
                "\nGive the port of a daemon that runs: PORT (with --unix-dir), PORT@HOST or its socket's path."
            }
            source => hint(source),
        },
        _ => "",
    }
}
