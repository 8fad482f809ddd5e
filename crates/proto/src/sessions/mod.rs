//! Sessions: client connections from their first byte to their last.
//!
//! What a client sends is checked, put into canonical form and queued for the ring; what the groups
//! layer routes to it is put into its outbox. Nothing here orders anything, and nothing is known of
//! other daemons. A session ends for the groups when its Disconnect is delivered in order, not when
//! its connection closes, so what it sent before counts.

pub(crate) mod access;
mod established;
mod frame_budget;
mod handshake;
mod ingress;
mod memory;
mod names;
mod outbox;
mod outflow;
mod pressure;
mod setup;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use antiphon_wire::client::frame::FrameReader;
use antiphon_wire::client::handshake::HelloReader;
use antiphon_wire::ids::SessionId;
use antiphon_wire::names::MemberName;
use antiphon_wire::service::ServiceLevel;
use bytes::{Buf, Bytes};
use foldhash::fast::FixedState;

use crate::NameHash;
use crate::config::Config;
use crate::cx::Cx;
use crate::delivery::Kind;
use crate::groups::codec::encode_disconnect;
use crate::io::{CloseReason, Event, Origin};
use crate::mutant::Mutant;
use crate::send_queue::Outgoing;
use crate::stats::Behind;
use crate::time::{Instant, Timer};
use established::Established;
use frame_budget::FrameBudget;
use handshake::{Connecting, Connection, Handshake};
use ingress::{Ingress, Request};
use names::Names;
pub use outbox::Outbox;
pub(crate) use outflow::SharedFrame;
use outflow::{Excess, Outflow};
use pressure::Threshold;

/// How often it is looked whether readers have caught up.
const PRESSURE_CHECK: Duration = Duration::from_millis(1);

/// Sessions that a status names for being behind.
const MAX_BEHIND: usize = 20;

/// A session of this daemon as a receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receiver {
    /// The session.
    pub(crate) session: SessionId,
    /// Whether it is told about memberships.
    pub(crate) wants_membership: bool,
}

/// An established session.
#[derive(Debug)]
struct Session {
    member: MemberName,
    wants_membership: bool,
    reader: FrameReader,
    outbox: Outbox,
    /// Bytes of a request that is not whole.
    begun_bytes: usize,
    /// Joins and leaves that it asked for and that were not delivered yet.
    changes_underway: usize,
    /// The last message that it got or must not get; see [`Sessions::begin_message`].
    last_message: u64,
    arrivals: Arrivals,
}

/// Messages that came for a session at one instant, the last at which any came.
#[derive(Clone, Copy, Debug)]
struct Arrivals {
    at: Instant,
    messages: usize,
}

impl Session {
    /// Gives a message that needs no order one if it would overtake a join or a leave of its own sender, who would not
    /// get it, or get it without being a member (docs/protocol.md, P6a).
    fn put_behind_changes(&mut self, message: &mut Outgoing) {
        match message.kind {
            Kind::Join | Kind::Leave => self.changes_underway += 1,
            Kind::Client if self.changes_underway > 0 => {
                message.service = message.service.max(ServiceLevel::Fifo);
            }
            Kind::Client | Kind::Disconnect | Kind::Daemon => {}
        }
    }

    /// Messages that the socket did not take. Of those that came at this instant nobody knows yet whether it
    /// will.
    fn messages_left(&mut self, now: Instant) -> usize {
        if self.arrivals.at != now {
            self.arrivals = Arrivals { at: now, messages: 0 };
        }
        self.outbox.messages_refused(self.arrivals.messages)
    }
}

/// All sessions of this daemon.
#[derive(Debug)]
pub(crate) struct Sessions {
    names: Names,
    established: Established,
    handshakes: BTreeMap<SessionId, Handshake>,
    deadlines: BTreeSet<(Instant, SessionId)>,
    /// Handshakes that wait for a name, with their deadlines.
    parked: BTreeSet<(MemberName, Instant, SessionId)>,
    /// What is still owed to sessions in [`crate::Outputs::closed`], until the host has closed them.
    closed: HashMap<SessionId, Outbox, FixedState>,
    /// Number of the message being routed.
    message: u64,
    ingress: Ingress,
    outflow: Outflow,
}

impl Sessions {
    /// No sessions yet. `seed` feeds the names of clients that bring none, `hash` finds names.
    pub(crate) fn new(config: &Config, seed: u64, hash: NameHash) -> Self {
        let Some(daemon) = config.daemon(config.me) else {
            unreachable!("a configuration lists the daemon that it is for")
        };
        Self {
            names: Names::new(daemon.name, seed, hash),
            established: Established::default(),
            handshakes: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            parked: BTreeSet::new(),
            closed: HashMap::default(),
            message: 0,
            ingress: Ingress::new(),
            outflow: Outflow::new(config),
        }
    }

    /// A client connected.
    pub(crate) fn on_opened(&mut self, id: SessionId, origin: Origin, cx: &mut Cx<'_>) {
        self.forget_closed(cx);
        let deadline = cx.now + cx.config.sessions.hello_timeout;
        let connection = Connection {
            origin,
            reader: HelloReader::new(),
            outbox: Outbox::new(&self.outflow.memory),
            deadline,
        };
        self.greet(id, Connecting { connection }, cx);
        self.arm(cx);
    }

    /// Bytes of a client, cut anywhere.
    pub(crate) fn on_bytes(&mut self, id: SessionId, bytes: Bytes, cx: &mut Cx<'_>) {
        self.forget_closed(cx);
        if self.established.contains(id) {
            self.read(id, bytes, cx);
        } else if let Some(mut handshake) = self.take_handshake(id) {
            handshake.connection_mut().reader.push(&bytes);
            self.on_handshake(id, handshake, cx);
            self.arm(cx);
        }
    }

    /// A client's connection broke, or the client closed it. What it sent before stays sent.
    pub(crate) fn on_closed(&mut self, id: SessionId, cx: &mut Cx<'_>) {
        self.forget_closed(cx);
        if let Some(handshake) = self.take_handshake(id) {
            let held = handshake.held_name();
            if let Some(name) = &held {
                self.names.release(name);
            }
            self.arm(cx);
            cx.out.events.push(Event::SessionClosed(id, held, CloseReason::HungUpEarly));
        }
        if let Some(session) = self.depart(id, cx) {
            cx.out.events.push(Event::SessionClosed(id, Some(session.member), CloseReason::HungUp));
        }
    }

    /// The end of a session of this daemon was delivered: its name is free.
    pub(crate) fn on_departed(&mut self, name: &MemberName, cx: &mut Cx<'_>) {
        if !cx.config.is_mutant(Mutant::KeepNames) {
            self.names.release(name);
        }
        self.unpark(name, cx);
        self.arm(cx);
    }

    /// A join or leave of a session of this daemon was delivered.
    pub(crate) fn on_change_delivered(&mut self, name: &MemberName) {
        if let Some(session) = self.names.bearer(name).and_then(|id| self.established.get_mut(id)) {
            session.changes_underway = session.changes_underway.saturating_sub(1);
        }
    }

    /// A session of this daemon asked to be in more groups than may be: it is closed for that reason.
    pub(crate) fn on_too_many_groups(&mut self, name: &MemberName, reason: &'static str, cx: &mut Cx<'_>) {
        if let Some(id) = self.names.bearer(name) {
            self.close(id, CloseReason::ProtocolError(reason), cx);
        }
    }

    /// The daemon stops: closes every session. Their ends need no place in the order, because the
    /// daemon's own end says as much.
    pub(crate) fn on_shutdown(&mut self, cx: &mut Cx<'_>) {
        for (id, session) in self.established.drain() {
            self.report_closed(id, Some(session.member), CloseReason::Shutdown, cx);
            self.outflow.memory.remove(session.begun_bytes);
            self.closed.insert(id, session.outbox);
        }
        for (id, handshake) in std::mem::take(&mut self.handshakes) {
            self.report_closed(id, handshake.held_name(), CloseReason::Shutdown, cx);
            self.closed.insert(id, handshake.into_connection().outbox);
        }
        self.deadlines.clear();
        self.parked.clear();
        self.arm(cx);
    }

    /// How many sessions are established.
    pub(crate) fn count(&self) -> usize {
        self.established.len()
    }

    /// What is kept of all: what they have not read, and what they have sent of requests that are not whole.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.outflow.memory.bytes()
    }

    /// How many bytes all are behind with reading.
    pub(crate) fn bytes_behind(&self) -> usize {
        self.established.iter().map(|(_, session)| session.outbox.remaining()).sum()
    }

    /// Who is furthest behind with reading.
    pub(crate) fn behind(&self) -> Vec<Behind> {
        let behind = |(_, session): (SessionId, &Session)| {
            let Session { member, outbox, .. } = session;
            let (messages, bytes) = (outbox.messages(), outbox.remaining());
            (bytes > 0).then_some(Behind { member: *member, messages, bytes })
        };
        let mut behind: Vec<Behind> = self.established.iter().filter_map(behind).collect();
        behind.sort_by_key(|session| std::cmp::Reverse(session.bytes));
        behind.truncate(MAX_BEHIND);
        behind
    }

    /// Whether a session is not established yet.
    pub(crate) fn is_greeting(&self, id: SessionId) -> bool {
        self.handshakes.contains_key(&id)
    }

    /// Bytes owed to a session; to one in [`crate::Outputs::closed`] at least for as long as it stands there.
    pub(crate) fn outbox(&mut self, id: SessionId) -> Option<&mut Outbox> {
        if let Some(session) = self.established.get_mut(id) {
            return Some(&mut session.outbox);
        }
        if let Some(handshake) = self.handshakes.get_mut(&id) {
            return Some(&mut handshake.connection_mut().outbox);
        }
        self.closed.get_mut(&id)
    }

    /// Whether readers are so far behind that the ring should wait for them a moment. Asks again
    /// soon by itself, since nothing tells when a client has read.
    pub(crate) fn holds_back(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.outflow.pressure.is_idle() {
            return false;
        }
        let limits = &cx.config.sessions;
        let threshold = Threshold::new(limits, self.kept_bytes(), self.established.len());
        let established = &self.established;
        let outbox = |id| established.get(id).map(|session| &session.outbox);
        let on = self.outflow.pressure.reconsider(limits, threshold, cx.now, cx.stats, outbox);
        if on {
            cx.timers.set(Timer::Pressure, cx.now + PRESSURE_CHECK);
        }
        on
    }

    /// The host has offered outboxes to their sockets.
    pub(crate) fn on_offered(&mut self, cx: &Cx<'_>) {
        self.outflow.budget = FrameBudget::new(cx.config.frames_at_once());
    }

    /// Whether what is next must wait until outboxes were offered to their sockets.
    pub(crate) fn is_budget_spent(&self) -> bool {
        self.outflow.budget.is_spent()
    }

    /// Whether that may soon be so.
    pub(crate) fn is_budget_half_spent(&self) -> bool {
        self.outflow.budget.is_half_spent()
    }

    /// A message of so many bytes was built for sessions.
    pub(crate) fn note_built(&mut self, bytes: usize) {
        self.outflow.budget.note_built(bytes);
    }

    /// So many memberships of whatever sessions began or ended.
    pub(crate) fn note_changes(&mut self, memberships: usize) {
        self.outflow.budget.note_changes(memberships);
    }

    /// The established session of that name, unless it is leaving.
    pub(crate) fn receiver(&self, name: &MemberName) -> Option<Receiver> {
        let session = self.names.bearer(name)?;
        let wants_membership = self.established.get(session)?.wants_membership;
        Some(Receiver { session, wants_membership })
    }

    /// Whether a session reads what it is given.
    pub(crate) fn is_established(&self, id: SessionId) -> bool {
        self.established.contains(id)
    }

    /// Begins routing a message: each session gets it once at most, and the one named `without` not
    /// at all.
    pub(crate) fn begin_message(&mut self, without: Option<&MemberName>) {
        self.message += 1;
        let discarder = without.and_then(|name| self.names.bearer(name));
        if let Some(session) = discarder.and_then(|id| self.established.get_mut(id)) {
            session.last_message = self.message;
        }
    }

    /// Puts the message being routed into an outbox, unless the session has got it already. Returns whether it did.
    // Of a message to several groups most calls find that the session has it: that is not worth a call.
    #[inline]
    pub(crate) fn deliver_once(&mut self, id: SessionId, frame: &SharedFrame<'_>, cx: &mut Cx<'_>) -> bool {
        let sessions = self.established.len();
        let session = self.established.get_mut(id).filter(|session| session.last_message != self.message);
        let Some(session) = session else { return false };
        session.last_message = self.message;
        if let Some(excess) = self.outflow.put(id, session, frame, sessions, cx) {
            self.on_excess(id, excess, cx);
        }
        true
    }

    /// Puts a frame into an outbox.
    pub(crate) fn deliver(&mut self, id: SessionId, frame: &SharedFrame<'_>, cx: &mut Cx<'_>) {
        let sessions = self.established.len();
        if let Some(session) = self.established.get_mut(id)
            && let Some(excess) = self.outflow.put(id, session, frame, sessions, cx)
        {
            self.on_excess(id, excess, cx);
        }
    }

    /// A session that is too far behind is closed: its stream ends, but never has a gap (docs/testing.md, C2).
    #[cold]
    fn on_excess(&mut self, id: SessionId, excess: Excess, cx: &mut Cx<'_>) {
        match excess {
            Excess::OfOne => self.close(id, CloseReason::SlowReader, cx),
            Excess::OfAll => self.relieve(cx),
        }
    }

    /// Takes frames out of an established session's stream, until one ends the session.
    fn read(&mut self, id: SessionId, bytes: Bytes, cx: &mut Cx<'_>) {
        let Some(session) = self.established.get_mut(id) else { return };
        session.reader.push(bytes);
        let reason = loop {
            let request = match session.reader.next_frame() {
                Ok(None) => {
                    session.count_begun(&self.outflow.memory);
                    return self.relieve(cx);
                }
                Ok(Some(frame)) => self.ingress.admit(frame, &session.member),
                Err(error) => Err(error.cause()),
            };
            match request {
                Ok(Request::Send(mut message)) => {
                    session.put_behind_changes(&mut message);
                    cx.queue.push(queue_of(id, message.kind, cx), message);
                }
                Ok(Request::Nothing) => {}
                Ok(Request::Disconnect) => break CloseReason::Disconnected,
                Err(cause) => break CloseReason::ProtocolError(cause),
            }
        };
        self.close(id, reason, cx);
    }

    /// Closes an established session.
    fn close(&mut self, id: SessionId, reason: CloseReason, cx: &mut Cx<'_>) {
        let Some(session) = self.depart(id, cx) else { return };
        match reason {
            CloseReason::SlowReader | CloseReason::OutboxesFull => cx.stats.sessions_slow += 1,
            CloseReason::ProtocolError(_) => cx.stats.sessions_errored += 1,
            _ => {}
        }
        self.report_closed(id, Some(session.member), reason, cx);
    }

    /// Ends an established session: its end is queued behind all that it sent. What is owed to it is
    /// discarded.
    fn depart(&mut self, id: SessionId, cx: &mut Cx<'_>) -> Option<Session> {
        let session = self.established.remove(id)?;
        self.outflow.memory.remove(session.begun_bytes);
        self.outflow.pressure.on_departed(id);
        self.names.begin_leaving(&session.member);
        let frame = encode_disconnect(&session.member);
        let (kind, service) = (Kind::Disconnect, ServiceLevel::Agreed);
        cx.queue.push(queue_of(id, kind, cx), Outgoing { kind, service, payload: frame.into() });
        Some(session)
    }

    /// Forgets what is owed to sessions that the host has closed. It may give several inputs before it acts
    /// on what came of them, so that those of which it was not told before must be kept.
    fn forget_closed(&mut self, cx: &Cx<'_>) {
        if cx.out.closed.is_empty() {
            self.closed.clear();
        }
    }

    fn report_closed(&self, id: SessionId, name: Option<MemberName>, reason: CloseReason, cx: &mut Cx<'_>) {
        cx.out.closed.push((id, reason));
        cx.out.events.push(Event::SessionClosed(id, name, reason));
    }
}

/// In whose queue such a message of a session waits: in its own, but with a planted fault in one that no session has.
fn queue_of(session: SessionId, kind: Kind, cx: &Cx<'_>) -> SessionId {
    let is_overtaking = match kind {
        Kind::Leave => cx.config.is_mutant(Mutant::LeaveOvertakes),
        Kind::Disconnect => cx.config.is_mutant(Mutant::EndOvertakes),
        Kind::Client | Kind::Join | Kind::Daemon => false,
    };
    if is_overtaking { SessionId(!session.0) } else { session }
}

#[cfg(test)]
mod tests;
