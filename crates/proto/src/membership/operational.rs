//! A ring is installed: its packets and its token, and the signs that it has ended.

use antiphon_wire::ids::ProcessId;
use antiphon_wire::ring::Datagram;
use antiphon_wire::ring::gossip::{Ack, Wake};
use antiphon_wire::ring::packet::Packet;
use antiphon_wire::ring::token::Token;

use super::{Membership, State, count_packet};
use crate::cx::Cx;
use crate::ring::Visited;
use crate::time::Timer;

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

    pub(super) fn on_rest_over(&mut self, cx: &mut Cx<'_>) {
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
        let State::Operational(operational) = &mut self.state else { return false };
        if std::mem::take(&mut operational.must_start) {
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

    /// A later run of a daemon was heard: the earlier one is dead, and whatever counts on it is void.
    pub(super) fn on_restart_of(&mut self, process: ProcessId, cx: &mut Cx<'_>) {
        let was_member = self.ring.member_of(process.daemon).is_some_and(|member| member != process);
        let counted_on = match &self.state {
            State::Operational(_) => was_member,
            attempt => attempt.is_to_have(process.daemon),
        };
        if counted_on {
            self.gather(&format!("{} was restarted", cx.config.name_of(process)), cx);
        }
    }

    pub(super) fn on_leave(&mut self, from: ProcessId, cx: &mut Cx<'_>) {
        self.gossip.depart(from);
        let counted_on = match &self.state {
            State::Operational(_) => self.ring.contains(from),
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
