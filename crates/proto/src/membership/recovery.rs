//! Making good what is missing of the old ring, before the new one is installed.
//!
//! From the reports in the COMMIT everyone computes the same: who moves on together (`together`),
//! and which packets they hold between them. Each asks the holders for what it lacks; the packets
//! come unchanged, so a late one of the old ring is as good, and any other is ignored. Who lacks
//! nothing says DONE (docs/protocol.md, M10 and M11).

use std::collections::{BTreeMap, BTreeSet};

use antiphon_wire::ids::{DaemonId, ProcessId, RingId, Seq};
use antiphon_wire::ring::Datagram;
use antiphon_wire::ring::attempt::{Commit, Done, Holdings, Install, RecoveryRequest};
use antiphon_wire::ring::packet::Packet;
use antiphon_wire::ring::ranges;

use super::attempt::Role;
use super::{Membership, State};
use crate::cx::Cx;
use crate::io::{Channel, Target, Transmit};
use crate::mutant::Mutant;
use crate::ring::Ring;
use crate::ring::packets::CAPACITY_PACKETS;

/// Packets asked for, or sent, at once.
const BATCH_PACKETS: usize = 256;
/// A member that is done waits this many deadlines for the others.
const PATIENCE_WHEN_DONE: u32 = 3;

/// An attempt that everyone accepted.
#[derive(Debug)]
pub(crate) struct Recover {
    commit: Commit,
    /// Members that come from my old ring, me included, and their reports: the transitional configuration.
    together: BTreeMap<ProcessId, Holdings>,
    /// The last packet that one of them holds. What is claimed beyond a window cannot be: nobody numbers a
    /// packet before all hold what is a window behind it.
    last: Seq,
    /// Packets that some of us holds and I do not.
    missing: BTreeSet<Seq>,
    /// Packets asked for and not received yet.
    asked: BTreeSet<Seq>,
    /// Turns of asking so far: decides which holder is asked.
    turn: usize,
    said_done: bool,
    /// A leader knows who is done.
    role: Role<BTreeSet<ProcessId>>,
}

impl Recover {
    pub(super) fn new(commit: Commit, old: &Ring, me: ProcessId) -> Self {
        let mut together = commit.reports.clone();
        together.retain(|member, report| report.old == old.id() && old.contains(*member));
        let claimed = together.values().map(Holdings::highest).max().unwrap_or_default();
        let last = claimed.min(old.packets().contiguous().advanced(CAPACITY_PACKETS));
        let role = if commit.ring.leader == me { Role::Leader(BTreeSet::new()) } else { Role::Follower };
        let mut recover = Self {
            commit,
            together,
            last,
            missing: BTreeSet::new(),
            asked: BTreeSet::new(),
            turn: 0,
            said_done: false,
            role,
        };
        recover.missing = old.packets().missing(last).filter(|seq| recover.is_held(*seq)).collect();
        recover
    }

    /// The ring to be.
    pub(super) fn ring(&self) -> RingId {
        self.commit.ring
    }

    /// Its members.
    pub(super) fn members(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.commit.reports.keys().copied()
    }

    /// Members that come from my old ring.
    pub(super) fn together(&self) -> Vec<ProcessId> {
        self.together.keys().copied().collect()
    }

    /// Whether all members come from one ring.
    pub(super) fn all_from_one_ring(&self) -> bool {
        self.together.len() == self.commit.reports.len()
    }

    /// Whether one of us holds the old ring's packet.
    pub(super) fn is_held(&self, seq: Seq) -> bool {
        seq <= self.last && self.together.values().any(|report| report.holds(seq))
    }

    /// The highest packet that one of us holds.
    pub(super) fn highest(&self) -> Seq {
        self.last
    }

    /// Up to where one of us knew that everyone in the old ring holds everything.
    pub(super) fn stable(&self) -> Seq {
        self.together.values().map(|report| report.stable).max().unwrap_or_default()
    }

    /// Processes whose messages we deliver even behind a hole.
    pub(super) fn obligations(&self) -> BTreeSet<ProcessId> {
        let promised = self.together.values().flat_map(|report| report.obligations.iter());
        promised.chain(self.together.keys()).copied().collect()
    }

    /// Whether I hold what we hold together.
    pub(super) fn lacks_nothing(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether I have said that I hold everything.
    pub(super) fn has_said_done(&self) -> bool {
        self.said_done
    }

    /// Whom the attempt waits for.
    pub(super) fn awaited(&self) -> Vec<ProcessId> {
        match &self.role {
            Role::Leader(done) => self.members().filter(|member| !done.contains(member)).collect(),
            Role::Follower => vec![self.commit.ring.leader],
        }
    }

    /// Takes in a packet of the old ring if it is one that I lack; returns whether it was.
    pub(super) fn fill(&mut self, packet: Packet, ring: &mut Ring) -> bool {
        let seq = packet.header.seq;
        self.asked.remove(&seq);
        // What could not be stored is still missing, or it would count as delivered.
        let filled = self.missing.contains(&seq) && ring.store(packet);
        if filled {
            self.missing.remove(&seq);
        }
        filled
    }

    /// What to ask of whom: a batch of what is missing, spread over its holders, another one each turn.
    fn requests(&mut self, me: ProcessId) -> BTreeMap<DaemonId, Vec<Seq>> {
        self.turn += 1;
        self.asked = self.missing.iter().copied().take(BATCH_PACKETS).collect();
        let mut requests: BTreeMap<DaemonId, Vec<Seq>> = BTreeMap::new();
        for seq in &self.asked {
            let holders: Vec<DaemonId> = self
                .together
                .iter()
                .filter(|(member, report)| **member != me && report.holds(*seq))
                .map(|(member, _)| member.daemon)
                .collect();
            // Neighbouring packets go to one holder, so that a request is a few ranges.
            let choice = (usize::try_from(seq.0 / 16).unwrap_or_default() + self.turn) % holders.len().max(1);
            if let Some(holder) = holders.get(choice) {
                requests.entry(*holder).or_default().push(*seq);
            }
        }
        requests
    }
}

impl Membership {
    /// Asks for what is missing, or says that nothing is.
    pub(super) fn recover_step(&mut self, cx: &mut Cx<'_>) {
        let State::Recover(recover) = &mut self.state else {
            return;
        };
        if recover.lacks_nothing() {
            self.say_done(cx);
            return;
        }
        let ring = recover.ring();
        for (holder, missing) in recover.requests(self.me) {
            let request = RecoveryRequest { from: self.me, ring, missing: ranges::collect(missing) };
            self.tell(holder, &Datagram::RecoveryRequest(request), cx);
        }
    }

    /// From here on another member may install and deliver, on the strength of my word, messages
    /// of everyone I moved with; so I will, too, in whatever ring I end up.
    fn say_done(&mut self, cx: &mut Cx<'_>) {
        let State::Recover(recover) = &mut self.state else {
            return;
        };
        if !cx.config.is_mutant(Mutant::ForgetObligations) {
            self.obligations.extend(recover.obligations());
        }
        let first = !std::mem::replace(&mut recover.said_done, true);
        let (ring, leader) = (recover.ring(), recover.ring().leader);
        if first {
            self.extend_attempt(PATIENCE_WHEN_DONE, cx);
        }
        if leader == self.me {
            self.on_done(self.me, ring, cx);
        } else {
            self.tell(leader.daemon, &Datagram::Done(Done { from: self.me, ring }), cx);
        }
    }

    /// A member holds everything. When all do, the leader installs and says so.
    pub(super) fn on_done(&mut self, from: ProcessId, ring: RingId, cx: &mut Cx<'_>) {
        if self.is_operational() && ring == self.ring.id() && ring.leader == self.me {
            self.tell(from.daemon, &Datagram::Install(Install { from: self.me, ring }), cx);
            return;
        }
        let State::Recover(recover) = &mut self.state else {
            cx.stats.datagrams_stale += 1;
            return;
        };
        let all = recover.commit.reports.len();
        let is_member = recover.ring() == ring && recover.commit.reports.contains_key(&from);
        let done = match &mut recover.role {
            Role::Leader(done) if is_member => done,
            _ => {
                cx.stats.datagrams_stale += 1;
                return;
            }
        };
        let new = done.insert(from);
        let not_awaited = usize::from(cx.config.is_mutant(Mutant::InstallEarly));
        if done.len() + not_awaited >= all {
            let members: Vec<ProcessId> = recover.members().collect();
            self.tell_each(members, &Datagram::Install(Install { from: self.me, ring }), cx);
            self.install(cx);
        } else if new {
            self.extend_attempt(1, cx);
        }
    }

    pub(super) fn on_install(&mut self, Install { from, ring }: Install, cx: &mut Cx<'_>) {
        self.install_on_evidence(|new| new == ring && new.leader == from, cx);
    }

    /// A member lacks packets of the old ring.
    pub(super) fn on_recovery_request(&mut self, request: &RecoveryRequest, cx: &mut Cx<'_>) {
        let State::Recover(recover) = &self.state else {
            cx.stats.datagrams_stale += 1;
            return;
        };
        if recover.ring() != request.ring || !recover.together.contains_key(&request.from) {
            cx.stats.datagrams_stale += 1;
            return;
        }
        let packets = self.ring.packets();
        let held = request.missing.iter().flat_map(|range| packets.held_of(*range));
        for stored in held.filter_map(|seq| packets.get(seq)).take(BATCH_PACKETS) {
            let packet = stored.packet.bytes.clone();
            let to = Target::One(request.from.daemon);
            cx.stats.packets_retransmitted += 1;
            cx.out.transmits.push(Transmit::one(to, Channel::Data, packet));
        }
    }

    /// A packet of the old ring came. Once all that was asked for is here, it is time for the next batch, or for DONE.
    pub(super) fn on_recovered(&mut self, packet: Packet, cx: &mut Cx<'_>) {
        let State::Recover(recover) = &mut self.state else {
            return;
        };
        let filled = recover.fill(packet, &mut self.ring);
        let is_batch_here = recover.asked.is_empty() || recover.lacks_nothing();
        super::count_packet(filled, cx);
        if !filled {
            return;
        }
        self.extend_attempt(1, cx);
        if is_batch_here {
            self.recover_step(cx);
        }
    }

    /// Repeats whatever the attempt is waiting for.
    pub(super) fn repeat_recovery(&mut self, cx: &mut Cx<'_>) {
        let State::Recover(recover) = &self.state else {
            return;
        };
        if matches!(recover.role, Role::Leader(_)) {
            let (awaited, commit) = (recover.awaited(), Datagram::Commit(recover.commit.clone()));
            self.tell_each(awaited, &commit, cx);
        }
        self.recover_step(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::packets::tests::packet;
    use crate::time::Instant;

    fn process(daemon: u16) -> ProcessId {
        ProcessId { daemon: DaemonId(daemon), incarnation: 1 }
    }

    /// The attempt of two members of a ring; what the other one reports to hold, and to be stable.
    fn recover(ring: &Ring, theirs: Seq, stable: Seq) -> Recover {
        let holds = |ack, stable| {
            let (beyond, obligations) = (Vec::new(), BTreeSet::new());
            Holdings { old: ring.id(), ack, beyond, stable, obligations }
        };
        let mine = holds(ring.packets().contiguous(), Seq::ZERO);
        let reports = [(process(0), mine), (process(1), holds(theirs, stable))].into();
        let new = RingId { epoch: 8, leader: process(1) };
        let commit = Commit { from: process(1), ring: new, reports };
        Recover::new(commit, ring, process(0))
    }

    fn old_ring() -> Ring {
        let members = vec![process(0), process(1)];
        let id = RingId { epoch: 4, leader: process(0) };
        Ring::new(id, members, process(0), Seq(10), Instant::default())
    }

    #[test]
    fn what_is_claimed_beyond_a_window_is_not_looked_for() {
        let far = Seq(1 << 62);
        let recover = recover(&old_ring(), far, Seq::ZERO);
        let last = Seq(10 + CAPACITY_PACKETS);
        assert_eq!(recover.highest(), last);
        assert!(recover.is_held(last) && !recover.is_held(last.next()) && !recover.is_held(far));
        assert_eq!(recover.missing.len() as u64, CAPACITY_PACKETS);
    }

    #[test]
    fn what_finds_no_room_is_still_missing() {
        let mut ring = old_ring();
        for seq in 11..=14 {
            assert!(ring.store(packet(seq)));
        }
        let (last, delivered, stable) = (Seq(14 + CAPACITY_PACKETS), Seq(14), Seq(13));
        let mut recover = recover(&ring, last, stable);
        assert!(!recover.fill(packet(last.0), &mut ring) && recover.missing.contains(&last));
        ring.discard_stable(delivered, recover.stable());
        assert!(!recover.fill(packet(last.0), &mut ring), "the other may still lack what is not stable");
        let before = Seq(last.0 - 1);
        assert!(recover.fill(packet(before.0), &mut ring) && !recover.missing.contains(&before));
    }
}
