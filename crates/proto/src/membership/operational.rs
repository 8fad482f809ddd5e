//! A ring is installed: its packets and its token, and the signs that it is not the right one any more.

use antiphon_wire::ids::{ProcessId, Seq};
use antiphon_wire::ring::Datagram;
use antiphon_wire::ring::gossip::{Ack, Hello, Join, MergeRequest, Wake};
use antiphon_wire::ring::packet::Packet;
use antiphon_wire::ring::token::Token;

use super::gossip::{FORGET_INCARNATION, TOO_OFTEN};
use super::{Membership, State, count_packet};
use crate::cx::Cx;
use crate::delivery::stream::{self, Complete, Limit};
use crate::delivery::{Delivery, KeptDelivery, KeptMessage, Place};
use crate::io::Event;
use crate::mutant::Mutant;
use crate::ring::Visited;
use crate::time::Timer;

/// After an event that makes a hello useful, it goes out after this share of the interval.
const HELLO_SOON_SHARE: u32 = 16;

impl Membership {
    /// A packet of the working ring.
    pub(super) fn receive(&mut self, packet: Packet, cx: &mut Cx<'_>) {
        let seq = packet.header.seq;
        let new = self.ring.on_packet(packet, cx);
        count_packet(new, cx);
        if new {
            self.deliver_early(seq, cx);
        }
    }

    pub(super) fn on_token(&mut self, token: Token, cx: &mut Cx<'_>) {
        self.install_on_evidence(|ring| ring == token.ring, cx);
        if self.is_operational() && token.ring == self.ring.id() {
            let visited = self.ring.on_token(token, cx);
            self.after_visit(visited, cx);
        } else {
            cx.stats.datagrams_stale += 1;
        }
    }

    fn after_visit(&mut self, visited: Visited, cx: &mut Cx<'_>) {
        match visited {
            Visited::Ignored => {}
            Visited::Done => {
                for seq in self.ring.take_numbered() {
                    self.deliver_early(seq, cx);
                }
            }
            Visited::Exhausted => self.gather("the numbers of the ring are used up", cx),
            Visited::Deaf => self.gather("packets that others hold do not reach this daemon", cx),
        }
    }

    pub(super) fn on_token_loss(&mut self, cx: &mut Cx<'_>) {
        if self.is_operational() {
            let silent = cx.now.since(self.ring.last_visit()).as_millis();
            let from = cx.config.name_of(self.ring.predecessor());
            self.gather(&format!("no token from {from} for {silent} ms"), cx);
        }
    }

    pub(super) fn on_hold_over(&mut self, cx: &mut Cx<'_>) {
        if self.is_operational() {
            let visited = self.ring.resume(cx);
            self.after_visit(visited, cx);
        }
    }

    pub(super) fn on_wake(&mut self, wake: &Wake, cx: &mut Cx<'_>) {
        if self.is_operational() && wake.ring == self.ring.id() && wake.hop <= self.ring.hop() {
            let visited = self.ring.hand_to(wake.from, cx);
            self.after_visit(visited, cx);
        }
    }

    pub(super) fn on_ack(&mut self, ack: &Ack, cx: &mut Cx<'_>) {
        if self.is_operational() && ack.ring == self.ring.id() {
            self.ring.on_ack(ack, cx);
        } else {
            cx.stats.datagrams_stale += 1;
        }
    }

    /// Asks for the token where it rests, again and again until it comes.
    pub(super) fn wake(&mut self, cx: &mut Cx<'_>) {
        if !self.is_operational() {
            return;
        }
        let wake = Wake { from: self.me, ring: self.ring.id(), hop: self.ring.hop() };
        self.tell(self.ring.keeper().daemon, &Datagram::Wake(wake), cx);
        cx.timers.set(Timer::Wake, cx.now + cx.config.ring.wake);
    }

    /// Sends what was queued, if the token is here. Returns whether it did, so that there may be more to deliver.
    pub(crate) fn advance(&mut self, cx: &mut Cx<'_>) -> bool {
        if !self.is_operational() {
            return false;
        }
        if std::mem::take(&mut self.must_start) {
            self.ring.start(cx);
            self.after_visit(Visited::Done, cx);
        }
        let numbered = self.ring.packets().highest();
        if cx.queue.has_sendable() {
            if self.ring.has_resting_token() {
                let visited = self.ring.resume(cx);
                self.after_visit(visited, cx);
            } else if self.ring.may_rest_elsewhere() && !cx.timers.is_set(Timer::Wake) {
                self.wake(cx);
            }
            self.ring.expect_token_soon(cx);
        }
        self.ring.packets().highest() != numbered
    }

    /// How far the order can be delivered. What had to wait when the ring was left goes on, until it is reported what
    /// may be delivered in its configuration.
    pub(crate) fn limit(&self, cx: &Cx<'_>) -> Limit {
        if self.is_reported() && !cx.config.is_mutant(Mutant::DeliverReported) {
            return Limit { last: Seq::ZERO, safe: Seq::ZERO };
        }
        let last = self.ring.packets().contiguous();
        Limit {
            last,
            safe: if cx.config.is_mutant(Mutant::SafeOnReceipt) { last } else { self.ring.stable() },
        }
    }

    /// What is delivered next: what was handed up, then what is in order up to the limit.
    pub(crate) fn next_delivery(&mut self, limit: Limit) -> Option<Delivery<'_>> {
        if self.delivering.is_some() || !self.deliveries.is_empty() {
            self.delivering = self.deliveries.pop_front();
        }
        if let Some(delivery) = &self.delivering {
            return Some(delivery.lend());
        }
        loop {
            let found = self.stream.find(self.ring.packets(), limit)?;
            if let Some(sender) = self.ring.member_of(found.sender) {
                let place = Place { seq: found.seq, index: found.index, early: false };
                return Some(Delivery::Message(self.stream.lend(found, sender), place));
            }
        }
    }

    /// Whether what I hold of the ring, and know of what others do, is a matter of an attempt.
    fn is_reported(&self) -> bool {
        !matches!(self.state, State::Operational { .. } | State::Gather(_))
    }

    /// Whether the next delivery may wait for another call. What an installation brings may not, nor what was
    /// handed up before it was its turn.
    pub(crate) fn may_wait(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Whether packets up to the limit were not read, so that what is in them may have to wait.
    pub(crate) fn has_more(&self, limit: Limit) -> bool {
        self.stream.done() < limit.last
    }

    /// So much was delivered; the rest was put off, if it `has_put_off`. Drops what everyone holds. Returns
    /// whether others hear that I hold more, so that they, or I, may send.
    pub(crate) fn note_delivered(&mut self, has_put_off: bool, cx: &Cx<'_>) -> bool {
        let delivered = self.stream.done();
        let has_acknowledged = self.ring.limit_ack(has_put_off.then_some(delivered), cx.now);
        if self.is_operational() {
            let kept = if cx.config.is_mutant(Mutant::KeepPackets) { 3 } else { 0 };
            self.ring.discard(Seq(delivered.0.saturating_sub(kept)));
        }
        has_acknowledged
    }

    /// Hands up the messages of a packet that need no order.
    fn deliver_early(&mut self, seq: Seq, cx: &Cx<'_>) {
        let stored = self.ring.packets().get(seq).filter(|stored| stored.packet.header.has_unordered);
        let Some(stored) = stored.filter(|_| self.early && seq > self.stream.done()) else { return };
        for message in stream::unordered(&stored.packet) {
            self.hand_up(message, true);
        }
        if !cx.config.is_mutant(Mutant::DeliverEarlyTwice) {
            self.ring.mark_early(seq);
        }
    }

    pub(super) fn hand_up(&mut self, message: Complete, early: bool) {
        let Complete { sender, seq, index, kind, service, preamble, bytes } = message;
        if let Some(sender) = self.ring.member_of(sender) {
            let message = KeptMessage { sender, kind, service, preamble, bytes };
            self.deliveries.push_back(KeptDelivery::Message(message, Place { seq, index, early }));
        }
    }

    /// A join while the ring works: from a ring-mate that has lost it, or from a leader that agreed
    /// to merge. Joins of other outsiders never disturb the ring (docs/protocol.md, M2).
    pub(super) fn join_while_operational(&mut self, join: &Join, cx: &mut Cx<'_>) {
        if self.ring.contains(join.from) {
            // An older epoch was said before this ring was agreed on.
            if join.epoch >= self.ring.id().epoch {
                let from = cx.config.name_of(join.from);
                self.gather(&format!("{from} has left the ring: {}", join.cause), cx);
            }
            return;
        }
        let merge = if join.wanted.contains(&self.me) && self.ring.i_lead() {
            self.gossip.mergeable(self.ring.members(), join.from, cx.now, cx.config)
        } else {
            None
        };
        match merge {
            Some(union) => self.merge(union, join.from, cx),
            None => self.hello_soon(cx),
        }
    }

    fn merge(&mut self, union: Vec<ProcessId>, with: ProcessId, cx: &mut Cx<'_>) {
        let expected = union.iter().map(|process| process.daemon).collect();
        self.gather_for(expected, union, &format!("merge agreed with {}", cx.config.name_of(with)), cx);
    }

    pub(super) fn on_hello(&mut self, hello: &Hello, cx: &mut Cx<'_>) {
        let daemons = cx.config.cluster.daemons.len();
        if hello.members.len() > daemons || hello.hears.len() > daemons {
            cx.stats.datagrams_rejected += 1;
            return;
        }
        self.notice_double(&hello.members, cx);
        let is_news = self.gossip.on_hello(hello, cx.now, cx.config);
        let hears_me = hello.hears.contains(&self.me);
        let State::Operational { since } = self.state else {
            return;
        };
        if hello.ring == self.ring.id() || self.ring.contains(hello.from) {
            return;
        }
        // Only at first: of two that can not tell each other anything, each would answer the other for ever.
        if is_news && !hears_me {
            self.hello_soon(cx);
        }
        self.probe(hello.from.daemon, cx);
        // While it may refuse me for an earlier run that it knows, its silence says nothing of the way.
        let may_be_refused = self.epochs.uptime(cx.now) < FORGET_INCARNATION;
        if !may_be_refused && self.gossip.count_unprobed(hello.from, cx.now, cx.config) == Some(TOO_OFTEN) {
            cx.out.events.push(Event::OnlyHeard(hello.from));
        }
        let settled = cx.now.since(since) > cx.config.membership.hello * 2;
        if settled && hears_me && self.ring.i_lead() {
            self.ask_to_merge(hello, cx);
        }
    }

    /// Of two leaders only the one of the lower id asks: if both did, both would leave their rings.
    fn ask_to_merge(&mut self, hello: &Hello, cx: &mut Cx<'_>) {
        let Some(leader) = hello.members.first().filter(|leader| self.me < **leader) else { return };
        if self.gossip.mergeable(self.ring.members(), hello.from, cx.now, cx.config).is_some() {
            self.tell(leader.daemon, &Datagram::MergeRequest(MergeRequest { from: self.me }), cx);
        }
    }

    /// The asked leader leaves its ring first, and only if it finds the same; so nobody gives up a
    /// working ring on one side's opinion.
    pub(super) fn on_merge_request(&mut self, from: ProcessId, cx: &mut Cx<'_>) {
        let asked = self.is_operational() && self.ring.i_lead();
        if asked
            && !self.ring.contains(from)
            && let Some(union) = self.gossip.mergeable(self.ring.members(), from, cx.now, cx.config)
        {
            self.merge(union, from, cx);
        }
    }

    pub(super) fn hello_soon(&mut self, cx: &mut Cx<'_>) {
        let gap = cx.config.membership.hello / HELLO_SOON_SHARE;
        let at = (self.last_hello + gap).max(cx.now + gap / 4);
        cx.timers.set_no_later(Timer::Hello, at);
    }

    /// Says which ring I am in, while that is of use to anyone.
    pub(super) fn on_hello_timer(&mut self, cx: &mut Cx<'_>) {
        if self.everyone.is_empty() {
            return;
        }
        let interval = cx.config.membership.hello;
        cx.timers.set(Timer::Hello, cx.now + self.jittered(interval));
        let complete = self.ring.members().len() == cx.config.cluster.daemons.len();
        if complete && !self.gossip.hears_strangers(self.ring.id(), cx.now, cx.config) {
            return;
        }
        self.last_hello = cx.now;
        let members = self.ring.members().to_vec();
        let hears = self.gossip.hears_hellos(&members, cx.now, cx.config);
        let hello = Hello { from: self.me, ring: self.ring.id(), members, hears };
        self.gossip_to_everyone(&Datagram::Hello(hello), cx);
        self.answer_probes(cx);
    }

    /// Shows those whom I do not hear, and who therefore are not probed when they say hello, that what I tell them
    /// alone arrives: it is the way of gossip that is closed.
    fn answer_probes(&mut self, cx: &mut Cx<'_>) {
        for (process, times) in self.gossip.count_unheard(cx.now, cx.config) {
            if self.ring.contains(process) {
                continue;
            }
            self.probe(process.daemon, cx);
            if times == TOO_OFTEN {
                cx.out.events.push(Event::OnlyTold(process));
            }
        }
    }

    /// A later run of a daemon was heard: the earlier one is dead, and whatever counts on it is void.
    pub(super) fn on_restart_of(&mut self, process: ProcessId, cx: &mut Cx<'_>) {
        let was_member = self.ring.member_of(process.daemon).is_some_and(|member| member != process);
        let counted_on = match &self.state {
            State::Operational { .. } => was_member,
            attempt => attempt.is_to_have(process.daemon),
        };
        if counted_on {
            self.gather(&format!("{} was restarted", cx.config.name_of(process)), cx);
        }
    }

    pub(super) fn on_leave(&mut self, from: ProcessId, cx: &mut Cx<'_>) {
        self.gossip.depart(from);
        let counted_on = match &self.state {
            State::Operational { .. } => self.ring.contains(from),
            attempt => attempt.is_to_have(from.daemon),
        };
        if counted_on {
            self.gather(&format!("{} said goodbye", cx.config.name_of(from)), cx);
        } else if let State::Gather(gather) = &mut self.state {
            gather.expect_no_more(from.daemon);
        }
    }

    /// This call came late: the token gets more time.
    pub(crate) fn mind_lateness(&self, cx: &mut Cx<'_>) {
        if cx.timers.is_set(Timer::TokenLoss)
            && let Some(grace) = cx.patience.grace(cx.config.ring.token_loss)
        {
            cx.timers.set_no_earlier(Timer::TokenLoss, cx.now + grace);
        }
    }

    /// The process was not run for longer than the others wait for a token. What would be numbered
    /// with the token that rests here might be numbered in a dead ring; so it goes round once first.
    /// If the others stood still as well, or waited, the ring goes on.
    pub(crate) fn on_stall(&mut self, cx: &mut Cx<'_>) {
        if self.is_operational() && !self.ring.is_alone() && self.ring.has_resting_token() {
            let visited = self.ring.pass_doubtful(cx);
            self.after_visit(visited, cx);
        }
    }
}
