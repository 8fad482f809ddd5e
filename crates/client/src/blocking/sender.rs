//! The sending half of a connection.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use antiphon_wire::names::MemberName;
use antiphon_wire::service::ServiceLevel;

use super::stream::Stream;
use super::writer::{Gathering, Progress, Writer};
use crate::envelope::{Destination, Envelope};
use crate::error::Error;
use crate::patience::Patience;
use crate::session::Outbox;

/// The sending half of a [`Connection`](crate::Connection).
///
/// A message that is sent alone is written at once. Many in quick succession are gathered and written
/// together; the last of them leave within a millisecond, or with [`Sender::flush`]. A thread sees to
/// that, which is started when requests are gathered for the first time.
///
/// Calls wait while the daemon takes no more: it stops reading from clients that send faster than
/// messages can be ordered. A session that is in the groups that it sends to has to receive meanwhile, or the
/// daemon disconnects it once what it is owed is too much. Dropping a sender writes what was gathered, unless the daemon
/// takes nothing for three seconds.
#[derive(Debug)]
pub struct Sender {
    member: MemberName,
    writer: Arc<Writer>,
    /// Tells the receiver what the end of the stream means.
    said_goodbye: Arc<AtomicBool>,
}

impl Sender {
    pub(super) fn new(stream: Stream, outbox: Outbox, said_goodbye: Arc<AtomicBool>) -> Self {
        Self { member: outbox.member(), writer: Arc::new(Writer::new(stream, outbox)), said_goodbye }
    }

    /// The session's name.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.member
    }

    /// With `true`, requests are gathered until [`Sender::flush`], or until they are many; with `false`, as in the
    /// beginning, the library chooses when to write.
    pub fn set_buffered(&mut self, buffered: bool) {
        let gathering = if buffered { Gathering::UntilFlush } else { Gathering::WhileBusy };
        self.writer.gather(gathering);
    }

    /// Requests to join a group.
    ///
    /// # Errors
    /// When the name is not legal, or the connection is broken.
    pub fn join(&mut self, group: impl Destination) -> Result<(), Error> {
        let mut state = self.writer.lock();
        state.outbox.join(group)?;
        self.writer.after_request(state)
    }

    /// Requests to leave a group.
    ///
    /// # Errors
    /// When the name is not legal, or the connection is broken.
    pub fn leave(&mut self, group: impl Destination) -> Result<(), Error> {
        let mut state = self.writer.lock();
        state.outbox.leave(group)?;
        self.writer.after_request(state)
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

    /// Sends a message with everything that an [`Envelope`] can say. A large body is not copied: it is
    /// written from where it lies, before this returns.
    ///
    /// # Errors
    /// When the envelope has no group or too many, the message is too long, or the connection broken.
    pub fn send(&mut self, envelope: &Envelope, body: impl AsRef<[u8]>) -> Result<(), Error> {
        self.writer.send(envelope, &[IoSlice::new(body.as_ref())])
    }

    /// As [`Sender::send`], with a body that lies in several pieces.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send_vectored(&mut self, envelope: &Envelope, body: &[IoSlice<'_>]) -> Result<(), Error> {
        self.writer.send(envelope, body)
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// When the connection is broken. What was not written is lost then.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.writer.lock().flush()
    }

    /// Ends the session in order: everything sent before it is delivered, and the groups learn of the
    /// disconnect at once. The [`Receiver`](crate::Receiver) of the same session gets
    /// [`Error::Ended`] after what was already on the way to it. It must be read until then: one that is dropped
    /// with events unread resets the connection, and what the daemon has not read yet is lost.
    ///
    /// A daemon that takes nothing more, as one that is stopped, is given up after three seconds, and any after a minute.
    ///
    /// # Errors
    /// When the connection is broken, or the daemon was given up.
    pub fn disconnect(self) -> Result<(), Error> {
        // First, as the daemon may close before the call below returns.
        self.said_goodbye.store(true, Ordering::Relaxed);
        let said = self.writer.lock().disconnect(Patience::default());
        // A goodbye that the daemon did not take is not why it closes.
        self.said_goodbye.store(said.is_ok(), Ordering::Relaxed);
        said
    }

    /// Adds requests without waiting; see [`Connection::post`](super::Connection::post).
    pub(super) fn post(&self, add: impl FnOnce(&mut Outbox) -> Result<(), Error>) -> Result<usize, Error> {
        self.writer.post(add)
    }

    /// Adds a goodbye to what is written last; returns how many bytes that is.
    pub(super) fn say_goodbye(&self) -> usize {
        let outbox = &mut self.writer.lock().outbox;
        outbox.disconnect();
        outbox.pending().len()
    }

    /// Writes what the daemon takes of what comes last, without waiting; returns how many bytes are left.
    pub(super) fn push_last(&self) -> Result<usize, Error> {
        self.writer.lock().push_last()
    }

    /// Gives a daemon up that stands still.
    pub(super) fn give_up(&self) -> Error {
        self.writer.lock().give_up()
    }

    /// Writes what the daemon takes without waiting; the rest stays. What goes wrong, later calls tell.
    pub(super) fn push(&self) -> Progress {
        self.writer.lock().push().unwrap_or(Progress::Done)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // There is nobody left to tell; who needs to know calls flush first.
        let _ = self.writer.lock().flush_last(Patience::default());
        self.writer.close();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use crate::Connection;
    use crate::blocking::tests::{JOIN, accept_alice, bytes, daemon};

    #[test]
    fn a_dropped_sender_writes_what_was_gathered() {
        let (address, playing) = daemon(|mut stream| {
            accept_alice(&mut stream);
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("closed in order");
            all
        });
        let (mut sender, receiver) = Connection::connect(&address, "alice").expect("accepted").split();
        sender.set_buffered(true);
        sender.join("grp").expect("gathered");
        drop(sender);
        drop(receiver);
        assert_eq!(playing.join().expect("played"), bytes(JOIN));
    }
}
