//! Configurations.
//!
//! - E1: a process begins with a regular configuration of itself alone; after a regular one comes a
//!   transitional one that closes it, and after that the regular one it announced.
//! - E2: a process is a member of what it delivers.
//! - E3: one identity, one content; members are in daemon order and have booted.
//! - E4: epochs of regular configurations grow along a process.
//! - E5: members of a transitional configuration come from the old ring and are in the new one.
//! - E6: who comes to a ring from the same ring comes through the same transitional configuration;
//!   and who is listed there and installs the new ring came from the old one.

use std::collections::BTreeMap;

use antiphon_proto::delivery::Configuration;
use antiphon_wire::ids::{ProcessId, RingId};

use super::history::{ConfigurationId, History, Run, Step};
use super::{Violation, report};

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    let mut contents: BTreeMap<ConfigurationId, (usize, &[ProcessId])> = BTreeMap::new();
    for (at, run) in history.runs.iter().enumerate() {
        for configuration in configurations(run) {
            contents.entry(ConfigurationId::of(configuration)).or_insert((at, configuration.members()));
        }
    }
    for (at, run) in history.runs.iter().enumerate() {
        let mut fail = |property, text| report(violations, Violation::new(property, &[at], text));
        shape(run, &mut fail);
        for configuration in configurations(run) {
            content(history, run, configuration, &contents, &mut fail);
        }
    }
    precision(history, violations);
}

fn configurations<'a>(run: &'a Run<'_>) -> impl Iterator<Item = &'a Configuration> {
    run.steps.iter().filter_map(|(_, step)| match step {
        Step::Configured(configuration) => Some(*configuration),
        _ => None,
    })
}

fn shape(run: &Run<'_>, fail: &mut impl FnMut(&'static str, String)) {
    let process = run.process;
    let mut last: Option<&Configuration> = None;
    let mut epoch: Option<u64> = None;
    for next in configurations(run) {
        let fits = match (last, next) {
            (None, Configuration::Regular { members, .. }) => *members == [process],
            (Some(Configuration::Regular { ring, .. }), Configuration::Transitional { old, .. }) => {
                ring == old
            }
            (Some(Configuration::Transitional { new, .. }), Configuration::Regular { ring, .. }) => {
                new == ring
            }
            _ => false,
        };
        if !fits {
            let before = last.map_or("booting".to_owned(), |last| ConfigurationId::of(last).to_string());
            fail("E1", format!("{process} went from {before} to {}", ConfigurationId::of(next)));
        }
        if let Configuration::Regular { ring, .. } = next {
            if epoch.is_some_and(|epoch| ring.epoch <= epoch) {
                fail("E4", format!("{process} installed {ring} after epoch {}", epoch.unwrap_or(0)));
            }
            epoch = Some(ring.epoch);
        }
        if let (
            Some(Configuration::Transitional { members: came, .. }),
            Configuration::Regular { members, .. },
        ) = (last, next)
            && came.iter().any(|member| !members.contains(member))
        {
            fail("E5", format!("{process}: not all of {came:?} are in {}", ConfigurationId::of(next)));
        }
        if let (
            Some(Configuration::Regular { members, .. }),
            Configuration::Transitional { members: stay, .. },
        ) = (last, next)
            && stay.iter().any(|member| !members.contains(member))
        {
            fail("E5", format!("{process}: {} lists strangers", ConfigurationId::of(next)));
        }
        last = Some(next);
    }
}

fn content(
    history: &History<'_>,
    run: &Run<'_>,
    configuration: &Configuration,
    contents: &BTreeMap<ConfigurationId, (usize, &[ProcessId])>,
    fail: &mut impl FnMut(&'static str, String),
) {
    let id = ConfigurationId::of(configuration);
    let members = configuration.members();
    if !members.contains(&run.process) {
        fail("E2", format!("{} delivered {id} without being in it", run.process));
    }
    if !members.is_sorted_by(|one, other| one.daemon < other.daemon) {
        fail("E3", format!("members of {id} are not in daemon order, or not one for each daemon"));
    }
    if let Some(unknown) = members.iter().find(|member| history.run_of(**member).is_none()) {
        fail("E3", format!("{id} lists {unknown}, which never booted"));
    }
    if let Some((other, first)) = contents.get(&id)
        && *first != members
    {
        let other = history.runs[*other].process;
        let text = format!("{id} has members {members:?} at {} and {first:?} at {other}", run.process);
        fail("E3", text);
    }
}

/// How a process came to a ring: from which ring, with whom.
type Arrivals<'a> = BTreeMap<(RingId, ProcessId), (RingId, &'a [ProcessId])>;

fn precision(history: &History<'_>, violations: &mut Vec<Violation>) {
    let mut arrivals: Arrivals<'_> = BTreeMap::new();
    for run in &history.runs {
        let all: Vec<&Configuration> = configurations(run).collect();
        for pair in all.windows(2) {
            if let [Configuration::Transitional { old, members, .. }, Configuration::Regular { ring, .. }] =
                pair
            {
                arrivals.insert((*ring, run.process), (*old, members));
            }
        }
    }
    for ((ring, process), (old, came)) in &arrivals {
        let first = (*ring, ProcessId::default());
        let others = arrivals.range(first..).take_while(|((other_ring, _), _)| other_ring == ring);
        for ((_, other), (other_old, _)) in others {
            let listed = came.contains(other);
            if listed != (other_old == old) {
                let text = format!(
                    "{process} came to {ring} from {old} with {came:?}, {other} came from {other_old}"
                );
                report(violations, Violation::new("E6", &[], text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;

    #[test]
    fn two_processes_part_and_meet_again() {
        let mut story = Story::ring_of(2);
        for process in [0, 1] {
            story.transitional(process, 2 + process as u64, &[process]);
            story.regular(process, 2 + process as u64, &[process]);
        }
        for process in [0, 1] {
            story.transitional(process, 5, &[process]);
            story.regular(process, 5, &[0, 1]);
        }
        story.accept();
    }

    #[test]
    fn a_transitional_configuration_stands_between_two_rings() {
        let mut story = Story::ring_of(2);
        story.regular(0, 2, &[0]);
        story.reject("E1");
    }

    #[test]
    fn nobody_installs_a_ring_without_itself() {
        let mut story = Story::ring_of(2);
        story.transitional(0, 2, &[0]);
        story.regular(0, 2, &[1]);
        story.reject("E2");
    }

    #[test]
    fn one_identity_has_one_content() {
        let mut story = Story::ring_of(3);
        for (process, members) in [(0, [0, 1].as_slice()), (1, &[0, 1, 2])] {
            story.transitional(process, 2, &[0, 1]);
            story.regular(process, 2, members);
        }
        story.reject("E3");
    }

    #[test]
    fn epochs_grow() {
        let mut story = Story::ring_of(1);
        story.transitional(0, 0, &[0]);
        story.regular(0, 0, &[0]);
        story.reject("E4");
    }

    #[test]
    fn who_comes_along_is_in_the_new_ring() {
        let mut story = Story::ring_of(2);
        story.transitional(0, 2, &[0, 1]);
        story.regular(0, 2, &[0]);
        story.reject("E5");
    }

    #[test]
    fn who_comes_from_elsewhere_is_not_listed() {
        let mut story = Story::ring_of(2);
        story.transitional(1, 2, &[1]);
        story.regular(1, 2, &[1]);
        story.transitional(0, 5, &[0, 1]);
        story.regular(0, 5, &[0, 1]);
        story.transitional(1, 5, &[1]);
        story.regular(1, 5, &[0, 1]);
        story.reject("E6");
    }
}
