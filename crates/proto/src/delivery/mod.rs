//! The ordered stream between the two halves of the core.
//!
//! Ring and membership produce one stream of messages and configurations; groups and sessions are functions of it.
//! Extended virtual synchrony is a property of this stream and nothing else.

pub(crate) mod stream;
mod unfinished;

use antiphon_wire::ids::{ProcessId, RingId, Seq};
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;

/// Messages of fewer bytes are copied by whoever keeps them for a client, so that until then they may share memory.
pub(crate) const SMALL_BYTES: usize = 2048;

/// One element of the ordered stream, lent to who takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Delivery<'a> {
    /// A message, and where it stood.
    Message(Message<'a>, Place),
    /// A configuration change.
    Configuration(&'a Configuration),
}

/// One that is kept until it is its turn.
#[derive(Clone, Debug)]
pub(crate) enum KeptDelivery {
    Message(KeptMessage, Place),
    Configuration(Configuration),
}

impl KeptDelivery {
    pub(crate) fn lend(&self) -> Delivery<'_> {
        match self {
            Self::Message(message, place) => Delivery::Message(message.lend(), *place),
            Self::Configuration(configuration) => Delivery::Configuration(configuration),
        }
    }
}

/// Where a message stood in its ring's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The packet that carried its end.
    pub(crate) seq: Seq,
    /// Which of the messages that end in that packet, from 0.
    pub(crate) index: u16,
    /// Whether it was taken on arrival, outside the order.
    pub(crate) early: bool,
}

/// A message as some daemon's client or groups layer sent it. Its bytes stay where they are: most daemons of a great
/// ring have nobody who reads them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// The daemon process that put it on the ring.
    pub(crate) sender: ProcessId,
    /// What sort of message.
    pub(crate) kind: Kind,
    /// Its service level.
    pub(crate) service: ServiceLevel,
    /// Beginning of a multicast that came without it; else empty.
    pub(crate) preamble: &'a Bytes,
    /// Its bytes, as its kind has them, behind the preamble.
    pub(crate) bytes: Lent<'a>,
}

/// A message that is kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptMessage {
    pub(crate) sender: ProcessId,
    pub(crate) kind: Kind,
    pub(crate) service: ServiceLevel,
    pub(crate) preamble: Bytes,
    pub(crate) bytes: Bytes,
}

impl KeptMessage {
    pub(crate) fn lend(&self) -> Message<'_> {
        let Self { sender, kind, service, preamble, bytes } = self;
        let (sender, kind, service, bytes) = (*sender, *kind, *service, Lent::whole(bytes));
        Message { sender, kind, service, preamble, bytes }
    }
}

/// A part of shared memory. To read it costs nothing; who keeps it takes a reference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lent<'a> {
    memory: &'a Bytes,
    part: &'a [u8],
}

impl<'a> Lent<'a> {
    /// All of it.
    pub(crate) fn whole(memory: &'a Bytes) -> Self {
        Self { memory, part: memory }
    }

    /// A part of `memory`, in which it lies.
    pub(crate) fn part(memory: &'a Bytes, part: &'a [u8]) -> Self {
        Self { memory, part }
    }

    /// A part of this one, in which it lies.
    pub(crate) fn narrowed(self, part: &'a [u8]) -> Self {
        Self { part, ..self }
    }

    /// The bytes.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.part
    }

    /// The bytes, for as long as one likes.
    pub(crate) fn keep(self) -> Bytes {
        self.memory.slice_ref(self.part)
    }
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
    /// What a daemon itself says to the others; the first byte says what about: 0 its groups, 1 its list of daemons.
    Daemon = 4,
}

/// What a daemon itself says to the others of its ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Saying {
    /// A part of its groups, after a configuration change.
    Groups = 0,
    /// Which list of daemons it has.
    Ready = 1,
}

impl Saying {
    /// Whether such a message is one of these.
    pub(crate) fn begins(self, bytes: &[u8]) -> bool {
        bytes.first() == Some(&(self as u8))
    }
}

impl Kind {
    /// The kind of that number on the wire.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Client, Self::Join, Self::Leave, Self::Disconnect, Self::Daemon]
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
