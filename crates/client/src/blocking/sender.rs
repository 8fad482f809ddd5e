//! The sending half of a connection.

use antiphon_wire::names::MemberName;
use antiphon_wire::service::ServiceLevel;

use super::stream::Stream;
use crate::envelope::{Destination, Envelope};
use crate::error::Error;
use crate::session::Outbox;

/// Gathered requests are written when they have this many bytes, flushed or not.
const GATHER_BYTES: usize = 64 * 1024;

/// The sending half of a [`Connection`](crate::Connection).
///
/// Calls wait while the daemon takes no more: it stops reading from clients that send faster than
/// messages can be ordered. Dropping a sender writes what was gathered, if that is possible.
#[derive(Debug)]
pub struct Sender {
    stream: Stream,
    outbox: Outbox,
    buffered: bool,
    broken: bool,
}

impl Sender {
    pub(super) fn new(stream: Stream, outbox: Outbox) -> Self {
        Self { stream, outbox, buffered: false, broken: false }
    }

    /// The session's name.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.outbox.member()
    }

    /// Whether requests are gathered, and written by [`Sender::flush`] or when they are many. Without
    /// it, the default, every request is written at once. Many small messages go out several times
    /// faster when they are gathered.
    pub fn set_buffered(&mut self, buffered: bool) {
        self.buffered = buffered;
    }

    /// Requests to join a group.
    ///
    /// # Errors
    /// When the name is not legal, or the connection is broken.
    pub fn join(&mut self, group: impl Destination) -> Result<(), Error> {
        self.outbox.join(group)?;
        self.after_request()
    }

    /// Requests to leave a group.
    ///
    /// # Errors
    /// When the name is not legal, or the connection is broken.
    pub fn leave(&mut self, group: impl Destination) -> Result<(), Error> {
        self.outbox.leave(group)?;
        self.after_request()
    }

    /// Sends a message of type 0 to one group or one member.
    ///
    /// # Errors
    /// When the name is not legal, the message too long, or the connection broken.
    pub fn multicast(
        &mut self,
        service: ServiceLevel,
        destination: impl Destination,
        body: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        self.send(&Envelope::new(service).to(destination)?, body)
    }

    /// Sends a message with everything that an [`Envelope`] can say.
    ///
    /// # Errors
    /// When the envelope has no group or too many, the message is too long, or the connection broken.
    pub fn send(&mut self, envelope: &Envelope, body: impl AsRef<[u8]>) -> Result<(), Error> {
        self.outbox.send(envelope, body.as_ref())?;
        self.after_request()
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// When the connection is broken. What was not written is lost then.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.broken {
            self.outbox.clear();
            return Err(Error::Closed);
        }
        if self.outbox.pending().is_empty() {
            return Ok(());
        }
        let written = self.stream.write_all(self.outbox.pending());
        self.outbox.clear();
        // After half a request, the next one would be taken for the rest of it.
        self.broken = written.is_err();
        written.map_err(Error::from_io)
    }

    /// Ends the session in order: everything sent before it is delivered, and the groups learn of the
    /// disconnect at once. The [`Receiver`](crate::Receiver) of the same session gets
    /// [`Error::Closed`] after what was already on the way to it.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn disconnect(mut self) -> Result<(), Error> {
        self.outbox.disconnect();
        let written = self.flush();
        let _ = self.stream.end_writing();
        written
    }

    fn after_request(&mut self) -> Result<(), Error> {
        if self.buffered && self.outbox.pending().len() < GATHER_BYTES { Ok(()) } else { self.flush() }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // There is nobody left to tell; who needs to know calls flush first.
        let _ = self.flush();
    }
}
