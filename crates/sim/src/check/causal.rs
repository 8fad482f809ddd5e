//! Causal order and order of a sender across holes.
//!
//! - E17: who delivers an ordered message has delivered every ordered message that its sender
//!   had delivered before sending it.
//! - S3: and every ordered message that the same process sent before.
//!
//! In a regular configuration E15 says more; this is about what is delivered behind a hole. No
//! vector clocks are needed: the past of a message is a prefix of the ring's order.

use super::history::{History, MessageId, Run, Step};
use super::order::Progress;
use super::{Violation, report};

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    for (at, run) in history.runs.iter().enumerate() {
        walk(history, at, run, violations);
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
                    for ordinal in progress.holes(id.ordinal) {
                        let hole = MessageId { ring: id.ring, ordinal };
                        if let Some(property) = broken(history, id, hole) {
                            let (one, other) = (history.describe(id), history.describe(hole));
                            let text = format!("{} delivered {one} without its past {other}", run.process);
                            report(violations, Violation::new(property, &[at], text).at(*time));
                        }
                    }
                }
                progress.deliver(id.ordinal);
            }
            Step::Sent(_) | Step::Settled(_) | Step::Table(..) | Step::Accepted(_) | Step::Closed(..) => {}
        }
    }
}

/// Which promise is broken by delivering one message without an earlier one.
fn broken(history: &History<'_>, delivered: MessageId, missing: MessageId) -> Option<&'static str> {
    let (delivered, hole) = (history.message(delivered), history.message(missing));
    if !hole.stamp.is_ordered() {
        return None;
    }
    if hole.sender == delivered.sender {
        return Some("S3");
    }
    (missing.ordinal < delivered.past).then_some("E17")
}

#[cfg(test)]
mod tests {
    use super::super::story::{AGREED, Story};

    /// 0 sends, 2 dies; 1 sends behind the hole that 2 leaves, having delivered its message or not.
    fn story(delivered_before: bool) -> Story {
        let mut story = Story::ring_of(3);
        story.send(2, 1, AGREED);
        if delivered_before {
            story.deliver(1, 2, 1, AGREED);
        }
        story.send(1, 2, AGREED);
        story.transitional(0, 2, &[0]);
        story.deliver(0, 1, 2, AGREED);
        story.regular(0, 2, &[0]);
        story.crash(1);
        story.crash(2);
        story
    }

    #[test]
    fn a_message_is_not_delivered_without_its_causal_past() {
        story(false).accept();
        story(true).reject("E17");
    }

    #[test]
    fn a_message_is_not_delivered_without_an_earlier_one_of_its_sender() {
        let mut story = Story::ring_of(3);
        story.send(2, 1, AGREED);
        story.send(2, 2, AGREED);
        story.transitional(0, 2, &[0]);
        story.deliver(0, 2, 2, AGREED);
        story.regular(0, 2, &[0]);
        story.crash(2);
        story.reject("S3");
    }
}
