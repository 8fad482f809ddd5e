//! What a run leaves behind, and all that the checkers see.
//!
//! Records are small: a frame is kept as its hash. There is one [`ProcessTrace`] for each run of a
//! daemon, filled from the core's own trace at the upper boundary of the ordering protocol, and one
//! [`SessionTrace`] for each client connection, filled by the simulated client from the bytes it
//! read.

use std::time::Duration;

use antiphon::{flush, message};
use antiphon_proto::CloseReason;
use antiphon_proto::delivery::{Configuration, Kind};
use antiphon_proto::time::Instant;
use antiphon_wire::client::flags::ReplyCode;
use antiphon_wire::client::membership::{GroupId, View};
use antiphon_wire::ids::{ProcessId, RingId, Seq};
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::service::ServiceLevel;

/// A whole run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Every run of every daemon, in the order in which they booted.
    pub processes: Vec<ProcessTrace>,
    /// Every connection, in the order in which they were opened.
    pub sessions: Vec<SessionTrace>,
    /// Every multicast that a client sent.
    pub submissions: Vec<Submission>,
    /// Every connection whose client uses the flush layer.
    pub flushes: Vec<FlushTrace>,
    /// Faults and other doings of the world, for people.
    pub remarks: Vec<(Instant, String)>,
    /// How the run ended.
    pub ending: Ending,
}

/// How a run ended, which says what must have happened by then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// In the middle; nothing is due.
    #[default]
    Cut,
    /// After a quiet phase with all links good and every host up.
    Healed {
        /// When the last fault ended.
        healed: Instant,
        /// When one ring of all daemons must have been installed.
        converged: Instant,
        /// The end of the run.
        end: Instant,
        /// Datagrams sent by all daemons in the last second of the run.
        idle_datagrams: u64,
        /// How many of them are no sign of anything wrong.
        idle_budget: u64,
        /// What daemons still kept at the end.
        leftovers: Vec<Leftover>,
    },
    /// After a quiet phase with links frozen in some pattern.
    Frozen {
        /// For each daemon, to whom its datagrams get through.
        reaches: Vec<Vec<bool>>,
        /// From when on no configuration may change.
        stable: Instant,
        /// The end of the run.
        end: Instant,
    },
}

/// What a daemon keeps for others, for its clients or for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The daemon, as a position in [`Trace::processes`].
    pub process: usize,
    /// Packets that some member may still need.
    pub packets: usize,
    /// Messages that wait for the token.
    pub messages: usize,
    /// Messages of which the end has not come.
    pub unfinished: usize,
    /// Sessions that have not been given everything.
    pub behind: usize,
}

/// One run of one daemon.
#[derive(Clone, Debug)]
pub struct ProcessTrace {
    /// Who.
    pub process: ProcessId,
    /// What it did, in order.
    pub records: Vec<(Instant, ProcessEvent)>,
    /// When it crashed or stopped, if it did.
    pub ended: Option<Instant>,
}

/// One record of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// A message got its number.
    Originated(Stamp),
    /// A message was delivered in the configuration last recorded.
    Delivered {
        /// Who sent it, as the deliverer believes.
        sender: ProcessId,
        /// The message.
        stamp: Stamp,
        /// Whether it was delivered on arrival, outside the order.
        early: bool,
    },
    /// A configuration was delivered.
    Configured(Configuration),
    /// The groups exchange of the ring is complete.
    Settled(RingId),
    /// The table of groups after a message, or when the groups exchange was complete.
    Table {
        /// The ring.
        ring: RingId,
        /// The place of the message.
        place: Option<(Seq, u16)>,
        /// Hash of the table.
        hash: u64,
    },
    /// A session was accepted; a position in [`Trace::sessions`].
    Accepted(usize),
    /// The daemon closed a connection, for that reason; a position in [`Trace::sessions`].
    Closed(usize, CloseReason),
}

/// Identity and content of a message at the daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The ring that orders it.
    pub ring: RingId,
    /// The packet that carries its end.
    pub seq: Seq,
    /// Which of the messages that end in that packet.
    pub index: u16,
    /// What sort of message.
    pub kind: Kind,
    /// Its service level.
    pub service: ServiceLevel,
    /// Hash of its bytes.
    pub hash: u64,
    /// The multicast it carries, as a position in [`Trace::submissions`].
    pub submission: Option<usize>,
}

impl Stamp {
    /// The place in the order of its ring.
    #[must_use]
    pub fn place(&self) -> (Seq, u16) {
        (self.seq, self.index)
    }

    /// Whether the message has a place in the total order.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.service.is_ordered()
    }
}

/// A multicast of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The connection that sent it, as a position in [`Trace::sessions`].
    pub session: usize,
    /// Its service level.
    pub service: ServiceLevel,
    /// The groups it was sent to, as sent.
    pub groups: Vec<GroupName>,
    /// Whether the sender wanted no copy.
    pub self_discard: bool,
    /// Bytes of body.
    pub body_bytes: usize,
}

impl Submission {
    /// Whether that connection sent it and wants no copy.
    pub(crate) fn is_discarded_by(&self, session: usize) -> bool {
        self.self_discard && self.session == session
    }
}

/// One connection of a client.
#[derive(Clone, Debug)]
pub struct SessionTrace {
    /// The name it asked for.
    pub name: MemberName,
    /// The daemon process that serves it, as a position in [`Trace::processes`].
    pub process: usize,
    /// When the client connected.
    pub opened: Instant,
    /// Whether it asked for membership messages.
    pub wants_views: bool,
    /// Whether its socket and the limit of what may wait for it are so small that it may seem slow although
    /// it reads.
    pub has_little_room: bool,
    /// What it did and saw, in order.
    pub records: Vec<(Instant, SessionEvent)>,
}

impl SessionTrace {
    /// A connection of which nothing has happened yet.
    #[must_use]
    pub fn new(name: MemberName, process: usize, opened: Instant, wants_views: bool) -> Self {
        Self { name, process, opened, wants_views, has_little_room: false, records: Vec::new() }
    }
}

/// One record of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The handshake is complete.
    Accepted,
    /// The handshake was refused.
    Refused(ReplyCode),
    /// The client asked to join.
    Joining(GroupName),
    /// The client asked to leave.
    Leaving(GroupName),
    /// The client sent the multicast of that position in [`Trace::submissions`].
    Sent(usize),
    /// The client asked to disconnect, or closed its connection.
    Disconnecting,
    /// The client stopped reading for a while.
    Napping,
    /// The client read a message.
    Message(Received),
    /// The client read a view.
    View(Box<View>),
    /// The client read a transitional signal, which names the last view of the group.
    Signal(GroupName, GroupId),
    /// The client read that it left.
    Left(GroupName),
    /// The client read bytes that are not what a daemon may send.
    Garbage(String),
    /// The connection was closed by the daemon, for that reason, or by its crash.
    Closed(Option<CloseReason>),
}

/// What the flush layer told the client of one connection, and what the client did with it. The
/// connection itself has nothing but its beginning and its end in [`Trace::sessions`].
#[derive(Clone, Debug)]
pub struct FlushTrace {
    /// The connection, as a position in [`Trace::sessions`].
    pub session: usize,
    /// How long it may take to flush, if its layer has a limit.
    pub limit: Option<Duration>,
    /// What happened in which group, in order.
    pub records: Vec<(Instant, GroupName, FlushEvent)>,
}

/// One record of a client with the flush layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlushEvent {
    /// The client joined.
    Joining,
    /// The client left.
    Leaving,
    /// The client was asked to flush.
    Requested,
    /// The client flushed.
    Flushed,
    /// The client sent the message of that number, which no other has.
    Sent(u64),
    /// The client was given the message of that number and sender.
    Message(u64, MemberName),
    /// The client was given a view.
    View(Box<flush::View>),
    /// The daemon told of a change, which the layer turns into a view when all have flushed.
    Change(Box<message::View>),
    /// The client was told that members became unreachable.
    Transition,
    /// The layer left the group, as the client did not flush in time.
    Overdue,
    /// The client was told that it is out of the group.
    Left,
}

/// A multicast as a client read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which multicast, by sender name and message type; a position in [`Trace::submissions`].
    pub submission: usize,
    /// Whether service, flags, groups and body are what was sent.
    pub intact: bool,
}
