//! Connections that are opened anew when they end, and say what may have been missed.
//!
//! A [`Reconnecting`] works as a [`Connection`](crate::Connection), until its daemon dies or the network
//! fails. Then it connects again, to the first of its daemons that answers, joins its groups, and
//! delivers an [`Event::Gap`]. From the end of the old session until the program has received the gap,
//! nothing can be sent ([`Error::Interrupted`]): what the program says may
//! rest on what is no longer so.
//!
//! ```no_run
//! use antiphon::Connector;
//! use antiphon::reconnect::{Backoff, Event, Reconnecting};
//!
//! # fn main() -> Result<(), antiphon::Error> {
//! let connector = Connector::new("4803@db1").or("4803@db2").name("alice");
//! let mut connection = Reconnecting::open(connector, Backoff::default())?;
//! connection.join("orders")?;
//! loop {
//!     match connection.receive()? {
//!         Event::Delivered(event) => println!("{event:?}"),
//!         Event::Gap(gap) => println!("{gap:?}: fetch the state of each group from its members"),
//!     }
//! }
//! # }
//! ```
//!
//! What a gap means: the client left its groups for the others (they saw a disconnect), and comes
//! back as a new member, perhaps with another name. Messages and views in between are missing. State
//! that was built from messages has to be fetched from a member again; see the
//! [guide](crate::guide#losing-the-daemon).
//!
//! Who only sends has to receive too, or it never gets the gap: [`Reconnecting::receive_timeout`] with zero takes
//! what is there. While the session is lost it also makes the attempt that is due, which may take as long as
//! [`Connector::timeout`](crate::Connector::timeout) allows for each daemon.
//!
//! `tokio::Reconnecting` is the same for programs that use tokio. [`Continuity`] and [`Backoff`] are
//! the parts without sockets.

mod backoff;
mod continuity;
mod reconnecting;
mod succession;
mod unconfirmed;

use antiphon_wire::names::{GroupName, MemberName};

pub use self::backoff::Backoff;
pub(crate) use self::backoff::Outage;
pub use self::continuity::Continuity;
pub use self::reconnecting::Reconnecting;
pub(crate) use self::succession::Succession;
use crate::error::Error;
use crate::message::{self, View};

/// What a connection that is opened anew delivers.
#[derive(Debug)]
pub enum Event {
    /// What the daemon delivers.
    Delivered(message::Event),
    /// The session ended, and this is another one.
    Gap(Gap),
}

/// What may have been missed between two sessions.
#[derive(Debug)]
pub struct Gap {
    /// Why the session ended.
    pub cause: Error,
    /// The name of this client in the session that ended.
    pub before: MemberName,
    /// Its name from now on.
    pub now: MemberName,
    /// The groups that it was in or had asked to join. They are joined again; the view of each that
    /// comes next says that. What was sent to them, and who came and went, in between is not known.
    pub groups: Vec<Rejoined>,
    /// The groups that it had asked to leave. They are left, without [`message::Event::SelfLeave`].
    pub left: Vec<GroupName>,
    /// Messages of this client that may have been lost: all that did not come back to it, and were not
    /// followed by one that did. Those that never come back, because the client is in none of their
    /// groups or discards its own, are counted too.
    pub unconfirmed: u64,
}

/// A group that is joined again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejoined {
    /// The group.
    pub group: GroupName,
    /// The last view that was received, to compare with the next one; `None` if there was none.
    pub last_view: Option<View>,
}

impl Gap {
    /// Whether messages of this client may have been lost.
    #[must_use]
    pub fn may_have_lost_sends(&self) -> bool {
        self.unconfirmed > 0
    }
}

#[cfg(test)]
pub(crate) mod tests;
