//! The datagrams between daemons.

pub mod chunk;
