//! Sessions.

pub mod access;

/// Bytes owed to one client. Implements [`bytes::Buf`]: write what `chunk` (or `chunks_vectored`)
/// gives, then `advance`.
pub struct Outbox {}
