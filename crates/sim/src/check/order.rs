//! Total order and its completeness.
//!
//! - E14: ordered messages are delivered in the order of their numbers, never on arrival.
//! - E15: in a regular configuration there are no holes before an ordered message.
//! - E16: in a transitional one, only messages of processes that did not come along may be missing.
//!
//! Messages of level UNRELIABLE may be lost and are no holes.

use antiphon_proto::delivery::Configuration;
use antiphon_wire::ids::ProcessId;
use antiphon_wire::service::ServiceLevel;

use super::history::{Bits, History, MessageId, Run, Step};
use super::{Violation, report};

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    for (at, run) in history.runs.iter().enumerate() {
        walk(history, at, run, violations);
    }
}

/// What a process has delivered of the ring it is in.
#[derive(Default)]
pub(super) struct Progress {
    /// Members of the transitional configuration, if the process is in one.
    came_along: Option<Vec<ProcessId>>,
    /// Delivered ordinals.
    seen: Bits,
    /// All below were delivered.
    prefix: usize,
    /// The next ordered message must have at least this ordinal.
    next: usize,
}

impl Progress {
    /// Ordinals below `ordinal` that were not delivered.
    pub(super) fn holes(&mut self, ordinal: usize) -> impl Iterator<Item = usize> {
        while self.seen.contains(self.prefix) {
            self.prefix += 1;
        }
        (self.prefix..ordinal).filter(|hole| !self.seen.contains(*hole))
    }

    pub(super) fn configured(&mut self, configuration: &Configuration) {
        match configuration {
            Configuration::Regular { .. } => *self = Self::default(),
            Configuration::Transitional { members, .. } => self.came_along = Some(members.clone()),
        }
    }

    pub(super) fn deliver(&mut self, ordinal: usize) {
        self.seen.insert(ordinal);
    }
}

fn walk(history: &History<'_>, at: usize, run: &Run<'_>, violations: &mut Vec<Violation>) {
    let mut progress = Progress::default();
    for (time, step) in &run.steps {
        match step {
            Step::Configured(configuration) => progress.configured(configuration),
            Step::Delivered(delivered) => {
                let Some(id) = delivered.id else { continue };
                if delivered.stamp.is_ordered() {
                    for (property, text) in deliver(history, run, id, delivered.early, &mut progress) {
                        report(violations, Violation::new(property, &[at], text).at(*time));
                    }
                }
                progress.deliver(id.ordinal);
            }
            Step::Sent(_) | Step::Settled(_) | Step::Table(..) | Step::Accepted(_) | Step::Closed(..) => {}
        }
    }
}

fn deliver(
    history: &History<'_>,
    run: &Run<'_>,
    id: MessageId,
    early: bool,
    progress: &mut Progress,
) -> Vec<(&'static str, String)> {
    let process = run.process;
    let mut found = Vec::new();
    if early || id.ordinal < progress.next {
        found.push(("E14", format!("{process} delivered {} out of order", history.describe(id))));
    }
    progress.next = progress.next.max(id.ordinal + 1);
    let came_along = progress.came_along.clone();
    for ordinal in progress.holes(id.ordinal) {
        let hole = MessageId { ring: id.ring, ordinal };
        let missing = history.message(hole);
        if missing.stamp.service == ServiceLevel::Unreliable {
            continue;
        }
        let property = match &came_along {
            None => "E15",
            Some(members) if members.contains(&history.runs[missing.sender].process) => "E16",
            Some(_) => continue,
        };
        let (one, other) = (history.describe(id), history.describe(hole));
        found.push((property, format!("{process} delivered {one} without {other}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::story::{AGREED, FIFO, RELIABLE, Story, UNRELIABLE};

    #[test]
    fn messages_come_in_the_order_of_their_numbers() {
        let mut story = Story::ring_of(2);
        story.send(0, 1, AGREED);
        story.send(1, 2, FIFO);
        story.deliver(0, 0, 1, AGREED);
        story.deliver(0, 1, 2, FIFO);
        story.accept();
        story.deliver(1, 1, 2, FIFO);
        story.deliver(1, 0, 1, AGREED);
        story.reject("E14");
    }

    #[test]
    fn a_reliable_message_may_come_early_and_an_unreliable_one_never() {
        let mut story = Story::ring_of(2);
        story.send(0, 1, UNRELIABLE);
        story.send(0, 2, AGREED);
        story.send(1, 3, RELIABLE);
        story.deliver_early(0, 1, 3, RELIABLE);
        story.deliver(0, 0, 2, AGREED);
        story.accept();
    }

    #[test]
    fn a_regular_configuration_has_no_holes() {
        let mut story = Story::ring_of(2);
        story.send(0, 1, AGREED);
        story.send(1, 2, AGREED);
        story.deliver(0, 1, 2, AGREED);
        story.reject("E15");
    }

    #[test]
    fn only_those_who_stay_behind_leave_holes() {
        let story_with = |lost: usize| {
            let mut story = Story::ring_of(3);
            story.send(lost, 1, AGREED);
            story.send(1, 2, AGREED);
            for process in [0, 1] {
                story.transitional(process, 2, &[0, 1]);
                story.deliver(process, 1, 2, AGREED);
                story.regular(process, 2, &[0, 1]);
            }
            story.crash(lost);
            story
        };
        story_with(2).accept();
        story_with(0).reject("E16");
    }
}
