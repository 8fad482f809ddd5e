//! Runs seeds of the simulator, `antiphon-sim run` many, `antiphon-sim replay` one; and `antiphon-sim
//! check` judges logs of real clients.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use antiphon_sim::every::{Series, Story, Trial, Trouble};
use antiphon_sim::loss::Cost;
use antiphon_sim::runner::{self, Job};
use antiphon_sim::swarm::Options;
use antiphon_sim::swarm::reduction::{self, Reduction};
use antiphon_sim::times::{Distribution, Occasion};
use antiphon_sim::work::Work;
use antiphon_sim::world::DAEMON_NAMES;
use antiphon_sim::{check, every, log, report};
use antiphon_wire::service::ServiceLevel;
use clap::{Parser, Subcommand, ValueEnum};

/// Deterministic simulation of whole clusters, judged by independent checkers.
#[derive(Parser)]
#[command(name = "antiphon-sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds and stop at the first that breaks a promise.
    Run {
        /// How many seeds; 0 for as many as the time allows.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// Minutes after which no seed begins.
        #[arg(long)]
        minutes: Option<f64>,
        /// Fail if fewer seeds were run, for the time was over.
        #[arg(long, default_value_t = 1)]
        at_least: u64,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Go on after a failure, and list all of them in the end.
        #[arg(long)]
        keep_going: bool,
    },
    /// Measure how long it takes until a change is seen, and whether stalls are mistaken for one.
    Times {
        /// Runs of each kind with each number of daemons.
        #[arg(long, default_value_t = 200)]
        runs: u64,
        /// Numbers of daemons.
        #[arg(long, value_delimiter = ',', default_values_t = [2, 4, 8, 16], value_parser = daemons)]
        daemons: Vec<usize>,
    },
    /// Measure how long a burst of messages takes on links that lose datagrams.
    Loss {
        /// Runs of each kind, of which the median counts.
        #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..))]
        runs: u64,
        /// Numbers of daemons.
        #[arg(long, value_delimiter = ',', default_values_t = [2, 4, 10, 20], value_parser = daemons)]
        daemons: Vec<usize>,
        /// Datagrams that are lost, in percent, half of them at most.
        #[arg(long, value_delimiter = ',', default_values_t = [0.0, 0.1, 1.0, 5.0, 20.0], value_parser = percent)]
        percent: Vec<f64>,
    },
    /// Let one thing go wrong at every datagram of small stories, in a run for each.
    Every {
        /// The stories; all if none is named.
        #[arg(long, value_delimiter = ',')]
        story: Vec<Story>,
        /// What goes wrong; everything, one after the other, if nothing is named.
        #[arg(long, value_delimiter = ',')]
        fault: Vec<Trouble>,
        /// Take every datagram of so many.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        step: u64,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Only the datagram of this number.
        #[arg(long)]
        at: Option<u64>,
        /// Print everything that happened.
        #[arg(long, requires = "at")]
        trace: bool,
    },
    /// Plant faults in the core and in the flush layer, one after the other, and show which check finds each.
    #[cfg(feature = "mutants")]
    Mutants {
        /// Seeds for each fault at most.
        #[arg(long, default_value_t = 5000)]
        seeds: u64,
    },
    /// Do work of a fixed size, to count instructions of; says how many bytes came out.
    Work {
        /// codec, packing, window, routing or cluster.
        kind: String,
        /// Messages of each sender.
        #[arg(long, default_value_t = 10_000)]
        messages: u64,
    },
    /// Judge the logs that clients of a real cluster have written.
    Check {
        /// The logs of all clients, so that what one read can be compared with what others sent.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Run one seed and print what happened.
    Replay {
        /// The seed.
        seed: u64,
        /// What is taken away from what the seed drew; the same may be taken several times.
        #[arg(long, value_delimiter = ',')]
        without: Vec<Reduction>,
        /// Print everything that happened, not only what led to a violation.
        #[arg(long)]
        trace: bool,
    },
}

fn daemons(text: &str) -> Result<usize, String> {
    let known = text.parse().ok().filter(|daemons| (2..=DAEMON_NAMES.len()).contains(daemons));
    known.ok_or_else(|| format!("expected a number from 2 to {}", DAEMON_NAMES.len()))
}

fn percent(text: &str) -> Result<f64, String> {
    let known = text.parse().ok().filter(|percent| (0.0..=50.0).contains(percent));
    known.ok_or_else(|| "expected a number from 0 to 50".to_owned())
}

fn main() -> ExitCode {
    runner::catch_panics();
    match Arguments::parse().command {
        Command::Run { seeds, first, minutes, at_least, jobs, keep_going } => {
            let limit = minutes.map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0));
            let limit = limit.or_else(|| (seeds == 0).then_some(Duration::from_secs(60)));
            run(Job { first, seeds, limit, threads: jobs, keep_going }, at_least)
        }
        Command::Times { runs, daemons } => times(runs, &daemons),
        Command::Loss { runs, daemons, percent } => loss(runs, &daemons, &percent),
        Command::Every { story, fault, step, jobs, at, trace } => {
            let stories = if story.is_empty() { Story::value_variants() } else { &story };
            let faults = if fault.is_empty() { Trouble::value_variants() } else { &fault };
            let pairs = stories.iter().flat_map(|story| faults.iter().map(move |fault| (*story, *fault)));
            match at {
                Some(at) => one_datagram(pairs, at, trace),
                None => every_datagram(pairs, step, jobs),
            }
        }
        #[cfg(feature = "mutants")]
        Command::Mutants { seeds } => mutants(seeds),
        Command::Work { kind, messages } => work(&kind, messages),
        Command::Check { files } => check(&files),
        Command::Replay { seed, without, trace } => replay(seed, &without, trace),
    }
}

fn run(job: Job, at_least: u64) -> ExitCode {
    let started = Instant::now();
    let summary = runner::run(job);
    print!("{}", report::summary(&summary, started.elapsed()));
    if let Some(first) = summary.failures.first() {
        println!("{}", report::failure(first, &[]));
        if let Some((without, smaller)) = reduction::shrink(first, &Options::draw(first.seed)) {
            println!("and smaller:\n{}", report::failure(&smaller, &without));
        }
    }
    for failure in summary.failures.iter().skip(1) {
        let text = failure.violations.first().map(ToString::to_string).or_else(|| failure.panic.clone());
        println!("also seed {}: {}", failure.seed, text.unwrap_or_default());
    }
    let are_enough = summary.totals.seeds >= at_least;
    if !are_enough {
        println!("expected {at_least} seeds at least, ran {}", summary.totals.seeds);
    }
    let good = are_enough && summary.failures.is_empty() && summary.unstable.is_empty();
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(kind: &str, messages: u64) -> ExitCode {
    let Some(work) = Work::ALL.into_iter().find(|work| work.name() == kind) else {
        eprintln!("there is {}", Work::ALL.map(Work::name).join(", "));
        return ExitCode::FAILURE;
    };
    println!("{} bytes", work.run(messages));
    ExitCode::SUCCESS
}

fn times(runs: u64, daemons: &[usize]) -> ExitCode {
    println!(
        "{:<20}{:>8}{:>8}{:>10}{:>10}{:>10}{:>10}",
        "", "daemons", "runs", "p50 ms", "p90", "p99", "max"
    );
    let mut good = true;
    for occasion in Occasion::ALL {
        for daemons in daemons {
            let distribution = Distribution::measure(occasion, (*daemons).clamp(2, DAEMON_NAMES.len()), runs);
            println!("{distribution}");
            good &= !occasion.is_harmless() || distribution.times.is_empty();
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn loss(runs: u64, daemons: &[usize], percent: &[f64]) -> ExitCode {
    println!("| level | daemons | % lost | ms | packets a message | configurations |");
    println!("|---|---|---|---|---|---|");
    for service in [ServiceLevel::Agreed, ServiceLevel::Safe] {
        for daemons in daemons {
            for percent in percent {
                let loss_ppm = (percent * 10_000.0) as u32;
                let Some(cost) = Cost::median(*daemons, loss_ppm, service, runs) else { continue };
                let (took, packets) = (cost.took.as_secs_f64() * 1e3, cost.packets_a_message);
                let installs = cost.installs;
                println!(
                    "| {} | {daemons} | {percent} | {took:.1} | {packets:.2} | {installs} |",
                    service.name()
                );
            }
        }
    }
    ExitCode::SUCCESS
}

fn every_datagram(pairs: impl Iterator<Item = (Story, Trouble)>, step: u64, jobs: usize) -> ExitCode {
    let mut good = true;
    println!("{}", Series::head());
    for (story, fault) in pairs {
        let series = Series::run(story, fault, step, jobs);
        println!("{series}");
        good &= series.broken.is_empty();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one_datagram(pairs: impl Iterator<Item = (Story, Trouble)>, at: u64, whole: bool) -> ExitCode {
    let mut good = true;
    for (story, fault) in pairs {
        let outcome = Trial::new(story, Some((fault, at))).run();
        if whole {
            for (at, line) in report::timeline(&outcome.trace, &[]) {
                println!("{at} {line}");
            }
        }
        let (story, fault, took) =
            (every::name(&story), every::name(&fault), outcome.took.as_secs_f64() * 1e3);
        println!("{story}, {fault} at {at}: {took:.1} ms, trace hash {:016x}", runner::hash(&outcome.trace));
        for broken in &outcome.broken {
            println!("{broken}");
        }
        good &= outcome.broken.is_empty();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(feature = "mutants")]
fn mutants(seeds: u64) -> ExitCode {
    use antiphon_proto::mutant::Mutant;
    use antiphon_sim::mutants::{BY_STORY, Catch, hunt};

    let mut survivors = 0;
    println!("| planted fault | what it does | found by | after seeds |\n|---|---|---|---|");
    let mut row = |name: String, what: &str, found: Option<Catch>| match found {
        Some(found) => println!("| {name} | {what} | {} | {} |", found.property, found.seeds),
        None => {
            println!("| {name} | {what} | NOT FOUND | {seeds} |");
            survivors += 1;
        }
    };
    for (mutant, what) in antiphon::flush::mutant::Mutant::ALL {
        let found = hunt(|settings| settings.flush_mutant = Some(*mutant), seeds);
        row(format!("{mutant:?}"), what, found);
    }
    for (mutant, what) in Mutant::ALL {
        if let Some((_, story)) = BY_STORY.iter().find(|(other, _)| other == mutant) {
            println!("| {mutant:?} | {what} | test {story} | |");
            continue;
        }
        let found = hunt(|settings| settings.mutant = Some(*mutant), seeds);
        row(format!("{mutant:?}"), what, found);
    }
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(files: &[PathBuf]) -> ExitCode {
    let trace = match log::read(files) {
        Ok(trace) => trace,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let violations = check::clients(&trace);
    let read: usize = trace.sessions.iter().map(|session| session.records.len()).sum();
    println!(
        "{} connections, {} messages sent, {read} events",
        trace.sessions.len(),
        trace.submissions.len()
    );
    println!("judged: what clients see; not judged: what only daemons see, and the order of members");
    for violation in &violations {
        println!("{violation}");
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(seed: u64, without: &[Reduction], whole: bool) -> ExitCode {
    let options = reduction::reduced(&Options::draw(seed), without);
    println!("{options:#?}");
    let outcome = runner::run_with(seed, options, true);
    if let Some(trace) = &outcome.trace {
        if whole {
            for (at, line) in report::timeline(trace, &[]) {
                println!("{at} {line}");
            }
        }
        println!("seed {seed}, trace hash {:016x}", runner::hash(trace));
    }
    if outcome.is_good() {
        println!("no promise was broken");
        return ExitCode::SUCCESS;
    }
    println!("{}", report::failure(&outcome, without));
    ExitCode::FAILURE
}
