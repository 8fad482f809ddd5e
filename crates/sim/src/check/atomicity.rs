//! Processes that move together deliver the same.
//!
//! - E13: processes that go from one configuration directly to the same next one delivered
//!   the same set of ordered messages in the first.
//! - E23: from a ring to the next they delivered the same sequence, with the transitional
//!   configuration at the same place.
//! - S2: and the same set of RELIABLE messages in ring and transitional configuration together.

use std::collections::BTreeMap;

use antiphon_wire::service::ServiceLevel;

use super::history::{ConfigurationId, History, MessageId, Run, Step};
use super::{Violation, report};

/// A process and what it delivered.
type Witness = (usize, Vec<MessageId>);

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    let mut closings = Closings::default();
    for (at, run) in history.runs.iter().enumerate() {
        closings.walk(history, at, run, violations);
    }
}

/// What the first process of each sort delivered.
#[derive(Default)]
struct Closings {
    /// By a configuration and the next.
    ordered: BTreeMap<(ConfigurationId, ConfigurationId), Witness>,
    /// By the transitional configuration between two rings.
    reliable: BTreeMap<ConfigurationId, Witness>,
}

impl Closings {
    fn walk(&mut self, history: &History<'_>, at: usize, run: &Run<'_>, violations: &mut Vec<Violation>) {
        let mut current: Option<ConfigurationId> = None;
        let (mut ordered, mut reliable) = (Vec::new(), Vec::new());
        for (time, step) in &run.steps {
            match step {
                Step::Configured(next) => {
                    let next = ConfigurationId::of(next);
                    let Some(last) = current.replace(next) else { continue };
                    let delivered = std::mem::take(&mut ordered);
                    let first = self.ordered.entry((last, next)).or_insert_with(|| (at, delivered.clone()));
                    if let Some(text) = difference(history, first, (at, &delivered), last, next) {
                        let property = if is_reordered(&first.1, &delivered) { "E23" } else { "E13" };
                        report(violations, Violation::new(property, &[first.0, at], text).at(*time));
                    }
                    if let ConfigurationId::Transitional { .. } = last {
                        let mut delivered: Vec<MessageId> = std::mem::take(&mut reliable);
                        delivered.sort_unstable();
                        let first = self.reliable.entry(last).or_insert_with(|| (at, delivered.clone()));
                        if let Some(text) = difference(history, first, (at, &delivered), last, next) {
                            report(violations, Violation::new("S2", &[first.0, at], text).at(*time));
                        }
                    }
                }
                Step::Delivered(delivered) => match delivered.id {
                    Some(id) if delivered.stamp.is_ordered() => ordered.push(id),
                    Some(id) if delivered.stamp.service == ServiceLevel::Reliable => reliable.push(id),
                    _ => {}
                },
                Step::Sent(_) | Step::Settled(_) | Step::Table(..) | Step::Accepted(_) | Step::Closed(..) => {
                }
            }
        }
    }
}

/// Whether two different sequences have the same elements.
fn is_reordered(one: &[MessageId], other: &[MessageId]) -> bool {
    let sorted = |list: &[MessageId]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    sorted(one) == sorted(other)
}

fn difference(
    history: &History<'_>,
    (first, one): &Witness,
    (at, other): (usize, &Vec<MessageId>),
    last: ConfigurationId,
    next: ConfigurationId,
) -> Option<String> {
    if one == other {
        return None;
    }
    let only = |have: &[MessageId], lack: &[MessageId]| {
        let id = have.iter().find(|id| !lack.contains(id));
        id.map_or_else(|| "nothing".to_owned(), |id| history.describe(*id))
    };
    Some(format!(
        "from {last} to {next}, {} delivered {} messages and {} {}; only the former {}, only the latter {}",
        history.runs[*first].process,
        one.len(),
        history.runs[at].process,
        other.len(),
        only(one, other),
        only(other, one)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::story::{AGREED, RELIABLE, Story};

    fn close(story: &mut Story, process: usize, before: bool, after: bool, level: super::ServiceLevel) {
        if before {
            story.deliver(process, 2, 1, level);
        }
        story.transitional(process, 2, &[0, 1]);
        if after {
            story.deliver(process, 2, 1, level);
        }
        story.regular(process, 2, &[0, 1]);
    }

    fn story(one: (bool, bool), other: (bool, bool), level: super::ServiceLevel) -> Story {
        let mut story = Story::ring_of(3);
        story.send(2, 1, level);
        close(&mut story, 0, one.0, one.1, level);
        close(&mut story, 1, other.0, other.1, level);
        story.crash(2);
        story
    }

    #[test]
    fn processes_that_move_together_deliver_the_same_in_each_configuration() {
        story((true, false), (true, false), AGREED).accept();
        story((false, true), (false, true), AGREED).accept();
        story((true, false), (false, true), AGREED).reject("E13");
        story((true, false), (false, false), AGREED).reject("E13");
    }

    #[test]
    fn reliable_messages_are_agreed_on_for_both_configurations_together() {
        story((true, false), (false, true), RELIABLE).accept();
        story((true, false), (false, false), RELIABLE).reject("S2");
    }
}
