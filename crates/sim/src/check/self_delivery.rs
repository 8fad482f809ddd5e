//! E12: a process delivers what it sent, in the ring it sent it in or while closing that,
//! unless it crashes. This holds for every level but UNRELIABLE, and also for messages that got a
//! number and never left because the ring broke.

use antiphon_wire::service::ServiceLevel;

use super::history::{History, Step};
use super::{Violation, report};

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    for (at, run) in history.runs.iter().enumerate() {
        for (time, step) in &run.steps {
            let Step::Sent(id) = step else { continue };
            let message = history.message(*id);
            let excused = message.stamp.service == ServiceLevel::Unreliable
                || history.has_delivered(at, *id)
                || !history.is_due(at, message.stamp.ring);
            if !excused {
                let text = format!("{} never delivered its own {}", run.process, history.describe(*id));
                report(violations, Violation::new("E12", &[at], text).at(*time));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{AGREED, Story};

    #[test]
    fn what_was_sent_is_delivered_before_the_next_ring() {
        let mut story = Story::ring_of(2);
        story.send(0, 1, AGREED);
        story.accept();
        let mut crashed = story.clone();
        crashed.crash(0);
        crashed.crash(1);
        crashed.end_quietly().accept();
        story.transitional(0, 2, &[0]);
        story.accept();
        story.regular(0, 2, &[0]);
        story.reject("E12");
    }

    #[test]
    fn what_was_sent_is_delivered_before_the_end_of_a_quiet_run() {
        let mut story = Story::ring_of(1);
        story.send(0, 1, AGREED);
        story.end_quietly().reject("E12");
    }
}
