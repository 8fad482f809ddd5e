//! Bits of the flag word, reply codes and limits of the client protocol.

use std::fmt;

/// All set: the word was written by a little-endian host. All clear: by a big-endian one. The
/// pattern survives a byte swap, so it can be read before the order is known.
pub const ENDIAN_MARK: u32 = 0x8000_0080;

/// The sender does not want its own copy.
pub const SELF_DISCARD: u32 = 0x0000_0040;

/// A member joined.
pub const CAUSED_BY_JOIN: u32 = 0x0000_0100;
/// A member left; alone, without [`REG_MEMB`], it tells the leaver that it is out.
pub const CAUSED_BY_LEAVE: u32 = 0x0000_0200;
/// A member's session ended.
pub const CAUSED_BY_DISCONNECT: u32 = 0x0000_0400;
/// Daemons became unreachable, or reachable again.
pub const CAUSED_BY_NETWORK: u32 = 0x0000_0800;
/// The four causes.
pub const CAUSE_MASK: u32 = 0x0000_0f00;
/// A view.
pub const REG_MEMB: u32 = 0x0000_1000;
/// A transitional signal.
pub const TRANSITION: u32 = 0x0000_2000;
/// Every bit of a membership message.
pub const MEMBERSHIP_MASK: u32 = 0x0000_3f00;

/// Request to join a group.
pub const JOIN: u32 = 0x0001_0000;
/// Request to leave a group.
pub const LEAVE: u32 = 0x0002_0000;
/// Request to end the session.
pub const KILL: u32 = 0x0004_0000;
/// The three requests that are not multicasts.
pub const REQUEST_MASK: u32 = JOIN | LEAVE | KILL;
/// Daemon-internal; a client that sends it is to be dropped.
pub const GROUPS_EXCHANGE: u32 = 0x0008_0000;
/// A refused request, back to its sender.
pub const REJECT: u32 = 0x0040_0000;
/// Meaningful only as an argument of the C library's receive; carried along when sent.
pub const DROP_RECV: u32 = 0x0100_0000;
/// The flush layer's mark of a cast to some of the members, whose body ends with the name of the group; carried along.
pub const SUBGROUP_CAST: u32 = 0x4000_0000;

/// Bytes of a frame before its groups.
pub const HEADER_BYTES: usize = 48;
/// Most groups that a message can be sent to.
pub const MAX_GROUPS: u32 = 100;
/// Most bytes that group fields and body of a message may have together.
pub const MAX_BODY_AND_GROUPS_BYTES: u32 = 143_952;
/// Port of a daemon that was not given another.
pub const DEFAULT_PORT: u16 = 4803;
/// Where a daemon's Unix socket lies unless told otherwise, as existing client libraries expect.
pub const UNIX_DIRECTORY: &str = "/tmp";

/// The byte with which a daemon answers a connection attempt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i8)]
pub enum ReplyCode {
    /// The session is open.
    Accept = 1,
    /// The daemon has as many sessions as it allows.
    Quota = -3,
    /// A name is required. Known daemons never send it.
    NoName = -4,
    /// The private name is too long or has a byte that is not allowed.
    IllegalName = -5,
    /// Another session of the daemon has the name.
    NotUnique = -6,
    /// The client's version is not served.
    Version = -7,
    /// An authentication method was not allowed, or not passed.
    Auth = -9,
}

impl ReplyCode {
    /// The code of that byte; `None` for one that the protocol does not know.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        let known = [
            Self::Accept,
            Self::Quota,
            Self::NoName,
            Self::IllegalName,
            Self::NotUnique,
            Self::Version,
            Self::Auth,
        ];
        known.into_iter().find(|code| code.to_byte() == byte)
    }

    /// The code as a signed number, as documentation names it.
    #[must_use]
    pub fn number(self) -> i8 {
        self as i8
    }

    /// The code as it stands on the wire.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        self.number().to_le_bytes()[0]
    }

    /// What the code means, in words for a person.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Accept => "the session was accepted",
            Self::Quota => "the daemon has as many sessions as it allows",
            Self::NoName => "the daemon requires a private name",
            Self::IllegalName => {
                "the private name is not allowed: it must have at most 10 characters from '$' to '~'"
            }
            Self::NotUnique => "the private name is in use on this daemon",
            Self::Version => "the daemon does not serve this client version",
            Self::Auth => "authentication failed, or its method is not allowed here",
        }
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.meaning(), self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_codes_are_signed_bytes() {
        assert_eq!(ReplyCode::from_byte(0xfb), Some(ReplyCode::IllegalName));
        assert_eq!(ReplyCode::Auth.to_byte(), 0xf7);
        assert_eq!(ReplyCode::from_byte(1), Some(ReplyCode::Accept));
        assert_eq!(ReplyCode::from_byte(0), None);
        assert_eq!(ReplyCode::from_byte(0xf8), None);
    }
}
