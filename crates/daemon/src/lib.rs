//! The Antiphon daemon: configuration, sockets, clock and the loop around the core.

pub mod conf;
mod error;
mod transport;

pub use error::StartError;
pub use transport::{LinkFilter, TransportStats};
