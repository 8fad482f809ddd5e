//! Which daemon to connect to, in the notation that existing clients use.

use std::fmt;
use std::str::FromStr;

use antiphon_wire::client::flags::DEFAULT_PORT;
use thiserror::Error;

/// Longest host name of the domain name system.
const HOST_MAX_BYTES: usize = 255;

/// Where a daemon listens.
///
/// ```
/// use antiphon::Address;
///
/// assert_eq!("4803".parse(), Ok(Address::Unix { port: 4803 }));
/// assert_eq!("4803@db1".parse(), Ok(Address::Tcp { host: "db1".into(), port: 4803 }));
/// assert!("db1:4803".parse::<Address>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// `4803`: the Unix socket named like the port, of a daemon on this machine.
    Unix {
        /// The port, which is the name of the socket.
        port: u16,
    },
    /// `4803@host`: TCP.
    Tcp {
        /// Name or address, IPv4 or IPv6.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Why a text is not an [`Address`].
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AddressError {
    /// What stands before the `@`, or the whole text, is not a port.
    #[error("'{0}' is not a daemon's address: write its port, as in 4803, or port and host, as in 4803@host")]
    NotAPort(String),
    /// Nothing, too much or blanks after the `@`.
    #[error("'{0}' is not a host: a name or address of 1 to 255 characters is expected after the '@'")]
    NotAHost(String),
}

impl Default for Address {
    /// The Unix socket of the default port.
    fn default() -> Self {
        Self::Unix { port: DEFAULT_PORT }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `PORT` or `PORT@HOST`; the empty text is the default address. An IPv6 address may stand in brackets.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let Some((port, host)) = text.split_once('@') else {
            return Ok(Self::Unix { port: parse_port(text, text)? });
        };
        let port = parse_port(port, text)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.filter(|host| host.contains(':')).unwrap_or(host);
        let blank = |c: char| c.is_whitespace() || c.is_control() || c == '@';
        if host.is_empty() || host.len() > HOST_MAX_BYTES || host.contains(blank) {
            return Err(AddressError::NotAHost(host.to_owned()));
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

/// Digits only: what `u16` would parse beyond them, a leading `+`, is not in the notation.
fn parse_port(digits: &str, text: &str) -> Result<u16, AddressError> {
    let error = || AddressError::NotAPort(text.to_owned());
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    digits.parse().ok().filter(|port| *port != 0).ok_or_else(error)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { port } => write!(f, "{port}"),
            Self::Tcp { host, port } => write!(f, "{port}@{host}"),
        }
    }
}

/// For what takes the notation, as a [`Connector`](crate::Connector) does.
impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Result<Address, AddressError> {
        Ok(Address::Tcp { host: host.to_owned(), port })
    }

    #[test]
    fn the_two_forms_are_read_and_shown_alike() {
        assert_eq!("".parse(), Ok(Address::Unix { port: 4803 }));
        assert_eq!("4803".parse(), Ok(Address::Unix { port: 4803 }));
        assert_eq!("4803@host".parse::<Address>(), tcp("host", 4803));
        assert_eq!("4804@::1".parse::<Address>(), tcp("::1", 4804));
        assert_eq!("4804@[::1]".parse::<Address>(), tcp("::1", 4804));
        assert_eq!("4803@fe80::1%eth0".parse::<Address>(), tcp("fe80::1%eth0", 4803));
        for text in ["4803", "4803@host", "65535@10.0.0.1"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_not_of_that_form_is_refused() {
        for text in
            ["localhost:4803", "host", "4803:localhost", "1:2", "+4803", "65536", "0", "@host", " 4803"]
        {
            assert!(matches!(text.parse::<Address>(), Err(AddressError::NotAPort(_))), "{text}");
        }
        let long = format!("4803@{}", "x".repeat(256));
        for text in ["4803@", "4803@a b", "4803@a@b", &long] {
            assert!(matches!(text.parse::<Address>(), Err(AddressError::NotAHost(_))), "{text}");
        }
    }
}
