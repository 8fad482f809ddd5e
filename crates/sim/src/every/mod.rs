//! One thing goes wrong at the n-th datagram of a story, for every n.
//!
//! Seeds meet the one datagram that matters by chance, and seldom twice. Here a small story is told once for each
//! datagram that is sent in its first moments ([`WATCHED`]), each time with the same trouble at that datagram, and
//! every run is judged by all checkers. So what goes wrong at one place only is found for sure, and the longest time
//! that daemons take to recover is known.

mod stories;
mod troubles;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antiphon_proto::delivery::Configuration;
use antiphon_proto::time::Instant;
use clap::ValueEnum;

use crate::check;
use crate::runner;
use crate::scenario::ms;
use crate::trace::{ProcessEvent, Trace};
use crate::world::{Fault, Settings, Strike, World};

pub use stories::Story;
pub use troubles::Trouble;

/// How long datagrams are counted from the beginning of a story.
pub const WATCHED: Duration = ms(900);
/// How long after the beginning clients send more.
const MORE: Duration = ms(400);
/// How many broken runs of a series are printed.
const SHOWN: usize = 3;

/// One run of a story.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The story.
    pub story: Story,
    /// What goes wrong, and at which datagram of the story, from 0 on.
    pub trouble: Option<(Trouble, u64)>,
    /// How the world is set up.
    pub settings: Settings,
}

/// What came of one run.
#[derive(Debug)]
pub struct Outcome {
    /// Datagrams that were counted.
    pub datagrams: u64,
    /// To the last regular configuration: from the beginning of the story, or from the end of what went wrong or of
    /// a partition, if that was later.
    pub took: Duration,
    /// Broken promises, or the panic, in words.
    pub broken: Vec<String>,
    /// Everything that was recorded.
    pub trace: Trace,
}

impl Trial {
    /// A story with its own settings.
    #[must_use]
    pub fn new(story: Story, trouble: Option<(Trouble, u64)>) -> Self {
        Self { story, trouble, settings: story.settings() }
    }

    /// Runs and judges it.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let mut world = World::new(1, self.settings.clone());
        let mut since = world.now();
        let panic = runner::panic_of(|| since = self.tell(&mut world));
        let datagrams = world.strike.as_ref().map_or(0, |strike| strike.counted);
        let trace = world.recorder.trace;
        let broken = match panic {
            Some(text) => {
                // Where, and why; in between is what a story that waits in vain has seen so far.
                let mut lines = text.lines();
                let told: Vec<&str> = lines.next().into_iter().chain(lines.last()).collect();
                vec![told.join(" ")]
            }
            None => check::all(&trace).iter().map(ToString::to_string).collect(),
        };
        Outcome { datagrams, took: last_configuration(&trace).since(since), broken, trace }
    }

    /// Returns from when on nothing hindered the daemons.
    fn tell(&self, world: &mut World) -> Instant {
        let clients = self.story.prepare(world);
        self.story.begin(world, &clients);
        let begun = world.now();
        world.strike = Some(self.strike(begun + WATCHED));
        world.run(MORE);
        stories::send(world, &clients);
        world.run_until(begun + WATCHED);
        let healed = if self.story.parts() {
            world.apply(Fault::Heal);
            world.now()
        } else {
            begun
        };
        let since = self.end_of_trouble(world).max(healed);
        world.run_until(since);
        world.come_to_rest();
        since
    }

    fn strike(&self, until: Instant) -> Strike {
        let hosts = self.settings.daemons;
        let trouble = self.trouble.map(|(trouble, _)| trouble);
        Strike {
            at: self.trouble.map(|(_, at)| at),
            until,
            blows: Box::new(move |from, to| {
                trouble.map(|trouble| trouble.blows((from, to), hosts)).unwrap_or_default()
            }),
            counted: 0,
            struck: None,
        }
    }

    fn end_of_trouble(&self, world: &World) -> Instant {
        let struck = world.strike.as_ref().and_then(|strike| strike.struck);
        let end = struck.zip(self.trouble).map(|(struck, (trouble, _))| struck + trouble.duration());
        end.unwrap_or(Instant(0))
    }
}

fn last_configuration(trace: &Trace) -> Instant {
    let records = trace.processes.iter().flat_map(|process| &process.records);
    let is_regular =
        |event: &ProcessEvent| matches!(event, ProcessEvent::Configured(Configuration::Regular { .. }));
    let times = records.filter(|(_, event)| is_regular(event)).map(|(at, _)| *at);
    times.max().unwrap_or(Instant(0))
}

/// What came of one trouble at many datagrams of a story.
#[derive(Debug)]
pub struct Series {
    /// The story.
    pub story: Story,
    /// What went wrong.
    pub trouble: Trouble,
    /// Datagrams of the story.
    pub datagrams: u64,
    /// The time to the last configuration if nothing goes wrong.
    pub without: Duration,
    /// Runs.
    pub runs: u64,
    /// The longest time to the last configuration, and at which datagram the trouble was then, among the good runs.
    pub longest: (Duration, u64),
    /// At which datagrams it broke promises, and which.
    pub broken: BTreeMap<u64, Vec<String>>,
}

impl Series {
    /// Runs a story with trouble at each of its datagrams, or at one of `step`, on several threads.
    #[must_use]
    pub fn run(story: Story, trouble: Trouble, step: u64, jobs: usize) -> Self {
        let base = Trial::new(story, None).run();
        let (datagrams, without) = (base.datagrams, base.took);
        let next = AtomicU64::new(0);
        let mut broken = BTreeMap::new();
        if !base.broken.is_empty() {
            // There is no such datagram, so that nothing goes wrong at it.
            broken.insert(datagrams, base.broken);
        }
        let longest = (Duration::ZERO, 0);
        let series = Mutex::new(Self { story, trouble, datagrams, without, runs: 0, longest, broken });
        let worker = || {
            loop {
                let at = next.fetch_add(step.max(1), Ordering::Relaxed);
                if at >= datagrams {
                    return;
                }
                let outcome = Trial::new(story, Some((trouble, at))).run();
                if let Ok(mut series) = series.lock() {
                    series.add(at, outcome);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(worker);
            }
        });
        series.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn add(&mut self, at: u64, outcome: Outcome) {
        self.runs += 1;
        if !outcome.broken.is_empty() {
            self.broken.insert(at, outcome.broken);
            return;
        }
        let (longest, longest_at) = self.longest;
        if outcome.took > longest || outcome.took == longest && at < longest_at {
            self.longest = (outcome.took, at);
        }
    }

    /// The head of a table with a line for each.
    #[must_use]
    pub fn head() -> String {
        let (story, fault, datagrams, runs) = ("story", "fault", "datagrams", "runs");
        let (without, longest, at) = ("without ms", "longest ms", "at");
        format!("{story:<16}{fault:<30}{datagrams:>9}{runs:>7}{without:>12}{longest:>12}{at:>7}")
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (longest, at) = self.longest;
        let (story, fault) = (name(&self.story), name(&self.trouble));
        let (without, longest) = (self.without.as_secs_f64() * 1e3, longest.as_secs_f64() * 1e3);
        let (datagrams, runs) = (self.datagrams, self.runs);
        write!(f, "{story:<16}{fault:<30}{datagrams:>9}{runs:>7}{without:>12.1}{longest:>12.1}{at:>7}")?;
        let count = self.broken.len();
        if count > SHOWN {
            write!(f, "\n  {count} runs broke promises, the first of them:")?;
        }
        for (at, violations) in self.broken.iter().take(SHOWN) {
            let first = violations.first().map_or("", String::as_str);
            let replay = format!("antiphon-sim every --story {story} --fault {fault} --at {at} --trace");
            write!(f, "\n  {first}\n  replay: {replay}")?;
        }
        Ok(())
    }
}

/// What a value is called in commands.
#[must_use]
pub fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_run_is_shown_with_the_command_that_repeats_it() {
        let broken = BTreeMap::from([(7, vec!["L1: no ring".to_owned(), "L2".to_owned()])]);
        let (without, longest) = (Duration::ZERO, (ms(250), 3));
        let (story, trouble) = (Story::SixRings, Trouble::CutBack);
        let series = Series { story, trouble, datagrams: 10, without, runs: 10, longest, broken };
        let text = series.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let replay = "replay: antiphon-sim every --story six-rings --fault cut-back --at 7 --trace";
        assert_eq!(lines[1..], ["L1: no ring", replay]);
    }
}
