//! Installing a ring: what is delivered when one ring ends and the next begins, by the rules of
//! docs/protocol.md, "What is delivered when a ring ends".
//!
//! What goes where is decided by the reports in the COMMIT, which all who move together share. The own window
//! has by then what they hold together, and no more: from its report on, a daemon takes in nothing else of the
//! old ring (M7).
//!
//! 1. in the old regular configuration: up to the first packet that none of us holds, and up to the
//!    first safe message that nobody knew to be stable;
//! 2. the transitional configuration: who moves together;
//! 3. in it: the rest; behind a hole only the messages of those whom we have all messages of, and
//!    messages that need no order;
//! 4. the new regular configuration.

use std::collections::BTreeSet;

use antiphon_wire::ids::{DaemonId, RingId, Seq};

use super::{Membership, Operational, State};
use crate::cx::Cx;
use crate::delivery::Configuration;
use crate::delivery::stream::{Limit, Stream, Wanted};
use crate::io::Event;
use crate::mutant::Mutant;
use crate::ring::Ring;
use crate::time::Timer;

use super::recovery::Recover;

impl Membership {
    /// Installs the ring that I am recovering for if this shows that others have: then all are done.
    pub(super) fn install_on_evidence(&mut self, is_of: impl FnOnce(RingId) -> bool, cx: &mut Cx<'_>) {
        if let State::Recover(recover) = &self.state
            && is_of(recover.ring())
            && recover.has_said_done()
        {
            self.install(cx);
        }
    }

    /// Closes the old ring and installs the new one.
    pub(super) fn install(&mut self, cx: &mut Cx<'_>) {
        let State::Recover(recover) = &self.state else { return };
        let alone = recover.together().len() == 1;
        let reason = if alone { "installed, alone of its old ring" } else { "installed" };
        let must_start = recover.ring().leader == self.me;
        let operational = Operational { must_start, ..Operational::new(cx.now) };
        let State::Recover(recover) = self.enter(State::Operational(operational), reason, cx) else {
            return;
        };
        self.assert_sound(&recover, cx);
        self.close_old_ring(&recover, cx);
        self.open_ring(&recover, cx);
        rewind_queue(cx);
        self.await_token(cx);
        cx.stats.rings_installed += 1;
        let (ring, members) = (self.ring.id(), self.ring.members().to_vec());
        let all_from_one_ring = recover.all_from_one_ring();
        let reasons = self.reasons.clone();
        cx.out.events.push(Event::Installed { ring, members: members.clone(), reasons });
        self.configure(Configuration::Regular { ring, members, all_from_one_ring });
        self.hello_after_install(cx);
    }

    /// Replaces the ring, and all that was remembered of the old one and of the way to the new one.
    fn open_ring(&mut self, recover: &Recover, cx: &Cx<'_>) {
        let before = Seq(cx.config.ring.numbers_from);
        let next = Ring::new(recover.ring(), recover.members().collect(), self.me, before, cx.now);
        let old = std::mem::replace(&mut self.ring, next);
        if cx.config.is_mutant(Mutant::KeepPreambles) {
            self.ring.take_as_said(old);
        }
        self.stream = Stream::after(before);
        self.obligations = [self.me].into();
        self.gossip.end_gather();
        self.failures /= 2;
    }

    /// Waits for the first token of the ring.
    fn await_token(&mut self, cx: &mut Cx<'_>) {
        self.stop_ring_timers(cx);
        cx.patience.note_ring(self.ring.is_alone());
        if !self.ring.is_alone() {
            let patience = cx.patience.for_token(cx.now, cx.config.ring.token_loss);
            cx.timers.set(Timer::TokenLoss, cx.now + patience);
        }
    }

    /// What every installation relies on, and no datagram can break.
    fn assert_sound(&self, recover: &Recover, cx: &Cx<'_>) {
        let may_lack = cx.config.is_mutant(Mutant::InstallEarly);
        assert!(may_lack || recover.lacks_nothing(), "who says that it is done holds what all hold together");
        assert!(recover.ring().epoch > self.ring.id().epoch, "only greater epochs are accepted");
        assert!(
            recover.obligations().contains(&self.me),
            "a commit that takes me for another ring's is refused"
        );
    }

    fn hello_after_install(&mut self, cx: &mut Cx<'_>) {
        if !self.others.is_empty() {
            cx.timers.set_no_later(Timer::Hello, cx.now + cx.config.membership.hello / 8);
        }
    }

    fn close_old_ring(&mut self, recover: &Recover, cx: &mut Cx<'_>) {
        let mut last = self.ring.packets().contiguous();
        while recover.is_held(last.next()) {
            last = last.next();
        }
        let safe = if cx.config.is_mutant(Mutant::SafeAtInstall) { last } else { recover.stable() };
        self.deliver_until(Limit { last, safe });
        if cx.config.is_mutant(Mutant::LoseFragments) {
            self.stream.drop_unfinished(|_| false);
        }
        let (old, new) = (self.ring.id(), recover.ring());
        let members = recover.together();
        self.configure(Configuration::Transitional { old, new, members });
        self.deliver_until(Limit { last, safe: Seq(u64::MAX) });
        self.deliver_behind_holes(last, recover, cx);
        cx.stats.fragments_dropped += self.stream.dropped();
    }

    fn deliver_until(&mut self, limit: Limit) {
        while let Some(message) = self.stream.next(self.ring.packets(), limit) {
            let place = message.place();
            self.hand_up(message, place);
        }
    }

    fn deliver_behind_holes(&mut self, last: Seq, recover: &Recover, cx: &Cx<'_>) {
        let mut obligations = recover.obligations();
        if cx.config.is_mutant(Mutant::AllBehindHoles) {
            obligations.extend(self.ring.members());
        }
        if cx.config.is_mutant(Mutant::NothingBehindHoles) {
            obligations.clear();
        }
        let complete: BTreeSet<DaemonId> = self
            .ring
            .members()
            .iter()
            .filter(|member| obligations.contains(member))
            .map(|member| member.daemon)
            .collect();
        let mut messages = Vec::new();
        let mut seq = last.next();
        while seq <= recover.highest() {
            if !recover.is_held(seq) {
                // What is lost cannot have been sent by those of whom we have all.
                self.stream.drop_unfinished(|sender| complete.contains(&sender));
            } else if let Some(stored) = self.ring.packets().get(seq) {
                let wanted = match complete.contains(&stored.packet.header.sender) {
                    true => Wanted::All,
                    false => Wanted::Unordered,
                };
                self.stream.read_behind_hole(stored, wanted, &mut messages);
            }
            for message in messages.drain(..) {
                let place = message.place();
                self.hand_up(message, place);
            }
            seq = seq.next();
        }
    }
}

/// What clients had under way begins anew, and what the daemon itself had is void. Clients may send again once the groups
/// of the ring are known.
fn rewind_queue(cx: &mut Cx<'_>) {
    if !cx.config.is_mutant(Mutant::ForgetUnsent) {
        cx.queue.rewind();
    }
    cx.queue.clear_control();
    cx.queue.set_clients_open(false);
}
