//! The order in which sessions see things.
//!
//! - S3: ordered messages of one session are read in the order in which they were sent.
//! - S5, G6: ordered messages and views of all groups are seen in one order: the graph of
//!   what each session saw next has no cycle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use antiphon_wire::client::membership::GroupId;
use antiphon_wire::names::GroupName;

use super::exits::Exit;
use super::stays::Stays;
use super::{Violation, report};
use crate::trace::{SessionEvent, SessionTrace, Trace};

pub(super) fn check(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    for session in &trace.sessions {
        sender_order(trace, session, violations);
    }
    one_order(trace, stays, violations);
}

fn sender_order(trace: &Trace, session: &SessionTrace, violations: &mut Vec<Violation>) {
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    for (time, event) in &session.records {
        let SessionEvent::Message(received) = event else { continue };
        let submission = &trace.submissions[received.submission];
        if !submission.service.is_ordered() {
            continue;
        }
        // Submissions are numbered in the order in which they were sent.
        let before = last.insert(submission.session, received.submission);
        if before.is_some_and(|before| before > received.submission) {
            let text = format!(
                "{} got message {} of {} after its later message {}",
                session.name,
                received.submission,
                trace.sessions[submission.session].name,
                before.unwrap_or_default()
            );
            report(violations, Violation::new("S3", &[session.process], text).at(*time));
        }
    }
}

/// Something that several sessions see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Seen {
    Message(usize),
    View(GroupName, GroupId, Exit),
}

fn one_order(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    let mut followers: BTreeMap<Seen, BTreeSet<Seen>> = BTreeMap::new();
    for session in &trace.sessions {
        let mut before: Option<Seen> = None;
        for seen in session.records.iter().filter_map(|(_, event)| seen(trace, session.process, event, stays))
        {
            followers.entry(seen).or_default();
            if let Some(before) = before.replace(seen) {
                followers.entry(before).or_default().insert(seen);
            }
        }
    }
    if let Some(cycle) = cycle(&followers) {
        let text = format!("some sessions saw these in another order than others: {cycle:?}");
        report(violations, Violation::new("S5", &[], text));
    }
}

fn seen(trace: &Trace, process: usize, event: &SessionEvent, stays: &Stays<'_>) -> Option<Seen> {
    match event {
        SessionEvent::Message(received) => {
            let ordered = trace.submissions[received.submission].service.is_ordered();
            ordered.then_some(Seen::Message(received.submission))
        }
        SessionEvent::View(view) => Some(Seen::View(view.group, view.id, stays.exits.of(process, view.id))),
        _ => None,
    }
}

/// Elements of a cycle, if there is one: what is left when everything without predecessor is taken
/// away again and again, and walked along.
fn cycle(followers: &BTreeMap<Seen, BTreeSet<Seen>>) -> Option<Vec<Seen>> {
    let mut waiting: BTreeMap<Seen, usize> = followers.keys().map(|seen| (*seen, 0)).collect();
    for follower in followers.values().flatten() {
        *waiting.entry(*follower).or_default() += 1;
    }
    let free = waiting.iter().filter(|(_, count)| **count == 0).map(|(seen, _)| *seen);
    let mut free: VecDeque<Seen> = free.collect();
    while let Some(seen) = free.pop_front() {
        waiting.remove(&seen);
        for follower in &followers[&seen] {
            let Some(count) = waiting.get_mut(follower) else { continue };
            *count -= 1;
            if *count == 0 {
                free.push_back(*follower);
            }
        }
    }
    let (start, _) = waiting.first_key_value()?;
    Some(walk_cycle(followers, &waiting, *start))
}

/// Every element that is left has a predecessor that is left; so a walk backwards meets itself.
fn walk_cycle(
    followers: &BTreeMap<Seen, BTreeSet<Seen>>,
    left: &BTreeMap<Seen, usize>,
    start: Seen,
) -> Vec<Seen> {
    let mut walked = vec![start];
    loop {
        let last = walked[walked.len() - 1];
        let before = left.keys().find(|seen| followers[*seen].contains(&last));
        let Some(before) = before else { return walked };
        if let Some(at) = walked.iter().position(|seen| seen == before) {
            walked.drain(..at);
            walked.reverse();
            return walked;
        }
        walked.push(*before);
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;

    use super::super::story::{AGREED, FIFO, RELIABLE, Story};

    fn two_members() -> (Story, usize, usize) {
        let mut story = Story::ring_of(1);
        let (p, q) = (story.client(0, "p"), story.client(0, "q"));
        story.view(p, (1, 1), Cause::Join, &[p]);
        for session in [p, q] {
            story.view(session, (1, 2), Cause::Join, &[p, q]);
        }
        (story, p, q)
    }

    #[test]
    fn messages_of_a_sender_keep_their_order() {
        let (mut story, p, q) = two_members();
        let (one, two) = (story.cast(p, "g", FIFO), story.cast(p, "g", FIFO));
        story.gets(p, one);
        story.gets(p, two);
        story.accept();
        story.gets(q, two);
        story.gets(q, one);
        story.reject("S3");
    }

    #[test]
    fn everyone_sees_one_order_of_messages() {
        let (mut story, p, q) = two_members();
        let (one, two) = (story.cast(p, "g", AGREED), story.cast(q, "g", AGREED));
        story.gets(p, one);
        story.gets(p, two);
        let mut other = story.clone();
        story.gets(q, one);
        story.gets(q, two);
        story.accept();
        other.gets(q, two);
        other.gets(q, one);
        other.reject("S5");
    }

    #[test]
    fn reliable_messages_have_no_order() {
        let (mut story, p, q) = two_members();
        let (one, two) = (story.cast(p, "g", RELIABLE), story.cast(q, "g", AGREED));
        for (session, messages) in [(p, [one, two]), (q, [two, one])] {
            messages.into_iter().for_each(|message| story.gets(session, message));
        }
        story.accept();
    }

    #[test]
    fn views_have_a_place_among_the_messages() {
        let (mut story, p, q) = two_members();
        let message = story.cast(p, "g", AGREED);
        story.gets(p, message);
        story.view(p, (2, 1), Cause::Network, &[p, q]);
        story.view(q, (2, 1), Cause::Network, &[p, q]);
        story.gets(q, message);
        story.reject("S5");
    }
}
