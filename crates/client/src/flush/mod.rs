//! Virtual synchrony: closed groups, and every message delivered in the view in which it was sent.
//!
//! The layer works on top of a session and needs nothing new of the daemon. When a group changes,
//! its members get an [`Event::FlushRequest`], send what they still have to send, and answer with
//! `flush`; from then until the next [`Event::View`] they cannot send to the group. The view is
//! installed when all its members have flushed. Programs that use the existing flush library and
//! programs that use this one can be members of one group.
//!
//! ```no_run
//! use antiphon::ServiceLevel;
//! use antiphon::flush::{Connection, Event};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut connection = Connection::new(antiphon::Connection::connect("4803@localhost", "alice")?);
//! connection.set_flush_limit(Some(std::time::Duration::from_secs(10)));
//! connection.join("replicas")?;
//! loop {
//!     match connection.receive()? {
//!         Event::FlushRequest(group) => connection.flush(group)?,
//!         Event::View(view) => connection.multicast(ServiceLevel::Agreed, view.group, 0, "state")?,
//!         Event::Message { message, .. } => println!("{}: {:?}", message.sender, message.body),
//!         Event::Overdue(group) => return Err(format!("{group} did not wait for us").into()),
//!         Event::Transition(_) | Event::SelfLeave(_) | Event::Outside(_) => {}
//!     }
//! }
//! # }
//! ```
//!
//! A member that does not flush holds everyone up, and nobody can make it: the daemon knows nothing of
//! flushing, and members that went on without it would not all have the same view. So each member sees
//! to itself: with [`Connection::set_flush_limit`] a program that takes too long leaves the group by
//! itself, which the others, also those with the existing flush library, see as any leave. That needs a
//! program that still receives. One that does not is cut off by its daemon for reading too slowly, if
//! enough is sent to it; one that uses the existing library has no limit.
//!
//! [`Layer`] is the layer without sockets, [`Connection`] drives it over a blocking connection, which one thread
//! both reads and writes. Programs that use tokio, or that receive in one thread and send in another, drive a [`Layer`]
//! themselves: events go in, what is to be sent comes out.

mod connection;
mod group;
mod layer;
pub mod mutant;
mod wire;

use antiphon_wire::client::membership::GroupId;
use antiphon_wire::names::{GroupName, MemberName, NameError};
use antiphon_wire::service::ServiceLevel;
use thiserror::Error;

pub use self::connection::Connection;
pub use self::layer::Layer;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::message::{Change, Message};

/// Requests that may wait for a daemon that takes nothing, although it sends more to answer. With more, the
/// session is of no use.
pub const ANSWERS_LIMIT_BYTES: usize = 16 << 20;

/// What the program is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A message of a member of the group's view.
    Message {
        /// The group; a subgroup cast names only its receivers in the message.
        group: GroupName,
        /// The message.
        message: Message,
    },
    /// The group is about to change: send what belongs in this view, then flush.
    FlushRequest(GroupName),
    /// The next view.
    View(View),
    /// Members of the view became unreachable: its ordinary promises end. At most once for a view.
    Transition(GroupName),
    /// The program did not flush in time (see [`Layer::set_flush_limit`]): this client leaves the
    /// group, and can do nothing more in it. [`Event::SelfLeave`] follows.
    Overdue(GroupName),
    /// This client is out of the group, as it requested, or as its flush was overdue.
    SelfLeave(GroupName),
    /// A message that was not sent through a flush layer: to this client's private group, or to
    /// several groups.
    Outside(Message),
}

/// Who is in a group, after all members have flushed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The group.
    pub group: GroupName,
    /// Identity of the view.
    pub id: GroupId,
    /// What changed the group; [`Change::Network`] also when several changes came at once.
    pub change: Change,
    /// All members, in the same order at each of them.
    pub members: Vec<MemberName>,
    /// The members that came here together with this client, itself included: they have delivered the
    /// same messages in the view before.
    pub came_along: Vec<MemberName>,
}

/// Whether this client gets what it sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnCopy {
    /// As every member of the group.
    Delivered,
    /// It goes without.
    Discarded,
}

/// What the layer wants the daemon to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Join a group.
    Join(GroupName),
    /// Leave a group.
    Leave(GroupName),
    /// Send a message.
    Send(Envelope, Vec<u8>),
}

impl Request {
    fn flush_ok(group: GroupName, id: GroupId) -> Self {
        Self::about(group, wire::FLUSH_OK, id)
    }

    fn flush_recv(group: GroupName, id: GroupId) -> Self {
        Self::about(group, wire::FLUSH_RECV, id)
    }

    fn about(group: GroupName, message_type: i16, id: GroupId) -> Self {
        let mut body = Vec::new();
        wire::put_id(&mut body, id);
        Self::Send(Envelope::for_group(ServiceLevel::Fifo, group).message_type(message_type), body)
    }
}

/// Why a call of the flush layer failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The connection or the message.
    #[error(transparent)]
    Connection(#[from] Error),
    /// A name is not legal.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Only members send, flush and leave: from the first view until leaving.
    #[error("this client is not a member of the group: join it, and wait for its first view")]
    NotAMember,
    /// Nothing can be delivered in a view that never comes.
    #[error("the connection receives no membership, which the flush layer is made of: connect with it")]
    NoMembership,
    /// A group can be joined once.
    #[error(
        "this client is in the group, or on its way in or out: leave it, and wait for the end, to join it again"
    )]
    AlreadyInvolved,
    /// A private group belongs to one client.
    #[error("a private group cannot be joined, only sent to")]
    PrivateGroup,
    /// Flushing answers a request.
    #[error("no flush was requested in the group: wait for a flush request")]
    NotRequested,
    /// Nothing can be sent between flush and view.
    #[error("this client has flushed; it can send again in the next view")]
    Flushed,
    /// Receivers must be members of the view.
    #[error("{0} is not in the view")]
    NotInView(MemberName),
    /// The lowest message types are the layer's own.
    #[error("message type {0} is reserved, the lowest that can be used is {lowest}", lowest = wire::MARKED + 1)]
    ReservedType(i16),
    /// Other members send more than can be kept for a view that is not installed yet.
    #[error("too many messages for a view that is not installed yet")]
    TooManyHeld,
    /// The layer answers most views, and the daemon sends view after view but takes no answers.
    #[error(
        "the daemon takes no answers to its views, and more than {ANSWERS_LIMIT_BYTES} bytes of them wait"
    )]
    TooManyAnswers,
}

#[cfg(test)]
mod tests;
