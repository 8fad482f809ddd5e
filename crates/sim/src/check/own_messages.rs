//! What a session gets back of its own.
//!
//! - C5: a session that reads an ordered message of its own has read all that it had sent before to groups that
//!   it was in, but for unreliable ones. In which groups it is follows from what it asked for, as its requests
//!   take effect in their order (C3).

use std::collections::BTreeSet;

use antiphon_wire::names::GroupName;
use antiphon_wire::service::ServiceLevel;

use super::stays::Stays;
use super::{Violation, report};
use crate::trace::{SessionEvent, SessionTrace, Submission, Trace};

pub(super) fn check(trace: &Trace, _: &Stays<'_>, violations: &mut Vec<Violation>) {
    for (at, session) in trace.sessions.iter().enumerate() {
        walk(trace, at, session, violations);
    }
}

fn walk(trace: &Trace, at: usize, session: &SessionTrace, violations: &mut Vec<Violation>) {
    let mut asked: BTreeSet<GroupName> = BTreeSet::new();
    let mut awaited: BTreeSet<usize> = BTreeSet::new();
    for (time, event) in &session.records {
        match event {
            SessionEvent::Joining(group) => drop(asked.insert(*group)),
            SessionEvent::Leaving(group) => drop(asked.remove(group)),
            SessionEvent::Sent(number) if comes_back(&trace.submissions[*number], &asked) => {
                awaited.insert(*number);
            }
            SessionEvent::Message(received) => {
                let number = received.submission;
                let submission = &trace.submissions[number];
                awaited.remove(&number);
                let missing = awaited.first().filter(|first| **first < number);
                if submission.session == at
                    && submission.service.is_ordered()
                    && let Some(missing) = missing
                {
                    let text = format!("{} got its own message {number} and not {missing}", session.name);
                    report(violations, Violation::new("C5", &[session.process], text).at(*time));
                    return;
                }
            }
            _ => {}
        }
    }
}

fn comes_back(submission: &Submission, groups: &BTreeSet<GroupName>) -> bool {
    submission.service != ServiceLevel::Unreliable
        && !submission.self_discard
        && submission.groups.iter().any(|group| groups.contains(group))
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;
    use antiphon_wire::service::ServiceLevel;

    use super::super::story::{AGREED, RELIABLE, Story, UNRELIABLE, name};
    use crate::trace::SessionEvent;

    /// A member sends two messages, the first of that level, and gets the second.
    fn holed(first: ServiceLevel, change: impl FnOnce(&mut Story, usize)) -> Story {
        let mut story = Story::ring_of(1);
        let session = story.client(0, "p");
        story.view(session, (1, 1), Cause::Join, &[session]);
        story.cast(session, "g", first);
        change(&mut story, session);
        let second = story.cast(session, "g", AGREED);
        story.gets(session, second);
        story
    }

    #[test]
    fn nothing_of_ones_own_is_skipped() {
        holed(AGREED, |_, _| {}).reject("C5");
        holed(RELIABLE, |_, _| {}).reject("C5");
        holed(UNRELIABLE, |_, _| {}).accept();
        holed(AGREED, |story, session| story.gets(session, 0)).accept();
        holed(AGREED, |story, _| story.trace.submissions[0].self_discard = true).accept();
    }

    #[test]
    fn what_is_sent_outside_of_a_group_does_not_come_back() {
        let mut story = Story::ring_of(1);
        let session = story.client(0, "p");
        story.view(session, (1, 1), Cause::Join, &[session]);
        story.event(session, SessionEvent::Leaving(name("g")));
        story.cast(session, "g", RELIABLE);
        story.cast(session, "g", AGREED);
        story.event(session, SessionEvent::Left(name("g")));
        story.event(session, SessionEvent::Joining(name("g")));
        story.view(session, (1, 3), Cause::Join, &[session]);
        let last = story.cast(session, "g", AGREED);
        story.gets(session, last);
        story.accept();
    }

    #[test]
    fn what_is_sent_behind_a_join_comes_back() {
        for early in [RELIABLE, AGREED] {
            let mut story = Story::ring_of(1);
            let session = story.client(0, "p");
            story.cast(session, "g", early);
            story.view(session, (1, 1), Cause::Join, &[session]);
            let last = story.cast(session, "g", AGREED);
            story.gets(session, last);
            story.reject("C5");
        }
    }
}
