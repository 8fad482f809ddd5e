//! Members that move together.
//!
//! - G10: sessions that go from one view to the same next one, in the same set if the network caused
//!   it, read the same ordered messages between, with the transitional signal at the same place.
//! - G11, second part: members listed in one set of a network view had the same view before; and
//!   members that had the same view before, and did not lose each other, are in one set.

use std::collections::BTreeMap;

use antiphon_wire::client::membership::{Cause, GroupId, View};
use antiphon_wire::names::{GroupName, MemberName};

use super::exits::Exit;
use super::stays::{Change, Sight, Stays};
use super::{Violation, report};
use crate::trace::Trace;

/// From which view to which, with whom.
type Move<'a> = (GroupName, GroupId, GroupId, &'a [MemberName], Exit);

/// A message, or `None` for the signal.
type Item = Option<usize>;

pub(super) fn check(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    let mut moves: BTreeMap<Move<'_>, (usize, Vec<Item>)> = BTreeMap::new();
    for stay in &stays.stays {
        for change in stay.changes() {
            let (from, to) = (change.before.id, change.after.id);
            let read = items(trace, &change);
            let exit = stays.exits.of(trace.sessions[stay.session].process, to);
            let key = (stay.group, from, to, company(change.after), exit);
            let first = moves.entry(key).or_insert_with(|| (stay.session, read.clone()));
            let pair = (first.0, stay.session);
            let (one, other) =
                (without_discarded(trace, &first.1, pair), without_discarded(trace, &read, pair));
            if one != other {
                let names = [pair.0, pair.1].map(|session| trace.sessions[session].name);
                let text = format!(
                    "between {from:?} and {to:?} of {}, {} read {one:?} and {} read {other:?}",
                    stay.group, names[0], names[1]
                );
                let processes = [pair.0, pair.1].map(|session| trace.sessions[session].process);
                report(violations, Violation::new("G10", &processes, text).at(change.at));
            }
        }
    }
    origins(trace, stays, violations);
    companions(trace, stays, violations);
}

/// The members that the receiver moved with, as far as the view says so.
fn company(view: &View) -> &[MemberName] {
    match view.cause {
        Cause::Network => view.sets.get(view.own_set).map_or(&[], |set| &set.members),
        Cause::Join | Cause::Leave | Cause::Disconnect => &[],
    }
}

fn items(trace: &Trace, change: &Change<'_, '_>) -> Vec<Item> {
    let item = |(_, _, sight): &(usize, _, Sight<'_>)| match sight {
        Sight::Message(number) => trace.submissions[*number].service.is_ordered().then_some(Some(*number)),
        Sight::Signal(_) => Some(None),
        Sight::View(_) => None,
    };
    change.between.iter().filter_map(item).collect()
}

/// Leaves out what one of the two did not want back.
fn without_discarded(trace: &Trace, items: &[Item], (one, other): (usize, usize)) -> Vec<Item> {
    let is_kept = |item: &&Item| {
        item.is_none_or(|number| {
            let submission = &trace.submissions[number];
            !submission.is_discarded_by(one) && !submission.is_discarded_by(other)
        })
    };
    items.iter().filter(is_kept).copied().collect()
}

/// Members of one set of a network view had the same view before, or none.
fn origins(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    let mut seen: BTreeMap<_, (usize, Option<GroupId>)> = BTreeMap::new();
    for stay in &stays.stays {
        let mut before: Option<GroupId> = None;
        for (at, view) in stay.views() {
            let from = before.replace(view.id);
            if view.cause != Cause::Network {
                continue;
            }
            let exit = stays.exits.of(trace.sessions[stay.session].process, view.id);
            let key = (stay.group, view.id, company(view), exit);
            let first = *seen.entry(key).or_insert((stay.session, from));
            if first.1 != from {
                let names = [first.0, stay.session].map(|session| trace.sessions[session].name);
                let text = format!(
                    "{} came to {:?} of {} from {:?} and {} from {from:?}, in one set",
                    names[0], view.id, stay.group, first.1, names[1]
                );
                let processes = [first.0, stay.session].map(|session| trace.sessions[session].process);
                report(violations, Violation::new("G11", &processes, text).at(stay.sights[at].1));
            }
        }
    }
}

/// From which view of a group to which other a member went, and how its daemon came there.
type Way = (GroupName, GroupId, GroupId, Exit);

/// Members that go from one view to the same network view are in one set. Without a signal between,
/// none of them has lost any other.
fn companions(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    let mut seen: BTreeMap<Way, (usize, &[MemberName])> = BTreeMap::new();
    for stay in &stays.stays {
        for change in stay.changes() {
            let (from, after) = (change.before.id, change.after);
            if after.cause != Cause::Network || change.signals() > 0 {
                continue;
            }
            let exit = stays.exits.of(trace.sessions[stay.session].process, after.id);
            let key = (stay.group, from, after.id, exit);
            let first = *seen.entry(key).or_insert((stay.session, company(after)));
            if first.1 != company(after) {
                let names = [first.0, stay.session].map(|session| trace.sessions[session].name);
                let text = format!(
                    "{} and {} came together from {from:?} to {:?} of {}, and in two sets",
                    names[0], names[1], after.id, stay.group
                );
                let processes = [first.0, stay.session].map(|session| trace.sessions[session].process);
                report(violations, Violation::new("G11", &processes, text).at(change.at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;

    use super::super::story::{AGREED, Story, member};

    /// Two members in one view, and a message between it and a network view that all survive.
    fn story(missed: bool, signal_first: bool) -> Story {
        let mut story = Story::ring_of(1);
        let (p, q) = (story.client(0, "p"), story.client(0, "q"));
        let r = story.client(0, "r");
        for session in [p, q, r] {
            story.view(session, (1, 3), Cause::Network, &[p, q, r]);
        }
        let message = story.cast(p, "g", AGREED);
        story.gets(p, message);
        story.signal(p, (1, 3));
        story.view(p, (2, 1), Cause::Network, &[p, q]);
        if signal_first {
            story.signal(q, (1, 3));
        }
        if !missed {
            story.gets(q, message);
        }
        if !signal_first {
            story.signal(q, (1, 3));
        }
        story.view(q, (2, 1), Cause::Network, &[p, q]);
        story
    }

    #[test]
    fn members_that_move_together_read_the_same() {
        story(false, false).accept();
        story(true, false).reject("G10");
        story(false, true).reject("G10");
    }

    #[test]
    fn a_set_comes_from_one_view() {
        let mut story = Story::ring_of(1);
        let (p, q) = (story.client(0, "p"), story.client(0, "q"));
        story.view(p, (1, 1), Cause::Network, &[p]);
        story.view(q, (2, 1), Cause::Network, &[q]);
        story.view(p, (3, 1), Cause::Network, &[p, q]);
        story.view(q, (3, 1), Cause::Network, &[p, q]);
        story.reject("G11");
    }

    #[test]
    fn who_comes_from_one_view_is_in_one_set() {
        for is_one_set in [true, false] {
            let mut story = Story::ring_of(1);
            let sessions = [story.client(0, "p"), story.client(0, "q")];
            for session in sessions {
                story.view(session, (1, 1), Cause::Network, &sessions);
            }
            let names = sessions.map(|session| story.trace.sessions[session].name);
            let mut all = names.to_vec();
            all.push(member("r", 0));
            let sets = if is_one_set { vec![names.to_vec()] } else { names.map(|name| vec![name]).to_vec() };
            let sets = [sets, vec![vec![member("r", 0)]]].concat();
            for (at, session) in sessions.into_iter().enumerate() {
                let own_set = if is_one_set { 0 } else { at };
                story.view_of(session, (2, 1), Cause::Network, all.clone(), sets.clone(), own_set);
            }
            if is_one_set { story.accept() } else { story.reject("G11") }
        }
    }
}
