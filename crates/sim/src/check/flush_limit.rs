//! F7: a member that never flushes delays its group only until its limit is over.
//!
//! Once all daemons are in one ring, a program that was asked to flush has the next view, or is out of
//! the group, within the limit and some time for the messages that this takes. Judged only when every
//! program has the same limit: one without may hold up the others for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_proto::time::Instant;
use antiphon_wire::names::GroupName;

use super::stays::Stays;
use super::{Violation, report};
use crate::trace::{Ending, FlushEvent, SessionEvent, Trace};

/// What leaving and the acknowledgements of the others may take.
const GRACE: Duration = Duration::from_millis(500);

pub(super) fn check(trace: &Trace, _: &Stays<'_>, violations: &mut Vec<Violation>) {
    let Ending::Healed { converged, end, .. } = trace.ending else { return };
    let limits: Option<Vec<Duration>> = trace.flushes.iter().map(|program| program.limit).collect();
    let Some(limit) = limits.and_then(|limits| limits.into_iter().max()) else { return };
    for program in &trace.flushes {
        let session = &trace.sessions[program.session];
        let is_over = |event: &SessionEvent| {
            matches!(event, SessionEvent::Disconnecting | SessionEvent::Closed(_) | SessionEvent::Garbage(_))
        };
        let ended = trace.processes[session.process].ended.is_some();
        if ended || session.records.iter().any(|(_, event)| is_over(event)) {
            continue;
        }
        for (group, asked) in waiting(&program.records) {
            if end > asked.max(converged) + limit + GRACE {
                let text =
                    format!("{} in {group} was asked to flush at {asked} and has no view", session.name);
                report(violations, Violation::new("F7", &[session.process], text).at(asked));
            }
        }
    }
}

/// Groups in which the program was asked to flush, and has no view since; with when it was asked.
fn waiting(records: &[(Instant, GroupName, FlushEvent)]) -> BTreeMap<GroupName, Instant> {
    let mut waiting = BTreeMap::new();
    for (time, group, event) in records {
        match event {
            FlushEvent::Requested => {
                waiting.insert(*group, *time);
            }
            FlushEvent::View(_) | FlushEvent::Left => {
                waiting.remove(group);
            }
            _ => {}
        }
    }
    waiting
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;

    use super::super::story::Story;
    use super::*;
    use crate::trace::FlushTrace;
    use crate::workload::group;

    /// A program that is asked to flush, and then sees `event`, in a world that is well for 10 s more.
    fn asked(limit: Option<Duration>, event: Option<FlushEvent>) -> Story {
        let mut story = Story::ring_of(1);
        let session = story.client(0, "p");
        story.view(session, (1, 1), Cause::Join, &[session]);
        let now = story.now();
        let events = [Some(FlushEvent::Requested), event];
        let records = events.into_iter().flatten().map(|event| (now, group("v"), event)).collect();
        story.trace.flushes.push(FlushTrace { session, limit, records });
        let end = now + Duration::from_secs(10);
        story.trace.ending = Ending::Healed {
            healed: now,
            converged: now,
            end,
            idle_datagrams: 0,
            idle_budget: 10,
            leftovers: Vec::new(),
        };
        story
    }

    #[test]
    fn a_request_to_flush_is_over_in_time() {
        let limit = Some(Duration::from_secs(1));
        asked(limit, Some(FlushEvent::Left)).accept();
        asked(limit, None).reject("F7");
        asked(None, None).accept();
        asked(Some(Duration::from_secs(60)), None).accept();
    }
}
