//! The ordered stream between the two halves of the core.
//!
//! Ring and membership produce one stream of [`Delivery`]; groups and sessions are functions of it.
//! Extended virtual synchrony is a property of this stream and nothing else.

pub(crate) mod stream;
mod unfinished;

use antiphon_wire::ids::{ProcessId, RingId, Seq};
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;

/// Messages of fewer bytes are copied by whoever keeps them for a client, so that until then they may share memory.
pub(crate) const SMALL_BYTES: usize = 2048;

/// One element of the ordered stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// A message, and where it stood.
    Message(Message, Place),
    /// A configuration change.
    Configuration(Configuration),
}

/// Where a message stood in its ring's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The packet that carried its end.
    pub seq: Seq,
    /// Which of the messages that end in that packet, from 0.
    pub index: u16,
    /// Whether it was taken on arrival, outside the order.
    pub early: bool,
}

/// A message as some daemon's client or groups layer sent it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The daemon process that put it on the ring.
    pub sender: ProcessId,
    /// What sort of message.
    pub kind: Kind,
    /// Its service level.
    pub service: ServiceLevel,
    /// Beginning of a multicast that came without it; else empty.
    pub preamble: Bytes,
    /// Its bytes, as its kind has them, behind the preamble.
    pub bytes: Bytes,
}

/// What sort of message it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A multicast of a client, packed ([`antiphon_wire::ring::multicast`]).
    Client = 0,
    /// A session joins a group.
    Join = 1,
    /// A session leaves a group.
    Leave = 2,
    /// A session is gone.
    Disconnect = 3,
    /// A part of a daemon's groups, sent after a configuration change.
    Groups = 4,
}

impl Kind {
    /// The kind of that number on the wire.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Client, Self::Join, Self::Leave, Self::Disconnect, Self::Groups]
            .get(usize::from(number))
            .copied()
    }
}

/// A set of daemon processes that are connected to each other, as the stream announces it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Configuration {
    /// The members of a new ring. Everything sent from here on is sent in it.
    Regular {
        /// The ring.
        ring: RingId,
        /// Its members, in daemon order.
        members: Vec<ProcessId>,
        /// Whether every member comes from the same old ring, so that all of them share one history.
        all_from_one_ring: bool,
    },
    /// The members of the old ring that go on to the new one together. What follows up to the next
    /// regular configuration has only their guarantees.
    Transitional {
        /// The ring that ends.
        old: RingId,
        /// The ring to come.
        new: RingId,
        /// Who comes along, in daemon order.
        members: Vec<ProcessId>,
    },
}

impl Configuration {
    /// The members, in daemon order.
    #[must_use]
    pub fn members(&self) -> &[ProcessId] {
        match self {
            Self::Regular { members, .. } | Self::Transitional { members, .. } => members,
        }
    }
}
