//! The connect handshake, for both sides.
//!
//! | step | direction | bytes | present |
//! |---|---|---|---|
//! | hello | client → | major, minor, \[patch\], flags, name length, name | always; patch from 3.15 on |
//! | method list | ← daemon | length, then method names, each followed by a space | from 3.16 on |
//! | auth choice | client → | three slots of 30 bytes, padded with NUL | from 3.16 on |
//! | accept | ← daemon | 1, major, minor, \[patch\], length, private group | patch from 3.15 on |
//! | refusal | ← daemon | one negative byte instead of whatever would come next | |
//!
//! A daemon reads with [`HelloReader`] and writes with [`encode_method_list`] and
//! [`encode_accept`]; a client writes with [`Hello::encode`] and [`AuthChoice::encode`] and reads with
//! [`ReplyReader`]. Each encoded step is to be sent in one write: some clients read it in one.

mod reply;
mod server;

use bytes::{BufMut, Bytes, BytesMut};

pub use self::reply::{Accept, ReplyError, ReplyReader};
pub use self::server::{HelloReader, encode_accept, encode_method_list};
use crate::names::PrivateName;

/// Bytes of an auth choice.
pub const AUTH_CHOICE_BYTES: usize = AUTH_SLOTS * AUTH_SLOT_BYTES;
/// Method names in an auth choice.
pub const AUTH_SLOTS: usize = 3;
/// Bytes of each of them, with padding.
pub const AUTH_SLOT_BYTES: usize = 30;

/// A way for clients to prove who they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AuthMethod {
    /// No proof.
    Null,
    /// The address that the connection comes from.
    Ip,
}

impl AuthMethod {
    /// All methods, in the order in which clients are told of them.
    pub const ALL: [Self; 2] = [Self::Null, Self::Ip];

    /// The name by which clients, daemons and configuration files know the method.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Ip => "IP",
        }
    }

    /// The method of that name.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name().as_bytes() == name)
    }
}

/// Version of a client library or a daemon. The three numbers decide what the handshake has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// First number.
    pub major: u8,
    /// Second number.
    pub minor: u8,
    /// Third number; 0 when it was not sent.
    pub patch: u8,
}

impl Version {
    /// The version that this implementation tells its peers, as client and as daemon.
    pub const REPORTED: Self = Self { major: 4, minor: 4, patch: 0 };

    /// The version as one number, by the rule of the protocol: 4.4.0 is 40400.
    #[must_use]
    pub fn number(self) -> u32 {
        self.release() + u32::from(self.patch)
    }

    /// Whether a client of this version is served at all: from 3.1 on.
    #[must_use]
    pub fn is_served(self) -> bool {
        self.number() >= 30_100
    }

    /// Whether the hello of such a client has a patch byte: from 3.15 on.
    #[must_use]
    pub fn sends_patch(self) -> bool {
        self.release() > 31_400
    }

    /// Whether the accept for such a client has a patch byte: from 3.15 on.
    #[must_use]
    pub fn expects_patch(self) -> bool {
        self.number() >= 31_500
    }

    /// Whether such a client chooses its authentication: from 3.16 on.
    #[must_use]
    pub fn chooses_auth(self) -> bool {
        self.number() >= 31_600
    }

    fn release(self) -> u32 {
        u32::from(self.major) * 10_000 + u32::from(self.minor) * 100
    }
}

/// The first thing that a client says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The client library's version.
    pub version: Version,
    /// Whether the client wants views, transitions and self-leaves.
    pub wants_membership: bool,
    /// 0 or 1 from known clients; without effect.
    pub priority: u8,
    /// The private name; without one the daemon makes one up.
    pub name: Option<PrivateName>,
}

impl Hello {
    /// The hello as one write.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let name = self.name.as_ref().map(PrivateName::as_bytes).unwrap_or_default();
        let mut out = BytesMut::with_capacity(5 + name.len());
        out.put_slice(&[self.version.major, self.version.minor]);
        if self.version.sends_patch() {
            out.put_u8(self.version.patch);
        }
        out.put_u8((self.priority & 0x07) << 4 | u8::from(self.wants_membership));
        // A private name has ten bytes at most, so its length is one byte.
        out.put_u8(name.len().to_le_bytes()[0]);
        out.put_slice(name);
        out.freeze()
    }
}

/// Which authentication methods a client wants to be checked by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthChoice {
    slots: [[u8; AUTH_SLOT_BYTES]; AUTH_SLOTS],
}

impl AuthChoice {
    /// A choice of up to [`AUTH_SLOTS`] methods with names shorter than [`AUTH_SLOT_BYTES`]; what
    /// exceeds that is left out.
    #[must_use]
    pub fn new(methods: &[&str]) -> Self {
        let mut slots = [[0; AUTH_SLOT_BYTES]; AUTH_SLOTS];
        for (slot, method) in slots.iter_mut().zip(methods) {
            for (to, from) in slot.iter_mut().zip(method.bytes().take(AUTH_SLOT_BYTES - 1)) {
                *to = from;
            }
        }
        Self { slots }
    }

    /// Reads a choice; any bytes are one.
    #[must_use]
    pub fn decode(bytes: &[u8; AUTH_CHOICE_BYTES]) -> Self {
        let mut slots = [[0; AUTH_SLOT_BYTES]; AUTH_SLOTS];
        for (slot, chunk) in slots.iter_mut().zip(bytes.as_chunks().0) {
            *slot = *chunk;
        }
        Self { slots }
    }

    /// Names of the methods, each up to its first NUL; empty slots are passed over.
    pub fn methods(&self) -> impl Iterator<Item = &[u8]> {
        let name = |slot| <[u8]>::split(slot, |byte| *byte == 0).next().unwrap_or_default();
        self.slots.iter().map(move |slot| name(slot)).filter(|name| !name.is_empty())
    }

    /// The choice as one write.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(self.slots.as_flattened())
    }
}

#[cfg(test)]
mod tests;
