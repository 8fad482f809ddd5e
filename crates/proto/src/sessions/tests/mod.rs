//! Sessions of one daemon, fed byte by byte.

mod bench;
mod handshakes;
mod mutations;
mod outboxes;
mod requests;
