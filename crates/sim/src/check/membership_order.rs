//! The order of lists and notifications (§4).
//!
//! - G4: members of a view, and of each of its sets, are listed by daemon and then by name.
//! - G20: for one network change, signals come in the order of group names, and so do views.

use antiphon_wire::client::membership::{Cause, View};
use antiphon_wire::names::{GroupName, MemberName};

use super::stays::Stays;
use super::{Violation, report};
use crate::trace::{SessionEvent, SessionTrace, Trace};
use crate::world::DAEMON_NAMES;

pub(super) fn check(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    for stay in &stays.stays {
        for (at, view) in stay.views() {
            let lists = std::iter::once(&view.members).chain(view.sets.iter().map(|set| &set.members));
            for list in lists.filter(|list| !is_in_order(list)) {
                let session = &trace.sessions[stay.session];
                let text = format!("{} saw {} with members {list:?}", session.name, view.group);
                let violation = Violation::new("G4", &[session.process], text);
                report(violations, violation.at(stay.sights[at].1));
            }
        }
    }
    for session in &trace.sessions {
        notifications(session, violations);
    }
}

/// By daemon, then by name, and nobody twice.
fn is_in_order(members: &[MemberName]) -> bool {
    members.is_sorted_by(|one, other| rank(one) < rank(other))
}

/// What members are listed by.
pub(super) fn rank(member: &MemberName) -> (usize, MemberName) {
    let daemon = DAEMON_NAMES.iter().position(|name| name.as_bytes() == member.daemon());
    (daemon.unwrap_or(usize::MAX), *member)
}

fn notifications(session: &SessionTrace, violations: &mut Vec<Violation>) {
    for pair in session.records.windows(2) {
        let ((_, one), (time, other)) = (&pair[0], &pair[1]);
        let (Some(one), Some(other)) = (network_group(one), network_group(other)) else { continue };
        let is_same_change = one.1 == other.1;
        if is_same_change && one.0 >= other.0 {
            let text = format!("{} was told of {} before {}", session.name, one.0, other.0);
            report(violations, Violation::new("G20", &[session.process], text).at(*time));
        }
    }
}

/// The group of a signal or of a network view, and which change it belongs to: a ring for views.
fn network_group(event: &SessionEvent) -> Option<(GroupName, Option<(u32, u32)>)> {
    match event {
        SessionEvent::Signal(group, _) => Some((*group, None)),
        SessionEvent::View(view) if is_of_ring(view) => {
            Some((view.group, Some((view.id.leader, view.id.time))))
        }
        _ => None,
    }
}

/// Whether a view is one of those that a new ring brings; the first in that ring.
fn is_of_ring(view: &View) -> bool {
    view.cause == Cause::Network && view.id.counter == 1
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::{Cause, GroupId};

    use super::super::story::{Story, member, name};
    use crate::trace::SessionEvent;

    fn story(members: [(&str, usize); 2]) -> Story {
        let mut story = Story::ring_of(2);
        let session = story.client(0, "p");
        let members: Vec<_> = members.map(|(private, process)| member(private, process)).into();
        story.view_of(session, (1, 2), Cause::Network, members.clone(), vec![members], 0);
        story
    }

    #[test]
    fn members_are_listed_by_daemon_then_by_name() {
        // The first daemon is called zeta and the second alpha.
        story([("p", 0), ("b", 1)]).accept();
        story([("a", 0), ("p", 0)]).accept();
        story([("b", 1), ("p", 0)]).reject("G4");
        story([("p", 0), ("a", 0)]).reject("G4");
    }

    #[test]
    fn signals_come_in_the_order_of_the_groups() {
        let mut story = Story::ring_of(1);
        let session = story.client(0, "p");
        for group in ["a", "b"] {
            story.event(session, SessionEvent::Signal(name(group), GroupId::default()));
        }
        let found = super::super::all(&story.trace);
        assert!(found.iter().all(|violation| violation.property != "G20"));
        story.event(session, SessionEvent::Signal(name("a"), GroupId::default()));
        story.reject("G20");
    }
}
