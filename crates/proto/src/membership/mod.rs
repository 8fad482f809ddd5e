//! This process as a member of rings: which ring is installed, and how the next one comes to be.
//!
//! ```text
//!   token lost · ring-mate gathers, leaves or is restarted · agreed merge · deaf · numbers used up (M2)
//!       ┌────────────────────────────────────────────────────────────────────────────────┐
//!       │                                                                                ▼
//!  Operational ◀── INSTALL, or the first token or packet of the new ring ── Recover    Gather ◀─ boot
//!                                                                              ▲         │
//!                                                       COMMIT (all accepted)  │         │ PROPOSE sent or received
//!                                                                            Accepted ◀──┘
//!   (no progress in Accepted or Recover, or a member of the attempt leaves, is restarted or gives up:
//!    back to Gather, the old ring untouched; in Accepted, a proposal of a greater epoch takes the place of
//!    the one that was accepted. From any state: asked to stop, to Leaving)
//! ```
//!
//! A daemon that looks for a ring gossips whom it hears ([`gossip`]); everyone computes the same
//! cliques from that ([`clique`]); the lowest member of a clique leads an attempt ([`attempt`]);
//! the members fetch what they lack of their old rings ([`recovery`]) and install ([`install`]).
//! While the ring works ([`operational`]) it may come to be merged with another ([`merge`]). What is delivered
//! meanwhile, and in between, is in [`deliveries`].
//! The installed ring is one field, replaced by one assignment; an attempt never touches it but to
//! fill its holes. Rules: docs/protocol.md, M1 to M17, after Totem (TOCS '95) and Spread's EVS.

mod attempt;
mod clique;
mod deliveries;
pub(crate) mod epoch;
mod gather;
mod gossip;
mod install;
mod merge;
mod oddities;
mod operational;
mod recovery;
mod runs;
mod silence;
mod transmit;

use std::collections::{BTreeSet, VecDeque};

use antiphon_wire::ids::{DaemonId, ProcessId, RingId, Seq};
use antiphon_wire::ring::attempt::Holdings;
use antiphon_wire::ring::gossip::{Join, Leave};
use antiphon_wire::ring::packet::Packet;
use antiphon_wire::ring::piece::{Assembler, Piece, Splitter};
use antiphon_wire::ring::{self, Datagram, Envelope};
use bytes::Bytes;

use crate::config::Config;
use crate::cx::Cx;
use crate::delivery::KeptDelivery;
use crate::delivery::stream::Stream;
use crate::io::Event;
use crate::ring::Ring;
use crate::stats::StateName;
use crate::time::{Instant, Timer};
use attempt::Accepted;
use epoch::Epochs;
use gather::Gather;
use gossip::Gossip;
use oddities::Oddities;
use recovery::Recover;
use runs::Sighting;
use silence::Silence;

/// How often the goodbye is said.
const GOODBYES: u8 = 3;

/// What the process is doing about its ring.
#[derive(Debug)]
enum State {
    /// The ring works.
    Operational(Operational),
    /// Looking for others.
    Gather(Gather),
    /// Accepted a proposal; the old ring is frozen.
    Accepted(Accepted),
    /// Everyone accepted; making good what is missing of the old ring.
    Recover(Recover),
    /// Said goodbye so many times.
    Leaving(u8),
}

/// A ring that works.
#[derive(Debug)]
struct Operational {
    /// Since when.
    since: Instant,
    /// Whether I proposed it and its first token is still to be sent.
    must_start: bool,
    /// Whether messages without order go up on arrival.
    early_lane_open: bool,
}

impl Operational {
    fn new(since: Instant) -> Self {
        Self { since, must_start: false, early_lane_open: false }
    }
}

impl State {
    fn name(&self) -> StateName {
        match self {
            Self::Operational(_) => StateName::Operational,
            Self::Gather(_) => StateName::Gather,
            Self::Accepted(_) => StateName::Accepted,
            Self::Recover(_) => StateName::Recover,
            Self::Leaving(_) => StateName::Leaving,
        }
    }

    /// The ring that an attempt is to lead to, and its members.
    fn attempt(&self) -> Option<(RingId, Vec<ProcessId>)> {
        match self {
            Self::Accepted(accepted) => Some((accepted.ring(), accepted.members().to_vec())),
            Self::Recover(recover) => Some((recover.ring(), recover.members().collect())),
            Self::Operational(_) | Self::Gather(_) | Self::Leaving(_) => None,
        }
    }

    /// The members of that ring; nobody without an attempt.
    fn partners(&self) -> Vec<ProcessId> {
        self.attempt().map_or_else(Vec::new, |(_, members)| members)
    }

    /// Whether a process of that daemon is to be one of them.
    fn is_to_have(&self, daemon: DaemonId) -> bool {
        self.partners().iter().any(|member| member.daemon == daemon)
    }

    /// Whether the join shows that a member of an attempt has started over: it accepts no such epoch any more.
    fn was_given_up(&self, join: &Join) -> bool {
        self.attempt().is_some_and(|(ring, members)| join.epoch >= ring.epoch && members.contains(&join.from))
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Membership {
    me: ProcessId,
    ring: Ring,
    stream: Stream,
    /// Processes whose old-ring messages I must deliver even behind holes, because I promised so in
    /// an attempt that others may have installed (Totem's obligation set).
    obligations: BTreeSet<ProcessId>,
    gossip: Gossip,
    epochs: Epochs,
    state: State,
    /// Why the installed ring was left, and what has happened since; or how it came about.
    reasons: Vec<String>,
    assembler: Assembler,
    splitter: Splitter,
    random: fastrand::Rng,
    /// All configured daemons but me.
    others: Vec<DaemonId>,
    /// Attempts that failed lately: the more, the longer the next may take.
    failures: u32,
    last_hello: Instant,
    last_join: Instant,
    silence: Silence,
    oddities: Oddities,
    /// What is delivered next, before anything else of the stream.
    deliveries: VecDeque<KeptDelivery>,
    /// The last of these that was taken, while it is lent.
    delivering: Option<KeptDelivery>,
}

/// Steps from one ring to the next that are remembered. Later ones are repetitions after failures.
const MAX_REASONS: usize = 32;

impl Membership {
    /// Boots as the only member of a ring of its own, looking for others.
    pub(crate) fn boot(me: ProcessId, epoch: u64, seed: u64, cx: &mut Cx<'_>) -> Self {
        let epochs = Epochs::new(epoch, cx.now);
        let before = Seq(cx.config.ring.numbers_from);
        let alone = RingId { epoch: epochs.reached(), leader: me };
        let ring = Ring::new(alone, vec![me], me, before, cx.now);
        let mut membership = Self {
            me,
            ring,
            stream: Stream::after(before),
            obligations: BTreeSet::from([me]),
            gossip: Gossip::new(me),
            epochs,
            state: State::Operational(Operational::new(cx.now)),
            reasons: Vec::new(),
            assembler: Assembler::default(),
            splitter: Splitter::new(me),
            random: fastrand::Rng::with_seed(seed),
            others: others(cx.config, me.daemon),
            failures: 0,
            last_hello: Instant::default(),
            last_join: Instant::default(),
            silence: Silence::new(me.daemon),
            oddities: Oddities::default(),
            deliveries: VecDeque::new(),
            delivering: None,
        };
        cx.timers.set(Timer::Hello, cx.now);
        membership.gather_for(daemons(cx.config).collect(), Vec::new(), "start", cx);
        membership
    }

    /// The ring that is installed.
    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Whether the installed ring goes on.
    fn is_operational(&self) -> bool {
        matches!(self.state, State::Operational(_))
    }

    /// Whether messages wait for windows of a ring that goes on, as far as its token told.
    pub(crate) fn is_saturated(&self) -> bool {
        self.is_operational() && self.ring.is_saturated()
    }

    /// What the process is doing about its ring, in a word.
    pub(crate) fn state_name(&self) -> StateName {
        self.state.name()
    }

    /// What led to the installed ring, or away from it, step by step.
    pub(crate) fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Lets the ring run, or holds it back: this daemon then does not say that it holds more, so that
    /// after the outstanding window nobody numbers new packets.
    pub(crate) fn set_held_back(&mut self, held_back: bool) {
        self.ring.set_held_back(held_back);
    }

    /// The list of daemons is another: says which ring this is to all of them.
    pub(crate) fn meet_others(&mut self, cx: &mut Cx<'_>) {
        self.others = others(cx.config, self.me.daemon);
        cx.timers.set(Timer::Hello, cx.now);
    }

    /// Lets rounds begin anew with the configured windows, as these are others now.
    pub(crate) fn begin_windows_anew(&mut self) {
        self.ring.begin_windows_anew();
    }

    /// Control datagrams whose pieces did not all come.
    pub(crate) fn datagrams_unfinished(&self) -> u64 {
        self.assembler.dropped()
    }

    /// Messages of the present ring of which the end has not come.
    pub(crate) fn messages_unfinished(&self) -> usize {
        self.stream.unfinished()
    }

    /// What was of no use in the packets of the present ring.
    pub(crate) fn fragments_dropped(&self) -> u64 {
        self.stream.dropped()
    }

    /// One datagram from another daemon.
    pub(crate) fn on_datagram(&mut self, bytes: Bytes, cx: &mut Cx<'_>) {
        let version = ring::other_version(&bytes).filter(|(_, cluster)| cx.config.understands(*cluster));
        let Ok((envelope, datagram)) = ring::decode(bytes) else {
            cx.stats.datagrams_rejected += 1;
            if let Some((version, _)) = version {
                self.report_version(version, cx);
            }
            return;
        };
        if !cx.config.understands(envelope.cluster) || cx.config.daemon(envelope.daemon).is_none() {
            cx.stats.datagrams_rejected += 1;
            self.report_cluster(envelope.cluster, cx);
            return;
        }
        if matches!(self.state, State::Leaving(_)) {
            return;
        }
        match datagram {
            Datagram::Packet(packet) if envelope.daemon != self.me.daemon => self.on_packet(packet, cx),
            Datagram::Packet(_) => {}
            Datagram::Piece(piece) if piece.from.daemon != self.me.daemon => {
                self.on_piece(envelope, piece, cx);
            }
            other => self.on_control(other, cx),
        }
    }

    /// A piece of a longer datagram, which must be from the sender of the pieces: that one was checked.
    fn on_piece(&mut self, envelope: Envelope, piece: Piece, cx: &mut Cx<'_>) {
        let from = piece.from;
        match self.assembler.add(piece).map(ring::decode) {
            Some(Ok((inner, datagram))) if inner == envelope && datagram.from() == Some(from) => {
                self.on_control(datagram, cx);
            }
            Some(_) => cx.stats.datagrams_rejected += 1,
            None => {}
        }
    }

    /// Everything but packets: checks who says it, then what it says.
    fn on_control(&mut self, datagram: Datagram, cx: &mut Cx<'_>) {
        let Some(from) = datagram.from() else {
            cx.stats.datagrams_rejected += 1;
            return;
        };
        if from.daemon == self.me.daemon {
            self.notice_double(&[from], cx);
            return;
        }
        // In a working ring little is heard of most members but through the token; yet they are there,
        // and what comes of an earlier run of one was long on its way.
        let is_there = |member| self.is_operational() || member == from;
        let earlier_is_dead = self.ring.member_of(from.daemon).is_some_and(is_there);
        match self.gossip.sight(from, earlier_is_dead, cx.now) {
            Sighting::Dead => cx.stats.datagrams_stale += 1,
            Sighting::Known => self.dispatch(datagram, cx),
            Sighting::Newer => {
                self.on_restart_of(from, cx);
                self.dispatch(datagram, cx);
            }
        }
    }

    fn dispatch(&mut self, datagram: Datagram, cx: &mut Cx<'_>) {
        match datagram {
            Datagram::Token(token) => self.on_token(token, cx),
            Datagram::Wake(wake) => self.on_wake(&wake, cx),
            Datagram::Ack(ack) => self.on_ack(&ack, cx),
            Datagram::Join(join) => self.on_join(&join, cx),
            Datagram::Hello(hello) => self.on_hello(&hello, cx),
            Datagram::MergeRequest(request) => self.on_merge_request(request.from, cx),
            Datagram::Leave(leave) => self.on_leave(leave.from, cx),
            Datagram::Propose(propose) => self.on_propose(propose, cx),
            Datagram::Accept(accept) => self.on_accept(accept, cx),
            Datagram::Commit(commit) => self.on_commit(commit, cx),
            Datagram::RecoveryRequest(request) => self.on_recovery_request(&request, cx),
            Datagram::Done(done) => self.on_done(done.from, done.ring, cx),
            Datagram::Install(install) => self.on_install(install, cx),
            Datagram::Probe(probe) => self.on_probe(probe.from, cx),
            // A piece inside a piece, or a packet: nothing that a daemon of ours sends.
            Datagram::Piece(_) | Datagram::Packet(_) => cx.stats.datagrams_rejected += 1,
        }
    }

    fn on_packet(&mut self, packet: Packet, cx: &mut Cx<'_>) {
        self.install_on_evidence(|ring| ring.tag() == packet.header.ring, cx);
        let of_my_ring = packet.header.ring == self.ring.tag();
        match &self.state {
            State::Operational(_) if of_my_ring => self.receive(packet, cx),
            // What still arrives of the old ring will be in the next report.
            State::Gather(_) if of_my_ring => {
                let is_new = self.ring.store(packet);
                count_packet(is_new, cx);
            }
            State::Recover(_) if of_my_ring => self.on_recovered(packet, cx),
            _ => cx.stats.datagrams_stale += 1,
        }
    }

    /// A timer of the lower half fired.
    pub(crate) fn on_timer(&mut self, timer: Timer, cx: &mut Cx<'_>) {
        match timer {
            Timer::TokenRetransmit => self.ring.retransmit_token(cx),
            Timer::TokenLoss => self.on_token_loss(cx),
            Timer::TokenRest => self.on_rest_over(cx),
            Timer::Wake => self.wake(cx),
            Timer::Join => self.on_join_timer(cx),
            Timer::Gather => self.on_gather_timer(cx),
            Timer::AttemptRetransmit => self.on_attempt_retransmit(cx),
            Timer::AttemptDeadline => self.on_attempt_deadline(cx),
            Timer::Hello => self.on_hello_timer(cx),
            Timer::Goodbye => self.say_goodbye(cx),
            Timer::LeaveBy | Timer::Handshake | Timer::Pressure => {}
        }
    }

    /// Leaves the ring: says goodbye a few times, then is done.
    pub(crate) fn say_goodbye(&mut self, cx: &mut Cx<'_>) {
        let said = if let State::Leaving(said) = self.state { said } else { 0 };
        if said == GOODBYES || self.others.is_empty() {
            cx.timers.stop(Timer::Goodbye);
            cx.out.events.push(Event::Stopped);
            return;
        }
        if said == 0 {
            self.stop_ring_timers(cx);
            cx.timers.stop(Timer::Hello);
        }
        let leave = Datagram::Leave(Leave { from: self.me });
        self.gossip_to_others(&leave, cx);
        self.enter(State::Leaving(said + 1), "asked to stop", cx);
        cx.timers.set(Timer::Goodbye, cx.now + cx.config.ring.wake * 2);
    }

    /// Leaves a state for another; returns the one that was left.
    fn enter(&mut self, state: State, reason: impl Into<String>, cx: &mut Cx<'_>) -> State {
        let (from, to) = (self.state.name(), state.name());
        if self.is_operational() {
            self.reasons.clear();
        }
        // The last step says nothing about why the ring is another.
        let is_last = matches!(state, State::Operational(_));
        if from != to || self.state.attempt() != state.attempt() {
            let reason = reason.into();
            if self.reasons.len() < MAX_REASONS && !is_last {
                self.reasons.push(reason.clone());
            }
            cx.out.events.push(Event::MembershipState { from, to, reason });
        }
        std::mem::replace(&mut self.state, state)
    }

    fn stop_ring_timers(&mut self, cx: &mut Cx<'_>) {
        for timer in [
            Timer::TokenRetransmit,
            Timer::TokenLoss,
            Timer::TokenRest,
            Timer::Wake,
            Timer::Join,
            Timer::Gather,
            Timer::AttemptRetransmit,
            Timer::AttemptDeadline,
        ] {
            cx.timers.stop(timer);
        }
    }

    fn holdings(&self) -> Holdings {
        self.ring.holdings(self.obligations.clone())
    }
}

fn daemons(config: &Config) -> impl Iterator<Item = DaemonId> + '_ {
    (0..config.cluster.daemons.len()).filter_map(|index| u16::try_from(index).ok()).map(DaemonId)
}

fn others(config: &Config, me: DaemonId) -> Vec<DaemonId> {
    daemons(config).filter(|daemon| *daemon != me).collect()
}

fn count_packet(is_new: bool, cx: &mut Cx<'_>) {
    if is_new {
        cx.stats.packets_received += 1;
    } else {
        cx.stats.packets_duplicate += 1;
    }
}

#[cfg(test)]
mod tests;
