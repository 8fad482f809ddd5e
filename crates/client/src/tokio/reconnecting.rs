//! A connection that is opened anew when it ends.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use ::tokio::time::sleep_until;
use antiphon_wire::names::MemberName;
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;
use futures_core::Stream;

use super::Connection;
use crate::connector::Connector;
use crate::envelope::{Destination, Envelope};
use crate::error::Error;
use crate::reconnect::{Backoff, Event, Outage, Succession};

/// A connection that is opened anew when it ends; see [`reconnect`](crate::reconnect). As a stream it
/// has no end: after an error, which says that all attempts failed, it begins anew.
#[derive(Debug)]
pub struct Reconnecting {
    succession: Succession,
    state: State,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, Error>> + Send>>;

enum State {
    /// Once a request has failed, no more are sent; what came before the end is still received.
    Open { connection: Box<Connection>, failed: Option<Error> },
    /// The attempt lies here, so that it goes on although the future of a receive is dropped.
    Lost(Outage, Connecting),
}

impl State {
    fn open(connection: Connection) -> Self {
        Self::Open { connection: Box::new(connection), failed: None }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { connection, failed } => {
                f.debug_struct("Open").field("connection", connection).field("failed", failed).finish()
            }
            Self::Lost(outage, _) => f.debug_tuple("Lost").field(outage).finish_non_exhaustive(),
        }
    }
}

impl Reconnecting {
    /// Connects. The first time there is one attempt, which tries each daemon of the connector once.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub async fn open(connector: Connector, backoff: Backoff) -> Result<Self, Error> {
        let connection = connector.connect_tokio().await?;
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
    pub async fn join(&mut self, group: impl Destination) -> Result<(), Error> {
        let group = group.group_name()?;
        let joined = self.connection()?.join(group).await;
        self.succession.continuity.on_join(group);
        self.after_request(joined)
    }

    /// Requests to leave a group.
    ///
    /// # Errors
    /// As [`Reconnecting::join`].
    pub async fn leave(&mut self, group: impl Destination) -> Result<(), Error> {
        let group = group.group_name()?;
        let left = self.connection()?.leave(group).await;
        self.succession.continuity.on_leave(group);
        self.after_request(left)
    }

    /// Sends a message of type 0 to one group or one member.
    ///
    /// # Errors
    /// As [`Reconnecting::send`], or when the name is not legal.
    pub async fn multicast(
        &mut self,
        service: ServiceLevel,
        destination: impl Destination,
        body: impl Into<Bytes>,
    ) -> Result<(), Error> {
        self.send(&Envelope::new(service).to(destination)?, body).await
    }

    /// Sends a message with everything that an [`Envelope`] can say.
    ///
    /// # Errors
    /// When the envelope has no group or too many, the message is too long, or the session ended and
    /// the gap was not received yet. A message with which the end is noticed counts as unconfirmed.
    pub async fn send(&mut self, envelope: &Envelope, body: impl Into<Bytes>) -> Result<(), Error> {
        let body = body.into();
        envelope.check(body.len())?;
        let sent = self.connection()?.send(envelope, body.clone()).await;
        self.succession.continuity.on_send(envelope, &body);
        self.after_request(sent)
    }

    /// Waits for the next event; through attempts to connect too. Dropping the future loses nothing,
    /// and an attempt to connect goes on with the next call.
    ///
    /// # Errors
    /// When all attempts of the [`Backoff`] failed: the error of the last. The next call begins anew.
    pub async fn receive(&mut self) -> Result<Event, Error> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Ends the session in order; see [`Connection::disconnect`].
    ///
    /// # Errors
    /// When the connection is broken; it is closed all the same.
    pub async fn disconnect(self) -> Result<(), Error> {
        match self.state {
            State::Open { connection, failed: None } => connection.disconnect().await,
            State::Open { failed: Some(cause), .. } | State::Lost(Outage { cause, .. }, _) => Err(cause),
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        loop {
            match &mut self.state {
                State::Open { connection, .. } => match ready!(connection.poll_receive(cx)) {
                    Ok(event) => {
                        self.succession.continuity.on_event(&event);
                        return Poll::Ready(Ok(Event::Delivered(event)));
                    }
                    Err(error) => self.lose(error),
                },
                State::Lost(outage, connecting) => match ready!(connecting.as_mut().poll(cx)) {
                    Ok(connection) => {
                        let gap = self.succession.on_session(outage, connection.member());
                        for rejoined in &gap.groups {
                            connection.sender.join_now(rejoined.group);
                        }
                        self.state = State::open(connection);
                        return Poll::Ready(Ok(Event::Gap(gap)));
                    }
                    Err(error) => {
                        let failed = self.succession.on_failure(outage, error);
                        *connecting = connect_at(self.succession.connector.clone(), outage.next);
                        failed?;
                    }
                },
            }
        }
    }

    fn connection(&mut self) -> Result<&mut Connection, Error> {
        match &mut self.state {
            State::Open { connection, failed: None } => Ok(connection),
            State::Open { .. } | State::Lost(..) => Err(Error::Interrupted),
        }
    }

    fn after_request(&mut self, done: Result<(), Error>) -> Result<(), Error> {
        done.map_err(|error| {
            if let State::Open { failed, .. } = &mut self.state {
                *failed = Some(error);
            }
            Error::Interrupted
        })
    }

    /// The end of the session, of which a request may have told before.
    fn lose(&mut self, error: Error) {
        let cause = match &mut self.state {
            State::Open { failed, .. } => failed.take().unwrap_or(error),
            State::Lost(..) => error,
        };
        let outage = self.succession.on_end(cause);
        let connecting = connect_at(self.succession.connector.clone(), outage.next);
        self.state = State::Lost(outage, connecting);
    }
}

impl Stream for Reconnecting {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_receive(cx).map(Some)
    }
}

fn connect_at(connector: Connector, due: Instant) -> Connecting {
    Box::pin(async move {
        sleep_until(due.into()).await;
        connector.connect_tokio().await
    })
}
