//! The deterministic core of Antiphon: everything above the sockets of one daemon.
//!
//! # The contract
//!
//! A [`Node`] is one daemon. It has no clock, socket, thread, file or random source. **Call
//! [`Node::handle`] with `now` that never decreases; when it returns, [`Outputs`] is complete; act
//! on it in order before blocking.** The same inputs at the same times give the same outputs, byte
//! for byte.
//!
//! The host
//!
//! - sends the `transmits` in their order;
//! - writes the outbox ([`Node::outbox`]) of each `dirty` session, advances it by what the socket took, says by
//!   [`Outbox::set_refused`] whether that was all, and goes on when the socket takes more: who does not say so never
//!   cuts off a client for its number of messages;
//! - writes what the outboxes of `closed` sessions have, as far as their sockets take it, and closes them;
//! - calls with [`Input::Timeout`] when the deadline of [`Node::next_timeout`] has come;
//! - calls with [`Input::OutboxesOffered`] when all outboxes were offered to their sockets, if [`Node::awaits_offers`], and
//!   leaves what other daemons sent unread meanwhile as long as [`Node::ring_may_wait`];
//! - reads no more of a session than [`Node::room_for`], and accepts clients only while
//!   [`Node::accepts_submissions`].

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]
pub mod config;
mod cx;
pub mod delivery;
mod groups;
pub mod io;
mod membership;
pub mod mutant;
mod name_hash;
mod node;
mod patience;
mod payload;
mod preambles;
mod reload;
mod ring;
mod send_queue;
mod sessions;
mod stats;
pub mod time;

pub use io::{Channel, CloseReason, Event, Input, Origin, Outputs, Target, Trace, Transmit};
pub use name_hash::NameHash;
pub use node::{Boot, Node};
pub use sessions::Outbox;
pub use stats::{Behind, NextCluster, Readers, StateName, Stats, Status};
