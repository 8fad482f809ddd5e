//! Whether the checkers find faults that are planted in the core and in the flush layer
//! (docs/testing.md, Planted faults).
//!
//! Built only with the feature `mutants`.

use antiphon_proto::mutant::Mutant;

use crate::runner;
use crate::swarm::Options;
use crate::world::Settings;

/// Faults that random seeds find too seldom, each with the story that finds it.
pub const BY_STORY: &[(Mutant, &str)] = &[(Mutant::ForgetObligations, "a_word_that_is_forgotten_is_noticed")];

/// How a planted fault was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catch {
    /// How many seeds it took.
    pub seeds: u64,
    /// The property that was broken first, or `panic`.
    pub property: &'static str,
}

/// Runs seeds from 0 with a fault, up to the first that is found bad.
#[must_use]
pub fn hunt(plant: impl Fn(&mut Settings), most: u64) -> Option<Catch> {
    (0..most).find_map(|seed| {
        let mut options = Options::draw(seed);
        plant(&mut options.settings);
        let outcome = runner::run_with(seed, options, false);
        let first = outcome.violations.first().map(|violation| violation.property);
        let property = first.or(outcome.panic.is_some().then_some("panic"))?;
        Some(Catch { seeds: seed + 1, property })
    })
}
