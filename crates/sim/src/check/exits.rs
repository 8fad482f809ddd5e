//! How processes came out of the configurations that ids of views name.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_proto::delivery::Configuration;
use antiphon_wire::client::membership::{GroupId, View};
use antiphon_wire::ids::{DaemonId, RingId};
use antiphon_wire::names::MemberName;

use super::membership_order::rank;
use crate::trace::{ProcessEvent, Trace};

/// How a process came out of a configuration. Views of one id are the same view only where processes
/// came out of it together: at the end of a ring one may have delivered a join that the others never
/// got, and a group that did not lose anybody they know of goes on with its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Exit {
    /// It was never in it.
    Elsewhere,
    /// It is in it still.
    Inside,
    /// It ended in it.
    Ended,
    /// It went on to that ring.
    Onward(RingId),
}

/// How every process came out of every ring.
#[derive(Debug, Default)]
pub(super) struct Exits {
    /// For each process, its rings: time of ids, and the way out.
    rings: Vec<BTreeMap<u32, Exit>>,
    /// For each process, by time of the ring to come, with which daemons it came along.
    company: Vec<BTreeMap<u32, BTreeSet<DaemonId>>>,
    /// For each process, by time of the ring, the daemons of its rings.
    daemons: Vec<BTreeMap<u32, BTreeSet<DaemonId>>>,
}

impl Exits {
    pub(super) fn new(trace: &Trace) -> Self {
        let processes = 0..trace.processes.len();
        Self {
            rings: processes.clone().map(|process| exits(trace, process)).collect(),
            company: processes.clone().map(|process| company(trace, process)).collect(),
            daemons: processes.map(|process| daemons(trace, process)).collect(),
        }
    }

    /// How a process came out of the configuration of an id. The time of a transitional configuration
    /// is one less than that of the ring to come.
    pub(super) fn of(&self, process: usize, id: GroupId) -> Exit {
        let rings = self.rings.get(process);
        let exit = rings.and_then(|rings| rings.get(&id.time).or_else(|| rings.get(&(id.time + 1))));
        exit.copied().unwrap_or(Exit::Elsewhere)
    }

    /// Whether a view that was given in a ring lists a member at a daemon that is not of that ring.
    pub(super) fn lists_strangers(&self, process: usize, view: &View) -> bool {
        let ring = self.daemons.get(process).and_then(|rings| rings.get(&view.id.time));
        ring.is_some_and(|ring| view.members.iter().any(|member| !ring.contains(&daemon_of(member))))
    }

    /// Whether a process came out of a configuration between two views without the daemon of some
    /// member of the first, or may have, since nothing is known of its configurations.
    pub(super) fn parted(&self, process: usize, before: &View, after: &View) -> bool {
        if self.rings.get(process).is_some_and(BTreeMap::is_empty) {
            return true;
        }
        let Some(company) = self.company.get(process) else { return false };
        let daemons = || before.members.iter().map(daemon_of);
        company
            .iter()
            .filter(|(time, _)| before.id.time < **time && **time <= after.id.time)
            .any(|(_, came_along)| daemons().any(|daemon| !came_along.contains(&daemon)))
    }
}

/// The daemon of a member.
pub(super) fn daemon_of(member: &MemberName) -> DaemonId {
    DaemonId(u16::try_from(rank(member).0).unwrap_or(u16::MAX))
}

fn daemons(trace: &Trace, process: usize) -> BTreeMap<u32, BTreeSet<DaemonId>> {
    let records = trace.processes[process].records.iter();
    let regular = |event: &ProcessEvent| match event {
        ProcessEvent::Configured(Configuration::Regular { ring, members, .. }) => {
            Some((time(ring.epoch), members.iter().map(|member| member.daemon).collect()))
        }
        _ => None,
    };
    records.filter_map(|(_, event)| regular(event)).collect()
}

fn company(trace: &Trace, process: usize) -> BTreeMap<u32, BTreeSet<DaemonId>> {
    let records = trace.processes[process].records.iter();
    let transitional = |event: &ProcessEvent| match event {
        ProcessEvent::Configured(Configuration::Transitional { new, members, .. }) => {
            Some((time(new.epoch), members.iter().map(|member| member.daemon).collect()))
        }
        _ => None,
    };
    records.filter_map(|(_, event)| transitional(event)).collect()
}

fn exits(trace: &Trace, process: usize) -> BTreeMap<u32, Exit> {
    let records = trace.processes[process].records.iter();
    let regular = |event: &ProcessEvent| match event {
        ProcessEvent::Configured(Configuration::Regular { ring, .. }) => Some(*ring),
        _ => None,
    };
    let rings: Vec<RingId> = records.filter_map(|(_, event)| regular(event)).collect();
    let last = if trace.processes[process].ended.is_some() { Exit::Ended } else { Exit::Inside };
    let onward = rings.iter().skip(1).map(|next| Exit::Onward(*next)).chain([last]);
    rings.iter().map(|ring| time(ring.epoch)).zip(onward).collect()
}

/// What ids of a ring of that epoch have as their time.
fn time(epoch: u64) -> u32 {
    u32::try_from(epoch & 0x7fff_ffff).unwrap_or(u32::MAX)
}
