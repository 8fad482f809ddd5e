//! Several listening sockets that are served together, and rest together when there is no more to give.

use std::io;
use std::time::Duration;

use antiphon_proto::Origin;
use antiphon_proto::time::Instant;
use mio::{Registry, Token as PollToken};

use super::listen::Listener;
use super::stream::Stream;

/// How long nobody is accepted after the system ran out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Listeners {
    listeners: Vec<Listener>,
    /// Poll token of the first; the others have the next ones.
    first_token: usize,
    /// Connections accepted from one socket in a turn.
    turn_connections: usize,
    /// Fails where the next connection of a socket is not to be accepted.
    has_room: fn(&Listener) -> io::Result<()>,
    paused_until: Option<Instant>,
}

impl Listeners {
    pub(crate) fn new(
        listeners: Vec<Listener>,
        first_token: usize,
        turn_connections: usize,
        has_room: fn(&Listener) -> io::Result<()>,
    ) -> Self {
        Self { listeners, first_token, turn_connections, has_room, paused_until: None }
    }

    /// Adds the sockets to the poller.
    pub(crate) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener.register(registry, PollToken(self.first_token + index))?;
        }
        Ok(())
    }

    /// Makes Unix sockets again whose files were removed.
    pub(crate) fn restore(&mut self, registry: &Registry) {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            match listener.restore(registry, PollToken(self.first_token + index)) {
                Ok(None) => {}
                Ok(Some(path)) => tracing::warn!("the socket {} was gone, and is made again", path.display()),
                Err(error) => tracing::error!("a socket is gone and cannot be made again: {error}"),
            }
        }
    }

    /// Takes note of what the poller said; false when it was about another socket.
    pub(crate) fn on_ready(&mut self, token: PollToken) -> bool {
        let index = token.0.checked_sub(self.first_token);
        let listener = index.and_then(|index| self.listeners.get_mut(index));
        listener.map(|listener| listener.ready = true).is_some()
    }

    /// Whether connections may be waiting, and may be accepted.
    pub(crate) fn has_work(&self) -> bool {
        self.paused_until.is_none() && self.listeners.iter().any(|listener| listener.ready)
    }

    /// When accepting goes on after a pause.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    /// The sockets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter()
    }

    /// Accepts what waits, up to the limit for a turn and while `may_accept`, which `take` says anew after each
    /// connection. Returns the error when the system has no more to give: whoever waits is still there, and the poller
    /// does not tell of them again, so accepting goes on after a pause.
    pub(crate) fn accept(
        &mut self,
        now: Instant,
        mut may_accept: bool,
        mut take: impl FnMut(Stream, Origin) -> io::Result<bool>,
    ) -> Option<io::Error> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        for listener in &mut self.listeners {
            for _ in 0..self.turn_connections {
                if !listener.ready || !may_accept {
                    break;
                }
                let accepted = (self.has_room)(listener).and_then(|()| listener.accept());
                match accepted.and_then(|(stream, origin)| take(stream, origin)) {
                    Ok(may_go_on) => may_accept = may_go_on,
                    Err(error) => match consequence(&error, listener) {
                        Consequence::Wait => listener.ready = false,
                        Consequence::Next => {}
                        Consequence::Pause => {
                            self.paused_until = Some(now + PAUSE);
                            return Some(error);
                        }
                        Consequence::Never => {
                            listener.ready = false;
                            return Some(error);
                        }
                    },
                }
            }
        }
        None
    }
}

/// What follows from a failed accept.
enum Consequence {
    /// Nobody waits.
    Wait,
    /// That client is gone; the next may be fine.
    Next,
    /// The system has run out of something.
    Pause,
    /// The socket does not listen any more, as operators can do to it. The poller will not tell of it again.
    Never,
}

fn consequence(error: &io::Error, listener: &Listener) -> Consequence {
    match error.kind() {
        io::ErrorKind::WouldBlock => Consequence::Wait,
        io::ErrorKind::Interrupted
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::NotConnected => Consequence::Next,
        io::ErrorKind::InvalidInput if listener.listens() => Consequence::Next,
        io::ErrorKind::InvalidInput => Consequence::Never,
        _ => Consequence::Pause,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use rustix::net::{Shutdown, shutdown};

    use super::*;
    use crate::conf::PortReuse;

    #[test]
    fn a_socket_that_listens_no_more_is_told_once_and_others_are_served() {
        let open = || Listener::tcp(([127, 0, 0, 1], 0).into(), false, PortReuse::Auto).expect("a free port");
        let (dead, live) = (open(), open());
        let address = live.tcp_address().expect("TCP");
        shutdown(&dead, Shutdown::Read).expect("a listener");
        let mut listeners = Listeners::new(vec![dead, live], 0, 8, |_| Ok(()));
        let _client = TcpStream::connect(address).expect("it listens");
        let mut accepted = 0;
        let mut accept = |listeners: &mut Listeners| {
            listeners.accept(Instant::default(), true, |_, _| {
                accepted += 1;
                Ok(true)
            })
        };
        let told = accept(&mut listeners).map(|error| error.kind());
        assert_eq!(told, Some(io::ErrorKind::InvalidInput));
        assert!(accept(&mut listeners).is_none());
        assert_eq!(accepted, 1);
        assert!(!listeners.has_work());
    }
}
