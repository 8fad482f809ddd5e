//! The Antiphon daemon: configuration, sockets, clock and the loop around the core.
pub mod conf;
