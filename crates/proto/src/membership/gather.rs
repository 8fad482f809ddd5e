//! Looking for a ring: gossip whom I hear until a clique is found, then the lowest of it proposes.

use std::collections::BTreeSet;
use std::time::Duration;

use antiphon_wire::ids::{DaemonId, ProcessId};
use antiphon_wire::ring::Datagram;
use antiphon_wire::ring::gossip::{Join, Probe};

use super::{Membership, State, clique};
use crate::cx::Cx;
use crate::time::{Instant, Timer};

/// Two joins of one daemon are at least this share of the join interval apart.
const JOIN_GAP_SHARE: u32 = 10;
/// Failed attempts that make the next one more patient.
const MAX_FAILURES: u32 = 3;

/// What gathering needs to remember.
#[derive(Debug)]
pub(crate) struct Gather {
    since: Instant,
    /// Daemons that will probably come: when all of them are in my clique, there is nobody to wait for.
    expected: BTreeSet<DaemonId>,
    /// The processes of an agreed merge.
    wanted: Vec<ProcessId>,
    window: Window,
}

/// The time to wait for more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Window {
    Open,
    /// Open once more, as somebody is heard of whom it is not known yet whom it hears: it may be far away.
    Extended,
    Over,
}

impl Gather {
    /// Whether members of the ring that was left have had no time yet to say something.
    pub(super) fn has_begun_just_now(&self, cx: &Cx<'_>) -> bool {
        cx.now.since(self.since) < cx.config.membership.join * 2
    }

    /// A daemon will not come.
    pub(super) fn expect_no_more(&mut self, daemon: DaemonId) {
        self.expected.remove(&daemon);
    }
}

impl Membership {
    /// Looks for whoever is left of the ring, and of an attempt that has failed: its members may all be alone in
    /// their rings. After several failures in a row one of them may be the reason, so that each ring goes on by
    /// itself first.
    pub(super) fn gather(&mut self, reason: &str, cx: &mut Cx<'_>) {
        let partners = if self.failures == 0 { self.state.partners() } else { Vec::new() };
        let left = self.ring.members().iter().copied().chain(partners);
        let left = left.filter(|member| !self.gossip.is_gone(*member));
        let expected = left.map(|member| member.daemon).collect();
        self.gather_for(expected, Vec::new(), reason, cx);
    }

    /// Leaves the current state, whatever it is, and looks for others.
    pub(super) fn gather_for(
        &mut self,
        expected: BTreeSet<DaemonId>,
        wanted: Vec<ProcessId>,
        reason: &str,
        cx: &mut Cx<'_>,
    ) {
        let failed = matches!(self.state, State::Accepted(_) | State::Recover(_));
        cx.stats.attempts_failed += u64::from(failed);
        self.failures = (self.failures + u32::from(failed)).min(MAX_FAILURES);
        self.stop_ring_timers(cx);
        self.gossip.begin_gather(cx.now, cx.config);
        let gather = Gather { since: cx.now, expected, wanted, window: Window::Open };
        self.enter(State::Gather(gather), reason, cx);
        cx.timers.set(Timer::Join, cx.now);
        let (_, heard) = self.silent_and_heard(cx);
        heard.into_iter().for_each(|daemon| self.probe(daemon, cx));
        // After a failure the others' windows should not end together again.
        let window = cx.config.membership.gather;
        let window = if failed { self.jittered(window) } else { window };
        cx.timers.set(Timer::Gather, cx.now + window);
    }

    pub(super) fn on_join(&mut self, join: &Join, cx: &mut Cx<'_>) {
        if !self.epochs.is_plausible(join.epoch) {
            cx.stats.datagrams_rejected += 1;
            return;
        }
        let Some(new_neighbour) = self.gossip.on_join(join, cx.config, cx.now) else {
            cx.stats.datagrams_stale += 1;
            return;
        };
        self.epochs.compare(join.epoch, cx.now);
        for row in &join.rows {
            self.notice_double(&[row.of], cx);
        }
        match &self.state {
            State::Operational(_) => self.join_while_operational(join, cx),
            State::Gather(_) => {
                if !join.hears(self.me) {
                    self.probe(join.from.daemon, cx);
                }
                if new_neighbour {
                    self.join_soon(cx);
                }
                self.consider_proposal(cx);
            }
            State::Accepted(_) | State::Recover(_) => {
                if self.state.was_given_up(join) {
                    self.gather(&format!("{} gave up the attempt", cx.config.name_of(join.from)), cx);
                }
            }
            State::Leaving(_) => {}
        }
    }

    fn join_soon(&self, cx: &mut Cx<'_>) {
        let gap = cx.config.membership.join / JOIN_GAP_SHARE;
        cx.timers.set_no_later(Timer::Join, (self.last_join + gap).max(cx.now));
    }

    /// Shows to a daemon whose gossip I may hear that what I tell it alone arrives: a path may let one through and
    /// not the other, and no ring could be formed with it (docs/protocol.md, M3a).
    pub(super) fn probe(&mut self, daemon: DaemonId, cx: &mut Cx<'_>) {
        self.tell(daemon, &Datagram::Probe(Probe { from: self.me }), cx);
    }

    /// What a process tells me alone arrives.
    pub(super) fn on_probe(&mut self, from: ProcessId, cx: &mut Cx<'_>) {
        let is_news = self.gossip.on_probe(from, cx.now, cx.config);
        match &self.state {
            State::Gather(_) if is_news => {
                self.join_soon(cx);
                self.consider_proposal(cx);
            }
            State::Operational(_) if is_news && !self.ring.contains(from) => self.hello_soon(cx),
            _ => {}
        }
    }

    pub(super) fn on_join_timer(&mut self, cx: &mut Cx<'_>) {
        let State::Gather(gather) = &self.state else {
            return;
        };
        let wanted = gather.wanted.clone();
        let cause = self.reasons.first().cloned().unwrap_or_default();
        let join = self.gossip.join(self.epochs.reached(), wanted, cause, cx.now, cx.config);
        self.last_join = cx.now;
        for silent in self.gossip_to_others(&Datagram::Join(join), cx) {
            self.probe(silent, cx);
        }
        let interval = cx.config.membership.join;
        cx.timers.set(Timer::Join, cx.now + self.jittered(interval));
        self.consider_proposal(cx);
    }

    /// Proposes my clique if there is nobody to wait for any more and I am the one to lead it.
    fn consider_proposal(&mut self, cx: &mut Cx<'_>) {
        let State::Gather(gather) = &self.state else {
            return;
        };
        let is_over = gather.window == Window::Over;
        // Each of many joins asks this, and most are answered without the clique, which takes long.
        if !is_over && !self.hears_all(&gather.expected, cx) {
            return;
        }
        let clique = self.clique(cx);
        let here: BTreeSet<DaemonId> = clique.iter().map(|member| member.daemon).collect();
        let ready = is_over || gather.expected.is_subset(&here);
        if ready && self.leader_of(&clique, cx.now) == self.me {
            self.propose(clique, cx);
        }
    }

    fn hears_all(&self, daemons: &BTreeSet<DaemonId>, cx: &Cx<'_>) -> bool {
        let heard = self.gossip.hears(cx.now, cx.config);
        let heard: BTreeSet<DaemonId> =
            heard.iter().chain([&self.me]).map(|process| process.daemon).collect();
        daemons.is_subset(&heard)
    }

    fn clique(&self, cx: &Cx<'_>) -> Vec<ProcessId> {
        let mine = self.gossip.hears(cx.now, cx.config);
        let rows = self.gossip.fresh_rows(cx.now, cx.config);
        clique::containing(self.me, &mine, &rows)
    }

    /// The lowest member that is not passed over for a while.
    fn leader_of(&self, clique: &[ProcessId], now: Instant) -> ProcessId {
        let able = |member: &&ProcessId| **member == self.me || !self.gossip.is_avoided(**member, now);
        clique.iter().find(able).copied().unwrap_or(self.me)
    }

    pub(super) fn on_gather_timer(&mut self, cx: &mut Cx<'_>) {
        let clique = self.clique(cx);
        let State::Gather(gather) = &mut self.state else {
            return;
        };
        cx.timers.set(Timer::Gather, cx.now + cx.config.membership.gather);
        match gather.window {
            Window::Open => {
                let heard = self.gossip.hears(cx.now, cx.config);
                let are_all_in_clique = heard.iter().all(|process| clique.contains(process));
                gather.window = if are_all_in_clique { Window::Over } else { Window::Extended };
            }
            Window::Extended => gather.window = Window::Over,
            Window::Over => {
                let leader = self.leader_of(&clique, cx.now);
                if leader != self.me {
                    self.gossip.avoid(leader, cx.now + cx.config.membership.gather * 3);
                }
            }
        }
        self.consider_proposal(cx);
    }

    /// A time up to a fifth shorter or longer, so that daemons do not act in lock-step.
    pub(super) fn jittered(&mut self, time: Duration) -> Duration {
        time * self.random.u32(80..=120) / 100
    }
}
