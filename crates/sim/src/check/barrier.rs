//! G17: in a ring, a daemon sends and delivers no client's message before the state of all
//! groups is known to it.

use antiphon_proto::delivery::{Configuration, Kind};
use antiphon_proto::time::Instant;
use antiphon_wire::ids::RingId;

use super::history::{History, Step};
use super::{Violation, report};

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    for (at, run) in history.runs.iter().enumerate() {
        let settled: Vec<(Instant, RingId)> = run.steps.iter().filter_map(settled).collect();
        let mut ring = RingId::default();
        let mut is_closing = false;
        for (time, step) in &run.steps {
            let id = match step {
                Step::Configured(Configuration::Regular { ring: installed, .. }) => {
                    (ring, is_closing) = (*installed, false);
                    continue;
                }
                Step::Configured(Configuration::Transitional { .. }) => {
                    is_closing = true;
                    continue;
                }
                Step::Sent(id) => *id,
                Step::Delivered(delivered) => match delivered.id {
                    Some(id) => id,
                    None => continue,
                },
                Step::Settled(_) | Step::Table(..) | Step::Accepted(_) | Step::Closed(..) => continue,
            };
            // Within one call of the core trace and events have no common order, so the time decides.
            let is_settled = settled.iter().any(|(since, of)| *of == ring && since <= time);
            let stamp = &history.message(id).stamp;
            if stamp.kind == Kind::Client && is_owed_order(step, stamp, is_closing) && !is_settled {
                let text =
                    format!("{} {} before it knew the groups of {ring}", run.process, history.describe(id));
                report(violations, Violation::new("G17", &[at], text).at(*time));
            }
        }
    }
}

/// What has no order may come behind a hole while the groups are unknown; it goes to nobody then.
fn is_owed_order(step: &Step<'_>, stamp: &crate::trace::Stamp, is_closing: bool) -> bool {
    stamp.is_ordered() || !is_closing || matches!(step, Step::Sent(_))
}

fn settled((time, step): &(Instant, Step<'_>)) -> Option<(Instant, RingId)> {
    match step {
        Step::Settled(ring) => Some((*time, *ring)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{AGREED, RELIABLE, Story};

    #[test]
    fn clients_wait_for_the_groups() {
        let mut story = Story::ring_of(1);
        story.send(0, 1, AGREED);
        story.deliver(0, 0, 1, AGREED);
        story.accept();
        story.transitional(0, 2, &[0]);
        story.regular_unsettled(0, 2, &[0]);
        story.send(0, 1, AGREED);
        story.reject("G17");
    }

    #[test]
    fn only_a_ring_that_closes_may_bring_what_has_no_order_before_its_groups() {
        let mut story = Story::ring_of(2);
        (0..2).for_each(|process| story.transitional(process, 2, &[0, 1]));
        story.regular(0, 2, &[0, 1]);
        story.regular_unsettled(1, 2, &[0, 1]);
        story.send(0, 1, RELIABLE);
        let mut closing = story.clone();
        story.deliver(1, 0, 1, RELIABLE);
        story.reject("G17");
        closing.transitional(1, 4, &[0, 1]);
        closing.deliver(1, 0, 1, RELIABLE);
        closing.accept();
    }
}
