//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};

use antiphon_wire::client::flags::{MAX_BODY_AND_GROUPS_BYTES, MAX_GROUPS, ReplyCode};
use antiphon_wire::client::frame::FrameError;
use antiphon_wire::client::handshake::ReplyError;
use antiphon_wire::names::NameError;
use antiphon_wire::reader::DecodeError;
use thiserror::Error;

use crate::address::{Address, AddressError};

/// Why a call failed. The text of each error names its causes: who prints [`source`](std::error::Error::source) behind
/// it says them twice.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The text does not name a daemon.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nobody answers at the daemon's address.
    #[error("could not connect to a daemon at {address}{}: {source}", beside(socket.as_deref()))]
    Connect {
        /// Where it was tried.
        address: Address,
        /// The path of its Unix socket, if that was tried.
        socket: Option<PathBuf>,
        /// What the operating system says about the last attempt.
        source: io::Error,
    },
    /// Several daemons were tried, and none of them opened a session.
    #[error("no daemon could be used: {}", list(.0))]
    NoDaemon(Vec<Attempt>),
    /// The daemon was reached and refused the session. The code says why, and
    /// [`ReplyCode::meaning`] says it in words.
    #[error("the daemon refused the session: {0}")]
    Refused(ReplyCode),
    /// The daemon was reached and does not offer one of the chosen authentication methods.
    #[error("the daemon does not offer the authentication method {wanted}, it offers: {offered}")]
    AuthNotOffered {
        /// The method that is missing.
        wanted: &'static str,
        /// The daemon's list.
        offered: String,
    },
    /// Something answers at the daemon's address, and the session was not open within the time that
    /// [`Connector::timeout`](crate::Connector::timeout) says.
    #[error(
        "connected, but the session was not opened in time: the daemon is stopped or overloaded, or what listens \
         there is no daemon"
    )]
    Timeout,
    /// The daemon closed the connection: it stopped, or dropped this client for a request that it did
    /// not understand or for reading too slowly.
    #[error("the daemon closed the connection")]
    Closed,
    /// This program said goodbye ([`Sender::disconnect`](crate::Sender::disconnect)), and the daemon closed the
    /// connection. One that stopped before it had read the goodbye may look the same.
    #[error("this program ended the session")]
    Ended,
    /// The session ended, and the program has not received yet what it may have missed. Only from
    /// connections that are [opened anew](crate::reconnect).
    #[error("the session with the daemon was interrupted; receive tells what was missed, and goes on")]
    Interrupted,
    /// The connection broke.
    #[error("the connection to the daemon broke: {0}")]
    Io(#[source] io::Error),
    /// The daemon sent what the protocol does not know.
    #[error("the daemon broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// A name is not legal.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A message needs a group to go to, and must not have too many.
    #[error("a message goes to 1 to {MAX_GROUPS} groups, {0} were given")]
    GroupCount(usize),
    /// The message does not fit.
    #[error(
        "a message has at most {MAX_BODY_AND_GROUPS_BYTES} bytes including 32 for each group, this one has {0}"
    )]
    MessageTooLong(usize),
}

/// One daemon of several that were tried.
#[derive(Debug)]
pub struct Attempt {
    /// The daemon.
    pub address: Address,
    /// Why there is no session with it.
    pub error: Error,
}

/// A path as it stands behind the port that it is of.
fn beside(socket: Option<&Path>) -> String {
    socket.map_or_else(String::new, |path| format!(" ({})", path.display()))
}

fn list(attempts: &[Attempt]) -> String {
    let one = |Attempt { address, error }: &Attempt| match error {
        Error::Connect { socket, source, .. } => {
            format!("{address}{}: {source}", beside(socket.as_deref()))
        }
        error => format!("{address}: {error}"),
    };
    attempts.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// From an operation on an open connection; what a vanished peer causes becomes [`Error::Closed`].
    pub(crate) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// How a daemon broke the protocol.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ProtocolError {
    /// In the handshake.
    #[error(transparent)]
    Handshake(ReplyError),
    /// In the header of a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// In a membership message.
    #[error(transparent)]
    Membership(#[from] DecodeError),
    /// The name of a sender.
    #[error("the sender of a message has an unusable name: {0}")]
    Sender(NameError),
    /// The frame is neither a message nor about membership.
    #[error("a frame has flags {0:#x}, which name no service level and no membership change")]
    Flags(u32),
}

impl From<ReplyError> for Error {
    fn from(error: ReplyError) -> Self {
        match error {
            ReplyError::Refused(code) => Self::Refused(code),
            other => Self::Protocol(ProtocolError::Handshake(other)),
        }
    }
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.into())
    }
}
