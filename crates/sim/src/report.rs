//! What is printed about runs.

use std::fmt::Write;
use std::time::Duration;

use antiphon_proto::StateName;
use antiphon_proto::time::Instant;
use antiphon_wire::names::GroupName;
use antiphon_wire::ring::DatagramKind;
use clap::ValueEnum;

use crate::runner::{Outcome, Summary, Totals};
use crate::swarm::reduction::Reduction;
use crate::trace::{FlushEvent, ProcessEvent, SessionEvent, Trace};

/// Lines of a timeline before the violation.
const LINES_BEFORE: usize = 120;
/// Lines after it.
const LINES_AFTER: usize = 15;

/// The ways that membership can take from one state to another.
const TRANSITIONS: [(StateName, StateName); 10] = [
    (StateName::Operational, StateName::Gather),
    (StateName::Gather, StateName::Accepted),
    (StateName::Accepted, StateName::Gather),
    (StateName::Accepted, StateName::Recover),
    (StateName::Recover, StateName::Gather),
    (StateName::Recover, StateName::Operational),
    (StateName::Operational, StateName::Leaving),
    (StateName::Gather, StateName::Leaving),
    (StateName::Accepted, StateName::Leaving),
    (StateName::Recover, StateName::Leaving),
];

/// The counts of many runs, which took `elapsed` of real time.
#[must_use]
pub fn summary(summary: &Summary, elapsed: Duration) -> String {
    let totals = &summary.totals;
    let seconds = elapsed.as_secs_f64().max(0.001);
    let mut text = String::new();
    let per_minute = totals.seeds as f64 / seconds * 60.0;
    let hours = totals.virtual_time.as_secs_f64() / 3600.0;
    let network = &totals.network;
    let _ = writeln!(text, "seeds      {} in {seconds:.1} s, {per_minute:.0} a minute", totals.seeds);
    let _ = writeln!(text, "virtual    {hours:.2} hours, {} events", totals.events);
    let _ = writeln!(
        text,
        "seen       {} configurations installed, {} messages delivered, {} client records",
        totals.installs, totals.deliveries, totals.readings
    );
    let _ = writeln!(
        text,
        "datagrams  {} sent, {} lost, {} cut, {} duplicated, {} reordered, {} corrupted, {} overflowed",
        network.sent,
        network.lost,
        network.cut,
        network.duplicated,
        network.reordered,
        network.corrupted,
        totals.overflows
    );
    let faults: Vec<String> = totals.faults.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let _ = writeln!(text, "faults     {}", faults.join(", "));
    text.push_str(&coverage(totals));
    if !summary.unstable.is_empty() {
        let _ = writeln!(text, "UNSTABLE   two runs of these seeds differ: {:?}", summary.unstable);
    }
    text
}

/// How often daemons took each step that there is, and which none took.
fn coverage(totals: &Totals) -> String {
    let transitions = totals.transitions.iter().map(|((from, to), count)| format!("{count} {from}-{to}"));
    let kinds = DatagramKind::ALL.into_iter().map(|kind| (kind, totals.network.of(kind)));
    let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{count} {kind:?}")).collect();
    let missing = |(from, to): &(StateName, StateName)| !totals.transitions.contains_key(&(*from, *to));
    let missing: Vec<String> =
        TRANSITIONS.into_iter().filter(missing).map(|(from, to)| format!("{from}-{to}")).collect();
    let mut text = format!("states     {}\n", transitions.collect::<Vec<_>>().join(", "));
    let _ = writeln!(text, "kinds      {}", kinds.join(", "));
    if !missing.is_empty() {
        let _ = writeln!(text, "not taken  {}", missing.join(", "));
    }
    text
}

/// One bad run without something that it drew: the promises it broke, the end of its timeline, and
/// how to see it again.
#[must_use]
pub fn failure(outcome: &Outcome, without: &[Reduction]) -> String {
    let mut text = format!("seed {} failed\n", outcome.seed);
    if let Some(panic) = &outcome.panic {
        let _ = writeln!(text, "R1: a daemon panicked: {panic}");
    }
    for violation in &outcome.violations {
        let _ = writeln!(text, "{violation}");
    }
    let names = without.iter().filter_map(ValueEnum::to_possible_value);
    let names: Vec<String> = names.map(|name| name.get_name().to_owned()).collect();
    let less = if names.is_empty() { String::new() } else { format!(" --without {}", names.join(",")) };
    let replay = format!("replay: antiphon-sim replay {}{less} --trace", outcome.seed);
    let (Some(trace), first) = (&outcome.trace, outcome.violations.first()) else { return text + &replay };
    let processes = first.map(|violation| violation.processes.clone()).unwrap_or_default();
    let lines = timeline(trace, &processes);
    let at = first.and_then(|violation| violation.at).unwrap_or(Instant(u64::MAX));
    let end = lines.partition_point(|(time, _)| *time <= at);
    let from = end.saturating_sub(LINES_BEFORE);
    for (time, line) in lines.iter().take(end + LINES_AFTER).skip(from) {
        let _ = writeln!(text, "  {time} {line}");
    }
    text + &replay
}

/// What happened, in the order of time, with a line for each record. When `processes` is not empty,
/// only they and their sessions, and what the world did.
#[must_use]
pub fn timeline(trace: &Trace, processes: &[usize]) -> Vec<(Instant, String)> {
    let is_wanted = |process: usize| processes.is_empty() || processes.contains(&process);
    let mut lines: Vec<(Instant, String)> =
        trace.remarks.iter().map(|(at, text)| (*at, format!("      {text}"))).collect();
    for (at, process) in trace.processes.iter().enumerate().filter(|(at, _)| is_wanted(*at)) {
        let name = process.process;
        lines.extend(process.records.iter().map(|(at, event)| (*at, format!("{name} {}", daemon(event)))));
        if let Some(ended) = process.ended {
            lines.push((ended, format!("{name} ENDED")));
        }
        for session in trace.sessions.iter().filter(|session| session.process == at) {
            let name = session.name;
            let line =
                |(at, event): &(Instant, SessionEvent)| (*at, format!("    {name} {}", client(trace, event)));
            lines.extend(session.records.iter().map(line));
        }
        for flushes in &trace.flushes {
            let session = &trace.sessions[flushes.session];
            if session.process == at {
                let line = |(time, group, event): &(Instant, GroupName, FlushEvent)| {
                    (*time, format!("    {} in {group}: {event:?}", session.name))
                };
                lines.extend(flushes.records.iter().map(line));
            }
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    lines
}

fn daemon(event: &ProcessEvent) -> String {
    match event {
        ProcessEvent::Originated(stamp) => format!(
            "sends {}/{} {:?} {} in {}{}",
            stamp.seq,
            stamp.index,
            stamp.kind,
            stamp.service.name(),
            stamp.ring,
            carried(stamp.submission)
        ),
        ProcessEvent::Delivered { sender, stamp, early } => format!(
            "delivers {}/{} {:?} {} of {sender}{}{}",
            stamp.seq,
            stamp.index,
            stamp.kind,
            stamp.service.name(),
            if *early { " early" } else { "" },
            carried(stamp.submission)
        ),
        ProcessEvent::Configured(configuration) => format!("CONFIGURED {configuration:?}"),
        ProcessEvent::Settled(ring) => format!("settled {ring}"),
        ProcessEvent::Table { place, hash, .. } => format!("has table {hash:x} after {place:?}"),
        ProcessEvent::Accepted(session) => format!("accepts session {session}"),
        ProcessEvent::Closed(session, reason) => format!("closes session {session}: {reason:?}"),
    }
}

fn carried(submission: Option<usize>) -> String {
    submission.map_or_else(String::new, |number| format!(" (message {number})"))
}

fn client(trace: &Trace, event: &SessionEvent) -> String {
    match event {
        SessionEvent::Sent(number) => {
            let sent = &trace.submissions[*number];
            let discard = if sent.self_discard { " discard" } else { "" };
            let (level, groups, bytes) = (sent.service.name(), &sent.groups, sent.body_bytes);
            format!("sent {number} {level} to {groups:?}, {bytes} bytes{discard}")
        }
        SessionEvent::Message(received) => format!("read message {}", received.submission),
        SessionEvent::View(view) => {
            let sets: Vec<_> = view.sets.iter().map(|set| &set.members).collect();
            let (group, id, cause) = (view.group, view.id, view.cause);
            let id = format!("{}@{:x}/{}", id.time, id.leader, id.counter);
            format!("VIEW {group} {id} {cause:?} {:?} sets {sets:?} own {}", view.members, view.own_set)
        }
        other => format!("{other:?}"),
    }
}
