//! The deterministic core of Antiphon: everything above the sockets of one daemon.
//!
//! # The contract
//!
//! A [`Node`] is one daemon. It has no clock, socket, thread, file or random source. **Call
//! [`Node::handle`] with `now` that never decreases; when it returns, [`Outputs`] is complete; act
//! on it in order before blocking; call again with [`Input::Timeout`] when the deadline of
//! [`Node::next_timeout`] has come, and with [`Input::GoOn`] when the outboxes have been offered to their sockets if
//! [`Node::awaits_offers`].** The same inputs at the same times give the same outputs, byte
//! for byte.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]
pub mod config;
mod cx;
pub mod delivery;
mod groups;
pub mod io;
mod membership;
pub mod mutant;
mod node;
mod patience;
mod payload;
mod preambles;
mod ring;
mod send_queue;
mod sessions;
mod stats;
pub mod time;

pub use io::{Channel, CloseReason, Event, Input, Origin, Outputs, Target, Trace, Transmit};
pub use node::Node;
pub use sessions::Outbox;
pub use stats::{Behind, Stats, Status};
