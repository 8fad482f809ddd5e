//! Hand-made traces for the tests of the checkers.
//!
//! Daemons are given by position in the trace, rings by their epoch. Each checker has a trace that it
//! must reject and a near one that it must accept: a check that nothing can fail is none.

use antiphon_proto::CloseReason;
use antiphon_proto::delivery::{Configuration, Kind};
use antiphon_proto::time::Instant;
use antiphon_wire::client::membership::{Cause, GroupId, View, VsSet};
use antiphon_wire::ids::{DaemonId, ProcessId, RingId, Seq};
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::service::ServiceLevel;

use super::daemon_order::operation_bytes;
use crate::hash;
use crate::trace::{
    Ending, ProcessEvent, ProcessTrace, Received, SessionEvent, SessionTrace, Stamp, Submission, Trace,
};

pub(super) const UNRELIABLE: ServiceLevel = ServiceLevel::Unreliable;
pub(super) const RELIABLE: ServiceLevel = ServiceLevel::Reliable;
pub(super) const FIFO: ServiceLevel = ServiceLevel::Fifo;
pub(super) const AGREED: ServiceLevel = ServiceLevel::Agreed;
pub(super) const SAFE: ServiceLevel = ServiceLevel::Safe;

/// A trace in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    pub(super) trace: Trace,
    clock: u64,
}

impl Story {
    /// Daemons that have just booted alone, in rings of their own with epoch 0.
    pub(super) fn singles(count: u16) -> Self {
        let mut story = Self::default();
        for daemon in 0..count {
            story.boot(daemon);
        }
        story
    }

    /// Daemons that have formed one ring with epoch 1.
    pub(super) fn ring_of(count: u16) -> Self {
        let mut story = Self::singles(count);
        let all: Vec<usize> = (0..usize::from(count)).collect();
        for process in all.clone() {
            story.transitional(process, 1, &[process]);
            story.regular(process, 1, &all);
        }
        story
    }

    pub(super) fn now(&mut self) -> Instant {
        self.clock += 1_000_000;
        Instant(self.clock)
    }

    /// Boots a new process of a daemon; returns its position.
    pub(super) fn boot(&mut self, daemon: u16) -> usize {
        let at = self.trace.processes.len();
        let process = ProcessId { daemon: DaemonId(daemon), incarnation: at as u64 };
        self.trace.processes.push(ProcessTrace { process, records: Vec::new(), ended: None });
        let ring = RingId { epoch: 0, leader: process };
        self.configured(at, Configuration::Regular { ring, members: vec![process], all_from_one_ring: true });
        self.add(at, ProcessEvent::Settled(ring));
        at
    }

    fn add(&mut self, process: usize, event: ProcessEvent) {
        let now = self.now();
        self.trace.processes[process].records.push((now, event));
    }

    fn configured(&mut self, process: usize, configuration: Configuration) {
        self.add(process, ProcessEvent::Configured(configuration));
    }

    fn ids(&self, processes: &[usize]) -> Vec<ProcessId> {
        processes.iter().map(|at| self.trace.processes[*at].process).collect()
    }

    /// The ring of that epoch: its leader is the process of the lowest position, except alone.
    fn ring(&self, process: usize, epoch: u64) -> RingId {
        let leader = if epoch == 0 { process } else { 0 };
        RingId { epoch, leader: self.trace.processes[leader].process }
    }

    fn current_ring(&self, process: usize) -> RingId {
        let records = self.trace.processes[process].records.iter().rev();
        let ring = |event: &ProcessEvent| match event {
            ProcessEvent::Configured(Configuration::Regular { ring, .. }) => Some(*ring),
            _ => None,
        };
        records.map(|(_, event)| event).find_map(ring).expect("every process has booted")
    }

    pub(super) fn regular_unsettled(&mut self, process: usize, epoch: u64, members: &[usize]) {
        let (ring, members) = (self.ring(process, epoch), self.ids(members));
        let configuration = Configuration::Regular { ring, members, all_from_one_ring: false };
        self.configured(process, configuration);
    }

    pub(super) fn regular(&mut self, process: usize, epoch: u64, members: &[usize]) {
        self.regular_unsettled(process, epoch, members);
        let ring = self.ring(process, epoch);
        self.add(process, ProcessEvent::Settled(ring));
    }

    pub(super) fn transitional(&mut self, process: usize, epoch: u64, members: &[usize]) {
        let (old, new) = (self.current_ring(process), self.ring(process, epoch));
        let members = self.ids(members);
        self.configured(process, Configuration::Transitional { old, new, members });
    }

    /// The daemon has such a table after the message of that number, or as settled.
    pub(super) fn table(&mut self, process: usize, seq: Option<u64>, hash: u64) {
        let ring = self.current_ring(process);
        let place = seq.map(|seq| (Seq(seq), 0));
        self.add(process, ProcessEvent::Table { ring, place, hash });
    }

    fn stamp(&self, process: usize, sender: usize, seq: u64, service: ServiceLevel) -> Stamp {
        let ring = self.current_ring(process);
        let hash = seq * 1000 + sender as u64;
        Stamp { ring, seq: Seq(seq), index: 0, kind: Kind::Client, service, hash, submission: None }
    }

    pub(super) fn send(&mut self, process: usize, seq: u64, service: ServiceLevel) {
        let stamp = self.stamp(process, process, seq, service);
        self.add(process, ProcessEvent::Originated(stamp));
    }

    pub(super) fn deliver(&mut self, process: usize, sender: usize, seq: u64, service: ServiceLevel) {
        self.deliver_how(process, sender, seq, service, false);
    }

    pub(super) fn deliver_early(&mut self, process: usize, sender: usize, seq: u64, service: ServiceLevel) {
        self.deliver_how(process, sender, seq, service, true);
    }

    fn deliver_how(&mut self, process: usize, sender: usize, seq: u64, service: ServiceLevel, early: bool) {
        let stamp = self.stamp(process, sender, seq, service);
        let sender = self.trace.processes[sender].process;
        self.add(process, ProcessEvent::Delivered { sender, stamp, early });
    }

    pub(super) fn deliver_all(
        &mut self,
        processes: &[usize],
        sender: usize,
        seq: u64,
        service: ServiceLevel,
    ) {
        for process in processes {
            self.deliver(*process, sender, seq, service);
        }
    }

    pub(super) fn crash(&mut self, process: usize) {
        let now = self.now();
        self.trace.processes[process].ended = Some(now);
    }

    /// The run ended after a quiet phase, in which the daemons were never checked for one ring.
    pub(super) fn end_quietly(mut self) -> Self {
        let end = self.now();
        let reaches = vec![vec![false; 8]; 8];
        self.trace.ending = Ending::Frozen { reaches, stable: end, end };
        self
    }

    /// A client with views of the daemon of that position, which asks at once to join "g".
    pub(super) fn client(&mut self, process: usize, private: &str) -> usize {
        let session = self.knocks(process, private);
        self.add(process, ProcessEvent::Accepted(session));
        self.event(session, SessionEvent::Accepted);
        self.event(session, SessionEvent::Joining(name("g")));
        session
    }

    /// A client that is not accepted yet.
    pub(super) fn knocks(&mut self, process: usize, private: &str) -> usize {
        let (name, opened) = (member(private, process), self.now());
        self.trace.sessions.push(SessionTrace::new(name, process, opened, true));
        self.trace.sessions.len() - 1
    }

    /// The daemon closes a connection.
    pub(super) fn closes(&mut self, session: usize, reason: CloseReason) {
        let process = self.trace.sessions[session].process;
        self.add(process, ProcessEvent::Closed(session, reason));
        self.event(session, SessionEvent::Closed(Some(reason)));
    }

    pub(super) fn event(&mut self, session: usize, event: SessionEvent) {
        let now = self.now();
        self.trace.sessions[session].records.push((now, event));
    }

    /// A multicast of a client; returns its number.
    pub(super) fn cast(&mut self, session: usize, group: &str, service: ServiceLevel) -> usize {
        let groups = vec![name(group)];
        let submission = Submission { session, service, groups, self_discard: false, body_bytes: 10 };
        self.trace.submissions.push(submission);
        let number = self.trace.submissions.len() - 1;
        self.event(session, SessionEvent::Sent(number));
        number
    }

    /// That multicast is numbered by its daemon, and delivered by these.
    pub(super) fn carry(&mut self, submission: usize, processes: &[usize]) {
        let Submission { session, service, .. } = self.trace.submissions[submission];
        let sender = self.trace.sessions[session].process;
        let stamp = Stamp { submission: Some(submission), ..self.next_stamp(sender, Kind::Client, service) };
        self.pass(sender, stamp, processes);
    }

    /// The daemon of a session orders that it joins a group.
    pub(super) fn joins(&mut self, session: usize, group: &str) {
        self.operation(session, Kind::Join, Some(group));
    }

    /// The daemon of a session orders that it leaves a group.
    pub(super) fn leaves(&mut self, session: usize, group: &str) {
        self.operation(session, Kind::Leave, Some(group));
    }

    /// The daemon of a session orders that it is gone.
    pub(super) fn ends(&mut self, session: usize) {
        self.operation(session, Kind::Disconnect, None);
    }

    fn operation(&mut self, session: usize, kind: Kind, group: Option<&str>) {
        let SessionTrace { name: own, process, .. } = self.trace.sessions[session];
        let hash = hash::of_bytes(&operation_bytes(&own, group.map(name).as_ref()));
        let stamp = Stamp { hash, ..self.next_stamp(process, kind, AGREED) };
        self.pass(process, stamp, &[process]);
    }

    /// A stamp with the next number in the ring of that process.
    fn next_stamp(&self, process: usize, kind: Kind, service: ServiceLevel) -> Stamp {
        let ring = self.current_ring(process);
        let events = self.trace.processes.iter().flat_map(|process| &process.records);
        let is_one =
            |event: &ProcessEvent| matches!(event, ProcessEvent::Originated(stamp) if stamp.ring == ring);
        let sent = events.filter(|(_, event)| is_one(event)).count() as u64;
        Stamp { kind, ..self.stamp(process, process, sent + 1, service) }
    }

    fn pass(&mut self, sender: usize, stamp: Stamp, processes: &[usize]) {
        self.add(sender, ProcessEvent::Originated(stamp));
        let sender = self.trace.processes[sender].process;
        for process in processes {
            self.add(*process, ProcessEvent::Delivered { sender, stamp, early: false });
        }
    }

    pub(super) fn gets(&mut self, session: usize, submission: usize) {
        self.event(session, SessionEvent::Message(Received { submission, intact: true }));
    }

    /// A view of group "g" with members given as sessions; one set, of the last member or of all.
    pub(super) fn view(&mut self, session: usize, id: (u32, u32), cause: Cause, members: &[usize]) {
        let all: Vec<MemberName> = members.iter().map(|at| self.trace.sessions[*at].name).collect();
        let set = match cause {
            Cause::Network => all.clone(),
            _ => all.last().copied().into_iter().collect(),
        };
        self.view_of(session, id, cause, all, vec![set], 0);
    }

    pub(super) fn view_of(
        &mut self,
        session: usize,
        (time, counter): (u32, u32),
        cause: Cause,
        members: Vec<MemberName>,
        sets: Vec<Vec<MemberName>>,
        own_set: usize,
    ) {
        let sets = sets.into_iter().map(|members| VsSet { members }).collect();
        let id = GroupId { leader: 1, time, counter };
        let view = View { group: name("g"), cause, id, members, sets, own_set };
        self.event(session, SessionEvent::View(Box::new(view)));
    }

    pub(super) fn signal(&mut self, session: usize, (time, counter): (u32, u32)) {
        self.event(session, SessionEvent::Signal(name("g"), GroupId { leader: 1, time, counter }));
    }

    /// Asserts that no checker objects.
    pub(super) fn accept(&self) {
        let violations = super::all(&self.trace);
        assert!(violations.is_empty(), "{violations:#?}");
    }

    /// Asserts that the checkers object with that property.
    pub(super) fn reject(&self, property: &str) {
        let violations = super::all(&self.trace);
        let found = violations.iter().any(|violation| violation.property == property);
        assert!(found, "{property} expected, found {violations:#?}");
    }
}

pub(super) fn name(group: &str) -> GroupName {
    GroupName::new(group.as_bytes()).expect("a legal group name")
}

/// The name of a client of the daemon of that position.
pub(super) fn member(private: &str, process: usize) -> MemberName {
    let daemon = crate::world::DAEMON_NAMES[process];
    MemberName::parse(format!("#{private}#{daemon}").as_bytes()).expect("a legal name")
}
