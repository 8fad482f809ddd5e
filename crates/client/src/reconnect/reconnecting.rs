//! The blocking face.

use std::thread;
use std::time::{Duration, Instant};

use antiphon_wire::names::MemberName;
use antiphon_wire::service::ServiceLevel;

use super::{Backoff, Continuity, Event, Outage, Succession};
use crate::blocking::Connection;
use crate::connector::Connector;
use crate::envelope::{Destination, Envelope};
use crate::error::Error;

/// A connection that is opened anew when it ends.
#[derive(Debug)]
pub struct Reconnecting {
    succession: Succession,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Once a request has failed, no more are sent; what came before the end is still received.
    Open {
        connection: Box<Connection>,
        failed: Option<Error>,
    },
    Lost(Outage),
}

impl State {
    fn open(connection: Connection) -> Self {
        Self::Open { connection: Box::new(connection), failed: None }
    }
}

impl Reconnecting {
    /// Connects. The first time there is one attempt, which tries each daemon of the connector once.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub fn open(connector: Connector, backoff: Backoff) -> Result<Self, Error> {
        let connection = connector.connect()?;
        let succession = Succession::new(connector, backoff, connection.member());
        Ok(Self { succession, state: State::open(connection) })
    }

    /// The name in the present session, or in the last one.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.succession.continuity.member()
    }

    /// Requests to join a group, in this session and all later ones.
    ///
    /// # Errors
    /// When the name is not legal, or the session ended and the gap was not received yet. A request with which the end
    /// is noticed counts all the same, and shows in the gap; later ones do not count.
    pub fn join(&mut self, group: impl Destination) -> Result<(), Error> {
        let group = group.group_name()?;
        self.request(|connection| connection.join(group), |continuity| continuity.on_join(group))
    }

    /// Requests to leave a group.
    ///
    /// # Errors
    /// As [`Reconnecting::join`].
    pub fn leave(&mut self, group: impl Destination) -> Result<(), Error> {
        let group = group.group_name()?;
        self.request(|connection| connection.leave(group), |continuity| continuity.on_leave(group))
    }

    /// Sends a message of type 0 to one group or one member.
    ///
    /// # Errors
    /// As [`Reconnecting::send`], or when the name is not legal.
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
    /// When the envelope has no group or too many, the message is too long, or the session ended and
    /// the gap was not received yet. A message with which the end is noticed counts as unconfirmed.
    pub fn send(&mut self, envelope: &Envelope, body: impl AsRef<[u8]>) -> Result<(), Error> {
        let body = body.as_ref();
        envelope.check(body.len())?;
        self.request(
            |connection| connection.send(envelope, body),
            |continuity| continuity.on_send(envelope, body),
        )
    }

    /// Waits for the next event; through attempts to connect too.
    ///
    /// # Errors
    /// When all attempts of the [`Backoff`] failed: the error of the last. The next call begins anew.
    pub fn receive(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.receive_until(None)? {
                return Ok(event);
            }
        }
    }

    /// Waits for the next event, but no longer than `timeout`; `None` when none came. An attempt to
    /// connect is not cut short: it may take as long as the connector allows.
    ///
    /// # Errors
    /// As [`Reconnecting::receive`].
    pub fn receive_timeout(&mut self, timeout: Duration) -> Result<Option<Event>, Error> {
        self.receive_until(Instant::now().checked_add(timeout))
    }

    /// Ends the session in order; see [`Connection::disconnect`].
    ///
    /// # Errors
    /// When the connection is broken; it is closed all the same.
    pub fn disconnect(self) -> Result<(), Error> {
        match self.state {
            State::Open { connection, failed: None } => connection.disconnect(),
            State::Open { failed: Some(cause), .. } | State::Lost(Outage { cause, .. }) => Err(cause),
        }
    }

    fn receive_until(&mut self, deadline: Option<Instant>) -> Result<Option<Event>, Error> {
        loop {
            match &mut self.state {
                State::Open { connection, .. } => match receive(connection, deadline) {
                    Ok(None) => return Ok(None),
                    Ok(Some(event)) => {
                        self.succession.continuity.on_event(&event);
                        return Ok(Some(Event::Delivered(event)));
                    }
                    Err(error) => self.lose(error),
                },
                State::Lost(outage) => {
                    let due = deadline.map_or(outage.next, |deadline| deadline.min(outage.next));
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    if due < outage.next {
                        return Ok(None);
                    }
                    if let Some(event) = self.connect()? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// One attempt; `None` when it failed.
    fn connect(&mut self) -> Result<Option<Event>, Error> {
        let State::Lost(outage) = &mut self.state else { return Ok(None) };
        let mut connection = match self.succession.connector.connect() {
            Ok(connection) => connection,
            Err(error) => {
                self.succession.on_failure(outage, error)?;
                return Ok(None);
            }
        };
        let gap = self.succession.on_session(outage, connection.member());
        for rejoined in &gap.groups {
            // If this one has ended too, that is noticed by the next receive.
            let _ = connection.join(rejoined.group);
        }
        self.state = State::open(connection);
        Ok(Some(Event::Gap(gap)))
    }

    fn request(
        &mut self,
        request: impl FnOnce(&mut Connection) -> Result<(), Error>,
        remember: impl FnOnce(&mut Continuity),
    ) -> Result<(), Error> {
        let State::Open { connection, failed: failed @ None } = &mut self.state else {
            return Err(Error::Interrupted);
        };
        remember(&mut self.succession.continuity);
        *failed = request(connection).err();
        if failed.is_some() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The end of the session, of which a request may have told before.
    fn lose(&mut self, error: Error) {
        let cause = match &mut self.state {
            State::Open { failed, .. } => failed.take().unwrap_or(error),
            State::Lost(_) => error,
        };
        self.state = State::Lost(self.succession.on_end(cause));
    }
}

fn receive(connection: &mut Connection, deadline: Option<Instant>) -> Result<Option<crate::Event>, Error> {
    match deadline {
        None => connection.receive().map(Some),
        Some(deadline) => connection.receive_timeout(deadline.saturating_duration_since(Instant::now())),
    }
}
