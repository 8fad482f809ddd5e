//! Rings that find each other: each says hello while daemons are missing, and two representatives agree to merge
//! (docs/protocol.md, M13).

use antiphon_wire::ids::ProcessId;
use antiphon_wire::ring::Datagram;
use antiphon_wire::ring::gossip::{Hello, Join, MergeRequest};

use super::gossip::TOO_OFTEN;
use super::runs::FORGET_INCARNATION;
use super::{Membership, Operational, State};
use crate::cx::Cx;
use crate::io::Event;
use crate::time::Timer;

/// After an event that makes a hello useful, it goes out after this share of the interval.
const HELLO_SOON_SHARE: u32 = 16;

impl Membership {
    /// Says which ring I am in, while that is of use to anyone.
    pub(super) fn on_hello_timer(&mut self, cx: &mut Cx<'_>) {
        if self.others.is_empty() {
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
        self.gossip_to_others(&Datagram::Hello(hello), cx);
        self.answer_probes(cx);
    }

    pub(super) fn hello_soon(&mut self, cx: &mut Cx<'_>) {
        let gap = cx.config.membership.hello / HELLO_SOON_SHARE;
        let at = (self.last_hello + gap).max(cx.now + gap / 4);
        cx.timers.set_no_later(Timer::Hello, at);
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
        let State::Operational(Operational { since, .. }) = self.state else {
            return;
        };
        if hello.ring == self.ring.id() || self.ring.contains(hello.from) {
            return;
        }
        // Only at first: of two that cannot tell each other anything, each would answer the other for ever.
        if is_news && !hears_me {
            self.hello_soon(cx);
        }
        self.probe(hello.from.daemon, cx);
        // While it may refuse me for an earlier run that it knows, its silence says nothing of the way.
        let may_be_refused = self.epochs.uptime(cx.now) < FORGET_INCARNATION;
        if !may_be_refused && self.gossip.count_unprobed(hello.from, cx.now, cx.config) == Some(TOO_OFTEN) {
            cx.out.events.push(Event::OnlyHeard(hello.from));
        }
        let is_old_enough = cx.now.since(since) > cx.config.membership.hello * 2;
        if is_old_enough && hears_me && self.ring.i_represent() {
            self.ask_to_merge(hello, cx);
        }
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

    /// Of two representatives only the one of the lower id asks: if both did, both would leave their rings.
    fn ask_to_merge(&mut self, hello: &Hello, cx: &mut Cx<'_>) {
        let other = hello.members.first().filter(|representative| self.me < **representative);
        let Some(representative) = other else { return };
        if self.gossip.mergeable(self.ring.members(), hello.from, cx.now, cx.config).is_some() {
            self.tell(representative.daemon, &Datagram::MergeRequest(MergeRequest { from: self.me }), cx);
        }
    }

    /// The asked representative leaves its ring first, and only if it finds the same; so nobody gives up a
    /// working ring on one side's opinion.
    pub(super) fn on_merge_request(&mut self, from: ProcessId, cx: &mut Cx<'_>) {
        let asked = self.is_operational() && self.ring.i_represent();
        if asked
            && !self.ring.contains(from)
            && let Some(union) = self.gossip.mergeable(self.ring.members(), from, cx.now, cx.config)
        {
            self.merge(union, from, cx);
        }
    }

    /// A join while the ring works: from a ring-mate that has lost it, or from a representative that agreed
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
        let merge = if join.wanted.contains(&self.me) && self.ring.i_represent() {
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
}
