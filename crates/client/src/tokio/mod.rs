//! Connections for programs that use tokio. Needs the feature `tokio`.
//!
//! [`Connector::connect_tokio`](crate::Connector::connect_tokio) opens a [`Connection`], which
//! [`Connection::split`] makes into two halves for two tasks. Receiving is a [`Stream`] of events and
//! sending a [`Sink`] of [`Outgoing`] messages; both also have methods of their own, so that neither
//! trait has to be in sight.
//!
//! Every method may be cancelled, as `select!` does, by dropping its future: nothing that came is lost,
//! and a message is sent whole or not at all.
//!
//! ```no_run
//! use antiphon::{Connector, Event, ServiceLevel};
//!
//! # async fn talk() -> Result<(), antiphon::Error> {
//! let mut connection = Connector::new("4803@localhost").name("alice").connect_tokio().await?;
//! connection.join("chat").await?;
//! connection.multicast(ServiceLevel::Agreed, "chat", "hello").await?;
//! while let Event::View(view) = connection.receive().await? {
//!     println!("{} has {} members", view.group, view.members.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is sent is written at once if it comes alone, and else together with what comes right behind
//! it; a task of each connection writes what its sender has left when it does something else.

mod connect;
mod queue;
mod receiver;
mod reconnecting;
mod sender;
mod socket;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ::tokio::time::timeout;
use antiphon_wire::client::handshake::Version;
use antiphon_wire::names::MemberName;
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;

pub use self::receiver::Receiver;
pub use self::reconnecting::Reconnecting;
pub use self::sender::Sender;
use crate::envelope::{Destination, Envelope};
use crate::error::Error;
use crate::message::Event;
use crate::patience::Patience;

/// When to try again what the system does not tell of in time: to write what comes last to a daemon that took no
/// more, as a socket is called writable only when much of it is free, and to connect where many do. What comes
/// before the last is written when the system says so; so this can be longer than [`crate::pace::RETRY`].
const RETRY: Duration = Duration::from_millis(20);

/// A message for a [`Sink`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Where it goes, and how.
    pub envelope: Envelope,
    /// What it says. A large body is sent from where it lies.
    pub body: Bytes,
}

/// An open session with a daemon.
///
/// Dropping it closes the socket once what was gathered is written, which members of its groups see as
/// a disconnect; [`Connection::disconnect`] says goodbye first.
#[derive(Debug)]
pub struct Connection {
    daemon: Version,
    sender: Sender,
    receiver: Receiver,
}

impl Connection {
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

    /// Requests to join a group. When that has happened, a view of the group says so.
    ///
    /// # Errors
    /// When the name is not legal, or the connection is broken.
    pub async fn join(&mut self, group: impl Destination) -> Result<(), Error> {
        self.sender.join(group).await
    }

    /// Requests to leave a group. When that has happened, [`Event::SelfLeave`] says so.
    ///
    /// # Errors
    /// When the name is not legal, or the connection is broken.
    pub async fn leave(&mut self, group: impl Destination) -> Result<(), Error> {
        self.sender.leave(group).await
    }

    /// Sends a message of type 0 to one group or one member.
    ///
    /// # Errors
    /// When the name is not legal, the message too long, or the connection broken.
    pub async fn multicast(
        &mut self,
        service: ServiceLevel,
        destination: impl Destination,
        body: impl Into<Bytes>,
    ) -> Result<(), Error> {
        self.sender.multicast(service, destination, body).await
    }

    /// Sends a message with everything that an [`Envelope`] can say.
    ///
    /// # Errors
    /// When the envelope has no group or too many, the message is too long, or the connection broken.
    pub async fn send(&mut self, envelope: &Envelope, body: impl Into<Bytes>) -> Result<(), Error> {
        self.sender.send(envelope, body).await
    }

    /// As [`Connection::send`], with a body that lies in several pieces.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn send_vectored(&mut self, envelope: &Envelope, body: &[Bytes]) -> Result<(), Error> {
        self.sender.send_vectored(envelope, body).await
    }

    /// Waits until all that was sent is written.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.sender.flush().await
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// When the daemon closed the connection or broke the protocol, or the connection is broken.
    pub async fn receive(&mut self) -> Result<Event, Error> {
        std::future::poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Takes an event that was read together with an earlier one; see [`Receiver::receive_ready`].
    ///
    /// # Errors
    /// When the daemon broke the protocol.
    pub fn receive_ready(&mut self) -> Result<Option<Event>, Error> {
        self.receiver.receive_ready()
    }

    /// Makes two halves that can be moved to two tasks.
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
    pub async fn disconnect(self) -> Result<(), Error> {
        self.disconnect_within(Patience::default()).await
    }

    /// As [`Connection::disconnect`], with so much patience with the daemon.
    async fn disconnect_within(self, mut patience: Patience) -> Result<(), Error> {
        let (sender, mut receiver) = self.split();
        let mut left_bytes = sender.say_goodbye();
        loop {
            let before = left_bytes;
            left_bytes = sender.push_last()?;
            if left_bytes < before {
                patience.renew();
            }
            let left = patience.left();
            let limit = if left_bytes > 0 { left.min(RETRY) } else { left };
            // Read meanwhile: a daemon may take nothing before, and a socket closed with bytes unread resets the
            // connection and takes with it what the daemon has not read yet.
            let read = timeout(limit, receiver.discard()).await.ok().transpose()?;
            if read == Some(0) {
                // Somebody else may have written the rest meanwhile.
                return if sender.push_last()? == 0 { Ok(()) } else { Err(Error::Closed) };
            }
            if read.is_some() {
                patience.renew();
            }
            if patience.is_over() {
                return sender.give_up();
            }
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        self.sender.push();
        self.receiver.poll_receive(cx)
    }
}

impl Stream for Connection {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.sender.push();
        Pin::new(&mut self.receiver).poll_next(cx)
    }
}

impl Sink<Outgoing> for Connection {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.sender).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Outgoing) -> Result<(), Error> {
        Pin::new(&mut self.sender).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.sender).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.sender).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
