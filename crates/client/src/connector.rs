//! How to connect, whichever face of the library does it.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use antiphon_wire::client::flags::UNIX_DIRECTORY;
use antiphon_wire::names::PrivateName;

use crate::address::Address;
use crate::error::{Attempt, Error};
use crate::session::{AuthMethod, Options};

/// How long connecting may take unless told otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How to connect: addresses, name and options, checked when connecting.
///
/// ```no_run
/// use std::time::Duration;
/// use antiphon::Connector;
///
/// # fn main() -> Result<(), antiphon::Error> {
/// let connection = Connector::new("4803@db1")
///     .or("4803@db2")
///     .name("alice")
///     .membership(false)
///     .timeout(Duration::from_secs(2))
///     .connect()?;
/// println!("connected as {}", connection.member());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Connector {
    addresses: Vec<String>,
    name: String,
    options: Options,
    timeout: Option<Duration>,
    unix_directory: PathBuf,
}

/// What a connector comes down to once its texts are checked.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) addresses: Vec<Address>,
    pub(crate) options: Options,
}

impl Connector {
    /// Connects to the daemon at `address`, an [`Address`] or its text: `4803` for the Unix socket of that
    /// port, `4803@host` for TCP, the empty text for the Unix socket of the default port.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            addresses: vec![address.into()],
            name: String::new(),
            options: Options::default(),
            timeout: Some(CONNECT_TIMEOUT),
            unix_directory: UNIX_DIRECTORY.into(),
        }
    }

    /// Adds a daemon that is tried when all daemons before it failed.
    pub fn or(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Asks for a private name, 1 to 10 characters from `$` to `~`. Without one, or with an empty one,
    /// the daemon makes one up.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether views, transitions and self-leaves are wanted; they are unless this says no.
    pub fn membership(mut self, wanted: bool) -> Self {
        self.options.membership = wanted;
        self
    }

    /// The priority, 0 or 1. Known daemons treat both alike.
    pub fn priority(mut self, priority: u8) -> Self {
        self.options.priority = priority;
        self
    }

    /// How to authenticate: all of these methods, three at most. [`AuthMethod::Null`] unless this says otherwise.
    pub fn auth(mut self, methods: &[AuthMethod]) -> Self {
        self.options.auth = methods.to_vec();
        self
    }

    /// How long connecting to one daemon may take, without looking up the host's name; `None` for
    /// ever. 30 seconds unless this says otherwise.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// The directory of the daemon's Unix sockets; `/tmp` unless this says otherwise.
    pub fn unix_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.unix_directory = directory.into();
        self
    }

    pub(crate) fn wants_membership(&self) -> bool {
        self.options.membership
    }

    /// Checks the addresses and the name.
    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        let addresses = self.addresses.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let mut options = self.options.clone();
        if !self.name.is_empty() {
            options.name = Some(PrivateName::new(self.name.as_bytes())?);
        }
        Ok(Plan { addresses, options })
    }

    /// When an attempt that begins now has to be over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }

    pub(crate) fn unix_socket(&self, port: u16) -> PathBuf {
        self.unix_directory.join(port.to_string())
    }

    /// The error of an address at which nobody answers.
    pub(crate) fn unanswered(&self, address: &Address, source: io::Error) -> Error {
        let socket = match address {
            Address::Unix { port } => Some(self.unix_socket(*port)),
            Address::Tcp { .. } => None,
        };
        Error::Connect { address: address.clone(), socket, source }
    }
}

/// The error of a connector all of whose daemons failed.
pub(crate) fn all_failed(attempts: Vec<Attempt>) -> Error {
    match <[Attempt; 1]>::try_from(attempts) {
        Ok([only]) => only.error,
        Err(attempts) => Error::NoDaemon(attempts),
    }
}

/// The error of a host whose name has no address.
pub(crate) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the host has no address")
}

/// Time left until a deadline; `None` without one.
pub(crate) fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    let Some(deadline) = deadline else { return Ok(None) };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
}

/// The deadline for one of so many addresses that are still to be tried, so that one that swallows
/// everything leaves time for the others.
pub(crate) fn share(deadline: Option<Instant>, addresses: usize) -> Option<Instant> {
    let deadline = deadline?;
    let left = deadline.saturating_duration_since(Instant::now());
    let parts = u32::try_from(addresses.max(1)).unwrap_or(u32::MAX);
    Some(Instant::now() + left / parts)
}
