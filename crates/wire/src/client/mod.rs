//! The client protocol, byte for byte as existing clients and daemons speak it.
//!
//! | module | what | source |
//! |---|---|---|
//! | [`flags`] | bits of the flag word, reply codes, limits | client protocol §2.5, §3.2, §3.5 |
//! | [`header`] | the 48-byte header and its hint word, in either byte order | §3, §3.1, §3.3 |
//! | [`frame`] | frames out of a byte stream that is cut anywhere, and frames written | §3, §5.6 |
//! | [`handshake`] | hello, method list, auth choice, accept and refusal, for both sides | §2 |
//! | [`membership`] | views, transitions and self-leaves | §5.2 to §5.5 |
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
