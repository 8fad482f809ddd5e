//! Client library for Antiphon and for every daemon that speaks the same client protocol.
//!
//! A client connects to one daemon, joins groups by name and multicasts messages to groups. All
//! members of a group receive the messages of one [`ServiceLevel`] or stronger in the promised order,
//! and learn from [`View`]s who the members are.
//!
//! ```no_run
//! use antiphon::{Connector, Event, ServiceLevel};
//!
//! # fn main() -> Result<(), antiphon::Error> {
//! let mut connection = Connector::new("4803@localhost").name("alice").connect()?;
//! connection.join("chat")?;
//! connection.multicast(ServiceLevel::Agreed, "chat", "hello")?;
//! loop {
//!     match connection.receive()? {
//!         Event::Message(message) => println!("{}: {:?}", message.sender, message.body),
//!         Event::View(view) => println!("{} has {} members", view.group, view.members.len()),
//!         Event::Transition(_) | Event::SelfLeave(_) | Event::Rejected(_) => {}
//!     }
//! }
//! # }
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`guide`] | choosing a service level, what a view means, surviving a partition |
//! | [`address`] | which daemon: `4803`, `4803@host` |
//! | [`blocking`] | [`Connector`] and [`Connection`] over TCP and Unix sockets |
//! | `tokio` | the same for programs that use tokio; needs the feature of that name |
//! | [`dial`] | sockets to daemons, for programs that shake hands by themselves |
//! | [`envelope`] | what goes with a body: service level, groups, message type |
//! | [`message`] | what is received: messages, views, transitions |
//! | [`session`] | the protocol without sockets, to drive from another event loop |
//! | [`reconnect`] | connections that are opened anew, and say what may have been missed |
//! | [`flush`] | virtual synchrony: messages delivered in the view in which they were sent |
//! | [`pace`] | when what was gathered is written, and how much may be on its way |
//! | [`patience`] | how long a daemon is waited for when a session ends |
//! | [`error`] | what can go wrong |

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod address;
pub mod blocking;
mod connector;
pub mod dial;
pub mod envelope;
pub mod error;
pub mod flush;
#[doc = include_str!("guide.md")]
pub mod guide {}
pub mod message;
pub mod pace;
pub mod patience;
pub mod reconnect;
pub mod session;
mod socket;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use antiphon_wire::client::flags::ReplyCode;
pub use antiphon_wire::client::handshake::Version;
pub use antiphon_wire::client::membership::{Cause, GroupId};
pub use antiphon_wire::names::{DaemonName, GroupName, MemberName, NameError, PrivateName};
pub use antiphon_wire::service::{ServiceLevel, ServiceLevelError};

pub use self::address::Address;
pub use self::blocking::{Connection, Receiver, Sender};
pub use self::connector::Connector;
pub use self::envelope::{Destination, Envelope};
pub use self::error::{Attempt, Error};
pub use self::message::{Change, Event, Message, Rejected, Transition, View};
pub use self::session::AuthMethod;
