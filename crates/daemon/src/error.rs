//! Why a daemon does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// Why a daemon does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The settings do not say where this daemon is.
    #[error("the configuration has no address for this daemon")]
    NotConfigured,
    /// A socket address is taken by another process, most often another daemon.
    #[error("{protocol} {address} is in use; is another daemon running?")]
    InUse {
        /// TCP or UDP.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// A socket can not be opened for another reason.
    #[error("cannot listen on {protocol} {address}: {error}")]
    Listen {
        /// TCP or UDP.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The address of the segment can not be used.
    #[error(
        "cannot use the segment address {group}: {error}; give an address of a network of this machine, \
         or set IgnoreMulticastJoinErrors to reach daemons one by one"
    )]
    Group {
        /// The multicast or broadcast address.
        group: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A live daemon answers at the Unix socket.
    #[error("the socket {} is in use; is another daemon running?", .0.display())]
    UnixInUse(PathBuf),
    /// The Unix socket can not be made.
    #[error("cannot listen on {}: {error}", path.display())]
    Unix {
        /// Where it should lie.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The poller, the signals or a socket that was just opened failed.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    pub(crate) fn udp(address: SocketAddr, error: io::Error) -> Self {
        Self::socket("UDP", address, error)
    }

    pub(crate) fn socket(protocol: &'static str, address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { protocol, address },
            _ => Self::Listen { protocol, address, error },
        }
    }
}
