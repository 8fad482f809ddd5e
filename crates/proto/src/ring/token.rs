//! The token visit: check, answer, send, ask, pass.

use antiphon_wire::ids::{ProcessId, Seq};
use antiphon_wire::ring::Datagram;
use antiphon_wire::ring::packet::Packet;
use antiphon_wire::ring::ranges::SeqRange;
use antiphon_wire::ring::token::Token;

use super::flow::{self, Load, Round};
use super::pack::{self, Burst, Visit};
use super::packets::CAPACITY_PACKETS;
use super::requests::{Answerer, Asker};
use super::{OnToken, Ring, TokenPlace, requests};
use crate::config::Windows;
use crate::cx::Cx;
use crate::io::{Channel, Target, Transmit};
use crate::mutant::Mutant;
use crate::time::{Instant, Timer};

/// What came of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Visited {
    /// It was not for me, or a copy.
    Ignored,
    /// The visit is done, and the token is passed or rests.
    Done,
    /// I have been lacking packets for too long although others hold them: this ring cannot serve me.
    Deaf,
    /// The numbers of this ring are used up; the next one begins anew.
    Exhausted,
}

/// How the token of a visit came to be here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TokenOrigin {
    /// From another member, or I made it.
    Received,
    /// It rested here.
    Rested,
    /// It rested here and may be that of a ring that is gone: nothing may be numbered with it.
    Doubtful,
}

/// From this number on a ring gives out no more. All formats refuse numbers from 2^63 on, and what one
/// visit numbers must still be below.
const LAST_SEQ: Seq = Seq(u64::MAX / 2 - CAPACITY_PACKETS);

impl Ring {
    /// Makes the first token of the ring, as its leader, and takes the first visit.
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        let token = Token {
            from: self.roster.me(),
            ring: self.id,
            hop: self.hop + 1,
            seq: self.passed_seq,
            fcc: 0,
            backlog: 0,
            window: cx.config.ring.windows.all,
            acks: self.acks.entries().to_vec(),
            requests: Vec::new(),
        };
        self.hop = token.hop;
        self.visit(token, TokenOrigin::Received, self.roster.successor(), cx);
    }

    /// A token of this ring arrived. A copy cannot be newer than what I passed on, because every
    /// hop counts up.
    pub(crate) fn on_token(&mut self, token: Token, cx: &mut Cx<'_>) -> Visited {
        let is_old = token.hop <= self.hop && !cx.config.is_mutant(Mutant::TakeOldTokens);
        if is_old || !self.contains(token.from) || !self.is_plausible(&token) {
            cx.stats.datagrams_stale += 1;
            return Visited::Ignored;
        }
        self.hop = token.hop;
        self.arrival.note_sign(cx.now);
        cx.timers.stop(Timer::Wake);
        cx.patience.note_visit(cx.now, self.quiet_visits == 0);
        self.visit(token, TokenOrigin::Received, self.roster.successor(), cx)
    }

    /// Whether the token can be one of this ring: no ring has more packets on their way than a window
    /// holds, and to look for those that a forged token claims could take for ever.
    fn is_plausible(&self, token: &Token) -> bool {
        token.acks.len() == self.roster.len()
            && token.seq >= self.packets.highest()
            && token.seq.ahead_of(self.packets.contiguous()) <= CAPACITY_PACKETS
    }

    /// Continues with the token that rests here, because there is something to send or it has
    /// rested long enough.
    pub(crate) fn resume(&mut self, cx: &mut Cx<'_>) -> Visited {
        self.resume_towards(self.roster.successor(), TokenOrigin::Rested, cx)
    }

    /// Passes the token that rests here to a member that asks for it, over the heads of those between.
    /// They had nothing to say a round ago, and before it rests again it goes round once in full.
    pub(crate) fn hand_to(&mut self, member: ProcessId, cx: &mut Cx<'_>) -> Visited {
        let known = self.contains(member) && member != self.roster.me();
        let next = if known && !cx.queue.has_sendable() { member } else { self.roster.successor() };
        self.resume_towards(next, TokenOrigin::Rested, cx)
    }

    fn resume_towards(&mut self, next: ProcessId, origin: TokenOrigin, cx: &mut Cx<'_>) -> Visited {
        match std::mem::take(&mut self.token) {
            TokenPlace::Resting(mut token) => {
                // Everyone holds everything and, where there are others, has delivered it, and not for a moment only:
                // what lowered the window is over, and rounds begin with the configured one, as in a new ring.
                let config = &cx.config.ring;
                if cx.now.since(self.rounds.visited()) >= config.token_rest {
                    token.window = Windows::of_round(config, token.window.max(config.windows.all)).all;
                }
                self.quiet_visits = 0;
                cx.patience.note_visit(cx.now, false);
                self.visit(token, origin, next, cx)
            }
            other => {
                self.token = other;
                Visited::Ignored
            }
        }
    }

    /// Passes the token that rests here without numbering anything, because the ring may be gone.
    pub(crate) fn pass_doubtful(&mut self, cx: &mut Cx<'_>) -> Visited {
        self.resume_towards(self.roster.successor(), TokenOrigin::Doubtful, cx)
    }

    /// Whether the token rests here.
    pub(crate) fn has_resting_token(&self) -> bool {
        matches!(self.token, TokenPlace::Resting(_))
    }

    /// Whether another member may be keeping the token because, when I last saw it, nothing was left to do.
    pub(crate) fn may_rest_elsewhere(&self) -> bool {
        self.quiet_visits > 0 && self.keeper() != self.roster.me()
    }

    /// Something waits to be sent: a token that I passed on must not be lost for longer than need be,
    /// even if it was quiet.
    pub(crate) fn expect_token_soon(&self, cx: &mut Cx<'_>) {
        if matches!(self.token, TokenPlace::Passed(..)) {
            cx.timers.set_no_later(Timer::TokenRetransmit, cx.now + cx.config.ring.token_retransmit);
        }
    }

    /// The last hop that I know of.
    pub(crate) fn hop(&self) -> u64 {
        self.hop
    }

    /// A visit, after which the token goes to `next`.
    fn visit(&mut self, mut token: Token, origin: TokenOrigin, next: ProcessId, cx: &mut Cx<'_>) -> Visited {
        cx.stats.token_visits += 1;
        if origin == TokenOrigin::Received {
            self.rounds.note_end(token.fcc == 0 && token.requests.is_empty(), cx.now);
        }
        self.adapt_window(&mut token, origin, cx);
        self.rounds.note_visit(next == self.roster.successor(), cx.now);
        self.preference = Channel::Data;
        if token.seq >= LAST_SEQ {
            return Visited::Exhausted;
        }
        self.acks.learn_all(token.acks.iter().copied());
        if self.asking.in_vain_for(self.packets.contiguous(), self.passed_seq, cx.now) > cx.config.ring.deaf {
            return Visited::Deaf;
        }
        let retransmitted = self.answer(&mut token, cx);
        let burst = self.number(&mut token, origin, retransmitted, cx);
        self.ask(&mut token, cx);
        if self.lags(cx.now) {
            token.window = flow::after_lag(&cx.config.ring, token.window);
        }
        if cx.config.is_mutant(Mutant::AckBeyondHole) {
            self.acks.raise_mine(self.packets.highest());
        }
        self.acks.entries().clone_into(&mut token.acks);
        let round_was_empty = token.seq == self.passed_seq && token.backlog == 0;
        self.note_leaving(&token, cx.now);
        let datagram_bytes = cx.config.ring.datagram_bytes;
        self.send(burst.before_token, datagram_bytes, cx);
        self.pass_or_rest(token, next, round_was_empty, cx);
        self.send(burst.after_token, datagram_bytes, cx);
        Visited::Done
    }

    /// Adapts the window to the round that ends here if I lead, and to a rest if it was here. A rest counts as a long
    /// round: a ring that comes to rest in between has a greater window than it needs, and messages in greater bursts
    /// are later. The empty rounds around it say nothing.
    fn adapt_window(&self, token: &mut Token, origin: TokenOrigin, cx: &Cx<'_>) {
        let config = &cx.config.ring;
        if self.i_represent() && self.round_packets.is_none() {
            token.window = config.windows.all;
        } else if origin != TokenOrigin::Received || (self.i_represent() && self.quiet_visits == 0) {
            let round = Round {
                took: cx.now.since(self.rounds.visited()),
                unloaded: self.rounds.unloaded(),
                members: self.roster.len() as u32,
                fcc: token.fcc,
                backlog: token.backlog,
                is_lossy: !token.requests.is_empty(),
            };
            token.window = flow::after_round(config, token.window, round);
        }
        token.window = Windows::of_round(config, token.window).all;
    }

    /// Sends again what others ask for; returns how many packets.
    fn answer(&mut self, token: &mut Token, cx: &mut Cx<'_>) -> u32 {
        let limit = token.window as usize;
        let answerer = Answerer { member: self.roster.my_position(), members: self.roster.len() };
        let answered = requests::answer(&mut token.requests, &self.packets, answerer, limit);
        if cx.config.is_mutant(Mutant::NeverAnswer) {
            return 0;
        }
        for seq in &answered {
            if let Some(stored) = self.packets.get(*seq) {
                // As long as its first sender made it, which may be configured otherwise.
                let packet = stored.packet.bytes.clone();
                let segment_bytes = packet.len();
                self.send(packet, segment_bytes, cx);
            }
        }
        cx.stats.packets_retransmitted += answered.len() as u64;
        answered.len() as u32
    }

    /// Numbers new packets and stores them as received.
    fn number(
        &mut self,
        token: &mut Token,
        origin: TokenOrigin,
        retransmitted: u32,
        cx: &mut Cx<'_>,
    ) -> Burst {
        let my_backlog = waiting_packets(cx);
        token.backlog = token.backlog.saturating_sub(self.on_token.backlog).saturating_add(my_backlog);
        let windows = Windows::of_round(&cx.config.ring, token.window);
        let visit_bytes = cx.config.ring.datagram_bytes.saturating_mul(windows.personal as usize);
        cx.queue.set_visit_bytes(Some(visit_bytes).filter(|_| !self.is_alone()));
        let load = Load {
            fcc: token.fcc,
            mine_last_round: self.on_token.sent,
            backlog: token.backlog,
            my_backlog,
            retransmitted,
            outstanding: token.seq.ahead_of(self.stable()),
            members: self.roster.len() as u32,
        };
        let visit = self.plan(token, origin, windows, load, cx);
        let burst = pack::fill(visit, &mut self.said, cx);
        self.store_own(&burst.packets);
        let new = burst.packets.len() as u32;
        let first = token.seq.next();
        token.seq = token.seq.advanced(new.into());
        self.numbered = (new > 0).then_some(SeqRange { first, last: token.seq });
        cx.stats.packets_sent += u64::from(new);
        // What has left is counted, what is left is guessed: a ring that sends all that it has must not seem to
        // have more.
        let waited = new.saturating_add(waiting_packets(cx));
        token.backlog = token.backlog.saturating_sub(my_backlog).saturating_add(waited);
        let sent = retransmitted + new;
        token.fcc = token.fcc.saturating_sub(self.on_token.sent).saturating_add(sent);
        self.on_token = OnToken { sent, backlog: waited };
        self.saturated = token.backlog > token.fcc;
        burst
    }

    /// What the visit may fill its packets with. A token that may be that of a ring that is gone numbers nothing.
    fn plan(&self, token: &Token, origin: TokenOrigin, windows: Windows, load: Load, cx: &Cx<'_>) -> Visit {
        let after_quiet = self.is_quiet_but_for_me(token, origin) && !self.is_alone();
        let allowance = flow::allowance(&cx.config.ring, windows, load);
        // What is numbered must be stored, or nobody could ever get it.
        let packets = allowance.min(self.packets.room_behind(token.seq));
        Visit {
            ring: self.id,
            tag: self.tag,
            sender: self.roster.me().daemon,
            seq: token.seq,
            ack: self.acks.mine(),
            hop: token.hop,
            packets: if origin == TokenOrigin::Doubtful { 0 } else { packets },
            // Nobody waits for the token then, but somebody for the message.
            after_token: if after_quiet { 0 } else { windows.after_token as usize },
            after_quiet,
        }
    }

    /// Takes in what I numbered, as everyone else will.
    fn store_own(&mut self, packets: &[Packet]) {
        for packet in packets {
            let new = self.store(packet.clone());
            debug_assert!(new, "a number is given out once");
        }
        if let Some(last) = packets.last().filter(|packet| packet.header.wants_ack) {
            self.awaited = Some(last.header.seq);
        }
    }

    /// Asks for what is due and missing. To lack much of a round is a reason to send less in the next.
    fn ask(&mut self, token: &mut Token, cx: &Cx<'_>) {
        if cx.config.is_mutant(Mutant::NeverAsk) {
            return;
        }
        let asker = Asker { member: self.roster.my_position(), age: self.asking.age() };
        let lost = requests::ask(&mut token.requests, &self.packets, &mut self.tolerance, cx.now, asker);
        if lost > 0 {
            self.asking.note_asked();
        }
        token.window = flow::after_loss(&cx.config.ring, token.window, token.fcc, lost);
    }

    /// Remembers what the token says when it goes, or comes to rest.
    fn note_leaving(&mut self, token: &Token, now: Instant) {
        self.round_packets = Some(token.window);
        self.passed_seq = token.seq;
        self.tolerance.note_passed(now, token.seq);
    }

    /// Whether nobody but me has sent or has anything to send, as far as the token tells, and the token
    /// has been at rest or about to.
    fn is_quiet_but_for_me(&self, token: &Token, origin: TokenOrigin) -> bool {
        let nobody = token.fcc <= self.on_token.sent && token.requests.is_empty();
        nobody && (origin != TokenOrigin::Received || self.quiet_visits > 0)
    }

    /// Passes the token on, or keeps it where there is nothing left to do for anyone.
    fn pass_or_rest(&mut self, token: Token, next: ProcessId, round_was_empty: bool, cx: &mut Cx<'_>) {
        let idle = round_was_empty && token.requests.is_empty() && self.stable() == token.seq;
        self.quiet_visits = if idle { self.quiet_visits.saturating_add(1) } else { 0 };
        // One whole round must have shown everyone that all is stable, else safe messages would
        // wait for the end of the rest.
        if self.is_alone() || (self.keeper() == self.roster.me() && self.quiet_visits > 1) {
            self.rest(token, cx);
        } else {
            self.pass(token, next, cx);
        }
    }

    /// Keeps the token until there is something to send; with others, for a while at most.
    fn rest(&mut self, token: Token, cx: &mut Cx<'_>) {
        if self.is_alone() {
            cx.timers.stop(Timer::TokenRest);
        } else {
            cx.timers.set(Timer::TokenRest, cx.now + cx.config.ring.token_rest);
        }
        cx.timers.stop(Timer::TokenLoss);
        cx.timers.stop(Timer::TokenRetransmit);
        self.token = TokenPlace::Resting(token);
    }

    fn pass(&mut self, mut token: Token, next: ProcessId, cx: &mut Cx<'_>) {
        token.hop += 1;
        token.from = self.roster.me();
        self.hop = token.hop;
        cx.timers.stop(Timer::TokenRest);
        // Whoever had it may have to send it again, or keep it for a while.
        let mut loss = cx.patience.for_token(cx.now, cx.config.ring.token_loss);
        loss += cx.config.ring.token_retransmit;
        if self.quiet_visits > 0 {
            loss += cx.config.ring.token_rest;
        }
        cx.timers.set(Timer::TokenLoss, cx.now + loss);
        self.token = TokenPlace::Passed(token, next);
        self.arrival.note_passed(cx.now, self.may_rest_elsewhere());
        self.send_token(cx);
    }

    /// No sign that the token arrived: passes it again.
    pub(crate) fn retransmit_token(&mut self, cx: &mut Cx<'_>) {
        if matches!(self.token, TokenPlace::Passed(..)) && !cx.config.is_mutant(Mutant::NeverRepeatToken) {
            cx.stats.tokens_retransmitted += 1;
            self.arrival.note_repeated();
            self.send_token(cx);
        }
    }

    fn send_token(&mut self, cx: &mut Cx<'_>) {
        let TokenPlace::Passed(token, next) = &self.token else {
            return;
        };
        let burst = Datagram::Token(token.clone()).encode(cx.config.cluster.hash);
        cx.out.transmits.push(Transmit::one(Target::One(next.daemon), Channel::Control, burst));
        let longest = cx.config.ring.token_retransmit;
        // A quiet token may come to rest, which gives no sign either.
        let wait = if self.may_rest_elsewhere() && !cx.queue.has_sendable() {
            cx.config.ring.token_rest + longest
        } else {
            self.arrival.patience(longest)
        };
        cx.timers.set(Timer::TokenRetransmit, cx.now + wait);
    }

    fn send(&self, burst: bytes::Bytes, segment_bytes: usize, cx: &mut Cx<'_>) {
        if burst.is_empty() || self.is_alone() {
            return;
        }
        cx.out.transmits.push(Transmit {
            to: Target::Each(self.roster.others()),
            channel: Channel::Data,
            burst,
            segment_bytes,
        });
    }
}

/// Packets that what waits here would fill, roughly.
fn waiting_packets(cx: &Cx<'_>) -> u32 {
    cx.queue.backlog_packets(cx.config.ring.datagram_bytes).min(cx.config.ring.window_limit_packets)
}

#[cfg(test)]
mod tests {
    use antiphon_wire::ids::{DaemonId, ProcessId, RingId};

    use super::*;

    #[test]
    fn a_token_that_claims_more_than_a_window_of_packets_is_forged() {
        let process = |daemon| ProcessId { daemon: DaemonId(daemon), incarnation: 1 };
        let (me, members) = (process(0), vec![process(0), process(1)]);
        let ring = Ring::new(RingId { epoch: 2, leader: me }, members, me, Seq(100), Instant::default());
        let token = |seq, acks| Token {
            from: process(1),
            ring: ring.id,
            hop: 200,
            seq: Seq(seq),
            fcc: 0,
            backlog: 0,
            window: 160,
            acks: vec![Seq(100); acks],
            requests: Vec::new(),
        };
        assert!(ring.is_plausible(&token(100, 2)) && ring.is_plausible(&token(4000, 2)));
        assert!(!ring.is_plausible(&token(99, 2)), "older than what is here");
        assert!(!ring.is_plausible(&token(100, 3)), "of another ring");
        assert!(!ring.is_plausible(&token(1 << 40, 2)));
    }
}
