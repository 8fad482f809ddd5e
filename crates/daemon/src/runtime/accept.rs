//! Accepting clients.

use std::io;
use std::time::Duration;

use antiphon_proto::time::Instant;
use antiphon_proto::{Input, Node, Outputs};
use mio::{Registry, Token};

use super::listen::Listener;
use super::session_io::SessionIo;
use crate::error::limit_hint;

/// Connections accepted from one socket in a turn.
const TURN_CONNECTIONS: usize = 64;
/// How long nobody is accepted after the system ran out of descriptors or memory.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);
/// Poll token of the first listening socket.
pub(crate) const FIRST_TOKEN: usize = 16;

/// The listening sockets.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) listeners: Vec<Listener>,
    paused_until: Option<Instant>,
    /// How often the system refused to accept.
    refusals: u64,
}

impl Acceptor {
    pub(crate) fn new(listeners: Vec<Listener>) -> Self {
        Self { listeners, paused_until: None, refusals: 0 }
    }

    /// Adds the sockets to the poller.
    pub(crate) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener.register(registry, Token(FIRST_TOKEN + index))?;
        }
        Ok(())
    }

    /// Takes note of what the poller said about one of the sockets.
    pub(crate) fn on_ready(&mut self, token: Token) {
        if let Some(listener) = self.listeners.get_mut(token.0.saturating_sub(FIRST_TOKEN)) {
            listener.ready = true;
        }
    }

    /// Whether connections may be waiting, and may be accepted.
    pub(crate) fn has_work(&self) -> bool {
        self.paused_until.is_none() && self.listeners.iter().any(|listener| listener.ready)
    }

    /// When accepting goes on after a pause.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    /// How often the system refused to accept a connection for want of descriptors or memory.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Accepts what waits, up to a limit for the turn.
    pub(crate) fn accept(
        &mut self,
        sessions: &mut SessionIo,
        registry: &Registry,
        node: &mut Node,
        now: Instant,
        out: &mut Outputs,
    ) {
        if self.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.paused_until = None;
        for listener in &mut self.listeners {
            for _ in 0..TURN_CONNECTIONS {
                if !listener.ready || !node.accepts_submissions() {
                    break;
                }
                match listener
                    .accept()
                    .and_then(|(stream, from)| Ok((sessions.open(stream, registry)?, from)))
                {
                    Ok((id, origin)) => node.handle(now, Input::SessionOpened(id, origin), out),
                    Err(error) => match consequence(&error) {
                        Consequence::Wait => listener.ready = false,
                        Consequence::Next => {}
                        Consequence::Pause => {
                            self.refusals += 1;
                            report(self.refusals, &error);
                            self.paused_until = Some(now + PAUSE);
                            return;
                        }
                    },
                }
            }
        }
    }
}

/// What follows from a failed accept.
pub(crate) enum Consequence {
    /// Nobody waits.
    Wait,
    /// That client is gone; the next may be fine.
    Next,
    /// The system has run out of something.
    Pause,
}

pub(crate) fn consequence(error: &io::Error) -> Consequence {
    match error.kind() {
        io::ErrorKind::WouldBlock => Consequence::Wait,
        io::ErrorKind::Interrupted
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::NotConnected
        | io::ErrorKind::InvalidInput => Consequence::Next,
        _ => Consequence::Pause,
    }
}

/// Logs the first refusal and then ever fewer.
fn report(refusals: u64, error: &io::Error) {
    if refusals.is_power_of_two() {
        tracing::warn!(
            "cannot accept clients ({refusals} times so far), waiting a moment each time: {error}{}",
            limit_hint(error)
        );
    }
}
