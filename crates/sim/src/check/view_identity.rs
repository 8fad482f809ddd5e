//! Identity of views.
//!
//! - G1: views of a group with the same id have the same members, cause and sets everywhere.
//! - G2: ids grow along a stay.

use std::collections::BTreeMap;

use antiphon_wire::client::membership::{GroupId, View};
use antiphon_wire::names::GroupName;

use super::exits::Exit;
use super::stays::Stays;
use super::{Violation, report};
use crate::trace::Trace;

pub(super) fn check(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    let mut first: BTreeMap<(GroupName, GroupId, Exit), (usize, &View)> = BTreeMap::new();
    for stay in &stays.stays {
        let session = &trace.sessions[stay.session];
        let mut last: Option<GroupId> = None;
        for (at, view) in stay.views() {
            let time = stay.sights[at].1;
            let (name, group, id) = (session.name, view.group, view.id);
            if let Some(last) = last.replace(id)
                && (id.time, id.counter) <= (last.time, last.counter)
            {
                let text = format!("{name} saw {group} go from {last:?} to {id:?}");
                report(violations, Violation::new("G2", &[session.process], text).at(time));
            }
            let (other, seen) = *first
                .entry((group, id, stays.exits.of(session.process, id)))
                .or_insert((stay.session, view));
            if seen.members != view.members || seen.cause != view.cause || seen.sets != view.sets {
                let other = &trace.sessions[other];
                let text = format!(
                    "view {id:?} of {group} is {:?} {:?} {:?} at {name}, and {:?} {:?} {:?} at {}",
                    view.cause, view.members, view.sets, seen.cause, seen.members, seen.sets, other.name
                );
                let processes = [session.process, other.process];
                report(violations, Violation::new("G1", &processes, text).at(time));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;

    use super::super::story::Story;

    fn story(other_members: &[usize]) -> Story {
        let mut story = Story::ring_of(1);
        let (p, q) = (story.client(0, "p"), story.client(0, "q"));
        story.view(p, (1, 1), Cause::Join, &[p]);
        story.view(p, (1, 2), Cause::Join, &[p, q]);
        story.view(q, (1, 2), Cause::Join, other_members);
        story
    }

    #[test]
    fn one_id_is_one_view() {
        story(&[0, 1]).accept();
        story(&[1]).reject("G1");
    }

    #[test]
    fn ids_grow() {
        let mut story = story(&[0, 1]);
        story.view(0, (1, 2), Cause::Network, &[0, 1]);
        story.reject("G2");
    }

    #[test]
    fn no_life_of_a_group_has_an_id_of_another() {
        let mut story = Story::ring_of(1);
        for name in ["p", "q"] {
            let session = story.client(0, name);
            story.view(session, (1, 1), Cause::Join, &[session]);
            story.event(session, crate::trace::SessionEvent::Left(super::super::story::name("g")));
        }
        story.reject("G1");
    }
}
