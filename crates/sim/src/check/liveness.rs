//! What must happen once nothing bad happens any more.
//!
//! - L1: after everything healed, all daemons are in one ring within the time allowed.
//! - L2: and then no configuration changes any more.
//! - L3: with links frozen in any pattern, configurations stop changing, every member of a ring has
//!   installed it, and no two rings could be one in which all reach each other. Daemons of one ring
//!   need not all reach each other as long as what they send gets through (L9): others send it again
//!   on request.
//! - L14, R3: everything sent in the last ring was delivered by all, also what may be lost, since no link
//!   loses anything for good by then; nothing is kept of it, and the idle traffic is small.

use antiphon_proto::delivery::Configuration;
use antiphon_proto::time::Instant;
use antiphon_wire::ids::{ProcessId, RingId};

use super::history::{History, MessageId, Run, Step};
use super::{Violation, report};
use crate::trace::{Ending, Leftover};

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    match &history.trace.ending {
        Ending::Cut => {}
        Ending::Healed { converged, idle_datagrams, idle_budget, leftovers, .. } => {
            one_ring(history, *converged, violations);
            stable(history, *converged, "L2", violations);
            silent((*idle_datagrams, *idle_budget), violations);
            empty(history, leftovers, violations);
            drained(history, violations);
        }
        Ending::Frozen { reaches, stable: since, .. } => {
            stable(history, *since, "L3", violations);
            rings(history, reaches, violations);
            drained(history, violations);
        }
    }
}

fn living<'h, 'a>(history: &'h History<'a>) -> impl Iterator<Item = (usize, &'h Run<'a>)> {
    history.runs.iter().enumerate().filter(|(_, run)| !run.ended)
}

/// The regular configuration that a process was in at that time.
fn ring_at<'a>(run: &Run<'a>, time: Instant) -> Option<(RingId, &'a [ProcessId])> {
    let steps = run.steps.iter().take_while(|(at, _)| *at <= time);
    let regular = |(_, step): &(Instant, Step<'a>)| match step {
        Step::Configured(Configuration::Regular { ring, members, .. }) => Some((*ring, members.as_slice())),
        _ => None,
    };
    steps.filter_map(regular).last()
}

fn one_ring(history: &History<'_>, converged: Instant, violations: &mut Vec<Violation>) {
    let mut all: Vec<ProcessId> = living(history).map(|(_, run)| run.process).collect();
    all.sort_unstable();
    let mut first: Option<RingId> = None;
    for (at, run) in living(history) {
        let found = ring_at(run, converged);
        let is_right = found
            .is_some_and(|(ring, members)| *first.get_or_insert(ring) == ring && members == all.as_slice());
        if !is_right && !all_are_fixtures(history) {
            let text = format!("{} is in {found:?} and not in one ring of {all:?}", run.process);
            report(violations, Violation::new("L1", &[at], text).at(converged));
        }
    }
}

/// Hand-made traces of one daemon have nobody to form a ring with.
fn all_are_fixtures(history: &History<'_>) -> bool {
    history.runs.len() == 1 && history.runs[0].process.incarnation == 0
}

fn stable(history: &History<'_>, since: Instant, property: &'static str, violations: &mut Vec<Violation>) {
    for (at, run) in living(history) {
        let late = run.steps.iter().find(|(time, step)| {
            *time > since && matches!(step, Step::Configured(Configuration::Regular { .. }))
        });
        if let Some((time, _)) = late {
            let text = format!("{} installed a ring after the network had been quiet for long", run.process);
            report(violations, Violation::new(property, &[at], text).at(*time));
        }
    }
}

fn silent((sent, budget): (u64, u64), violations: &mut Vec<Violation>) {
    if sent > budget {
        let text = format!("idle daemons sent {sent} datagrams in the last second, more than {budget}");
        report(violations, Violation::new("L14", &[], text));
    }
}

fn empty(history: &History<'_>, leftovers: &[Leftover], violations: &mut Vec<Violation>) {
    for left in leftovers {
        if left.packets + left.messages + left.unfinished + left.behind > 0 {
            let text = format!("{} is idle and keeps {left:?}", history.runs[left.process].process);
            report(violations, Violation::new("L14", &[left.process], text));
        }
    }
}

fn drained(history: &History<'_>, violations: &mut Vec<Violation>) {
    for (at, run) in living(history) {
        let Some(ring) = run.installed.last().and_then(|ring| history.ring_position(*ring)) else { continue };
        let messages = history.rings[ring].messages.iter().enumerate();
        let missing = messages
            .map(|(ordinal, _)| MessageId { ring, ordinal })
            .find(|id| !history.has_delivered(at, *id));
        if let Some(missing) = missing {
            let text = format!("{} never delivered {}", run.process, history.describe(missing));
            report(violations, Violation::new("L14", &[at], text));
        }
    }
}

fn rings(history: &History<'_>, reaches: &[Vec<bool>], violations: &mut Vec<Violation>) {
    let both = |one: &ProcessId, other: &ProcessId| {
        let (one, other) = (one.daemon.index(), other.daemon.index());
        one == other || (reaches[one][other] && reaches[other][one])
    };
    let mut rings: Vec<(RingId, Vec<ProcessId>)> = Vec::new();
    for (at, run) in living(history) {
        let Some((ring, members)) = ring_at(run, Instant(u64::MAX)) else { continue };
        let is_in = |member: &ProcessId| {
            history.run_of(*member).is_some_and(|(_, run)| run.installed.last() == Some(&ring))
        };
        if let Some(missing) = members.iter().find(|member| !is_in(member)) {
            let text = format!("{} is in {ring} of {members:?}, and {missing} is not", run.process);
            report(violations, Violation::new("L3", &[at], text));
        }
        if rings.iter().all(|(known, _)| *known != ring) {
            rings.push((ring, members.to_vec()));
        }
    }
    for (at, (one, some)) in rings.iter().enumerate() {
        for (other, others) in &rings[at + 1..] {
            let union: Vec<&ProcessId> = some.iter().chain(others).collect();
            if union.iter().all(|here| union.iter().all(|there| both(here, there))) {
                let text = format!("{one} of {some:?} and {other} of {others:?} could be one ring");
                report(violations, Violation::new("L3", &[], text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{AGREED, Story, UNRELIABLE};
    use crate::trace::{Ending, Leftover};

    fn healed(story: &mut Story, idle_datagrams: u64) {
        let (now, leftovers) = (story.now(), Vec::new());
        story.trace.ending = Ending::Healed {
            healed: now,
            converged: now,
            end: now,
            idle_datagrams,
            idle_budget: 10,
            leftovers,
        };
    }

    fn frozen(story: &mut Story, reaches: [[bool; 2]; 2]) {
        let now = story.now();
        let reaches = reaches.map(Vec::from).into();
        story.trace.ending = Ending::Frozen { reaches, stable: now, end: now };
    }

    #[test]
    fn everyone_ends_in_one_ring() {
        let mut good = Story::ring_of(2);
        healed(&mut good, 0);
        good.accept();
        let mut bad = Story::singles(2);
        healed(&mut bad, 0);
        bad.reject("L1");
    }

    #[test]
    fn a_ring_that_could_stay_stays() {
        let mut story = Story::ring_of(2);
        healed(&mut story, 0);
        for process in [0, 1] {
            story.transitional(process, 2, &[0, 1]);
            story.regular(process, 2, &[0, 1]);
        }
        story.reject("L2");
    }

    #[test]
    fn the_end_is_silent_and_complete() {
        for service in [AGREED, UNRELIABLE] {
            let mut story = Story::ring_of(2);
            story.send(0, 1, service);
            story.deliver(0, 0, 1, service);
            healed(&mut story, 0);
            story.reject("L14");
        }
        let mut loud = Story::ring_of(2);
        healed(&mut loud, 100_000);
        loud.reject("L14");
    }

    #[test]
    fn who_is_idle_keeps_nothing() {
        let nothing = Leftover { process: 0, packets: 0, messages: 0, unfinished: 0, behind: 0 };
        for (kept, is_good) in [
            (nothing, true),
            (Leftover { packets: 1, ..nothing }, false),
            (Leftover { messages: 1, ..nothing }, false),
            (Leftover { unfinished: 1, ..nothing }, false),
            (Leftover { behind: 1, ..nothing }, false),
        ] {
            let mut story = Story::ring_of(1);
            healed(&mut story, 0);
            if let Ending::Healed { leftovers, .. } = &mut story.trace.ending {
                leftovers.push(kept);
            }
            if is_good { story.accept() } else { story.reject("L14") }
        }
    }

    #[test]
    fn frozen_links_decide_the_rings() {
        let mut apart = Story::singles(2);
        frozen(&mut apart, [[true, false], [true, true]]);
        apart.accept();
        frozen(&mut apart, [[true, true], [true, true]]);
        apart.reject("L3");
        let mut together = Story::ring_of(2);
        frozen(&mut together, [[true, true], [true, true]]);
        together.accept();
        together.transitional(0, 2, &[0]);
        together.regular(0, 2, &[0]);
        frozen(&mut together, [[true, false], [true, true]]);
        together.reject("L3");
    }
}
