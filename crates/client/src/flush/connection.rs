//! The flush layer over a blocking connection.

use std::time::{Duration, Instant};

use antiphon_wire::names::MemberName;
use antiphon_wire::service::ServiceLevel;

use super::{ANSWERS_LIMIT_BYTES, Event, FlushError, Layer, OwnCopy, Request};
use crate::blocking;
use crate::envelope::Destination;

/// A connection whose groups are closed and whose messages are delivered in the view in which they
/// were sent. Every [`Event::FlushRequest`] needs a [`Connection::flush`], or the group waits.
#[derive(Debug)]
pub struct Connection {
    inner: blocking::Connection,
    layer: Layer,
    /// When the layer's clock began.
    begun: Instant,
}

impl Connection {
    /// Takes over a connection that has joined no group and receives membership.
    #[must_use]
    pub fn new(inner: blocking::Connection) -> Self {
        let layer = Layer::new(inner.member());
        Self { inner, layer, begun: Instant::now() }
    }

    /// The session's name.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.inner.member()
    }

    /// How long this program may take to flush before it leaves the group by itself; see
    /// [`Layer::set_flush_limit`]. The limit is kept while the program receives.
    pub fn set_flush_limit(&mut self, limit: Option<Duration>) {
        self.layer.set_flush_limit(limit);
    }

    /// Joins a group; see [`Layer::join`].
    ///
    /// # Errors
    /// As [`Layer::join`], or when the connection receives no membership or is broken.
    pub fn join(&mut self, group: impl Destination) -> Result<(), FlushError> {
        if !self.inner.receives_membership() {
            return Err(FlushError::NoMembership);
        }
        self.layer.join(group)?;
        self.write()
    }

    /// Leaves a group; see [`Layer::leave`].
    ///
    /// # Errors
    /// As [`Layer::leave`], or when the connection is broken.
    pub fn leave(&mut self, group: impl Destination) -> Result<(), FlushError> {
        self.layer.leave(group)?;
        self.write()
    }

    /// Answers a flush request; see [`Layer::flush`].
    ///
    /// # Errors
    /// As [`Layer::flush`], or when the connection is broken.
    pub fn flush(&mut self, group: impl Destination) -> Result<(), FlushError> {
        self.layer.flush(group)?;
        self.write()
    }

    /// Sends to all members of the view; see [`Layer::multicast`].
    ///
    /// # Errors
    /// As [`Layer::multicast`], or when the connection is broken.
    pub fn multicast(
        &mut self,
        service: ServiceLevel,
        group: impl Destination,
        message_type: i16,
        body: impl Into<Vec<u8>>,
    ) -> Result<(), FlushError> {
        self.layer.multicast(service, group, message_type, body)?;
        self.write()
    }

    /// Sends to some members of the view; see [`Layer::subgroup_cast`].
    ///
    /// # Errors
    /// As [`Layer::subgroup_cast`], or when the connection is broken.
    pub fn subgroup_cast(
        &mut self,
        service: ServiceLevel,
        group: impl Destination,
        receivers: &[MemberName],
        message_type: i16,
        body: impl Into<Vec<u8>>,
    ) -> Result<(), FlushError> {
        self.layer.subgroup_cast(service, group, receivers, message_type, body)?;
        self.write()
    }

    /// Sends to one member of the view; see [`Layer::unicast`].
    ///
    /// # Errors
    /// As [`Layer::unicast`], or when the connection is broken.
    pub fn unicast(
        &mut self,
        service: ServiceLevel,
        group: impl Destination,
        receiver: MemberName,
        message_type: i16,
        body: impl Into<Vec<u8>>,
    ) -> Result<(), FlushError> {
        self.layer.unicast(service, group, receiver, message_type, body)?;
        self.write()
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// As [`blocking::Connection::receive`] and [`Layer::on_event`].
    pub fn receive(&mut self) -> Result<Event, FlushError> {
        loop {
            if let Some(event) = self.next_event()? {
                return Ok(event);
            }
            let event = match self.until_deadline() {
                Some(left) => self.inner.receive_timeout(left)?,
                None => Some(self.inner.receive()?),
            };
            self.take_in(event)?;
        }
    }

    /// Waits for the next event, but no longer than `timeout`; `None` when none came.
    ///
    /// # Errors
    /// As [`Connection::receive`].
    pub fn receive_timeout(&mut self, timeout: Duration) -> Result<Option<Event>, FlushError> {
        let begun = Instant::now();
        loop {
            if let Some(event) = self.next_event()? {
                return Ok(Some(event));
            }
            let left = timeout.saturating_sub(begun.elapsed());
            let wait = self.until_deadline().map_or(left, |deadline| deadline.min(left));
            let event = self.inner.receive_timeout(wait)?;
            if event.is_none() && wait == left {
                return Ok(None);
            }
            self.take_in(event)?;
        }
    }

    /// Ends the session in order; see [`blocking::Connection::disconnect`].
    ///
    /// # Errors
    /// When the connection is broken; it is closed all the same.
    pub fn disconnect(self) -> Result<(), FlushError> {
        Ok(self.inner.disconnect()?)
    }

    /// What is there already; groups whose flush is overdue are left first.
    fn next_event(&mut self) -> Result<Option<Event>, FlushError> {
        self.layer.on_time(self.begun.elapsed());
        self.post()?;
        Ok(self.layer.next_event())
    }

    fn until_deadline(&self) -> Option<Duration> {
        self.layer.deadline().map(|deadline| deadline.saturating_sub(self.begun.elapsed()))
    }

    fn take_in(&mut self, event: Option<crate::message::Event>) -> Result<(), FlushError> {
        if let Some(event) = event {
            self.layer.on_time(self.begun.elapsed());
            self.layer.on_event(event)?;
        }
        self.post()
    }

    /// Adds what the layer wants to be sent while the program receives. Does not wait: the daemon may take
    /// nothing before this program has received more.
    fn post(&mut self) -> Result<(), FlushError> {
        let left_bytes = self.inner.post(|outbox| self.layer.hand_over(outbox, OwnCopy::Delivered))?;
        if left_bytes > ANSWERS_LIMIT_BYTES { Err(FlushError::TooManyAnswers) } else { Ok(()) }
    }

    /// Sends what the layer wants to be sent.
    fn write(&mut self) -> Result<(), FlushError> {
        while let Some(request) = self.layer.next_request() {
            match request {
                Request::Join(group) => self.inner.join(group)?,
                Request::Leave(group) => self.inner.leave(group)?,
                Request::Send(envelope, body) => self.inner.send(&envelope, body)?,
            }
        }
        Ok(())
    }
}
