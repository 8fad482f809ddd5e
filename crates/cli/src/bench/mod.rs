//! `antiphon bench`: loads for daemons, and what they took.

mod figures;
mod load;
mod membership;
mod soak;
mod udp;

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use antiphon_bench::{Rate, Report, measure};
use clap::Subcommand;
use indicatif::ProgressBar;
use serde::Serialize;

use self::load::{GroupsArgs, LoadArgs};
use crate::error::CliError;
use crate::output::{code, show, show_json};

/// A run longer than this shows how far it is.
const LONG: Duration = Duration::from_secs(5);

/// Measures daemons by the client protocol, whoever made them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// How many messages a second; 100 bytes from senders as fast as back-pressure allows, unless told
    /// otherwise.
    Throughput(LoadArgs),
    /// How late messages are; 1000 bytes, 200 messages a second from each sender, unless told otherwise.
    Latency(LoadArgs),
    /// How late messages are when every receiver is in many groups and each message goes to another one;
    /// 1000 bytes, 500 kbit/s from all senders together, unless told otherwise.
    Groups(GroupsArgs),
    /// How late joins and leaves are in large groups.
    Membership(membership::MembershipArgs),
    /// Whether anything grows, gets lost or changes under 80 % of the load that saturates the daemons, while
    /// members come and go; four daemons for 15 minutes, unless told otherwise.
    Soak(soak::SoakArgs),
    /// The classic experiments on a test bed of this machine's own: tables, pictures and a page. Needs root
    /// and iproute2.
    Figures(figures::FiguresArgs),
    /// Datagrams without a daemon.
    #[command(hide = true)]
    Udp(udp::UdpArgs),
}

/// Fails when the daemons do: a gap, a duplicate or an order difference makes the run one.
pub(crate) fn run(args: Args) -> Result<ExitCode, CliError> {
    match args.bench {
        Bench::Throughput(args) => one(&args, 100, Rate::BackPressure),
        Bench::Latency(args) => one(&args, 1000, Rate::Fixed(200.0)),
        Bench::Groups(args) => groups(&args),
        Bench::Membership(args) => membership::run(args),
        Bench::Soak(args) => soak::run(args),
        Bench::Figures(args) => figures::run(args),
        Bench::Udp(args) => udp::run(args),
    }
}

fn one(args: &LoadArgs, body_bytes: usize, rate: Rate) -> Result<ExitCode, CliError> {
    let load = args.load(body_bytes, rate);
    let report = with_bar(load.warm_up + load.duration, |on_tick| measure(&load, on_tick))?;
    show_as(args.json, &report)?;
    Ok(verdict(&[report]))
}

/// One run for each number of groups.
fn groups(args: &GroupsArgs) -> Result<ExitCode, CliError> {
    let mut reports = Vec::new();
    for load in args.loads() {
        let report = with_bar(load.warm_up + load.duration, |on_tick| measure(&load, on_tick))?;
        if !args.json() {
            show(&report.to_string())?;
        }
        reports.push(report);
    }
    if args.json() {
        show_json(&reports)?;
    }
    Ok(verdict(&reports))
}

fn verdict(reports: &[Report]) -> ExitCode {
    code(reports.iter().all(|report| report.faults.is_empty()))
}

/// Runs something that tells how much of its time is over, with a bar if it takes long and a person looks.
fn with_bar<T>(whole: Duration, run: impl FnOnce(&mut dyn FnMut(Duration)) -> T) -> T {
    let bar = (whole > LONG && io::stderr().is_terminal()).then(|| ProgressBar::new(milliseconds(whole)));
    let done = run(&mut |elapsed| {
        if let Some(bar) = &bar {
            bar.set_position(milliseconds(elapsed));
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    done
}

/// Shows an outcome to a program or to a person.
fn show_as(json: bool, outcome: &(impl Serialize + Display)) -> Result<(), CliError> {
    if json { show_json(outcome) } else { show(&outcome.to_string()) }
}

/// Where the program is whose command `daemon` runs a daemon, unless told otherwise.
fn this_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(CliError::Program)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
