//! A session before it is established.
//!
//! ```text
//! Connecting ──hello──▶ Authenticating ──choice passed──▶ established
//!     │                     ▲       client older than 3.16: at once
//!     └─name still leaving─▶ Parked ──the name is free
//! any of them ──refused, too late──▶ closed
//! ```

use antiphon_wire::client::handshake::{AuthMethod, Hello, HelloReader, Version};
use antiphon_wire::names::MemberName;

use super::outbox::Outbox;
use crate::io::Origin;
use crate::time::Instant;

/// What every step of a handshake has.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) origin: Origin,
    pub(super) reader: HelloReader,
    pub(super) outbox: Outbox,
    /// When the client must have said what the step waits for.
    pub(super) deadline: Instant,
}

/// Waits for the hello.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) connection: Connection,
}

/// Has said hello with a name whose last bearer is gone, but whose end is not ordered yet.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) connection: Connection,
    pub(super) hello: Hello,
    pub(super) member: MemberName,
}

/// Has its name and was told the methods; waits for the choice.
#[derive(Debug)]
pub(super) struct Authenticating {
    pub(super) connection: Connection,
    pub(super) hello: Hello,
    pub(super) member: MemberName,
}

/// One of the steps.
#[derive(Debug)]
pub(super) enum Handshake {
    Connecting(Connecting),
    Parked(Parked),
    Authenticating(Authenticating),
}

impl Handshake {
    pub(super) fn connection(&self) -> &Connection {
        match self {
            Self::Connecting(step) => &step.connection,
            Self::Parked(step) => &step.connection,
            Self::Authenticating(step) => &step.connection,
        }
    }

    pub(super) fn connection_mut(&mut self) -> &mut Connection {
        match self {
            Self::Connecting(step) => &mut step.connection,
            Self::Parked(step) => &mut step.connection,
            Self::Authenticating(step) => &mut step.connection,
        }
    }

    pub(super) fn into_connection(self) -> Connection {
        match self {
            Self::Connecting(step) => step.connection,
            Self::Parked(step) => step.connection,
            Self::Authenticating(step) => step.connection,
        }
    }

    /// The name that the session has taken.
    pub(super) fn held_name(&self) -> Option<MemberName> {
        match self {
            Self::Connecting(_) | Self::Parked(_) => None,
            Self::Authenticating(step) => Some(step.member),
        }
    }
}

/// Whether a hello that is not whole is cut inside its name.
pub(super) fn is_cut_inside_name(reader: &HelloReader) -> bool {
    let bytes = reader.clone().into_rest();
    let [major, minor, ..] = bytes.as_ref() else { return false };
    let version = Version { major: *major, minor: *minor, patch: 0 };
    let bytes_before_name = if version.sends_patch() { 5 } else { 4 };
    bytes.len() > bytes_before_name
}

/// Whether what came together with a hello is more name than the hello announced.
///
/// A client cannot know the methods yet, so it has nothing to say; but one that does not wait for
/// them may send its choice at once, which begins with the name of a method. Everything else is
/// taken for a name with a wrong length. The same bytes arriving later are read as a choice.
pub(super) fn has_surplus_name(reader: &HelloReader) -> bool {
    if reader.buffered_bytes() == 0 {
        return false;
    }
    let bytes = reader.clone().into_rest();
    let begins = |method: &AuthMethod| {
        let slot = [method.name().as_bytes(), &[0]].concat();
        let shown = bytes.get(..slot.len()).unwrap_or(&bytes);
        slot.starts_with(shown)
    };
    !AuthMethod::ALL.iter().any(begins)
}
