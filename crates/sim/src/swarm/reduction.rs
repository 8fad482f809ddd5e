//! Smaller runs that fail as a given one does.
//!
//! A reduction takes something away from what a seed drew. The rest is not the same run with less in
//! it, since chance takes another way; but the faults that are left are often enough, and a run with
//! one sort of fault and few clients tells more than one with ten.

use clap::ValueEnum;

use super::{Faults, Options};
use crate::network::Quality;
use crate::runner::{Outcome, run_with};

/// Something that is taken away from a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[expect(missing_docs, reason = "the names say what is taken away")]
pub enum Reduction {
    Partitions,
    Cuts,
    Deafness,
    Crashes,
    Shutdowns,
    Pauses,
    Weather,
    Resurrections,
    Flapping,
    Leaps,
    Calendars,
    Reloads,
    ClosedPorts,
    Triggers,
    BadLinks,
    ManyClients,
    ManyGroups,
    FlushClients,
    LargeBodies,
    HalfOfTheLoad,
    HalfOfTheTime,
}

impl Reduction {
    /// Changes options accordingly. The last two may be applied several times.
    pub fn apply(self, options: &mut Options) {
        let faults: &mut Faults = &mut options.faults;
        match self {
            Self::Partitions => faults.partitions = false,
            Self::Cuts => faults.cuts = false,
            Self::Deafness => faults.deafness = false,
            Self::Crashes => faults.crashes = false,
            Self::Shutdowns => faults.shutdowns = false,
            Self::Pauses => faults.pauses = false,
            Self::Weather => faults.weather = false,
            Self::Resurrections => faults.resurrections = false,
            Self::Flapping => faults.flapping = false,
            Self::Leaps => faults.leaps = false,
            Self::Calendars => faults.calendars = false,
            Self::Reloads => faults.reloads = false,
            Self::ClosedPorts => faults.closed_ports = false,
            Self::Triggers => options.triggers = None,
            Self::BadLinks => options.settings.quality = Quality::default(),
            Self::ManyClients => options.clients_per_host = 1,
            Self::ManyGroups => options.groups = 1,
            Self::FlushClients => options.flush_clients_per_host = 0,
            Self::LargeBodies => options.mix.largest_body = options.mix.largest_body.min(300),
            Self::HalfOfTheLoad => options.load_gap *= 2,
            Self::HalfOfTheTime => options.chaos /= 2,
        }
    }
}

/// The options, less what is taken away.
#[must_use]
pub fn reduced(options: &Options, without: &[Reduction]) -> Options {
    let mut options = options.clone();
    for reduction in without {
        reduction.apply(&mut options);
    }
    options
}

/// Looks for reductions of the options under which the seed still fails in the way it did, trying each once and the
/// halvings up to four times; at most 24 runs. Returns them with what then happened.
#[must_use]
pub fn shrink(failed: &Outcome, options: &Options) -> Option<(Vec<Reduction>, Outcome)> {
    let mut without = Vec::new();
    let mut smallest = None;
    let halvings = [Reduction::HalfOfTheTime, Reduction::HalfOfTheLoad].repeat(3);
    for reduction in Reduction::value_variants().iter().chain(&halvings) {
        without.push(*reduction);
        let outcome = run_with(failed.seed, reduced(options, &without), false);
        if fails_alike(&outcome, failed) {
            smallest = Some(outcome);
        } else {
            without.pop();
        }
    }
    smallest.map(|outcome| (without, outcome))
}

fn fails_alike(outcome: &Outcome, failed: &Outcome) -> bool {
    let property = |outcome: &Outcome| outcome.violations.first().map(|violation| violation.property);
    outcome.panic.is_some() == failed.panic.is_some()
        && !outcome.is_good()
        && property(outcome) == property(failed)
}

#[cfg(all(test, feature = "mutants"))]
mod tests {
    use antiphon_proto::mutant::Mutant;

    use super::*;

    #[test]
    fn a_failing_run_gets_smaller_and_fails_alike() {
        let mut options = Options::draw(2);
        options.settings.mutant = Some(Mutant::DeliverEarlyTwice);
        let failed = run_with(2, options.clone(), false);
        let Some((without, smaller)) = shrink(&failed, &options) else { panic!("nothing was superfluous") };
        assert!(without.len() > 5, "{without:?}");
        assert!(smaller.totals.deliveries < failed.totals.deliveries);
        assert_eq!(smaller.violations[0].property, failed.violations[0].property);
    }
}
