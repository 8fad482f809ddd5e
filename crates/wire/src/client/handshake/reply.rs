//! The client's side of the handshake.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use super::Version;
use crate::client::flags::ReplyCode;
use crate::names::{MemberName, NameError};

/// Why a connection attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ReplyError {
    /// The daemon refused the session.
    #[error("the daemon refused the session: {0}")]
    Refused(ReplyCode),
    /// The daemon answered with a byte that is neither an accept nor a known refusal.
    #[error("the daemon answered with the unknown reply code {0}")]
    UnknownCode(i8),
    /// The daemon's version byte is negative, or its version is below 3.1.
    #[error("the daemon reports version {}.{}.{}, versions from 3.1 on are expected", .0.major, .0.minor, .0.patch)]
    Version(Version),
    /// What the daemon calls the session is not a member name.
    #[error("the daemon gave the session an unusable name: {0}")]
    Name(#[from] NameError),
}

impl ReplyError {
    fn from_byte(byte: u8) -> Self {
        match ReplyCode::from_byte(byte) {
            Some(ReplyCode::Accept) | None => Self::UnknownCode(i8::from_le_bytes([byte])),
            Some(code) => Self::Refused(code),
        }
    }
}

/// What the daemon says when it opens a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accept {
    /// The daemon's version; patch 0 where it is not sent.
    pub daemon: Version,
    /// The session's name, `#private#daemon`.
    pub member: MemberName,
}

/// Reads the daemon's answers until the session is open. Bytes may come cut anywhere.
#[derive(Clone, Debug, Default)]
pub struct ReplyReader {
    buffer: BytesMut,
}

impl ReplyReader {
    /// A reader at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the connection.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the method list, the first answer to a client that
    /// [chooses](Version::chooses_auth): names separated by spaces. `None` when more bytes are needed.
    ///
    /// # Errors
    /// When a refusal stands in its place.
    pub fn method_list(&mut self) -> Result<Option<Bytes>, ReplyError> {
        let Some(length) = self.buffer.first().copied() else { return Ok(None) };
        if length >= 0x80 {
            return Err(ReplyError::from_byte(length));
        }
        if self.buffer.len() <= usize::from(length) {
            return Ok(None);
        }
        self.buffer.advance(1);
        Ok(Some(self.buffer.split_to(usize::from(length)).freeze()))
    }

    /// Takes the accept for a client of version `client`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When it is a refusal, or not an accept that a session can begin with.
    pub fn accept(&mut self, client: Version) -> Result<Option<Accept>, ReplyError> {
        let Some(code) = self.buffer.first().copied() else { return Ok(None) };
        if code != ReplyCode::Accept.to_byte() {
            return Err(ReplyError::from_byte(code));
        }
        let (major, minor) = (self.buffer.get(1).copied(), self.buffer.get(2).copied());
        let patch = if client.expects_patch() { self.buffer.get(3).copied() } else { Some(0) };
        let length_at = if client.expects_patch() { 4 } else { 3 };
        let (Some(major), Some(minor), Some(patch), Some(length)) =
            (major, minor, patch, self.buffer.get(length_at).copied())
        else {
            return Ok(None);
        };
        let daemon = checked_version(Version { major, minor, patch })?;
        let name_at = length_at + 1;
        let end = name_at + usize::from(length);
        let Some(name) = self.buffer.get(name_at..end) else { return Ok(None) };
        let member = MemberName::parse(name)?;
        self.buffer.advance(end);
        Ok(Some(Accept { daemon, member }))
    }

    /// What follows the handshake, for the frame reader.
    #[must_use]
    pub fn into_rest(self) -> Bytes {
        self.buffer.freeze()
    }
}

fn checked_version(version: Version) -> Result<Version, ReplyError> {
    let negative = [version.major, version.minor, version.patch].iter().any(|byte| *byte >= 0x80);
    if negative || !version.is_served() { Err(ReplyError::Version(version)) } else { Ok(version) }
}
