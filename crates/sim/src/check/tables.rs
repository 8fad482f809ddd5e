//! G16: daemons have the same groups at the same place of a ring's order: the same names, ids,
//! members and marks. Places are where the groups are settled and every join, leave and end of a session;
//! nothing else changes the table but configurations. While a ring is being closed, this holds for those
//! who close it together.

use std::collections::BTreeMap;

use antiphon_proto::time::Instant;

use super::history::{ConfigurationId, History, Step};
use super::{Violation, report};

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    let mut known: BTreeMap<_, (usize, u64)> = BTreeMap::new();
    for (at, run) in history.runs.iter().enumerate() {
        let mut configuration: Option<ConfigurationId> = None;
        for (time, step) in &run.steps {
            let (ring, place, hash) = match step {
                Step::Configured(next) => {
                    configuration = Some(ConfigurationId::of(next));
                    continue;
                }
                Step::Table(ring, place, hash) => (*ring, *place, *hash),
                _ => continue,
            };
            // All settle at one place, which is in another configuration for who is late.
            let key = (ring, place, configuration.filter(|_| place.is_some()));
            let (first, expected) = *known.entry(key).or_insert((at, hash));
            if expected != hash {
                report(violations, differ(history, (first, at), key.1.is_none(), *time));
            }
        }
    }
}

fn differ(history: &History<'_>, (one, other): (usize, usize), is_settled: bool, time: Instant) -> Violation {
    let names = [one, other].map(|at| history.runs[at].process);
    let place = if is_settled { "when they are settled" } else { "after the same join, leave or end" };
    let text = format!("{} and {} have different groups {place}", names[0], names[1]);
    Violation::new("G16", &[one, other], text).at(time)
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;

    #[test]
    fn tables_are_the_same_at_the_same_place() {
        for place in [None, Some(7)] {
            let mut story = Story::ring_of(2);
            story.table(0, place, 1);
            story.table(1, place, 1);
            story.accept();
            story.table(0, place.map(|seq| seq + 1), 2);
            story.table(1, place.map(|seq| seq + 1), 3);
            story.reject("G16");
        }
    }

    #[test]
    fn who_parts_may_differ() {
        let mut story = Story::ring_of(2);
        for process in [0, 1] {
            story.transitional(process, 2 + process as u64, &[process]);
            story.table(process, Some(7), process as u64);
        }
        story.accept();
    }
}
