//! From the daemon's order to the session's stream.
//!
//! - C1 (§6): a session reads ordered messages in the order in which its daemon delivered them.
//! - C5: it reads every message to a group that it is surely a member of. It surely is from its
//!   first view to its leaving; what the daemon delivered between two messages that the session
//!   read is compared.
//! - L5 (§7): what an open session sent was delivered at its own daemon when the quiet phase ends.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_proto::time::Instant;
use antiphon_wire::ids::RingId;
use antiphon_wire::names::GroupName;
use antiphon_wire::service::ServiceLevel;

use super::history::{Delivered, History, Run, Step};
use super::stays::Stays;
use super::{Violation, report};
use crate::trace::{Ending, SessionEvent, SessionTrace, Trace};

pub(super) fn check(history: &History<'_>, _: &Stays<'_>, violations: &mut Vec<Violation>) {
    let trace = history.trace;
    let served: BTreeSet<usize> = trace.sessions.iter().map(|session| session.process).collect();
    for process in served {
        let order = Order::new(&history.runs[process]);
        for (at, session) in trace.sessions.iter().enumerate() {
            if session.process == process && !order.messages.is_empty() {
                Reading::new(trace, &order, at, session).walk(violations);
            }
            if session.process == process && is_open(history, session) {
                sent(trace, &order, session, violations);
            }
        }
    }
}

/// The multicasts that a process delivered, in order.
struct Order {
    messages: Vec<usize>,
    positions: BTreeMap<usize, usize>,
}

impl Order {
    fn new(run: &Run<'_>) -> Self {
        let settled = |time: Instant, ring: RingId| {
            let is_it = |(at, step): &(Instant, Step<'_>)| {
                *at <= time && matches!(step, Step::Settled(settled) if *settled == ring)
            };
            run.steps.iter().any(is_it)
        };
        let mut checked: Option<(RingId, bool)> = None;
        let mut messages = Vec::new();
        for (time, step) in &run.steps {
            let Step::Delivered(Delivered { stamp, .. }) = step else { continue };
            let Some(submission) = stamp.submission else { continue };
            if checked.is_none_or(|(ring, is)| ring != stamp.ring || !is) {
                checked = Some((stamp.ring, settled(*time, stamp.ring)));
            }
            // What has no order and came while the groups were unknown went to nobody (G17).
            if stamp.is_ordered() || checked.is_some_and(|(_, is)| is) {
                messages.push(submission);
            }
        }
        let positions = messages.iter().enumerate().map(|(at, message)| (*message, at)).collect();
        Self { messages, positions }
    }
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

fn sent(trace: &Trace, order: &Order, session: &SessionTrace, violations: &mut Vec<Violation>) {
    for (time, event) in &session.records {
        let SessionEvent::Sent(number) = event else { continue };
        let may_be_lost = trace.submissions[*number].service == ServiceLevel::Unreliable;
        if !may_be_lost && !order.positions.contains_key(number) {
            let text = format!("message {number} of {} was never delivered at its own daemon", session.name);
            report(violations, Violation::new("L5", &[session.process], text).at(*time));
        }
    }
}

/// One session's way through what its daemon delivered.
struct Reading<'a> {
    trace: &'a Trace,
    order: &'a Order,
    at: usize,
    session: &'a SessionTrace,
    private: GroupName,
    /// Everything that the session read.
    read: BTreeSet<usize>,
    /// Groups that it is surely in now.
    open: BTreeSet<GroupName>,
    /// Groups that it was surely in when it read the last ordered message, and since.
    certain: BTreeSet<GroupName>,
    /// Position after that message in the daemon's order.
    next: Option<usize>,
}

impl<'a> Reading<'a> {
    fn new(trace: &'a Trace, order: &'a Order, at: usize, session: &'a SessionTrace) -> Self {
        let message = |(_, event): &(_, SessionEvent)| match event {
            SessionEvent::Message(received) => Some(received.submission),
            _ => None,
        };
        Self {
            trace,
            order,
            at,
            session,
            private: GroupName::from_field(session.name.as_field()),
            read: session.records.iter().filter_map(message).collect(),
            open: BTreeSet::new(),
            certain: BTreeSet::new(),
            next: None,
        }
    }

    fn walk(&mut self, violations: &mut Vec<Violation>) {
        for (time, event) in &self.session.records {
            let found = match event {
                SessionEvent::View(view) => {
                    self.open.insert(view.group);
                    None
                }
                SessionEvent::Left(group) => {
                    self.open.remove(group);
                    self.certain.remove(group);
                    None
                }
                SessionEvent::Message(received) => self.read(received.submission),
                _ => None,
            };
            if let Some((property, text)) = found {
                report(violations, Violation::new(property, &[self.session.process], text).at(*time));
            }
        }
    }

    fn read(&mut self, number: usize) -> Option<(&'static str, String)> {
        let name = self.session.name;
        let Some(position) = self.order.positions.get(&number).copied() else {
            return Some(("C1", format!("{name} read message {number}, which its daemon never delivered")));
        };
        if !self.trace.submissions[number].service.is_ordered() {
            return None;
        }
        let found = match self.next {
            Some(next) if position < next => {
                Some(("C1", format!("{name} read message {number} in another order than its daemon")))
            }
            Some(next) => self.missed(next, position).map(|missed| {
                ("C5", format!("{name} did not read message {missed}, before message {number}"))
            }),
            None => None,
        };
        self.next = Some(position + 1);
        self.certain = self.open.clone();
        found
    }

    /// A message that the session ought to have read and never did, between two positions.
    fn missed(&self, from: usize, to: usize) -> Option<usize> {
        let is_missed = |number: &&usize| {
            let submission = &self.trace.submissions[**number];
            let is_own = submission.self_discard && submission.session == self.at;
            let is_target = |group: &GroupName| *group == self.private || self.certain.contains(group);
            !is_own && !self.read.contains(number) && submission.groups.iter().any(is_target)
        };
        self.order.messages.get(from..to)?.iter().find(is_missed).copied()
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;

    use super::super::story::{AGREED, Story};
    use crate::trace::ProcessEvent;

    /// A member, and three messages that its daemon sends and delivers.
    fn story() -> (Story, usize, Vec<usize>) {
        let mut story = Story::ring_of(1);
        let session = story.client(0, "p");
        story.view(session, (1, 1), Cause::Join, &[session]);
        let messages: Vec<usize> = (0..3).map(|_| story.cast(session, "g", AGREED)).collect();
        for (seq, message) in messages.iter().enumerate() {
            story.send(0, seq as u64 + 1, AGREED);
            story.deliver(0, 0, seq as u64 + 1, AGREED);
            for (_, event) in story.trace.processes[0].records.iter_mut().rev().take(2) {
                if let ProcessEvent::Originated(stamp) | ProcessEvent::Delivered { stamp, .. } = event {
                    stamp.submission = Some(*message);
                }
            }
        }
        (story, session, messages)
    }

    #[test]
    fn a_member_reads_everything_its_daemon_delivers() {
        let (mut story, session, messages) = story();
        let mut gap = story.clone();
        messages.iter().for_each(|message| story.gets(session, *message));
        story.accept();
        gap.gets(session, messages[0]);
        gap.gets(session, messages[2]);
        gap.reject("C5");
    }

    #[test]
    fn a_member_reads_in_its_daemons_order() {
        let (mut story, session, messages) = story();
        messages.iter().rev().for_each(|message| story.gets(session, *message));
        story.reject("C1");
    }

    #[test]
    fn what_was_sent_arrives() {
        let (mut story, session, messages) = story();
        messages.iter().for_each(|message| story.gets(session, *message));
        story.clone().end_quietly().accept();
        story.cast(session, "g", AGREED);
        story.end_quietly().reject("L5");
    }
}
