//! What a view says.
//!
//! - G3: the receiver is a member, and of its own set if the network caused the view.
//! - G5: a join, leave or disconnect changes one member, and names it; the first view of a stay is
//!   that of the own join, or a network view.
//! - G11, first part: the sets of a network view are a partition of its members.
//! - G12, last part: whoever is at a daemon that is not of the ring is in no view of the ring.
//! - G18: a disconnect is that of a session that ended, a join or leave one that was asked for.

use std::collections::BTreeMap;

use antiphon_proto::time::Instant;
use antiphon_wire::client::membership::{Cause, View};
use antiphon_wire::names::{GroupName, MemberName};

use super::stays::{Stay, Stays};
use super::{Violation, report};
use crate::trace::{SessionEvent, SessionTrace, Trace};

pub(super) fn check(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    let doings = Doings::new(trace);
    for stay in &stays.stays {
        let session = &trace.sessions[stay.session];
        let mut before: Option<&View> = None;
        for (at, view) in stay.views() {
            let time = stay.sights[at].1;
            let mut fail = |property, what: &str| {
                let (name, group, id) = (session.name, view.group, view.id);
                let text = format!(
                    "{name} saw view {id:?} of {group}, {:?} of {:?} with sets {:?}: {what}",
                    view.cause, view.members, view.sets
                );
                report(violations, Violation::new(property, &[session.process], text).at(time));
            };
            judge(stay, session, before, view, &mut fail);
            if stays.exits.lists_strangers(session.process, view) {
                fail("G12", "it lists members at daemons that are not of its ring");
            }
            if let Some(changed) = changed(view)
                && !doings.explain(view, changed, time)
            {
                fail("G18", "nobody did that");
            }
            before = Some(view);
        }
    }
}

/// The member that a join, leave or disconnect names.
fn changed(view: &View) -> Option<MemberName> {
    match (view.cause, view.sets.as_slice()) {
        (Cause::Join | Cause::Leave | Cause::Disconnect, [set]) if set.members.len() == 1 => {
            set.members.first().copied()
        }
        _ => None,
    }
}

fn judge(
    stay: &Stay<'_>,
    session: &SessionTrace,
    before: Option<&View>,
    view: &View,
    fail: &mut impl FnMut(&'static str, &str),
) {
    let me = session.name;
    if !view.members.contains(&me) {
        fail("G3", "the receiver is not in it");
    }
    if view.cause == Cause::Network {
        let mut listed: Vec<MemberName> = view.sets.iter().flat_map(|set| set.members.clone()).collect();
        listed.sort_unstable();
        let mut members = view.members.clone();
        members.sort_unstable();
        if listed != members {
            fail("G11", "its sets are no partition of its members");
        }
        if !view.sets.get(view.own_set).is_some_and(|set| set.members.contains(&me)) {
            fail("G3", "the receiver is not in its own set");
        }
        return;
    }
    let Some(changed) = changed(view) else { return fail("G5", "it names not exactly one member") };
    let joined = view.cause == Cause::Join;
    match before {
        None if !joined || changed != me => fail("G5", "it is the first view of the receiver"),
        Some(_) if joined && changed == me => fail("G5", "the receiver was a member already"),
        Some(before) if !is_one_step(before, view, changed, joined) => {
            fail("G5", &format!("before it were {:?}", before.members));
        }
        _ => {}
    }
    debug_assert_eq!(stay.group, view.group);
}

fn is_one_step(before: &View, view: &View, changed: MemberName, joined: bool) -> bool {
    let (less, more) = if joined { (before, view) } else { (view, before) };
    let without = more.members.iter().filter(|member| **member != changed);
    !less.members.contains(&changed) && more.members.contains(&changed) && less.members.iter().eq(without)
}

/// When clients did what views may tell of.
struct Doings {
    ended: BTreeMap<MemberName, Instant>,
    joining: BTreeMap<(MemberName, GroupName), Instant>,
    leaving: BTreeMap<(MemberName, GroupName), Instant>,
}

impl Doings {
    fn new(trace: &Trace) -> Self {
        let (mut ended, mut joining, mut leaving) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for session in &trace.sessions {
            for (time, event) in &session.records {
                match event {
                    SessionEvent::Disconnecting | SessionEvent::Closed(Some(_)) => {
                        ended.entry(session.name).or_insert(*time);
                    }
                    SessionEvent::Joining(group) => {
                        joining.entry((session.name, *group)).or_insert(*time);
                    }
                    SessionEvent::Leaving(group) => {
                        leaving.entry((session.name, *group)).or_insert(*time);
                    }
                    _ => {}
                }
            }
        }
        Self { ended, joining, leaving }
    }

    /// Whether somebody of that name first did such a thing before `time`.
    fn explain(&self, view: &View, changed: MemberName, time: Instant) -> bool {
        let at = match view.cause {
            Cause::Join => self.joining.get(&(changed, view.group)),
            Cause::Leave => self.leaving.get(&(changed, view.group)),
            Cause::Disconnect => self.ended.get(&changed),
            Cause::Network => Some(&time),
        };
        at.is_some_and(|at| *at <= time)
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;

    use super::super::story::{Story, member};
    use crate::trace::SessionEvent;

    fn two() -> (Story, usize, usize) {
        let mut story = Story::ring_of(1);
        let (p, q) = (story.client(0, "p"), story.client(0, "q"));
        story.view(p, (1, 1), Cause::Join, &[p]);
        (story, p, q)
    }

    #[test]
    fn members_at_lost_daemons_are_in_no_view() {
        let mut story = Story::ring_of(2);
        let (p, q) = (story.client(0, "p"), story.client(1, "q"));
        story.view(p, (1, 1), Cause::Join, &[p]);
        story.view(p, (1, 2), Cause::Join, &[p, q]);
        story.signal(p, (1, 2));
        story.transitional(0, 3, &[0]);
        story.regular(0, 3, &[0]);
        let mut kept = story.clone();
        story.view(p, (3, 1), Cause::Network, &[p]);
        story.accept();
        kept.view(p, (3, 1), Cause::Network, &[p, q]);
        kept.reject("G12");
    }

    #[test]
    fn the_receiver_is_a_member() {
        let (mut story, p, q) = two();
        story.view(p, (1, 2), Cause::Join, &[p, q]);
        story.accept();
        story.view(p, (2, 1), Cause::Network, &[q]);
        story.reject("G3");
    }

    #[test]
    fn a_join_adds_one_member() {
        let (mut story, p, q) = two();
        let r = story.client(0, "r");
        story.view(p, (1, 2), Cause::Join, &[p, q, r]);
        story.reject("G5");
    }

    #[test]
    fn the_first_view_is_that_of_the_own_join() {
        let (mut story, p, q) = two();
        story.view(q, (1, 2), Cause::Join, &[q, p]);
        story.reject("G5");
    }

    #[test]
    fn sets_are_a_partition() {
        for (sets, good) in [(vec![vec!["p"], vec!["q"]], true), (vec![vec!["p"], vec!["p"]], false)] {
            let (mut story, p, _) = two();
            let named = |names: &Vec<&str>| names.iter().map(|name| member(name, 0)).collect();
            let sets: Vec<Vec<_>> = sets.iter().map(named).collect();
            let members = vec![member("p", 0), member("q", 0)];
            story.view_of(p, (2, 1), Cause::Network, members, sets, 0);
            if good { story.accept() } else { story.reject("G11") }
        }
    }

    #[test]
    fn causes_are_honest() {
        let (mut story, p, q) = two();
        story.view(p, (1, 2), Cause::Join, &[p, q]);
        let mut other = story.clone();
        story.event(q, SessionEvent::Disconnecting);
        for (story, good) in [(&mut story, true), (&mut other, false)] {
            let (members, gone) = (vec![member("p", 0)], vec![vec![member("q", 0)]]);
            story.view_of(p, (1, 3), Cause::Disconnect, members, gone, 0);
            if good { story.accept() } else { story.reject("G18") }
        }
    }
}
