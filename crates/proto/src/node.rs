//! One daemon: owns every part, routes an input to one of them, then settles what follows.

use std::time::Duration;

use antiphon_wire::ids::{ProcessId, SessionId};
use antiphon_wire::service::ServiceLevel;

use crate::NameHash;
use crate::config::{Cluster, Config};
use crate::cx::Cx;
use crate::delivery::{Configuration, Delivery, Kind, Message, Place, Saying};
use crate::groups::Groups;
use crate::io::{Channel, Event, Input, Outputs, Trace};
use crate::membership::Membership;
use crate::mutant::Mutant;
use crate::patience::Patience;
use crate::reload::Reload;
use crate::send_queue::SendQueue;
use crate::sessions::{Outbox, Sessions};
use crate::stats::{Readers, Stats, Status};
use crate::time::{Instant, Timer, Timers};

/// Cycles of delivering and sending in one call. What is left goes on in the next, so that one call stays short.
const MAX_CYCLES: usize = 8;
/// While clients are to get what came of the ring before, all daemons together may delay a round of the token by
/// `token_loss` divided by this.
const RING_WAIT_DIVISOR: u32 = 8;

/// One daemon, without its sockets and clock. See the [crate documentation](crate) for the contract.
#[derive(Debug)]
pub struct Node {
    config: Config,
    timers: Timers,
    patience: Patience,
    queue: SendQueue,
    stats: Stats,
    membership: Membership,
    groups: Groups,
    sessions: Sessions,
    reload: Reload,
    last_call: Instant,
    /// Whether deliveries wait for another call.
    has_put_off: bool,
    /// When to leave at the latest, once asked to.
    leave_by: Option<Instant>,
}

/// The layers, borrowed apart from the fields that [`Cx`] lends them.
struct Parts<'a> {
    membership: &'a mut Membership,
    groups: &'a mut Groups,
    sessions: &'a mut Sessions,
    reload: &'a mut Reload,
}

/// What sets one run of a daemon apart from all others.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Must differ from that of every earlier run of this daemon, and be greater if possible. Milliseconds since 1970
    /// serve, with random bits below them for hosts whose clock begins anew (docs/protocol.md, M12).
    pub incarnation: u64,
    /// Must be beyond every ring epoch of an earlier run. Milliseconds since 1970 serve, as rings form more slowly
    /// than the clock goes.
    pub epoch: u64,
    /// Feeds the only random choices: jitter of timers, and names for clients that bring none.
    pub seed: u64,
    /// Finds names, which clients choose: [`NameHash::secret`] in a daemon.
    pub name_hash: NameHash,
}

/// What came of delivering.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// Nothing was to be delivered.
    None,
    /// Something was, or others hear that more was: so there may be something to send.
    Some,
    /// The rest has to wait for another call.
    PutOff,
}

impl Node {
    /// Boots a daemon.
    pub fn new(config: Config, boot: Boot, now: Instant, out: &mut Outputs) -> Self {
        let Boot { incarnation, epoch, seed, name_hash } = boot;
        let me = ProcessId { daemon: config.me, incarnation };
        let (mut timers, mut patience) = (Timers::default(), Patience::default());
        let (mut queue, mut stats) = (SendQueue::default(), Stats::default());
        let mut cx = Cx {
            now,
            config: &config,
            timers: &mut timers,
            patience: &mut patience,
            queue: &mut queue,
            stats: &mut stats,
            out,
        };
        let membership = Membership::boot(me, epoch, seed, &mut cx);
        let ring = membership.ring().id();
        let alone = Configuration::Regular { ring, members: vec![me], all_from_one_ring: true };
        cx.out.record(|| Trace::Configured(alone));
        let groups = Groups::new(me, ring, name_hash.clone());
        let sessions = Sessions::new(&config, seed, name_hash);
        Self {
            config,
            timers,
            patience,
            queue,
            stats,
            membership,
            groups,
            sessions,
            reload: Reload::default(),
            last_call: now,
            has_put_off: false,
            leave_by: None,
        }
    }

    /// Takes one input and does everything that follows from it.
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Outputs) {
        let (stalled, had_put_off) = (self.note_call(now), self.has_put_off);
        self.take_order(&input, now);
        self.has_put_off = self.with_cx(now, out, |parts, cx| {
            parts.membership.mind_lateness(cx);
            if stalled {
                parts.membership.on_stall(cx);
            }
            parts.route(input, cx);
            parts.settle(cx)
        });
        // Whoever led the ring whose groups were known last must be in the list that comes (docs/protocol.md, M17).
        if self.membership.is_delivered()
            && self.groups.is_settled()
            && let Some(cluster) = self.reload.take_due()
        {
            self.go_over_to(cluster, now, out);
        }
        self.stats.deliveries_put_off += u64::from(self.has_put_off && !had_put_off);
        let is_done = self.queue.messages() == 0 && !self.has_put_off;
        if self.leave_by.is_some_and(|by| now >= by || is_done) {
            self.leave_by = None;
            self.with_cx(now, out, |parts, cx| parts.membership.say_goodbye(cx));
        }
    }

    /// Notes when this call comes, and how late. Returns whether the process stood still for so long that others may have
    /// given it up.
    fn note_call(&mut self, now: Instant) -> bool {
        let last_call = std::mem::replace(&mut self.last_call, now);
        // A node that put deliveries off was due at once, so it is late by all the time since the last call.
        let due = if self.awaits_offers() { Some(last_call) } else { self.timers.next().map(|(due, _)| due) };
        self.patience.note_call(now, due);
        now.since(last_call) > self.config.ring.token_loss
    }

    /// Takes what an operator wants into the configuration, which the layers only read.
    fn take_order(&mut self, input: &Input, now: Instant) {
        match input {
            Input::SetWindows(change) => self.config.ring.change_windows(*change),
            Input::Reload(cluster) => self.reload.prepare(cluster, &mut self.config),
            Input::Shutdown if self.leave_by.is_none() => {
                let by = now + self.config.membership.leave;
                self.leave_by = Some(by);
                self.timers.set(Timer::LeaveBy, by);
            }
            _ => {}
        }
    }

    /// All of the ring understand another list of daemons, so it takes effect.
    fn go_over_to(&mut self, cluster: Cluster, now: Instant, out: &mut Outputs) {
        out.events.push(Event::Reloaded { cluster: cluster.hash });
        self.config.change_cluster(cluster);
        self.with_cx(now, out, |parts, cx| parts.membership.meet_others(cx));
    }

    fn with_cx<T>(
        &mut self,
        now: Instant,
        out: &mut Outputs,
        run: impl FnOnce(&mut Parts<'_>, &mut Cx<'_>) -> T,
    ) -> T {
        let mut cx = Cx {
            now,
            config: &self.config,
            timers: &mut self.timers,
            patience: &mut self.patience,
            queue: &mut self.queue,
            stats: &mut self.stats,
            out,
        };
        let mut parts = Parts {
            membership: &mut self.membership,
            groups: &mut self.groups,
            sessions: &mut self.sessions,
            reload: &mut self.reload,
        };
        run(&mut parts, &mut cx)
    }

    /// When to call [`Node::handle`] with [`Input::Timeout`] at the latest, and what for.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    /// Whether deliveries were put off to another call, most often because outboxes have to be offered to their
    /// sockets first. What comes from other daemons has to wait as well: the host may leave it unread for a while
    /// ([`Node::ring_may_wait`]).
    #[must_use]
    pub fn has_put_off(&self) -> bool {
        self.has_put_off
    }

    /// Whether the host, which has read nothing of other daemons for so long, may leave them a little longer for its
    /// clients: deliveries were put off, and if all daemons do so in one round, the token is not lost for that.
    #[must_use]
    pub fn ring_may_wait(&self, waited: Duration) -> bool {
        let daemons = self.config.cluster.daemons.len() as u32;
        self.has_put_off && waited < self.config.ring.token_loss / (RING_WAIT_DIVISOR * daemons.max(1))
    }

    /// Whether [`Input::OutboxesOffered`] is due as soon as all outboxes were offered to their sockets: deliveries were put off,
    /// or may soon be.
    #[must_use]
    pub fn awaits_offers(&self) -> bool {
        self.has_put_off || self.sessions.is_budget_half_spent()
    }

    /// Which socket to read first when both have something.
    #[must_use]
    pub fn receive_preference(&self) -> Channel {
        self.membership.ring().preference()
    }

    /// Whether all configured daemons are members of the installed ring.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.membership.ring().members().len() == self.config.cluster.daemons.len()
    }

    /// Whether messages wait for windows, as far as the token told. Then a packet that is read a little later
    /// makes nobody wait; the token must be read at once all the same.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.membership.is_saturated()
    }

    /// Whether clients should be accepted; false while enough of their messages wait.
    #[must_use]
    pub fn accepts_submissions(&self) -> bool {
        self.queue.accepts(&self.config.ring) && !self.has_put_off_alone()
    }

    /// Whether deliveries were put off in a ring of one. In a greater one the window sees to it that nobody sends
    /// more than all deliver; here only the clients can be made to wait.
    fn has_put_off_alone(&self) -> bool {
        self.has_put_off && self.membership.ring().is_alone()
    }

    /// Whether a session is not established yet. It is always read: its time runs, and it submits nothing.
    #[must_use]
    pub fn is_greeting(&self, session: SessionId) -> bool {
        self.sessions.is_greeting(session)
    }

    /// How many bytes of a session should be read at most; 0 while enough of its messages wait, or of all
    /// together, unless it is being greeted.
    #[must_use]
    pub fn room_for(&self, session: SessionId) -> usize {
        match self.is_greeting(session) {
            true => usize::MAX,
            false if self.has_put_off_alone() => 0,
            false => self.queue.room_for(session, &self.config.ring),
        }
    }

    /// Bytes owed to a session; the host writes what the socket takes and advances the buffer.
    pub fn outbox(&mut self, session: SessionId) -> Option<&mut Outbox> {
        self.sessions.outbox(session)
    }

    /// Where the daemon stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let ring = self.membership.ring();
        Status {
            state: self.membership.state_name(),
            ring: ring.id(),
            members: ring.members().to_vec(),
            reasons: self.membership.reasons().to_vec(),
            next_cluster: self.reload.awaited(self.config.cluster.hash),
            settled: self.groups.is_settled(),
            stable: ring.stable(),
            held: ring.packets().contiguous(),
            highest: ring.packets().highest(),
            windows: ring.windows(&self.config.ring),
            packets_held: ring.packets().len(),
            messages_unfinished: self.membership.messages_unfinished(),
            messages_waiting: self.queue.messages(),
            bytes_waiting: self.queue.bytes(),
            sessions: self.sessions.count(),
            groups: self.groups.count(),
        }
    }

    /// How far the sessions are behind with reading. Looks at every one.
    #[must_use]
    pub fn readers(&self) -> Readers {
        let (bytes_behind, bytes_kept) = (self.sessions.bytes_behind(), self.sessions.kept_bytes());
        Readers { bytes_behind, bytes_kept, furthest: self.sessions.behind() }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let fragments_dropped = self.stats.fragments_dropped + self.membership.fragments_dropped();
        let datagrams_unfinished = self.membership.datagrams_unfinished();
        Stats { fragments_dropped, datagrams_unfinished, ..self.stats }
    }
}

impl Parts<'_> {
    /// Gives an input to the layer that it is for.
    fn route(&mut self, input: Input, cx: &mut Cx<'_>) {
        match input {
            Input::Datagram(bytes) => self.membership.on_datagram(bytes, cx),
            Input::SessionOpened(id, origin) => self.sessions.on_opened(id, origin, cx),
            Input::SessionBytes(id, bytes) => self.sessions.on_bytes(id, bytes, cx),
            Input::SessionClosed(id) => self.sessions.on_closed(id, cx),
            Input::Timeout => self.fire(cx),
            Input::OutboxesOffered => self.sessions.on_offered(cx),
            Input::SetWindows(_) => self.membership.begin_windows_anew(),
            Input::Reload(_) => self.reload.on_given(),
            Input::Shutdown => self.sessions.on_shutdown(cx),
        }
    }

    /// Fires every timer that is due. One that a handler sets to now again waits for the next call.
    fn fire(&mut self, cx: &mut Cx<'_>) {
        for _ in Timer::ALL {
            match cx.timers.expire(cx.now) {
                Some(Timer::Handshake) => self.sessions.on_handshake_timeout(cx),
                Some(timer) => self.membership.on_timer(timer, cx),
                None => return,
            }
        }
    }

    /// Passes deliveries up and what they cause down again, until nothing moves or it is enough for a call.
    /// Returns whether there is more to do.
    fn settle(&mut self, cx: &mut Cx<'_>) -> bool {
        for _ in 0..MAX_CYCLES {
            self.membership.set_held_back(self.sessions.holds_back(cx));
            if self.membership.is_delivered() {
                self.reload.announce(cx);
            }
            let has_sent = self.membership.advance(cx);
            match self.deliver_all(cx) {
                Progress::PutOff => return true,
                Progress::None if !has_sent => return false,
                Progress::None | Progress::Some => {}
            }
        }
        true
    }

    /// What is to be done with many groups comes before anything else is delivered. Nobody takes what would be reported
    /// once the configuration of another ring waits.
    #[cold]
    fn go_on_with_groups(&mut self, cx: &mut Cx<'_>) {
        if !self.membership.is_delivered() {
            self.groups.drop_report();
        }
        self.groups.go_on(self.sessions, cx);
    }

    /// Lets clients send while the groups of the ring are known. Those that are known now are those of the last ring that
    /// was installed: what that brings is put off only while the groups are busy.
    fn note_groups(&mut self, has_put_off: bool, cx: &mut Cx<'_>) {
        let is_settled = self.groups.is_settled();
        self.membership.set_early_lane_open(is_settled && !has_put_off);
        cx.queue.set_clients_open(is_settled);
        if is_settled {
            cx.patience.note_settled();
        }
    }

    /// Delivers what can be, as far as it may in one call.
    fn deliver_all(&mut self, cx: &mut Cx<'_>) -> Progress {
        let (limit, mut has_delivered) = (self.membership.limit(cx), false);
        let has_put_off = loop {
            let is_busy = self.groups.is_busy();
            if self.sessions.is_budget_spent() && (is_busy || self.membership.is_delivered()) {
                break is_busy || self.membership.has_more(limit);
            }
            if is_busy {
                self.go_on_with_groups(cx);
            } else if let Some(delivery) = self.membership.next_delivery(limit) {
                deliver(delivery, self.groups, self.sessions, self.reload, cx);
            } else {
                break false;
            }
            has_delivered = true;
        };
        let has_acknowledged = self.membership.note_delivered(has_put_off, cx);
        self.note_groups(has_put_off, cx);
        match has_put_off {
            true => Progress::PutOff,
            false if has_delivered || has_acknowledged => Progress::Some,
            false => Progress::None,
        }
    }
}

// For each message, from one place: a call with as many arguments would be a fortieth of what a message costs.
#[inline(always)]
fn deliver(
    delivery: Delivery<'_>,
    groups: &mut Groups,
    sessions: &mut Sessions,
    reload: &mut Reload,
    cx: &mut Cx<'_>,
) {
    match delivery {
        // Behind a hole that swallowed a part of the groups exchange. All who move together
        // lack the same part, so none of them delivers it (docs/testing.md, G17).
        Delivery::Message(message, _) if message.kind == Kind::Client && !groups.is_settled() => {
            cx.stats.messages_unroutable += 1;
        }
        Delivery::Message(message, _)
            if cx.config.is_mutant(Mutant::LoseUnreliable) && message.service == ServiceLevel::Unreliable => {
        }
        Delivery::Message(message, place) => {
            cx.stats.messages_delivered += 1;
            cx.out.record(|| delivered(message, place));
            match message.kind {
                Kind::Daemon if Saying::Ready.begins(message.bytes.bytes()) => {
                    reload.on_ready(message, cx);
                }
                _ => groups.on_message(message, sessions, cx),
            }
            let changes_groups = matches!(message.kind, Kind::Join | Kind::Leave | Kind::Disconnect);
            if changes_groups && !groups.is_busy() {
                cx.out.record(|| groups.trace(Some((place.seq, place.index))));
            }
        }
        Delivery::Configuration(configuration) => {
            cx.out.record(|| Trace::Configured(configuration.clone()));
            groups.on_configuration(configuration, cx.config);
            reload.on_configuration(configuration);
        }
    }
}

fn delivered(message: Message<'_>, place: Place) -> Trace {
    let Message { sender, kind, service, preamble, bytes } = message;
    let Place { seq, index, early } = place;
    let bytes = if preamble.is_empty() { bytes.keep() } else { [preamble, bytes.bytes()].concat().into() };
    Trace::Delivered { sender, seq, index, kind, service, bytes, early }
}
