//! C3: what one session asks for takes effect in the order in which it asked: joins, leaves and
//! messages together. Its end comes last, behind everything that it handed in before it, unless its
//! daemon threw it out.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_proto::CloseReason;
use antiphon_wire::names::MemberName;

use super::daemon_order::{Entry, Operations};
use super::delivery::numbers;
use super::history::{History, Run, Step};
use super::{Violation, report};
use crate::trace::{ProcessEvent, SessionEvent, SessionTrace, Trace};

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    let trace = history.trace;
    let served: BTreeSet<usize> = trace.sessions.iter().map(|session| session.process).collect();
    // What the flush layer asks for in their name is in no session's trace.
    let flushing: BTreeSet<usize> = trace.flushes.iter().map(|program| program.session).collect();
    for process in served {
        let run = &history.runs[process];
        let accepted = numbers(trace, run);
        let ordered = ordered(trace, process, &accepted);
        for at in accepted.keys().filter(|at| !flushing.contains(at)) {
            let session = &trace.sessions[*at];
            let ordered = ordered.get(at).map_or(&[][..], Vec::as_slice);
            if let Some(text) = judge(session, ordered, was_thrown_out(run, *at)) {
                let text = format!("{} {text}", session.name);
                report(violations, Violation::new("C3", &[process], text));
            }
        }
    }
}

/// What a process numbered of each of its sessions, in order.
fn ordered(trace: &Trace, process: usize, accepted: &BTreeMap<usize, usize>) -> BTreeMap<usize, Vec<Entry>> {
    let bearers: BTreeMap<(MemberName, usize), usize> =
        accepted.iter().map(|(at, number)| ((trace.sessions[*at].name, *number), *at)).collect();
    let operations = Operations::new(trace, process);
    let mut ends: BTreeMap<MemberName, usize> = BTreeMap::new();
    let mut ordered: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
    for (_, event) in &trace.processes[process].records {
        let ProcessEvent::Originated(stamp) = event else { continue };
        let entry = stamp.submission.map(Entry::Message).or_else(|| operations.find(stamp));
        let session = match entry {
            Some(Entry::Message(number)) => Some(trace.submissions[number].session),
            Some(Entry::Join(name, _) | Entry::Leave(name, _) | Entry::Gone(name)) => {
                let number = ends.entry(name).or_default();
                let bearer = bearers.get(&(name, *number)).copied();
                *number += usize::from(entry == Some(Entry::Gone(name)));
                bearer
            }
            None => None,
        };
        if let (Some(session), Some(entry)) = (session, entry) {
            ordered.entry(session).or_default().push(entry);
        }
    }
    ordered
}

/// Whether the daemon ended the session without having read all that the client said.
fn was_thrown_out(run: &Run<'_>, session: usize) -> bool {
    run.steps.iter().any(|(_, step)| {
        matches!(step, Step::Closed(closed, reason) if *closed == session && *reason != CloseReason::Disconnected)
    })
}

fn judge(session: &SessionTrace, ordered: &[Entry], was_thrown_out: bool) -> Option<String> {
    let name = session.name;
    let is_end = |event: &SessionEvent| *event == SessionEvent::Disconnecting;
    let said = session.records.iter().map(|(_, event)| event).take_while(|event| !is_end(event));
    let asked: Vec<Entry> = said
        .filter_map(|event| match event {
            SessionEvent::Sent(number) => Some(Entry::Message(*number)),
            SessionEvent::Joining(group) => Some(Entry::Join(name, *group)),
            SessionEvent::Leaving(group) => Some(Entry::Leave(name, *group)),
            _ => None,
        })
        .collect();
    let (done, is_over) = match ordered.split_last() {
        Some((Entry::Gone(_), before)) => (before, true),
        _ => (ordered, false),
    };
    if let Some(at) = (0..done.len()).find(|at| asked.get(*at) != done.get(*at)) {
        return Some(format!("asked for {:?}, and its daemon ordered {:?}", asked.get(at), done.get(at)));
    }
    let forgotten = asked.get(done.len()).filter(|_| is_over && !was_thrown_out);
    forgotten.map(|forgotten| format!("asked for {forgotten:?}, and its end was ordered without it"))
}

#[cfg(test)]
mod tests {
    use super::super::story::{AGREED, Story};
    use crate::trace::SessionEvent;

    /// A member that sends and leaves, and what its daemon orders of that.
    fn story(order: &[char]) -> Story {
        let mut story = Story::ring_of(1);
        let session = story.client(0, "p");
        story.joins(session, "g");
        let message = story.cast(session, "g", AGREED);
        story.event(session, SessionEvent::Leaving(super::super::story::name("g")));
        story.event(session, SessionEvent::Disconnecting);
        for done in order {
            match done {
                'm' => story.carry(message, &[0]),
                'l' => story.leaves(session, "g"),
                _ => story.ends(session),
            }
        }
        story
    }

    #[test]
    fn a_session_is_served_in_its_order() {
        story(&['m', 'l', 'e']).accept();
        story(&['m']).accept();
        story(&['l', 'm', 'e']).reject("C3");
        story(&['m', 'e', 'l']).reject("C3");
    }

    #[test]
    fn nothing_is_forgotten_when_a_session_ends() {
        story(&['m', 'e']).reject("C3");
        story(&['e']).reject("C3");
    }
}
