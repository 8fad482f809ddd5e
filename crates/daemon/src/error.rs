//! Why a daemon does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::io::Errno;
use thiserror::Error;

/// Why a daemon does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A socket address is taken by another process, most often another daemon.
    #[error(
        "{protocol} {address} is in use; is another daemon running? Daemons of one host need ports of their own, or \
         addresses of their own, for clients too: `name address {{ D address C address }}` in the file"
    )]
    InUse {
        /// TCP or UDP.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// A socket cannot be opened for another reason.
    #[error("cannot listen on {protocol} {address}: {error}{}", socket_hint(error))]
    Listen {
        /// TCP or UDP.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The address of the segment cannot be used.
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
    #[error(
        "the socket {} is in use; is another daemon running? Daemons of one host that have the same port need a directory \
         each: name one with UnixSocketDirectory or --unix-dir",
        .0.display()
    )]
    UnixInUse(PathBuf),
    /// The address of a Unix socket has no room for its path.
    #[error(
        "the path {} is too long for a socket; expected a directory of at most {directory_max_bytes} bytes: \
         name one with UnixSocketDirectory or --unix-dir",
        path.display()
    )]
    UnixTooLong {
        /// Where it should lie.
        path: PathBuf,
        /// How long its directory may be.
        directory_max_bytes: usize,
    },
    /// The Unix socket cannot be made.
    #[error("cannot listen on {}: {error}{}", path.display(), file_hint(error))]
    Unix {
        /// Where it should lie.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What has the name of the Unix socket belongs to another user, and only that one or root may remove it.
    #[error(
        "cannot listen on {}: {error}; the socket there belongs to another user, whose daemon has left it or is \
         running: let its owner or root remove it, or name another directory with UnixSocketDirectory or --unix-dir",
        path.display()
    )]
    UnixForeign {
        /// Where it lies.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is no key to seal datagrams with.
    #[error("cannot seal what is sent to other daemons: {0}")]
    Key(String),
    /// The poller, the signals or a socket that was just opened failed.
    #[error("cannot start: {0}{hint}", hint = limit_hint(.0))]
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

/// What follows the text of an error at an address of the network: what to do about it, if that is known.
fn socket_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "; expected an address of this machine, which one of IPv6 is a second or two after it was added: start the \
             daemon where the address is, or name the daemon of this machine with -n"
        }
        io::ErrorKind::PermissionDenied => "; expected a port from 1024 on, or a user who may use lower ones",
        _ => limit_hint(error),
    }
}

/// The same at a path.
fn file_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => {
            "; expected a directory to which the daemon's user may write: make it, \
             or name another with UnixSocketDirectory or --unix-dir"
        }
        io::ErrorKind::AlreadyExists => {
            "; remove the file, or name another directory with UnixSocketDirectory or --unix-dir"
        }
        _ => limit_hint(error),
    }
}

/// The same where only a limit of the system is to be expected.
pub(crate) fn limit_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => {
            "; raise the daemon's limit of open files (ulimit -n, or LimitNOFILE= of its service)"
        }
        Some(Errno::NFILE) => "; raise the system's limit of open files (sysctl fs.file-max)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_system_are_named_with_who_sets_them() {
        for (errno, hint) in
            [(Errno::MFILE, "LimitNOFILE="), (Errno::NFILE, "fs.file-max"), (Errno::NOMEM, "")]
        {
            let error = || io::Error::from(errno);
            assert!(limit_hint(&error()).contains(hint));
            assert_eq!(limit_hint(&error()).is_empty(), hint.is_empty());
            for error in [
                StartError::udp(([127, 0, 0, 1], 4803).into(), error()),
                StartError::Unix { path: "/tmp/4803".into(), error: error() },
                StartError::System(error()),
            ] {
                assert!(error.to_string().ends_with(limit_hint(&io::Error::from(errno))), "{error}");
            }
        }
    }

    #[test]
    fn a_port_for_the_privileged_is_told() {
        let error = StartError::udp(([127, 0, 0, 1], 80).into(), Errno::ACCESS.into());
        assert!(error.to_string().contains("expected a port from 1024 on"), "{error}");
    }
}
