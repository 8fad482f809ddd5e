//! Proposing and accepting a ring.

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_wire::ids::{ProcessId, RingId};
use antiphon_wire::ring::Datagram;
use antiphon_wire::ring::attempt::{Accept, Commit, Holdings, Propose};

use super::recovery::Recover;
use super::{Membership, State, epoch};
use crate::cx::Cx;
use crate::time::Timer;

/// What I am in an attempt.
#[derive(Debug)]
pub(super) enum Role<T> {
    /// The one who leads it, with what the members have answered.
    Leader(T),
    Follower,
}

/// A proposal that I accepted, or made. From here on nothing of the old ring is taken in: what I
/// reported is what I will be held to.
#[derive(Debug)]
pub(crate) struct Accepted {
    ring: RingId,
    members: Vec<ProcessId>,
    /// What I reported.
    holdings: Holdings,
    /// A leader has the reports of the members.
    role: Role<BTreeMap<ProcessId, Holdings>>,
}

impl Accepted {
    /// The ring to be.
    pub(super) fn ring(&self) -> RingId {
        self.ring
    }

    /// Its members.
    pub(super) fn members(&self) -> &[ProcessId] {
        &self.members
    }

    /// Whom the attempt waits for.
    fn awaited(&self) -> Vec<ProcessId> {
        match &self.role {
            Role::Leader(reports) => {
                self.members.iter().copied().filter(|member| !reports.contains_key(member)).collect()
            }
            Role::Follower => vec![self.ring.leader],
        }
    }

    /// Whether the commit is of this proposal, and knows which ring I come from.
    fn is_committed_by(&self, commit: &Commit, me: ProcessId) -> bool {
        commit.from == self.ring.leader
            && commit.ring == self.ring
            && commit.reports.keys().eq(&self.members)
            && commit.reports.get(&me).is_some_and(|report| report.old == self.holdings.old)
    }
}

impl Membership {
    /// Leads an attempt to form a ring of these members.
    pub(super) fn propose(&mut self, members: Vec<ProcessId>, cx: &mut Cx<'_>) {
        // Those before me may have proposed in vain, as one who has heard the same epochs: mine must be greater.
        let passed_over = members.iter().take_while(|member| **member != self.me).count();
        let epoch = self.epochs.propose(self.gossip.highest_epoch(), passed_over as u64);
        let ring = RingId { epoch, leader: self.me };
        let holdings = self.holdings();
        let role = Role::Leader(BTreeMap::from([(self.me, holdings.clone())]));
        self.begin_attempt(Accepted { ring, members, holdings, role }, cx);
        self.repeat_proposal(cx);
        self.commit_if_all_accepted(cx);
    }

    fn begin_attempt(&mut self, accepted: Accepted, cx: &mut Cx<'_>) {
        self.stop_ring_timers(cx);
        let leader = cx.config.name_of(accepted.ring.leader);
        let reason = format!("{leader} proposes a ring of {}", accepted.members.len());
        cx.timers.set(Timer::AttemptRetransmit, cx.now + cx.config.membership.attempt_retransmit);
        let deadline = self.jittered(self.attempt_deadline(cx));
        cx.timers.set(Timer::AttemptDeadline, cx.now + deadline);
        self.enter(State::Accepted(accepted), reason, cx);
    }

    /// Tells those who have not accepted yet what I propose.
    fn repeat_proposal(&mut self, cx: &mut Cx<'_>) {
        let State::Accepted(accepted @ Accepted { role: Role::Leader(_), .. }) = &self.state else {
            return;
        };
        let awaited = accepted.awaited();
        let propose = Propose { from: self.me, ring: accepted.ring, members: accepted.members.clone() };
        self.tell_each(awaited, &Datagram::Propose(propose), cx);
    }

    /// A proposal of another daemon (docs/protocol.md, M7). Only a process without a working ring
    /// accepts, and never an epoch that it has accepted before; the same proposal again is answered
    /// with the same report.
    pub(super) fn on_propose(&mut self, propose: Propose, cx: &mut Cx<'_>) {
        let Propose { from, ring, members } = propose;
        let one_each = members.is_sorted_by(|a, b| a.daemon < b.daemon);
        let configured = members.iter().all(|member| cx.config.daemon(member.daemon).is_some());
        let sound = ring.leader == from && members.contains(&from) && one_each && configured;
        if !sound || !self.epochs.is_plausible(ring.epoch) || !epoch::is_regular(ring.epoch) {
            cx.stats.datagrams_rejected += 1;
            return;
        }
        if !members.contains(&self.me) {
            cx.stats.datagrams_stale += 1;
            return;
        }
        match &self.state {
            State::Accepted(accepted) if accepted.ring == ring => self.report(cx),
            State::Accepted(_) | State::Gather(_) if ring.epoch > self.epochs.reached() => {
                self.epochs.accept(ring.epoch, cx.now);
                let holdings = self.holdings();
                self.begin_attempt(Accepted { ring, members, holdings, role: Role::Follower }, cx);
                self.report(cx);
            }
            _ => cx.stats.datagrams_stale += 1,
        }
    }

    /// Reports what I hold of my old ring to the proposing leader.
    fn report(&mut self, cx: &mut Cx<'_>) {
        let State::Accepted(accepted) = &self.state else {
            return;
        };
        let leader = accepted.ring.leader.daemon;
        let accept = Accept { from: self.me, ring: accepted.ring, holdings: accepted.holdings.clone() };
        self.tell(leader, &Datagram::Accept(accept), cx);
    }

    pub(super) fn on_accept(&mut self, accept: Accept, cx: &mut Cx<'_>) {
        let Accept { from, ring, holdings } = accept;
        match &mut self.state {
            State::Accepted(Accepted { ring: mine, members, role: Role::Leader(reports), .. })
                if *mine == ring && members.contains(&from) =>
            {
                reports.entry(from).or_insert(holdings);
                self.commit_if_all_accepted(cx);
            }
            _ => cx.stats.datagrams_stale += 1,
        }
    }

    fn commit_if_all_accepted(&mut self, cx: &mut Cx<'_>) {
        let State::Accepted(Accepted { ring, members, role: Role::Leader(reports), .. }) = &self.state else {
            return;
        };
        if reports.len() < members.len() {
            return;
        }
        let commit = Commit { from: self.me, ring: *ring, reports: reports.clone() };
        self.tell_each(members.clone(), &Datagram::Commit(commit.clone()), cx);
        self.begin_recovery(commit, cx);
    }

    /// Everyone accepted: from here on it is known what the survivors of each old ring hold together.
    pub(super) fn on_commit(&mut self, commit: Commit, cx: &mut Cx<'_>) {
        match &self.state {
            State::Accepted(accepted) if accepted.is_committed_by(&commit, self.me) => {
                self.begin_recovery(commit, cx);
            }
            _ => cx.stats.datagrams_stale += 1,
        }
    }

    fn begin_recovery(&mut self, commit: Commit, cx: &mut Cx<'_>) {
        let recover = Recover::new(commit, &self.ring, self.me);
        // What others hold beyond it must find room.
        self.ring.discard_stable(self.stream.done(), recover.stable());
        self.enter(State::Recover(recover), "all members accepted", cx);
        self.recover_step(cx);
    }

    pub(super) fn on_attempt_retransmit(&mut self, cx: &mut Cx<'_>) {
        match &self.state {
            State::Accepted(_) => self.repeat_proposal(cx),
            State::Recover(_) => self.repeat_recovery(cx),
            State::Operational(_) | State::Gather(_) | State::Leaving(_) => return,
        }
        let still_trying = matches!(self.state, State::Accepted(_) | State::Recover(_));
        if still_trying {
            cx.timers.set(Timer::AttemptRetransmit, cx.now + cx.config.membership.attempt_retransmit);
        }
    }

    pub(super) fn on_attempt_deadline(&mut self, cx: &mut Cx<'_>) {
        let awaited = match &self.state {
            State::Accepted(accepted) => accepted.awaited(),
            State::Recover(recover) => recover.awaited(),
            State::Operational(_) | State::Gather(_) | State::Leaving(_) => return,
        };
        let names: Vec<String> = awaited.iter().map(|process| cx.config.name_of(*process)).collect();
        self.gather(&format!("no answer from {}", names.join(", ")), cx);
    }

    /// How long an attempt may be without progress. Where several have failed, machines or links are
    /// slower than the configured time allows for.
    fn attempt_deadline(&self, cx: &Cx<'_>) -> Duration {
        cx.config.membership.attempt_deadline * (1 + self.failures)
    }

    /// The attempt got on: it may take longer.
    pub(super) fn extend_attempt(&mut self, times: u32, cx: &mut Cx<'_>) {
        cx.timers.set(Timer::AttemptDeadline, cx.now + self.attempt_deadline(cx) * times);
    }
}
