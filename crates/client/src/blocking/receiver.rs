//! The receiving half of a connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Shared with the sender, which sets it.
    said_goodbye: Arc<AtomicBool>,
}

impl Receiver {
    pub(super) fn new(stream: Stream, inbox: Inbox, said_goodbye: Arc<AtomicBool>) -> Self {
        Self { stream, inbox, buffer: vec![0; READ_BYTES].into(), limit: None, said_goodbye }
    }

    /// The session's name.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.inbox.member()
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// When the daemon closed the connection or broke the protocol, or the connection is broken;
    /// [`Error::Ended`] when the [`Sender`](crate::Sender) had said goodbye.
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

    /// The events that come, until the connection ends. The last item is the error that tells why:
    /// [`Error::Ended`] after a goodbye, [`Error::Closed`] if the daemon closed the connection by itself.
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
            Ok(0) if self.said_goodbye.load(Ordering::Relaxed) => Err(Error::Ended),
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
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::blocking::tests::{SELF_LEAVE, accept_alice, daemon, say, stand_still};
    use crate::socket::tests::lose;
    use crate::{Connection, Connector};

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

    #[test]
    fn a_goodbye_comes_back_as_the_end_of_the_session() {
        let (address, playing) = daemon(|mut stream| {
            accept_alice(&mut stream);
            io::copy(&mut stream, &mut io::sink()).expect("a goodbye");
            say(&mut stream, SELF_LEAVE);
        });
        let connection = Connection::connect(&address, "alice").expect("accepted");
        let (sender, mut receiver) = connection.split();
        sender.disconnect().expect("said goodbye");
        assert!(matches!(receiver.receive(), Ok(Event::SelfLeave(_))), "what was on the way comes first");
        assert!(matches!(receiver.receive(), Err(Error::Ended)));
        playing.join().expect("played");
    }

    #[test]
    fn a_daemon_that_is_gone_before_the_goodbye_has_closed_the_connection() {
        let directory = std::env::temp_dir().join(format!("antiphon-client-gone-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let listener = UnixListener::bind(directory.join("4901")).expect("a socket");
        let playing = thread::spawn(move || accept_alice(&mut listener.accept().expect("a client").0));
        let connector = Connector::new("4901").name("alice").unix_directory(&directory);
        let (sender, mut receiver) = connector.connect().expect("accepted").split();
        playing.join().expect("played");
        assert!(sender.disconnect().is_err());
        assert!(matches!(receiver.receive(), Err(Error::Closed)));
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
