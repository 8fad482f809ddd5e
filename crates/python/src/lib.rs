//! The native half of the Python package `antiphon`: the protocol without sockets.
//!
//! Python owns sockets, threads and event loops; this module turns bytes from the daemon into events
//! and requests into bytes, by the sans-IO session of crate [`antiphon`]. The package's two faces, one
//! that waits and one for asyncio, drive the same `Session`.
//!
//! | module | what |
//! |---|---|
//! | `session` | `Handshake` and `Session`, which have the state of the protocol |
//! | `lock` | `TimedLock`, which no signal handler leaves locked |
//! | `message` | `Message`, whose attributes are made when they are asked for |
//! | `event` | views and the other events, which are classes of the Python half |
//! | `error` | errors of the library become exceptions of the Python half |
//!
//! A session can be used by several threads. No lock is held while Python runs: other threads may
//! come in whenever it does.

mod error;
mod event;
mod lock;
mod message;
mod session;

use pyo3::prelude::*;

/// What the Python half imports.
#[pymodule]
mod _antiphon {
    use antiphon::Address;
    use pyo3::prelude::*;

    use crate::error::to_python;
    #[pymodule_export]
    use crate::lock::TimedLock;
    #[pymodule_export]
    use crate::message::Message;
    #[pymodule_export]
    use crate::session::{Handshake, Session};

    /// Reads the address of a daemon: its host, or `None` for the Unix socket, and its port.
    #[pyfunction]
    fn parse_address(text: &str) -> PyResult<(Option<String>, u16)> {
        match text.parse().map_err(|error: antiphon::address::AddressError| to_python(error.into()))? {
            Address::Unix { port } => Ok((None, port)),
            Address::Tcp { host, port } => Ok((Some(host), port)),
        }
    }
}
