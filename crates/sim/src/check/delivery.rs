//! From the daemon's order to the session's stream.
//!
//! - C1: a session reads messages in the order in which its daemon delivered them.
//! - C5: it reads every message to a group that it is in, and to its private group, and G9 no
//!   other. In which groups it is follows from the joins and leaves that its daemon ordered, so this
//!   holds for sessions without membership messages as well. A stream may end early, but if the session
//!   is open when a quiet phase ends, then nothing is missing at its end either.
//! - L5: what an open session sent was delivered at its own daemon when the quiet phase ends.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_proto::time::Instant;
use antiphon_wire::names::{GroupName, MemberName};

use super::daemon_order::{Entry, Order};
use super::history::{History, Run, Step};
use super::stays::Stays;
use super::{Violation, report};
use crate::trace::{Ending, SessionEvent, SessionTrace, Trace};

pub(super) fn check(history: &History<'_>, _: &Stays<'_>, violations: &mut Vec<Violation>) {
    let trace = history.trace;
    let served: BTreeSet<usize> = trace.sessions.iter().map(|session| session.process).collect();
    // Their streams are read by the flush layer, which has checks of its own.
    let flushing: BTreeSet<usize> = trace.flushes.iter().map(|program| program.session).collect();
    for process in served {
        let order = Order::new(history, process);
        let numbers = numbers(trace, &history.runs[process]);
        for (at, session) in trace.sessions.iter().enumerate() {
            if session.process != process {
                continue;
            }
            let is_open = is_open(history, session);
            if is_open {
                sent(&order, session, violations);
            }
            // Traces by hand of clients alone say nothing of their daemons.
            let is_known = !order.positions.is_empty() && !flushing.contains(&at);
            if let Some(number) = numbers.get(&at).filter(|_| is_known) {
                Reading::new(trace, &order, at, *number, is_open).walk(violations);
            }
        }
    }
}

/// For each session that a process accepted, how many of the same name it accepted before.
pub(super) fn numbers(trace: &Trace, run: &Run<'_>) -> BTreeMap<usize, usize> {
    let mut bearers: BTreeMap<MemberName, usize> = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for (_, step) in &run.steps {
        if let Step::Accepted(session) = step {
            let count = bearers.entry(trace.sessions[*session].name).or_default();
            numbers.insert(*session, *count);
            *count += 1;
        }
    }
    numbers
}

/// Whether the session was still open when a quiet phase ended.
fn is_open(history: &History<'_>, session: &SessionTrace) -> bool {
    let is_over = |event: &SessionEvent| {
        matches!(event, SessionEvent::Disconnecting | SessionEvent::Closed(_) | SessionEvent::Refused(_))
    };
    let over = session.records.iter().any(|(_, event)| is_over(event));
    let quiet = history.trace.ending != Ending::Cut && !history.runs[session.process].ended;
    quiet && !over && session.records.iter().any(|(_, event)| *event == SessionEvent::Accepted)
}

fn sent(order: &Order<'_>, session: &SessionTrace, violations: &mut Vec<Violation>) {
    for (time, event) in &session.records {
        let SessionEvent::Sent(number) = event else { continue };
        if !order.positions.contains_key(number) {
            let text = format!("message {number} of {} was never delivered at its own daemon", session.name);
            report(violations, Violation::new("L5", &[session.process], text).at(*time));
        }
    }
}

/// One session's way through what its daemon delivered.
struct Reading<'a> {
    trace: &'a Trace,
    order: &'a Order<'a>,
    at: usize,
    session: &'a SessionTrace,
    private: GroupName,
    /// Where what the session read stands in the daemon's order, and when it was read.
    read: BTreeMap<usize, Instant>,
    life: std::ops::Range<usize>,
    /// The session has read everything before that.
    whole: usize,
}

impl<'a> Reading<'a> {
    fn new(trace: &'a Trace, order: &'a Order<'a>, at: usize, number: usize, is_open: bool) -> Self {
        let session = &trace.sessions[at];
        let life = order.life(session.name, number);
        let whole = if is_open { life.end } else { 0 };
        let (private, read) = (GroupName::from_field(session.name.as_field()), BTreeMap::new());
        Self { trace, order, at, session, private, read, life, whole }
    }

    fn walk(mut self, violations: &mut Vec<Violation>) {
        let process = self.session.process;
        let mut fail = |property, at: Option<Instant>, text| {
            report(violations, Violation { at, ..Violation::new(property, &[process], text) });
        };
        self.read(&mut fail);
        self.compare(&mut fail);
    }

    /// Goes along the stream: it has the daemon's order.
    fn read(&mut self, fail: &mut impl FnMut(&'static str, Option<Instant>, String)) {
        let name = self.session.name;
        let mut next = 0;
        for (time, event) in &self.session.records {
            let SessionEvent::Message(received) = event else { continue };
            let number = received.submission;
            let Some(position) = self.order.positions.get(&number).copied() else {
                let text = format!("{name} read message {number}, which its daemon never delivered");
                fail("C1", Some(*time), text);
                continue;
            };
            if position < next {
                let text = format!("{name} read message {number} in another order than its daemon");
                fail("C1", Some(*time), text);
            }
            if !self.life.contains(&position) {
                let text = format!("{name} read message {number}, which is not of its time");
                fail("G9", Some(*time), text);
            }
            next = next.max(position + 1);
            self.read.insert(position, *time);
        }
        self.whole = self.whole.max(next.min(self.life.end));
    }

    /// Goes along the daemon's order: what is for the session is in its stream, and nothing else.
    fn compare(&self, fail: &mut impl FnMut(&'static str, Option<Instant>, String)) {
        let name = self.session.name;
        let mut groups: BTreeSet<GroupName> = BTreeSet::new();
        // The order does not tell when the session was accepted, but before it said or read anything.
        let mut is_surely_there = false;
        for at in self.life.clone() {
            let number = match self.order.entries[at] {
                Entry::Join(member, group) if member == name => {
                    groups.insert(group);
                    is_surely_there = true;
                    continue;
                }
                Entry::Leave(member, group) if member == name => {
                    groups.remove(&group);
                    is_surely_there = true;
                    continue;
                }
                Entry::Message(number) => number,
                Entry::Join(..) | Entry::Leave(..) | Entry::Gone(_) => continue,
            };
            let submission = &self.trace.submissions[number];
            let read = self.read.get(&at);
            is_surely_there |= submission.session == self.at || read.is_some();
            let has = |group: &GroupName| groups.contains(group) || *group == self.private;
            let is_target = submission.groups.iter().any(has) && is_surely_there;
            let is_discarded = submission.is_discarded_by(self.at);
            if read.is_some() && !is_target {
                let text = format!("{name} read message {number}, to none of its groups");
                fail("G9", read.copied(), text);
            }
            if read.is_none() && is_target && !is_discarded && at < self.whole {
                fail("C5", None, format!("{name} did not read message {number}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;

    use super::super::story::{AGREED, Story, name};
    use crate::trace::SessionEvent;

    /// A member that asked for membership messages or not, and three messages that its daemon delivers.
    fn story(wants_views: bool) -> (Story, usize, Vec<usize>) {
        let mut story = Story::ring_of(1);
        let session = story.client(0, "p");
        story.trace.sessions[session].wants_views = wants_views;
        story.joins(session, "g");
        if wants_views {
            story.view(session, (1, 1), Cause::Join, &[session]);
        }
        let messages: Vec<usize> = (0..3).map(|_| story.cast(session, "g", AGREED)).collect();
        messages.iter().for_each(|message| story.carry(*message, &[0]));
        (story, session, messages)
    }

    #[test]
    fn a_member_reads_everything_its_daemon_delivers() {
        for wants_views in [true, false] {
            let (mut story, session, messages) = story(wants_views);
            let mut late = story.clone();
            let mut gap = story.clone();
            messages.iter().for_each(|message| story.gets(session, *message));
            story.accept();
            gap.gets(session, messages[0]);
            gap.gets(session, messages[2]);
            gap.reject("C5");
            late.gets(session, messages[1]);
            late.reject("C5");
        }
    }

    #[test]
    fn nothing_is_missing_at_the_end_of_an_open_stream() {
        for wants_views in [true, false] {
            let (mut story, session, messages) = story(wants_views);
            story.clone().end_quietly().reject("C5");
            story.gets(session, messages[0]);
            story.gets(session, messages[1]);
            story.accept();
            story.clone().end_quietly().reject("C5");
            story.gets(session, messages[2]);
            story.end_quietly().accept();
        }
    }

    /// A member that leaves its group or not, and may not read what is sent to that group then.
    fn is_not_read(group: &str, leaves: bool) {
        let (mut story, session, messages) = story(false);
        if leaves {
            story.event(session, SessionEvent::Leaving(name("g")));
            story.leaves(session, "g");
        }
        let stray = story.cast(session, group, AGREED);
        story.carry(stray, &[0]);
        messages.iter().for_each(|message| story.gets(session, *message));
        story.accept();
        story.gets(session, stray);
        story.reject("G9");
    }

    #[test]
    fn messages_to_other_groups_are_not_read() {
        is_not_read("h", false);
    }

    #[test]
    fn messages_after_the_leaving_are_not_read() {
        is_not_read("g", true);
    }

    #[test]
    fn a_member_reads_in_its_daemons_order() {
        let (mut story, session, messages) = story(true);
        messages.iter().rev().for_each(|message| story.gets(session, *message));
        story.reject("C1");
    }

    #[test]
    fn what_was_sent_arrives() {
        let (mut story, session, messages) = story(true);
        messages.iter().for_each(|message| story.gets(session, *message));
        story.clone().end_quietly().accept();
        story.cast(session, "g", AGREED);
        story.end_quietly().reject("L5");
    }
}
