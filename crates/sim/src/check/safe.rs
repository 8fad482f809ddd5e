//! Safe messages.
//!
//! - E19: a SAFE message delivered in a configuration is delivered by every member of it, in the ring
//!   it was sent in or while closing that, unless the member crashes.
//! - E20: when it is delivered in a regular configuration, every member has installed that.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_proto::delivery::Configuration;
use antiphon_wire::ids::{ProcessId, RingId};
use antiphon_wire::service::ServiceLevel;

use super::history::{ConfigurationId, History, MessageId, Run, Step};
use super::{Violation, report};

/// What was delivered as safe in a configuration, and who said so first.
struct Promise<'a> {
    ring: RingId,
    members: &'a [ProcessId],
    messages: BTreeSet<MessageId>,
    witness: usize,
}

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    let mut promises = BTreeMap::new();
    for (at, run) in history.runs.iter().enumerate() {
        collect(at, run, &mut promises);
    }
    for (configuration, promise) in &promises {
        for member in promise.members {
            if let Some((at, run)) = history.run_of(*member) {
                judge(history, *configuration, promise, (at, run), violations);
            }
        }
    }
}

fn collect<'a>(at: usize, run: &Run<'a>, promises: &mut BTreeMap<ConfigurationId, Promise<'a>>) {
    let mut current: Option<(&'a Configuration, RingId)> = None;
    for (_, step) in &run.steps {
        match step {
            Step::Configured(configuration) => {
                let ring = match configuration {
                    Configuration::Regular { ring, .. } => *ring,
                    Configuration::Transitional { old, .. } => *old,
                };
                current = Some((configuration, ring));
            }
            Step::Delivered(delivered) if delivered.stamp.service == ServiceLevel::Safe => {
                let (Some((configuration, ring)), Some(id)) = (current, delivered.id) else { continue };
                let promise = promises.entry(ConfigurationId::of(configuration)).or_insert_with(|| {
                    let messages = BTreeSet::new();
                    Promise { ring, members: configuration.members(), messages, witness: at }
                });
                promise.messages.insert(id);
            }
            _ => {}
        }
    }
}

fn judge(
    history: &History<'_>,
    configuration: ConfigurationId,
    promise: &Promise<'_>,
    (at, run): (usize, &Run<'_>),
    violations: &mut Vec<Violation>,
) {
    let witness = history.runs[promise.witness].process;
    let is_regular = matches!(configuration, ConfigurationId::Regular(_));
    if is_regular && !run.installed.contains(&promise.ring) {
        let text = format!(
            "{witness} delivered a safe message in {configuration}, which {} never installed",
            run.process
        );
        report(violations, Violation::new("E20", &[promise.witness, at], text));
    }
    if !history.is_due(at, promise.ring) {
        return;
    }
    if let Some(missing) = promise.messages.iter().find(|id| !history.has_delivered(at, **id)) {
        let text = format!(
            "{} was delivered as safe in {configuration} (by {witness} or another), and {} never delivered it",
            history.describe(*missing),
            run.process
        );
        report(violations, Violation::new("E19", &[promise.witness, at], text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{SAFE, Story};

    #[test]
    fn a_safe_message_binds_every_member() {
        let mut story = Story::ring_of(2);
        story.send(0, 1, SAFE);
        story.deliver(0, 0, 1, SAFE);
        story.accept();
        story.transitional(1, 2, &[1]);
        story.regular(1, 2, &[1]);
        story.reject("E19");
    }

    #[test]
    fn a_crash_or_a_late_delivery_keeps_the_promise() {
        let mut story = Story::ring_of(2);
        story.send(0, 1, SAFE);
        story.deliver(0, 0, 1, SAFE);
        let mut crashed = story.clone();
        crashed.crash(1);
        crashed.accept();
        story.transitional(1, 2, &[1]);
        story.deliver(1, 0, 1, SAFE);
        story.regular(1, 2, &[1]);
        story.accept();
    }

    #[test]
    fn a_transitional_configuration_binds_only_its_members() {
        let mut story = Story::ring_of(2);
        story.send(0, 1, SAFE);
        story.transitional(0, 2, &[0]);
        story.deliver(0, 0, 1, SAFE);
        story.regular(0, 2, &[0]);
        story.transitional(1, 3, &[1]);
        story.regular(1, 3, &[1]);
        story.accept();
    }

    #[test]
    fn a_member_that_never_installed_the_ring_can_not_have_acknowledged() {
        let mut story = Story::singles(2);
        story.transitional(0, 5, &[0]);
        story.regular(0, 5, &[0, 1]);
        story.send(0, 1, SAFE);
        story.deliver(0, 0, 1, SAFE);
        story.crash(1);
        story.reject("E20");
    }
}
