//! How sessions of this process authenticate: methods with functions of the program.

use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::sync::Mutex;

use antiphon_wire::client::handshake::{AUTH_SLOT_BYTES, AUTH_SLOTS};

use crate::layout::AuthFunction;
use crate::session::lock;

/// A method and the program's function that does what it needs beyond its name.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    name: String,
    /// `None` for the default method, which needs nothing.
    call: Option<Call>,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    function: AuthFunction,
    data: *mut c_void,
}

// SAFETY: the library never looks behind `data`; it hands it to the program's function, which is called
// by whichever thread connects, as sp_func.h says.
unsafe impl Send for Call {}

static METHODS: Mutex<Option<Vec<Method>>> = Mutex::new(None);

impl Method {
    /// Checks a method that the program gives; `None` when the name cannot be sent.
    pub(crate) fn new(name: &[u8], function: AuthFunction, data: *mut c_void) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        let sendable = !name.is_empty() && name.len() < AUTH_SLOT_BYTES;
        sendable.then(|| Self { name: name.to_owned(), call: Some(Call { function, data }) })
    }

    /// The default: no proof.
    fn null() -> Self {
        Self { name: "NULL".to_owned(), call: None }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Lets the program's function talk to the daemon; false when it says that it failed.
    pub(crate) fn prove(&self, socket: RawFd) -> bool {
        let Some(Call { function, data }) = self.call else { return true };
        // SAFETY: whoever set the method promised that the function can be called with this data.
        unsafe { function(socket as c_int, data) != 0 }
    }
}

/// Replaces the methods of this process; false when there are too many.
pub(crate) fn set(methods: Vec<Method>) -> bool {
    if methods.len() > AUTH_SLOTS {
        return false;
    }
    *lock(&METHODS) = Some(methods);
    true
}

/// The methods that a connection uses.
pub(crate) fn current() -> Vec<Method> {
    lock(&METHODS).clone().unwrap_or_else(|| vec![Method::null()])
}
