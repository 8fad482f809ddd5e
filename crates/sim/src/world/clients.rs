//! Clients in the world: who is connected where, and how bytes go to and fro.

use std::time::Duration;

use antiphon_proto::CloseReason;
use antiphon_wire::ids::SessionId;
use antiphon_wire::names::GroupName;
use bytes::Bytes;

use super::streams::StreamInput;
use super::{Happening, World, daemon_name};
use crate::client::flush::Deed;
use crate::client::{Cast, Client, payload};
use crate::trace::SessionEvent;

/// A client's position in its world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId(pub usize);

impl World {
    /// Adds a client of a host's daemon; it does not connect yet.
    pub fn add_client(&mut self, host: usize, private: &str, wants_views: bool) -> ClientId {
        self.clients.push(Client::new(host, private, &daemon_name(host), wants_views));
        ClientId(self.clients.len() - 1)
    }

    /// Adds a client that uses the flush layer; it does not connect yet.
    pub fn add_flush_client(&mut self, host: usize, private: &str, limit: Option<Duration>) -> ClientId {
        let client = self.add_client(host, private, true);
        self.clients[client.0].flushes = true;
        self.clients[client.0].flush_limit = limit;
        client
    }

    /// All clients, in the order in which they were added.
    #[must_use]
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// One client.
    #[must_use]
    pub fn client(&self, client: ClientId) -> &Client {
        &self.clients[client.0]
    }

    /// Opens a connection, if the client has none and its daemon is up.
    pub fn connect(&mut self, client: ClientId) {
        let place = &self.clients[client.0];
        let host = place.host;
        if place.session().is_some() || place.is_spent() || !self.hosts[host].is_up() {
            return;
        }
        let session = SessionId(self.owners.len() as u64);
        self.owners.push(client);
        let reads = place.reads;
        let position =
            self.recorder.open(self.now, place.member, self.hosts[host].process, place.wants_views);
        self.recorder.trace.sessions[position].has_little_room = self.settings.gives_little_room();
        if !reads {
            self.recorder.session(self.now, position, SessionEvent::Napping);
        }
        #[cfg(feature = "mutants")]
        self.clients[client.0].plant(self.settings.flush_mutant);
        let hello = self.clients[client.0].connect(session, position, &mut self.recorder);
        self.hosts[host].streams.push(session, StreamInput::Open);
        self.send_bytes(host, session, hello);
    }

    /// Joins a group.
    pub fn join(&mut self, client: ClientId, group: GroupName) {
        let now = self.now;
        self.request(client, |client, recorder| client.join(now, group, recorder));
    }

    /// Leaves a group.
    pub fn leave(&mut self, client: ClientId, group: GroupName) {
        let now = self.now;
        self.request(client, |client, recorder| client.leave(now, group, recorder));
    }

    /// Sends a multicast.
    pub fn multicast(&mut self, client: ClientId, cast: Cast) {
        let now = self.now;
        if !self.clients[client.0].is_spent() {
            self.request(client, |client, recorder| client.multicast(now, cast, recorder));
        }
    }

    /// Lets a client with the flush layer do something, if its layer allows it.
    pub fn act(&mut self, client: ClientId, group: GroupName, deed: Deed) {
        let now = self.now;
        self.request(client, |client, recorder| client.act(now, group, deed, recorder));
    }

    /// Lets a client with the flush layer leave groups that it has not flushed in time.
    pub(super) fn look_at_the_clock(&mut self, client: ClientId) {
        let now = self.now;
        self.request(client, |client, recorder| client.on_time(now, recorder));
        self.mind_deadline(client);
    }

    /// Makes sure that the client looks at the clock when it will have taken too long to flush; and then
    /// at the next such time.
    fn mind_deadline(&mut self, client: ClientId) {
        if let Some(at) = self.clients[client.0].deadline() {
            self.plan_at(at.max(self.now), Happening::Overdue(client));
        }
    }

    /// Asks to disconnect, and closes the connection from this side at once if `and_close`.
    pub fn disconnect(&mut self, client: ClientId, and_close: bool) {
        let now = self.now;
        self.request(client, |client, recorder| client.kill(now, recorder));
        if and_close {
            self.hang_up(client);
        }
    }

    /// Closes the connection from this side.
    pub fn hang_up(&mut self, client: ClientId) {
        let place = &mut self.clients[client.0];
        let Some(session) = place.session() else { return };
        place.hang_up(self.now, &mut self.recorder);
        let host = place.host;
        self.hosts[host].writes.forget(session);
        self.hosts[host].streams.push(session, StreamInput::Close);
        self.plan_turn(host);
    }

    /// The client reads nothing for that long.
    pub fn stop_reading(&mut self, client: ClientId, duration: Duration) {
        let place = &mut self.clients[client.0];
        place.reads = false;
        if let Some(position) = place.trace_position() {
            self.recorder.session(self.now, position, SessionEvent::Napping);
        }
        self.plan(duration, Happening::Reads(client));
    }

    pub(super) fn read_again(&mut self, client: ClientId) {
        self.clients[client.0].reads = true;
        self.plan_turn(self.clients[client.0].host);
    }

    fn request(
        &mut self,
        client: ClientId,
        write: impl FnOnce(&mut Client, &mut crate::record::Recorder) -> Bytes,
    ) {
        let place = &mut self.clients[client.0];
        let (true, Some(session)) = (place.may_send(), place.session()) else { return };
        let bytes = write(place, &mut self.recorder);
        let host = place.host;
        self.send_bytes(host, session, bytes);
    }

    fn send_bytes(&mut self, host: usize, session: SessionId, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        for piece in payload::chopped(bytes, &mut self.rng) {
            self.hosts[host].streams.push(session, StreamInput::Bytes(piece));
        }
        self.plan_turn(host);
    }

    pub(super) fn client_reads(&self, session: SessionId) -> bool {
        let owner = usize::try_from(session.0).ok().and_then(|at| self.owners.get(at));
        owner.is_some_and(|owner| {
            let client = &self.clients[owner.0];
            client.reads && client.session() == Some(session)
        })
    }

    pub(super) fn feed_client(&mut self, session: SessionId, bytes: &Bytes) {
        let owner = usize::try_from(session.0).ok().and_then(|at| self.owners.get(at));
        let Some(client) = owner.map(|owner| &mut self.clients[owner.0]) else { return };
        if client.session() != Some(session) {
            return;
        }
        let (before, host) = (client.deadline(), client.host);
        let answer = client.on_bytes(self.now, bytes, &mut self.recorder);
        if let Some(owner) = owner.copied().filter(|owner| self.clients[owner.0].deadline() != before) {
            self.mind_deadline(owner);
        }
        if let Some(answer) = answer {
            self.send_bytes(host, session, answer);
        }
    }

    pub(super) fn close_client(&mut self, session: SessionId, reason: Option<CloseReason>) {
        let now = self.now;
        let owner = usize::try_from(session.0).ok().and_then(|at| self.owners.get(at));
        let Some(client) = owner.map(|owner| &mut self.clients[owner.0]) else { return };
        if client.session() == Some(session) {
            client.on_closed(now, reason, &mut self.recorder);
        }
    }

    /// Breaks every connection to a host's daemon, which is gone.
    pub(super) fn break_connections(&mut self, host: usize) {
        let now = self.now;
        for client in self.clients.iter_mut().filter(|client| client.host == host) {
            if client.session().is_some() {
                client.on_closed(now, None, &mut self.recorder);
            }
        }
    }
}
