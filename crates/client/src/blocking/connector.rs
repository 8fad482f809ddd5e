//! How to connect.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use antiphon_wire::names::PrivateName;

use super::stream::{Stream, is_timeout, left};
use super::{Connection, Receiver, Sender};
use crate::address::Address;
use crate::error::Error;
use crate::session::{AuthMethod, Handshake, Options, Session, Step};

/// Where daemons put their Unix sockets unless told otherwise.
const UNIX_DIRECTORY: &str = "/tmp";
/// How long connecting may take unless told otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The handshake of a daemon has less than 200 bytes.
const HANDSHAKE_READ_BYTES: usize = 256;

/// How to connect: address, name and options, checked by [`Connector::connect`].
///
/// ```no_run
/// use std::time::Duration;
/// use antiphon::Connector;
///
/// # fn main() -> Result<(), antiphon::Error> {
/// let connection = Connector::new("4803@db1")
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
    address: String,
    name: String,
    options: Options,
    timeout: Option<Duration>,
    unix_directory: PathBuf,
}

impl Connector {
    /// Connects to the daemon at `address`: `4803` for the Unix socket of that port, `4803@host` for
    /// TCP, the empty text for the Unix socket of the default port.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            name: String::new(),
            options: Options::default(),
            timeout: Some(CONNECT_TIMEOUT),
            unix_directory: UNIX_DIRECTORY.into(),
        }
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

    /// How to authenticate: all of these methods. [`AuthMethod::Null`] unless this says otherwise.
    pub fn auth(mut self, methods: &[AuthMethod]) -> Self {
        self.options.auth = methods.to_vec();
        self
    }

    /// How long connecting may take, without looking up the host's name; `None` for ever. 30 seconds
    /// unless this says otherwise.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// The directory of the daemon's Unix sockets; `/tmp` unless this says otherwise.
    pub fn unix_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.unix_directory = directory.into();
        self
    }

    /// Connects and waits until the session is open.
    ///
    /// # Errors
    /// When the address or the name is not legal, nobody answers in time, or the daemon refuses the
    /// session.
    pub fn connect(&self) -> Result<Connection, Error> {
        let (stream, session) = self.shake_hands()?;
        let writing = stream.try_clone().map_err(Error::from_io)?;
        Ok(Connection {
            daemon: session.daemon,
            sender: Sender::new(writing, session.outbox),
            receiver: Receiver::new(stream, session.inbox),
        })
    }

    /// Connects as [`Connector::connect`] does, and hands over socket and session to an event loop of
    /// another kind, which is to read into the inbox and to write from the outbox. The socket blocks.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub fn open_session(&self) -> Result<(OwnedFd, Session), Error> {
        let (stream, session) = self.shake_hands()?;
        Ok((stream.into(), session))
    }

    fn shake_hands(&self) -> Result<(Stream, Session), Error> {
        let address: Address = self.address.parse()?;
        let mut options = self.options.clone();
        if !self.name.is_empty() {
            options.name = Some(PrivateName::new(self.name.as_bytes())?);
        }
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut stream =
            self.open(&address, deadline).map_err(|source| Error::Connect { address, source })?;
        let session = shake_hands(&mut stream, &options, deadline)?;
        stream.set_read_timeout(None).map_err(Error::from_io)?;
        stream.set_write_timeout(None).map_err(Error::from_io)?;
        Ok((stream, session))
    }

    fn open(&self, address: &Address, deadline: Option<Instant>) -> std::io::Result<Stream> {
        match address {
            Address::Unix { port } => Stream::unix(&self.unix_directory.join(port.to_string()), deadline),
            Address::Tcp { host, port } => Stream::tcp(host, *port, deadline),
        }
    }
}

fn shake_hands(stream: &mut Stream, options: &Options, deadline: Option<Instant>) -> Result<Session, Error> {
    let on_error = |error| if is_timeout(&error) { Error::Timeout } else { Error::from_io(error) };
    let mut buffer = [0; HANDSHAKE_READ_BYTES];
    stream.set_write_timeout(left(deadline).map_err(on_error)?).map_err(on_error)?;
    let (mut handshake, hello) = Handshake::begin(options);
    // A daemon at its limit refuses without reading the hello: its answer counts, not the write.
    let greeted = stream.write_all(&hello);
    let mut step = Step::Read;
    loop {
        step = match step {
            Step::Open(session) => return Ok(*session),
            Step::Write(bytes) => {
                stream.write_all(&bytes).map_err(on_error)?;
                handshake.on_bytes(&[])?
            }
            Step::Read => {
                stream.set_read_timeout(left(deadline).map_err(on_error)?).map_err(on_error)?;
                match stream.read(&mut buffer) {
                    Ok(0) => return greeted.map_err(on_error).and(Err(Error::Closed)),
                    Ok(count) => handshake.on_bytes(buffer.get(..count).unwrap_or_default())?,
                    Err(error) => return Err(on_error(error)),
                }
            }
        };
    }
}
