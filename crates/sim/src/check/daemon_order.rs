//! What a daemon delivered to its sessions, in its order: multicasts, and what its own sessions asked for.

use std::collections::BTreeMap;

use antiphon_proto::delivery::{Configuration, Kind};
use antiphon_proto::time::Instant;
use antiphon_wire::ids::{ProcessId, RingId};
use antiphon_wire::names::{GroupName, MemberName};

use super::history::{Delivered, History, Run, Step};
use crate::hash;
use crate::trace::{SessionEvent, Stamp, Trace};

/// Something that a daemon delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// A multicast, by position in the submissions.
    Message(usize),
    /// A session of this daemon joins.
    Join(MemberName, GroupName),
    /// A session of this daemon leaves.
    Leave(MemberName, GroupName),
    /// A session of this daemon is gone.
    Gone(MemberName),
}

/// See the module documentation.
pub(super) struct Order<'a> {
    pub(super) entries: Vec<Entry>,
    /// Where each multicast stands among the entries.
    pub(super) positions: BTreeMap<usize, usize>,
    /// For each that was delivered while a ring was being closed, the members that stayed together.
    closing: BTreeMap<usize, &'a [ProcessId]>,
}

impl<'a> Order<'a> {
    pub(super) fn new(history: &History<'a>, process: usize) -> Self {
        let run = &history.runs[process];
        let operations = Operations::new(history.trace, process);
        let mut checked: Option<(RingId, bool)> = None;
        let mut together: Option<&[ProcessId]> = None;
        let mut order = Self { entries: Vec::new(), positions: BTreeMap::new(), closing: BTreeMap::new() };
        for (time, step) in &run.steps {
            let Step::Delivered(Delivered { stamp, sender, .. }) = step else {
                if let Step::Configured(configuration) = step {
                    together = closed_by(configuration);
                }
                continue;
            };
            let Some(number) = stamp.submission else {
                let own = if *sender == run.process { operations.find(stamp) } else { None };
                order.entries.extend(own);
                continue;
            };
            if checked.is_none_or(|(ring, is)| ring != stamp.ring || !is) {
                checked = Some((stamp.ring, is_settled(run, *time, stamp.ring)));
            }
            // What has no order and came while the groups were unknown went to nobody (G17).
            if stamp.is_ordered() || together.is_none() || checked.is_some_and(|(_, is)| is) {
                order.positions.insert(number, order.entries.len());
                order.entries.push(Entry::Message(number));
                order.closing.extend(together.map(|members| (number, members)));
            }
        }
        order
    }

    /// Who stayed together, if the message was delivered while a ring was being closed.
    pub(super) fn closing(&self, message: usize) -> Option<&'a [ProcessId]> {
        self.closing.get(&message).copied()
    }

    /// The entries between the end of the last session of a name before the session of that number and
    /// its own end. A name is free only when the end of its bearer was delivered (C4).
    pub(super) fn life(&self, name: MemberName, number: usize) -> std::ops::Range<usize> {
        let ends = self.entries.iter().enumerate().filter(|(_, entry)| **entry == Entry::Gone(name));
        let ends: Vec<usize> = ends.map(|(at, _)| at).collect();
        let before = number.checked_sub(1).map(|before| ends.get(before).copied());
        let from = before.map_or(0, |end| end.map_or(self.entries.len(), |end| end + 1));
        from..ends.get(number).copied().unwrap_or(self.entries.len())
    }
}

fn closed_by(configuration: &Configuration) -> Option<&[ProcessId]> {
    match configuration {
        Configuration::Transitional { members, .. } => Some(members),
        Configuration::Regular { .. } => None,
    }
}

fn is_settled(run: &Run<'_>, time: Instant, ring: RingId) -> bool {
    let is_it = |(at, step): &(Instant, Step<'_>)| {
        *at <= time && matches!(step, Step::Settled(settled) if *settled == ring)
    };
    run.steps.iter().any(is_it)
}

/// The operations that sessions of a process may have asked for, by what their bytes hash to.
pub(super) struct Operations(BTreeMap<(Kind, u64), Entry>);

impl Operations {
    pub(super) fn new(trace: &Trace, process: usize) -> Self {
        let mut known = BTreeMap::new();
        for session in trace.sessions.iter().filter(|session| session.process == process) {
            let name = session.name;
            let mut add = |kind, group, entry| {
                known.insert((kind, hash::of_bytes(&operation_bytes(&name, group))), entry);
            };
            add(Kind::Disconnect, None, Entry::Gone(name));
            for (_, event) in &session.records {
                match event {
                    SessionEvent::Joining(group) => add(Kind::Join, Some(group), Entry::Join(name, *group)),
                    SessionEvent::Leaving(group) => add(Kind::Leave, Some(group), Entry::Leave(name, *group)),
                    _ => {}
                }
            }
        }
        Self(known)
    }

    pub(super) fn find(&self, stamp: &Stamp) -> Option<Entry> {
        self.0.get(&(stamp.kind, stamp.hash)).copied()
    }
}

/// What daemons say of a join or leave of a group, or of the end of a session.
pub(super) fn operation_bytes(member: &MemberName, group: Option<&GroupName>) -> Vec<u8> {
    let private = member.private();
    let Some(group) = group else { return private.to_vec() };
    let length = u8::try_from(private.len()).unwrap_or(u8::MAX);
    [&[length], private, group.as_bytes()].concat()
}
