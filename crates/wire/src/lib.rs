//! Vocabulary and byte formats of Antiphon.
//!
//! | module | what |
//! |---|---|
//! | [`ids`] | who and where: daemons, their incarnations, rings, sequence numbers |
//! | [`names`] | private, daemon, group and member names, checked when they are made |
//! | [`service`] | the six service levels and the flag word of the client protocol |
//! | [`reader`] | the cursor that every decoder of this crate reads through |
//! | [`client`] | the client protocol: handshake, 48-byte header, frames, membership bodies |
//! | [`ring`] | the datagrams between daemons |
//! | [`monitor`] | what monitor programs ask daemons for, and the report that they get |
//!
//! One rule for the whole crate: no function here panics or allocates without bound, whatever the
//! input. Bytes from outside become a value or a [`reader::DecodeError`].

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod client;
pub mod ids;
pub mod monitor;
pub mod names;
pub mod reader;
pub mod ring;
pub mod service;
