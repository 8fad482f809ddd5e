//! What goes into a [`crate::Node`] and what comes out.

use std::net::IpAddr;
use std::sync::Arc;

use antiphon_wire::client::flags::ReplyCode;
use antiphon_wire::ids::{ClusterHash, DaemonId, ProcessId, RingId, Seq, SessionId};
use antiphon_wire::monitor::WindowChange;
use antiphon_wire::names::MemberName;
use antiphon_wire::ring::DatagramKind;
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;

use crate::config::Cluster;
use crate::delivery::{Configuration, Kind};
use crate::stats::StateName;

/// Everything that can happen to a daemon.
#[derive(Clone, Debug)]
pub enum Input {
    /// One datagram as received; the core decodes it and counts what is malformed.
    Datagram(Bytes),
    /// A client connected. The host must never use the number again.
    SessionOpened(SessionId, Origin),
    /// Bytes that a client sent, cut anywhere.
    SessionBytes(SessionId, Bytes),
    /// The client closed the connection, or it broke.
    SessionClosed(SessionId),
    /// The deadline of [`crate::Node::next_timeout`] has come.
    Timeout,
    /// All outboxes that had something were offered to their sockets: what waits for that, as
    /// [`crate::Node::awaits_offers`] says, goes on.
    OutboxesOffered,
    /// Rounds begin anew with these windows, as if they had been configured. For an operator; daemons of a ring
    /// with different ones do no harm.
    SetWindows(WindowChange),
    /// The configuration has another list of daemons: the present one with more at its end, or without some of
    /// those there; any other is ignored. It takes effect with [`Event::Reloaded`], once all members of the ring were
    /// given the same. The present one takes back what has not taken effect.
    Reload(Cluster),
    /// Leave the ring cleanly. [`Event::Stopped`] says when it is done.
    Shutdown,
}

/// Where a client connected from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Over the Unix stream socket.
    Unix,
    /// Over TCP, from that address.
    Tcp(IpAddr),
}

/// Everything that a daemon wants done, in order. The caller acts on it and clears it.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Datagrams, in exactly the order in which they must leave.
    pub transmits: Vec<Transmit>,
    /// Sessions whose outbox was empty and is no longer, or which wait to be closed once it is.
    pub dirty: Vec<SessionId>,
    /// Sessions to close: write what the outbox still holds if that is possible without waiting,
    /// then close. No [`Input::SessionClosed`] is expected for them.
    pub closed: Vec<(SessionId, CloseReason)>,
    /// What happened, for logs, metrics and people.
    pub events: Vec<Event>,
    /// The protocol's own trace, recorded only when the caller put a vector here.
    pub trace: Option<Vec<Trace>>,
}

impl Outputs {
    /// Empties everything but keeps the memory, and goes on tracing if it was.
    pub fn clear(&mut self) {
        self.transmits.clear();
        self.dirty.clear();
        self.closed.clear();
        self.events.clear();
        if let Some(trace) = &mut self.trace {
            trace.clear();
        }
    }

    pub(crate) fn record(&mut self, trace: impl FnOnce() -> Trace) {
        if let Some(records) = &mut self.trace {
            records.push(trace());
        }
    }
}

/// One or more datagrams to one target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Who is meant.
    pub to: Target,
    /// Which socket it must arrive at.
    pub channel: Channel,
    /// The datagrams, one after the other.
    pub burst: Bytes,
    /// Size of each datagram in `burst`; only the last may be shorter.
    pub segment_bytes: usize,
}

impl Transmit {
    /// One datagram.
    pub(crate) fn one(to: Target, channel: Channel, datagram: Bytes) -> Self {
        Self { to, channel, segment_bytes: datagram.len(), burst: datagram }
    }

    /// The datagrams, which share the memory of the burst.
    pub fn datagrams(&self) -> impl Iterator<Item = Bytes> + use<> {
        let (mut rest, segment_bytes) = (self.burst.clone(), self.segment_bytes);
        std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| rest.split_to(segment_bytes.clamp(1, rest.len())))
        })
    }
}

/// Receiver of a [`Transmit`]. The core knows daemons, never addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Each of these daemons; never the sender itself. By multicast or broadcast where they share a segment.
    Each(Arc<[DaemonId]>),
    /// One daemon.
    One(DaemonId),
}

impl Target {
    /// All daemons that are meant.
    #[must_use]
    pub fn daemons(&self) -> &[DaemonId] {
        match self {
            Self::Each(daemons) => daemons,
            Self::One(daemon) => std::slice::from_ref(daemon),
        }
    }
}

/// The two kinds of datagrams, each with its socket. Keeping the token apart from data lets the receiver choose which
/// to read first (CNDS-2014-2 §III-C), and keeps a flood of data from displacing the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Channel {
    /// Packets, and the gossip that must travel the same way as packets.
    Data,
    /// The token and the steps of membership, always to one daemon.
    Control,
}

/// Why a session was closed by the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// The client asked for it.
    Disconnected,
    /// The handshake was refused with this reply code.
    Refused(ReplyCode),
    /// The handshake was not finished in time.
    HandshakeTimeout,
    /// The client broke the protocol; the text says how.
    ProtocolError(&'static str),
    /// The client reads too slowly: its outbox passed the configured limit.
    SlowReader,
    /// What all clients together have not read, or have sent of requests that are not whole, takes more memory than
    /// the configured limit, and this one has the most of it.
    OutboxesFull,
    /// The daemon is leaving.
    Shutdown,
    /// The client was the one that closed, without a goodbye. Only in [`Event::SessionClosed`].
    HungUp,
    /// The same before its handshake was finished.
    HungUpEarly,
}

/// Something that an operator may want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Membership left one state for another.
    MembershipState {
        /// The state left.
        from: StateName,
        /// The state entered.
        to: StateName,
        /// Why, in words: what was missed, from whom.
        reason: String,
    },
    /// A regular configuration was installed.
    Installed {
        /// The ring that carries it.
        ring: RingId,
        /// Its members in order.
        members: Vec<ProcessId>,
        /// Why the ring before was left, and each step since.
        reasons: Vec<String>,
    },
    /// The groups exchange of the current ring is complete, and clients may send.
    Settled {
        /// The ring whose groups are known.
        ring: RingId,
    },
    /// A client finished its handshake.
    SessionAccepted(SessionId, MemberName),
    /// A session was closed by the daemon.
    SessionClosed(SessionId, Option<MemberName>, CloseReason),
    /// Another live process uses this daemon's place in the configuration.
    DuplicateDaemon(ProcessId),
    /// That process's gossip arrives, but nothing that it tells to this one alone, if it tells it anything.
    OnlyHeard(ProcessId),
    /// What a process tells to this one alone arrives, but not its gossip.
    OnlyTold(ProcessId),
    /// The list of daemons that came with [`Input::Reload`] has taken effect: others may be heard, and are to be
    /// reached, from now on.
    Reloaded {
        /// Its hash.
        cluster: ClusterHash,
    },
    /// A daemon with a different configuration was heard.
    ForeignCluster {
        /// Its configuration hash.
        cluster: ClusterHash,
    },
    /// A daemon of this cluster that speaks another version of the protocol was heard.
    ForeignVersion {
        /// Its version.
        version: u8,
    },
    /// A step of membership that needs more pieces than a datagram may have was not sent. Each kind is
    /// reported once.
    DatagramTooLong {
        /// Which step.
        kind: DatagramKind,
        /// Its length.
        bytes: usize,
    },
    /// The goodbye was said; the host may stop.
    Stopped,
}

/// What the checker of the simulator reads: the upper boundary of the ordering protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trace {
    /// A message got its place in the order of `ring` (the moment its last chunk was numbered).
    Originated {
        /// The ring.
        ring: RingId,
        /// The packet that carries the end of the message.
        seq: Seq,
        /// Which of the messages that end in that packet, from 0.
        index: u16,
        /// What sort of message.
        kind: Kind,
        /// Its service level.
        service: ServiceLevel,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A message was delivered, in the configuration that was last recorded.
    Delivered {
        /// Who sent it.
        sender: ProcessId,
        /// The packet that carried the end of the message.
        seq: Seq,
        /// Which of the messages that end in that packet, from 0.
        index: u16,
        /// What sort of message.
        kind: Kind,
        /// Its service level.
        service: ServiceLevel,
        /// Its bytes.
        bytes: Bytes,
        /// Whether it was delivered on arrival, outside the order.
        early: bool,
    },
    /// A configuration was delivered.
    Configured(Configuration),
    /// The groups were settled, or a session joined, left or ended, and the table of groups is now this.
    Table {
        /// The ring.
        ring: RingId,
        /// The message that changed it; `None` when the groups were settled.
        place: Option<(Seq, u16)>,
        /// Hash of all groups with ids, marks and members.
        hash: u64,
    },
}
