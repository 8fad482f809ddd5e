//! Which views clients can not tell apart.
//!
//! When a group empties and begins again in one configuration, its counter begins again too (G2). A
//! life begins with the view of its first member alone, or with a network view. Where two beginnings
//! in one configuration were seen, or one may have been that nobody read, ids name more than one view.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_proto::delivery::Configuration;
use antiphon_proto::time::Instant;
use antiphon_wire::client::membership::{Cause, GroupId};
use antiphon_wire::ids::RingId;
use antiphon_wire::names::GroupName;

use super::stays::Stay;
use crate::trace::{ProcessEvent, SessionEvent, SessionTrace, Trace};

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
}

impl Exits {
    fn new(trace: &Trace) -> Self {
        Self { rings: (0..trace.processes.len()).map(|process| exits(trace, process)).collect() }
    }

    /// How a process came out of the configuration whose ids have that time. The time of a transitional
    /// configuration is one less than that of the ring to come.
    pub(super) fn of(&self, process: usize, time: u32) -> Exit {
        let rings = self.rings.get(process);
        let exit = rings.and_then(|rings| rings.get(&time).or_else(|| rings.get(&(time + 1))));
        exit.copied().unwrap_or(Exit::Elsewhere)
    }
}

fn exits(trace: &Trace, process: usize) -> BTreeMap<u32, Exit> {
    let rings: Vec<RingId> = installed(trace, process).map(|(_, ring)| ring).collect();
    let last = if trace.processes[process].ended.is_some() { Exit::Ended } else { Exit::Inside };
    let onward = rings.iter().skip(1).map(|next| Exit::Onward(*next)).chain([last]);
    rings.iter().map(|ring| time(ring.epoch)).zip(onward).collect()
}

/// The rings that a process installed, and when.
fn installed(trace: &Trace, process: usize) -> impl Iterator<Item = (Instant, RingId)> {
    let records = trace.processes[process].records.iter();
    records.filter_map(|(at, event)| match event {
        ProcessEvent::Configured(Configuration::Regular { ring, .. }) => Some((*at, *ring)),
        _ => None,
    })
}

/// What ids of a ring of that epoch have as their time.
fn time(epoch: u64) -> u32 {
    u32::try_from(epoch & 0x7fff_ffff).unwrap_or(u32::MAX)
}

/// What the ids of one configuration have in common.
type Stamp = (u32, u32);

/// The session and record that saw the join of a first member; `None` for any other beginning.
type Beginning = Option<(usize, usize)>;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Lives {
    twice: BTreeSet<(GroupName, Stamp)>,
    /// Groups that may have begun unseen in configurations of these times.
    doubtful: BTreeMap<GroupName, Vec<(u32, u32)>>,
    exits: Exits,
}

impl Lives {
    pub(super) fn new(trace: &Trace, stays: &[Stay<'_>]) -> Self {
        let mut lives = Self { twice: twice(stays), doubtful: BTreeMap::new(), exits: Exits::new(trace) };
        for session in trace.sessions.iter().filter(|session| session.wants_views) {
            for (group, since) in unseen_joins(session) {
                let range = times(trace, session.process, since);
                lives.doubtful.entry(group).or_default().push(range);
            }
        }
        lives
    }

    /// How a process came out of the configuration of an id.
    pub(super) fn exit(&self, process: usize, id: GroupId) -> Exit {
        self.exits.of(process, id.time)
    }

    /// Whether the id may name several views.
    pub(super) fn is_ambiguous(&self, group: GroupName, id: GroupId) -> bool {
        let doubtful = self.doubtful.get(&group).map_or(&[][..], Vec::as_slice);
        self.twice.contains(&(group, (id.leader, id.time)))
            || doubtful.iter().any(|(from, to)| (*from..=*to).contains(&id.time))
    }
}

fn twice(stays: &[Stay<'_>]) -> BTreeSet<(GroupName, Stamp)> {
    let mut earliest: BTreeMap<(GroupName, Stamp), (Instant, u32)> = BTreeMap::new();
    // A network view is one beginning, however many see it; that of a first member is seen only there.
    let mut beginnings: BTreeMap<_, BTreeSet<Beginning>> = BTreeMap::new();
    for stay in stays {
        let mut last: Option<Stamp> = None;
        for (at, view) in stay.views() {
            let stamp = (view.id.leader, view.id.time);
            let key = (stay.group, stamp);
            // A loss begins a life with an id that no view has.
            if last.replace(stamp) != Some(stamp) && view.cause == Cause::Network && view.id.counter > 1 {
                beginnings.entry(key).or_default().insert(None);
            }
            let seen = (stay.sights[at].1, view.id.counter);
            earliest.entry(key).and_modify(|first| *first = seen.min(*first)).or_insert(seen);
            if view.id.counter == 1 {
                let is_join = view.cause == Cause::Join && view.members.len() == 1;
                let beginning = is_join.then(|| (stay.session, stay.sights[at].0));
                beginnings.entry(key).or_default().insert(beginning);
            }
        }
    }
    // A later view that was read before any beginning has a beginning that nobody read.
    for (key, (_, counter)) in earliest {
        if counter > 1 {
            beginnings.entry(key).or_default().insert(None);
        }
    }
    beginnings.into_iter().filter(|(_, seen)| seen.len() > 1).map(|(key, _)| key).collect()
}

/// Joins whose view the session never read, with the time of the request.
fn unseen_joins(session: &SessionTrace) -> BTreeMap<GroupName, Instant> {
    let mut pending = BTreeMap::new();
    let (mut inside, mut leaving) = (BTreeSet::new(), BTreeSet::new());
    for (time, event) in &session.records {
        match event {
            SessionEvent::Joining(group) if !inside.contains(group) || leaving.contains(group) => {
                pending.entry(*group).or_insert(*time);
            }
            SessionEvent::Leaving(group) => {
                leaving.insert(*group);
            }
            SessionEvent::View(view) if inside.insert(view.group) => {
                pending.remove(&view.group);
            }
            SessionEvent::Left(group) => {
                inside.remove(group);
            }
            _ => {}
        }
    }
    pending
}

/// The times of ids that something asked of a process at `since` can have got: from its ring at that
/// time to the first ring of anybody after its last one.
fn times(trace: &Trace, process: usize, since: Instant) -> (u32, u32) {
    let epochs = |process| installed(trace, process).map(|(at, ring)| (at, ring.epoch));
    let first = epochs(process).take_while(|(at, _)| *at <= since).last().map_or(0, |(_, epoch)| epoch);
    let last = epochs(process).last().map_or(0, |(_, epoch)| epoch);
    let next = (0..trace.processes.len())
        .filter_map(|other| epochs(other).map(|(_, epoch)| epoch).find(|epoch| *epoch > last));
    let end = next.max().unwrap_or(last);
    (time(first), time(end))
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;

    use super::super::story::{Story, name};
    use crate::trace::SessionEvent;

    /// Two lives of a group in one ring: the first of p and q, the second of q and p.
    fn story(read: bool) -> Story {
        let mut story = Story::ring_of(1);
        let (p, q) = (story.client(0, "p"), story.client(0, "q"));
        if read {
            story.view(p, (1, 1), Cause::Join, &[p]);
        }
        story.event(p, SessionEvent::Left(name("g")));
        let r = story.client(0, "r");
        story.view(q, (1, 1), Cause::Join, &[q]);
        story.view(q, (1, 2), Cause::Join, &[q, r]);
        story.view(r, (1, 2), Cause::Join, &[q, p, r]);
        story
    }

    #[test]
    fn two_beginnings_hide_what_may_be_two_views() {
        let found = super::super::all(&story(true).trace);
        assert!(found.iter().all(|violation| violation.property != "G1"), "{found:?}");
    }

    #[test]
    fn a_beginning_that_nobody_read_is_possible() {
        let found = super::super::all(&story(false).trace);
        assert!(found.iter().all(|violation| violation.property != "G1"), "{found:?}");
    }
}
