//! Connections over TCP and Unix sockets, for threads that may wait.
//!
//! A [`Connection`] does everything from one thread. [`Connection::split`] makes two halves of it, so
//! that one thread can wait for events while another sends.

mod connect;
mod receiver;
mod sender;
mod stream;
mod writer;

use std::io::IoSlice;
use std::time::{Duration, Instant};

use antiphon_wire::client::handshake::Version;
use antiphon_wire::names::MemberName;
use antiphon_wire::service::ServiceLevel;

pub use self::receiver::Receiver;
pub use self::sender::Sender;
use self::writer::Progress;
pub use crate::connector::Connector;
use crate::envelope::{Destination, Envelope};
use crate::error::Error;
use crate::message::Event;
use crate::pace::RETRY;
use crate::patience::Patience;
use crate::session::Outbox;

/// An open session with a daemon.
///
/// Dropping it closes the socket, which members of its groups see as a disconnect;
/// [`Connection::disconnect`] says goodbye first.
#[derive(Debug)]
pub struct Connection {
    daemon: Version,
    receives_membership: bool,
    sender: Sender,
    receiver: Receiver,
}

impl Connection {
    /// Connects under a private name, with the defaults of a [`Connector`]. The address is an
    /// [`Address`](crate::Address) or its text, as in [`Connector::new`].
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub fn connect(address: impl Into<String>, name: impl Into<String>) -> Result<Self, Error> {
        Connector::new(address).name(name).connect()
    }

    /// The session's name, `#private#daemon`: what others send to for this client alone.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.receiver.member()
    }

    /// The version that the daemon reports.
    #[must_use]
    pub fn daemon_version(&self) -> Version {
        self.daemon
    }

    /// Whether views come to this session ([`Connector::membership`]).
    pub(crate) fn receives_membership(&self) -> bool {
        self.receives_membership
    }

    /// Requests to join a group. When that has happened, a view of the group says so.
    ///
    /// # Errors
    /// When the name is not legal, or the connection is broken.
    pub fn join(&mut self, group: impl Destination) -> Result<(), Error> {
        self.sender.join(group)
    }

    /// Requests to leave a group. When that has happened, [`Event::SelfLeave`] says so.
    ///
    /// # Errors
    /// When the name is not legal, or the connection is broken.
    pub fn leave(&mut self, group: impl Destination) -> Result<(), Error> {
        self.sender.leave(group)
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
        self.sender.multicast(service, destination, body)
    }

    /// Sends a message with everything that an [`Envelope`] can say.
    ///
    /// # Errors
    /// When the envelope has no group or too many, the message is too long, or the connection broken.
    pub fn send(&mut self, envelope: &Envelope, body: impl AsRef<[u8]>) -> Result<(), Error> {
        self.sender.send(envelope, body)
    }

    /// As [`Connection::send`], with a body that lies in several pieces.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send_vectored(&mut self, envelope: &Envelope, body: &[IoSlice<'_>]) -> Result<(), Error> {
        self.sender.send_vectored(envelope, body)
    }

    /// Chooses when requests are written; see [`Sender::set_buffered`].
    pub fn set_buffered(&mut self, buffered: bool) {
        self.sender.set_buffered(buffered);
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.sender.flush()
    }

    /// Waits for the next event. What was gathered is written meanwhile, as far as the daemon takes it: one
    /// that takes nothing before this program has received more is not waited for.
    ///
    /// # Errors
    /// When the daemon closed the connection or broke the protocol, or the connection is broken.
    pub fn receive(&mut self) -> Result<Event, Error> {
        // When the connection is broken, events that came before may still be there, and their end tells of it.
        while self.sender.push() == Progress::Full {
            if let Some(event) = self.receiver.receive_timeout(RETRY)? {
                return Ok(event);
            }
        }
        self.receiver.receive()
    }

    /// Waits for the next event, but no longer than `timeout`; `None` when none came. What was
    /// gathered is written first, as far as the daemon takes it without waiting.
    ///
    /// # Errors
    /// As [`Connection::receive`].
    pub fn receive_timeout(&mut self, timeout: Duration) -> Result<Option<Event>, Error> {
        let Some(deadline) = Instant::now().checked_add(timeout) else { return self.receive().map(Some) };
        loop {
            let is_full = self.sender.push() == Progress::Full;
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = if is_full { left.min(RETRY) } else { left };
            let event = self.receiver.receive_timeout(wait)?;
            if event.is_some() || wait == left {
                return Ok(event);
            }
        }
    }

    /// Adds requests to what is written next, and waits for nothing; returns how many bytes are left to write.
    ///
    /// # Errors
    /// Those of `add`. What goes wrong with the connection, later calls tell.
    pub(crate) fn post(
        &mut self,
        add: impl FnOnce(&mut Outbox) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        self.sender.post(add)
    }

    /// Takes an event that was read together with an earlier one; see [`Receiver::receive_ready`].
    ///
    /// # Errors
    /// When the daemon broke the protocol.
    pub fn receive_ready(&mut self) -> Result<Option<Event>, Error> {
        self.receiver.receive_ready()
    }

    /// Makes two halves that can be used by two threads.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Ends the session in order: everything sent before it is delivered, and the groups learn of the
    /// disconnect at once. Waits for the daemon to close; events that were not received are lost. A daemon that
    /// neither takes nor sends anything for three seconds, as one that is stopped, is given up, and any after a minute.
    ///
    /// # Errors
    /// When the connection is broken, or the daemon was given up: what was sent last may be lost then. It is closed
    /// all the same.
    pub fn disconnect(self) -> Result<(), Error> {
        self.disconnect_within(Patience::default())
    }

    /// As [`Connection::disconnect`], with so much patience with the daemon.
    fn disconnect_within(mut self, mut patience: Patience) -> Result<(), Error> {
        let mut left_bytes = self.sender.say_goodbye();
        loop {
            let before = left_bytes;
            left_bytes = self.sender.push_last()?;
            if left_bytes < before {
                patience.renew();
            }
            let left = patience.left();
            // Read meanwhile: a daemon may take nothing before, and a socket closed with bytes unread resets the
            // connection and takes with it what the daemon has not read yet.
            let read = self.receiver.discard(if left_bytes > 0 { left.min(RETRY) } else { left })?;
            if read == Some(0) {
                // Somebody else may have written the rest meanwhile.
                return if self.sender.push_last()? == 0 { Ok(()) } else { Err(Error::Closed) };
            }
            if read.is_some() {
                patience.renew();
            }
            if patience.is_over() {
                return Err(self.sender.give_up());
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
