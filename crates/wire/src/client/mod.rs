//! The client protocol, byte for byte as existing clients and daemons speak it;
//! docs/client-protocol.md says who says what when.
//!
//! | module | what |
//! |---|---|
//! | [`flags`] | bits of the flag word, reply codes, limits |
//! | [`header`] | the 48-byte header and its hint word, in either byte order |
//! | [`frame`] | frames out of a byte stream that is cut anywhere, and frames written |
//! | [`handshake`] | hello, method list, auth choice, accept and refusal, for both sides |
//! | [`membership`] | views, transitions and self-leaves |
//!
//! Byte order: everything written here is little-endian and carries the endian mark; everything
//! read may be in either order. The hint word belongs to the original sender and is never changed.

pub mod flags;
pub mod frame;
pub mod handshake;
pub mod header;
pub mod membership;

#[cfg(test)]
pub(crate) mod golden;
#[cfg(test)]
mod mutations;
