//! The receiving half of a connection.

use std::io;
use std::time::{Duration, Instant};

use antiphon_wire::names::MemberName;
use bytes::Bytes;

use super::stream::Stream;
use crate::error::Error;
use crate::message::Event;
use crate::session::{Inbox, READ_BYTES};

/// Sockets take a limit of zero for none at all.
const SHORTEST_LIMIT: Duration = Duration::from_micros(1);

/// The receiving half of a [`Connection`](crate::Connection).
#[derive(Debug)]
pub struct Receiver {
    stream: Stream,
    inbox: Inbox,
    buffer: Box<[u8]>,
    /// The time limit that the socket has now; setting it is a system call.
    limit: Option<Duration>,
}

impl Receiver {
    pub(super) fn new(stream: Stream, inbox: Inbox) -> Self {
        Self { stream, inbox, buffer: vec![0; READ_BYTES].into(), limit: None }
    }

    /// The session's name.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.inbox.member()
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// When the daemon closed the connection or broke the protocol, or the connection is broken.
    pub fn receive(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.inbox.next_event()? {
                return Ok(event);
            }
            self.read(None)?;
        }
    }

    /// Waits for the next event, but no longer than `timeout`; `None` when none came. A timeout of 0
    /// takes what is there; the system may round it up to some milliseconds.
    ///
    /// # Errors
    /// As [`Receiver::receive`].
    pub fn receive_timeout(&mut self, timeout: Duration) -> Result<Option<Event>, Error> {
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return self.receive().map(Some);
        };
        loop {
            if let Some(event) = self.inbox.next_event()? {
                return Ok(Some(event));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let read = self.read(Some(left.max(SHORTEST_LIMIT)));
            match read {
                Ok(()) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes an event that was read together with an earlier one; `None` when the next one would have
    /// to be waited for. Makes no system call.
    ///
    /// # Errors
    /// When the daemon broke the protocol.
    pub fn receive_ready(&mut self) -> Result<Option<Event>, Error> {
        self.inbox.next_event()
    }

    /// The events that come, until the connection ends. A connection that the daemon closes ends with
    /// [`Error::Closed`] as the last item.
    pub fn events(&mut self) -> impl Iterator<Item = Result<Event, Error>> {
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let event = self.receive();
            ended = event.is_err();
            Some(event)
        })
    }

    /// Reads and forgets what comes within a time limit; returns how many bytes, 0 at the end of the stream, and `None`
    /// when nothing came.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) fn discard(&mut self, limit: Duration) -> Result<Option<usize>, Error> {
        self.limit(Some(limit.max(SHORTEST_LIMIT)))?;
        match self.stream.read(&mut self.buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(error) => Err(Error::from_io(error)),
        }
    }

    /// Reads what is there; nothing if a signal comes first.
    fn read(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        self.limit(limit)?;
        match self.stream.read(&mut self.buffer) {
            Ok(0) => Err(Error::Closed),
            Ok(count) => {
                self.inbox.push(Bytes::copy_from_slice(self.buffer.get(..count).unwrap_or_default()));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            // The limit of a read shows as `WouldBlock`; this is a host that answers no more.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Error::Closed),
            Err(error) => Err(Error::from_io(error)),
        }
    }

    /// Sets the time limit of reads.
    fn limit(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        if limit != self.limit {
            self.stream.set_read_timeout(limit).map_err(Error::from_io)?;
            self.limit = limit;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use crate::blocking::tests::{daemon, stand_still};
    use crate::socket::tests::lose;
    use crate::{Connection, Error};

    #[test]
    fn a_host_that_answers_no_more_has_closed_the_connection() {
        let (done, over) = mpsc::channel();
        let (address, playing) = daemon(move |stream| stand_still(stream, &over));
        let mut receiver = Connection::connect(&address, "alice").expect("accepted").receiver;
        lose(&receiver.stream);
        let ended = receiver.receive();
        assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
        done.send(()).expect("listens");
        playing.join().expect("played");
    }
}
