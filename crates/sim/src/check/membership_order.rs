//! The order of lists and notifications.
//!
//! - G4: members of a view, and of each of its sets, are listed by daemon and then by name.
//! - G20: for one network change, signals come in the order of group names, and so do views.
//!   Clients cannot tell the signals of two changes apart; the records of their daemon can.

use antiphon_proto::delivery::Configuration;
use antiphon_proto::time::Instant;
use antiphon_wire::client::membership::{Cause, View};
use antiphon_wire::names::{GroupName, MemberName};

use super::stays::Stays;
use super::{Violation, report};
use crate::trace::{ProcessEvent, ProcessTrace, SessionEvent, SessionTrace, Trace};
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
        let cut_short = cut_short(&trace.processes[session.process]);
        notifications(session, cut_short.as_deref(), violations);
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

fn notifications(session: &SessionTrace, cut_short: Option<&[Instant]>, violations: &mut Vec<Violation>) {
    let mut second_changes = 0;
    for pair in session.records.windows(2) {
        let ((_, one), (time, other)) = (&pair[0], &pair[1]);
        let (Some((one, change)), Some((other, next))) = (network_group(one), network_group(other)) else {
            continue;
        };
        if change != next || one < other {
            continue;
        }
        let is_signal = change.is_none();
        if is_signal && one != other {
            second_changes += 1;
            // Where the daemons' records are missing, the signals of two changes look like those of one.
            let Some(cut_short) = cut_short else { continue };
            if cut_short.partition_point(|at| at <= time) >= second_changes {
                continue;
            }
        }
        let text = format!("{} was told of {one} before {other}", session.name);
        report(violations, Violation::new("G20", &[session.process], text).at(*time));
    }
}

/// When a network change came to a daemon before the groups of the last one were settled. Its signals
/// may follow those of the last one at once: a group that was signalled then is not signalled again.
///
/// `None` if nothing is known of that daemon, as in logs of clients.
fn cut_short(process: &ProcessTrace) -> Option<Vec<Instant>> {
    let mut is_open = false;
    let mut found = Vec::new();
    for (time, event) in &process.records {
        match event {
            ProcessEvent::Configured(Configuration::Transitional { .. }) => {
                if is_open {
                    found.push(*time);
                }
                is_open = true;
            }
            ProcessEvent::Settled(_) => is_open = false,
            _ => {}
        }
    }
    (!process.records.is_empty()).then_some(found)
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

    fn signal(story: &mut Story, session: usize, group: &str) {
        story.event(session, SessionEvent::Signal(name(group), GroupId::default()));
    }

    fn is_in_order(story: &Story) -> bool {
        super::super::all(&story.trace).iter().all(|violation| violation.property != "G20")
    }

    #[test]
    fn signals_come_in_the_order_of_the_groups() {
        let mut story = Story::ring_of(1);
        let session = story.client(0, "p");
        signal(&mut story, session, "a");
        signal(&mut story, session, "b");
        assert!(is_in_order(&story));
        signal(&mut story, session, "a");
        story.reject("G20");
    }

    /// Seed 1005885: the second change came while the groups were still exchanged after the first.
    #[test]
    fn the_signals_of_two_changes_have_no_common_order() {
        let mut story = Story::ring_of(1);
        let session = story.client(0, "p");
        story.transitional(0, 2, &[0]);
        story.regular_unsettled(0, 2, &[0]);
        signal(&mut story, session, "b");
        let mut one_change = story.clone();
        signal(&mut one_change, session, "a");
        one_change.reject("G20");
        story.transitional(0, 3, &[0]);
        story.regular(0, 3, &[0]);
        signal(&mut story, session, "a");
        assert!(is_in_order(&story));
        signal(&mut story, session, "a");
        story.reject("G20");
    }
}
