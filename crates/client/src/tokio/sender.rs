//! The sending half of a connection.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::tokio::time::timeout;
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;
use futures_sink::Sink;

use super::queue::Queue;
use super::{Outgoing, RETRY};
use crate::envelope::{Destination, Envelope};
use crate::error::Error;
use crate::patience::Patience;

/// The sending half of a [`Connection`](super::Connection).
///
/// Calls wait while the daemon takes no more: it stops reading from clients that send faster than
/// messages can be ordered. A future that is dropped before it is ready has sent nothing.
///
/// Dropping a sender writes what was gathered: at once what the daemon takes, and the rest by a task, unless the daemon
/// takes nothing for three seconds or the runtime ends.
#[derive(Debug)]
pub struct Sender {
    member: MemberName,
    queue: Arc<Queue>,
}

impl Sender {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        let member = queue.lock().outbox.member();
        Self { member, queue }
    }

    /// The session's name.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.member
    }

    /// Requests to join a group.
    ///
    /// # Errors
    /// When the name is not legal, or the connection is broken.
    pub async fn join(&mut self, group: impl Destination) -> Result<(), Error> {
        self.room().await?;
        let mut state = self.queue.lock();
        state.outbox.join(group)?;
        self.queue.after_request(&mut state);
        Ok(())
    }

    /// Requests to leave a group.
    ///
    /// # Errors
    /// When the name is not legal, or the connection is broken.
    pub async fn leave(&mut self, group: impl Destination) -> Result<(), Error> {
        self.room().await?;
        let mut state = self.queue.lock();
        state.outbox.leave(group)?;
        self.queue.after_request(&mut state);
        Ok(())
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
        self.send(&Envelope::new(service).to(destination)?, body).await
    }

    /// Sends a message with everything that an [`Envelope`] can say. A large body is not copied.
    ///
    /// # Errors
    /// When the envelope has no group or too many, the message is too long, or the connection broken.
    pub async fn send(&mut self, envelope: &Envelope, body: impl Into<Bytes>) -> Result<(), Error> {
        self.send_vectored(envelope, &[body.into()]).await
    }

    /// As [`Sender::send`], with a body that lies in several pieces.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_vectored(&mut self, envelope: &Envelope, body: &[Bytes]) -> Result<(), Error> {
        self.room().await?;
        self.queue.send(envelope, body)
    }

    /// Waits until all that was sent is written.
    ///
    /// # Errors
    /// When the connection is broken. What was not written is lost then.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.queue.poll_flush(cx)).await
    }

    /// Ends the session in order: everything sent before it is delivered, and the groups learn of the
    /// disconnect at once. The [`Receiver`](super::Receiver) of the same session gets
    /// [`Error::Ended`] after what was already on the way to it. It must be read until then: one that is dropped
    /// with events unread resets the connection, and what the daemon has not read yet is lost.
    ///
    /// A daemon that takes nothing more, as one that is stopped, is given up after three seconds, and any after a minute.
    ///
    /// # Errors
    /// When the connection is broken, or the daemon was given up.
    pub async fn disconnect(mut self) -> Result<(), Error> {
        self.queue.say_goodbye();
        let mut patience = Patience::default();
        loop {
            let before = self.queue.waiting_bytes();
            if let Ok(written) = timeout(RETRY, self.flush()).await {
                return written;
            }
            self.queue.push_anyway();
            if self.queue.waiting_bytes() < before {
                patience.renew();
            }
            if patience.is_over() {
                return self.queue.give_up();
            }
        }
    }

    /// Adds a goodbye to what is written last; returns how many bytes are left to write.
    pub(super) fn say_goodbye(&self) -> usize {
        self.queue.say_goodbye();
        self.queue.waiting_bytes()
    }

    /// Writes what the daemon takes of what comes last, without waiting; returns how many bytes are left.
    pub(super) fn push_last(&self) -> Result<usize, Error> {
        self.queue.push_anyway();
        self.queue.check()?;
        Ok(self.queue.waiting_bytes())
    }

    /// Gives a daemon up that stands still.
    pub(super) fn give_up(&self) -> Result<(), Error> {
        self.queue.give_up()
    }

    /// Requests to join a group without waiting for room; for the first requests of a session.
    pub(super) fn join_now(&self, group: GroupName) {
        let mut state = self.queue.lock();
        // A name that was legal still is.
        let _ = state.outbox.join(group);
        self.queue.after_request(&mut state);
    }

    /// Writes what can be written without waiting.
    pub(super) fn push(&self) {
        self.queue.push();
    }

    async fn room(&self) -> Result<(), Error> {
        poll_fn(|cx| self.queue.poll_room(cx)).await
    }
}

impl Sink<Outgoing> for Sender {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.queue.poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Outgoing) -> Result<(), Error> {
        self.queue.send(&message.envelope, &[message.body])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.queue.poll_flush(cx)
    }

    /// Says goodbye to the daemon.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.queue.say_goodbye();
        self.queue.poll_flush(cx)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.queue.drop_sender();
    }
}
