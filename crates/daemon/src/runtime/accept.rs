//! Accepting clients.

use std::io;

use antiphon_proto::time::Instant;
use antiphon_proto::{Input, Node, Outputs};
use mio::Registry;

use super::descriptors;
use super::listen::Listener;
use super::listeners::Listeners;
use super::session_io::SessionIo;
use crate::error::limit_hint;

/// Connections accepted from one socket in a turn.
const TURN_CONNECTIONS: usize = 64;
/// Poll token of the first listening socket.
pub(crate) const FIRST_TOKEN: usize = 16;

/// The sockets of the clients.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) listeners: Listeners,
    /// How often somebody waited who could not be accepted.
    refusals: u64,
}

impl Acceptor {
    pub(crate) fn new(listeners: Vec<Listener>) -> Self {
        let listeners = Listeners::new(listeners, FIRST_TOKEN, TURN_CONNECTIONS, has_room);
        Self { listeners, refusals: 0 }
    }

    /// How often somebody waited who could not be accepted for want of descriptors or memory.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Tells if there cannot be so many sessions, once everything else is open.
    pub(crate) fn tell_if_short(&self, sessions: usize) {
        if let Some(listener) = self.listeners.iter().next() {
            descriptors::tell_if_short(sessions, listener);
        }
    }

    /// Accepts what waits, as long as the core takes submissions.
    pub(crate) fn accept(
        &mut self,
        sessions: &mut SessionIo,
        registry: &Registry,
        node: &mut Node,
        now: Instant,
        out: &mut Outputs,
    ) {
        let refused = self.listeners.accept(now, node.accepts_submissions(), |stream, origin| {
            let id = sessions.open(stream, registry)?;
            node.handle(now, Input::SessionOpened(id, origin), out);
            Ok(node.accepts_submissions())
        });
        if let Some(error) = refused {
            self.refusals += 1;
            report(self.refusals, &error);
        }
    }
}

/// Fails if the next client would take a descriptor that is kept from clients, or if none is left. Asked before an
/// accept, which fails for want of a descriptor even where nobody waits.
fn has_room(listener: &Listener) -> io::Result<()> {
    match descriptors::spare_reserve(listener) {
        Err(_) if !listener.is_awaited() => Err(io::ErrorKind::WouldBlock.into()),
        other => other,
    }
}

/// Logs the first refusal and then ever fewer.
fn report(refusals: u64, error: &io::Error) {
    if error.kind() == io::ErrorKind::InvalidInput {
        tracing::error!("a socket for clients was destroyed; restart the daemon to accept some there again");
    } else if refusals.is_power_of_two() {
        tracing::warn!(
            "cannot accept clients ({refusals} times so far), waiting a moment each time: {error}{}",
            limit_hint(error)
        );
    }
}
