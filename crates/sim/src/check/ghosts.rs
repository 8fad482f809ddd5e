//! G19: when all is quiet, the members of a group as its last view lists them are exactly the
//! sessions that are connected and have joined it.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_wire::client::membership::View;
use antiphon_wire::names::{GroupName, MemberName};

use super::membership_order::rank;
use super::stays::Stays;
use super::{Violation, report};
use crate::trace::{Ending, SessionEvent, SessionTrace, Trace};

pub(super) fn check(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    if !matches!(trace.ending, Ending::Healed { .. }) {
        return;
    }
    let mut expected: BTreeMap<GroupName, Vec<MemberName>> = BTreeMap::new();
    let joined: Vec<BTreeSet<GroupName>> = trace.sessions.iter().map(joined).collect();
    for (session, groups) in trace.sessions.iter().zip(&joined) {
        for group in groups {
            expected.entry(*group).or_default().push(session.name);
        }
    }
    for members in expected.values_mut() {
        members.sort_by_key(rank);
    }
    let mut last: BTreeMap<(usize, GroupName), &View> = BTreeMap::new();
    for stay in stays.stays.iter().filter(|stay| stay.ended.is_none()) {
        if let Some((_, view)) = stay.views().last() {
            last.insert((stay.session, stay.group), view);
        }
    }
    for (at, session) in trace.sessions.iter().enumerate().filter(|(_, session)| session.wants_views) {
        for group in &joined[at] {
            let members = last.get(&(at, *group)).map(|view| &view.members);
            if members != expected.get(group) {
                let text = format!(
                    "{} last saw {members:?} in {group}, where {:?} are",
                    session.name,
                    expected.get(group)
                );
                report(violations, Violation::new("G19", &[session.process], text));
            }
        }
    }
    one_view(trace, &last, violations);
}

/// The groups that a session has joined and not left when the run ends; none when it is not open.
fn joined(session: &SessionTrace) -> BTreeSet<GroupName> {
    let mut joined = BTreeSet::new();
    let mut is_open = false;
    for (_, event) in &session.records {
        match event {
            SessionEvent::Accepted => is_open = true,
            SessionEvent::Disconnecting | SessionEvent::Closed(_) | SessionEvent::Refused(_) => {
                return BTreeSet::new();
            }
            SessionEvent::Joining(group) => {
                joined.insert(*group);
            }
            SessionEvent::Leaving(group) => {
                joined.remove(group);
            }
            _ => {}
        }
    }
    if is_open { joined } else { BTreeSet::new() }
}

/// All who are in a group have the same last view of it.
fn one_view(trace: &Trace, last: &BTreeMap<(usize, GroupName), &View>, violations: &mut Vec<Violation>) {
    let mut first: BTreeMap<GroupName, (usize, &View)> = BTreeMap::new();
    for ((session, group), view) in last {
        if joined(&trace.sessions[*session]).contains(group) {
            let (other, seen) = *first.entry(*group).or_insert((*session, view));
            if seen.id != view.id {
                let names = [other, *session].map(|at| trace.sessions[at].name);
                let text = format!(
                    "the last view of {group} is {:?} at {} and {:?} at {}",
                    seen.id, names[0], view.id, names[1]
                );
                report(violations, Violation::new("G19", &[], text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_proto::time::Instant;
    use antiphon_wire::client::membership::Cause;

    use super::super::story::Story;
    use crate::trace::Ending;

    fn story(forgotten: bool) -> Story {
        let mut story = Story::ring_of(1);
        let (p, q) = (story.client(0, "p"), story.client(0, "q"));
        story.view(p, (1, 1), Cause::Join, &[p]);
        if !forgotten {
            story.view(p, (1, 2), Cause::Join, &[p, q]);
        }
        story.view(q, (1, 2), Cause::Join, &[p, q]);
        let (healed, converged) = (Instant(1 << 40), Instant(1 << 40));
        let end = converged;
        story.trace.ending = Ending::Healed {
            healed,
            converged,
            end,
            idle_datagrams: 0,
            idle_budget: 0,
            leftovers: Vec::new(),
        };
        story
    }

    #[test]
    fn who_has_joined_is_listed_and_nobody_else() {
        story(false).accept();
        story(true).reject("G19");
        let mut ghost = story(false);
        ghost.event(1, crate::trace::SessionEvent::Disconnecting);
        ghost.reject("G19");
    }
}
