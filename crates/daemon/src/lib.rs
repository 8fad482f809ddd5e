//! The Antiphon daemon: configuration, sockets, clock and the loop around the core.
//!
//! ```no_run
//! use antiphon_daemon::{Daemon, StopHandle, conf};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let loaded = conf::load(None, None)?;
//! let mut daemon = Daemon::bind(loaded.settings)?;
//! let stop = StopHandle::new(); // clone it, and call `stop` from another thread
//! daemon.run(&stop)?;
//! # Ok(())
//! # }
//! ```

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod buffers;
pub mod cli;
pub mod conf;
mod error;
mod log;
mod log_output;
mod monitor;
mod runtime;
pub mod status;
mod transport;

pub use error::StartError;
pub use runtime::{Daemon, LocalAddresses, StopHandle};
pub use transport::LinkFilter;
