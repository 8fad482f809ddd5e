//! Members that are in one view.
//!
//! - G10, while it lasts: until the transitional signal, members of one view read the same ordered messages,
//!   one of them fewer. What they read between two views is compared in `virtual_synchrony.rs`; this is for the
//!   view that a trace ends in, or that they leave in different ways.
//! - S6: a safe message that one of them reads before the signal, all read that come to another view or leave.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_wire::client::membership::GroupId;
use antiphon_wire::names::GroupName;
use antiphon_wire::service::ServiceLevel;

use super::exits::Exit;
use super::stays::{Sight, Stay, Stays};
use super::{Violation, report};
use crate::trace::{SessionEvent, Trace};

/// A view, and how the daemons of those members came out of it that are compared.
type Key = (GroupName, GroupId, Exit);

/// One member's time in one view.
struct Time {
    session: usize,
    /// Ordered messages before the signal.
    read: Vec<usize>,
    /// Whether another view came, or the member left.
    is_over: bool,
}

pub(super) fn check(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    let mut views: BTreeMap<Key, Vec<Time>> = BTreeMap::new();
    for stay in &stays.stays {
        let process = trace.sessions[stay.session].process;
        for (id, time) in times(trace, stay) {
            views.entry((stay.group, id, stays.exits.of(process, id))).or_default().push(time);
        }
    }
    let all_read = all_read(trace);
    for ((group, id, _), times) in &views {
        let longest = times.iter().max_by_key(|time| time.read.len());
        let Some(longest) = longest else { continue };
        for time in times {
            compare(trace, (group, *id), longest, time, violations);
        }
        safe(trace, (group, *id), times, &all_read, violations);
    }
}

/// The views of a stay, each with what was read in it.
fn times(trace: &Trace, stay: &Stay<'_>) -> Vec<(GroupId, Time)> {
    let views: Vec<_> = stay.views().collect();
    let ends = views.iter().skip(1).map(|(next, _)| *next).chain([stay.sights.len()]);
    let times = views.iter().zip(ends).map(|((at, view), end)| {
        let before_signal = stay.sights[at + 1..end].iter().take_while(|(_, _, sight)| !is_signal(*sight));
        let read = before_signal.filter_map(|(_, _, sight)| ordered(trace, *sight)).collect();
        let is_over = end < stay.sights.len() || stay.ended.is_some();
        (view.id, Time { session: stay.session, read, is_over })
    });
    times.collect()
}

fn is_signal(sight: Sight<'_>) -> bool {
    matches!(sight, Sight::Signal(_))
}

fn ordered(trace: &Trace, sight: Sight<'_>) -> Option<usize> {
    match sight {
        Sight::Message(number) => Some(number).filter(|_| trace.submissions[number].service.is_ordered()),
        Sight::View(_) | Sight::Signal(_) => None,
    }
}

fn all_read(trace: &Trace) -> Vec<BTreeSet<usize>> {
    let read = |event: &SessionEvent| match event {
        SessionEvent::Message(received) => Some(received.submission),
        _ => None,
    };
    let sessions = trace.sessions.iter();
    sessions.map(|session| session.records.iter().filter_map(|(_, event)| read(event)).collect()).collect()
}

fn compare(
    trace: &Trace,
    (group, id): (&GroupName, GroupId),
    longest: &Time,
    time: &Time,
    violations: &mut Vec<Violation>,
) {
    let pair = [longest.session, time.session];
    let common =
        |number: &&usize| pair.iter().all(|session| !trace.submissions[**number].is_discarded_by(*session));
    let theirs = longest.read.iter().filter(common);
    let mine = time.read.iter().filter(common);
    if let Some((one, other)) = theirs.zip(mine).find(|(one, other)| one != other) {
        let names = pair.map(|session| trace.sessions[session].name);
        let text = format!("in {id:?} of {group}, {} read {one} where {} read {other}", names[0], names[1]);
        let processes = pair.map(|session| trace.sessions[session].process);
        report(violations, Violation::new("G10", &processes, text));
    }
}

fn safe(
    trace: &Trace,
    (group, id): (&GroupName, GroupId),
    times: &[Time],
    all_read: &[BTreeSet<usize>],
    violations: &mut Vec<Violation>,
) {
    let is_safe = |number: &usize| trace.submissions[*number].service == ServiceLevel::Safe;
    let mut promised: BTreeMap<usize, usize> = BTreeMap::new();
    for time in times {
        promised.extend(time.read.iter().copied().filter(is_safe).map(|number| (number, time.session)));
    }
    for time in times.iter().filter(|time| time.is_over) {
        let lacks = |number: &usize| {
            let is_discarded = trace.submissions[*number].is_discarded_by(time.session);
            !all_read[time.session].contains(number) && !is_discarded
        };
        if let Some((number, witness)) = promised.iter().find(|(number, _)| lacks(number)) {
            let pair = [*witness, time.session];
            let names = pair.map(|session| trace.sessions[session].name);
            let text = format!(
                "{} read message {number} as safe in {id:?} of {group}, and {} never did",
                names[0], names[1]
            );
            let processes = pair.map(|session| trace.sessions[session].process);
            report(violations, Violation::new("S6", &processes, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;

    use super::super::story::{AGREED, RELIABLE, SAFE, Story, name};
    use crate::trace::SessionEvent;

    fn two_members() -> (Story, usize, usize) {
        let mut story = Story::ring_of(1);
        let (p, q) = (story.client(0, "p"), story.client(0, "q"));
        for session in [p, q] {
            story.view(session, (1, 1), Cause::Network, &[p, q]);
        }
        (story, p, q)
    }

    #[test]
    fn one_may_have_read_less_and_not_other_things() {
        let (mut story, p, q) = two_members();
        let (one, two) = (story.cast(p, "g", AGREED), story.cast(q, "g", AGREED));
        let loose = story.cast(p, "g", RELIABLE);
        story.gets(p, one);
        story.gets(p, two);
        story.gets(q, loose);
        story.accept();
        let mut holed = story.clone();
        story.gets(q, one);
        story.accept();
        holed.gets(q, two);
        holed.reject("G10");
    }

    #[test]
    fn who_wants_no_copy_lacks_nothing() {
        let (mut story, p, q) = two_members();
        let (one, two) = (story.cast(p, "g", SAFE), story.cast(q, "g", SAFE));
        story.trace.submissions[one].self_discard = true;
        story.gets(q, one);
        for session in [p, q] {
            story.gets(session, two);
            story.event(session, SessionEvent::Left(name("g")));
        }
        story.accept();
    }

    #[test]
    fn after_the_signal_they_may_differ() {
        let (mut story, p, q) = two_members();
        let (one, two) = (story.cast(p, "g", AGREED), story.cast(q, "g", AGREED));
        story.gets(p, one);
        story.gets(p, two);
        story.signal(q, (1, 1));
        story.gets(q, two);
        story.accept();
    }

    #[test]
    fn a_safe_message_reaches_all_who_go_on() {
        let (mut story, p, q) = two_members();
        let message = story.cast(p, "g", SAFE);
        story.gets(p, message);
        story.signal(q, (1, 1));
        story.accept();
        let mut good = story.clone();
        good.gets(q, message);
        for story in [&mut story, &mut good] {
            story.view(q, (2, 1), Cause::Network, &[q]);
        }
        good.accept();
        story.reject("S6");
    }
}
