//! `antiphon bench soak`.

use std::process::ExitCode;
use std::time::Duration;

use antiphon::ServiceLevel;
use antiphon_bench::figures::on_own_bed;
use antiphon_bench::{BenchError, Load, SoakReport, soak};
use antiphon_daemon::conf::DAEMONS_MAX;

use super::load::ClientArgs;
use super::{show_as, this_program, with_bar};
use crate::error::CliError;
use crate::output::code;

#[derive(Debug, clap::Args)]
pub(super) struct SoakArgs {
    /// A daemon, as for the other measurements [default: daemons on a test bed of this run's own, which needs
    /// root and iproute2].
    #[arg(short, long = "daemon", value_name = "DAEMON")]
    daemons: Vec<String>,
    #[command(flatten)]
    clients: ClientArgs,
    /// Ids of these daemons' processes on this machine, whose memory must not grow.
    #[arg(long, value_name = "PID", value_delimiter = ',', requires = "daemons")]
    daemon_pids: Vec<u32>,
    /// Daemons on the test bed.
    #[arg(long, default_value = "4", conflicts_with = "daemons", value_parser = ring)]
    ring: usize,
    /// How long.
    #[arg(
        short = 'm',
        long = "minutes",
        value_name = "MINUTES",
        default_value = "15",
        value_parser = minutes,
        allow_negative_numbers = true
    )]
    duration: Duration,
    /// Part of the rate at which the daemons are saturated.
    #[arg(long, default_value = "0.8", value_parser = share)]
    share: f64,
    /// Bytes of each message.
    #[arg(short, long, default_value = "1000")]
    bytes: usize,
    /// fifo, causal, agreed or safe.
    #[arg(short, long, value_name = "LEVEL", default_value = "agreed")]
    service: ServiceLevel,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Fails when a message is missing, comes twice or out of order, when a view changes without reason, when the
/// daemons do not keep up, or when the memory of one that is looked at grows.
pub(super) fn run(args: SoakArgs) -> Result<ExitCode, CliError> {
    let report = if args.daemons.is_empty() {
        on_own_bed(&this_program()?, args.ring, |load| soak_all(&args, load))?
    } else {
        let load = Load {
            daemon_pids: args.daemon_pids.clone(),
            reach: args.clients.reach(),
            group: args.clients.group(),
            ..Load::new(args.daemons.clone())
        };
        soak_all(&args, load)?
    };
    show_as(args.json, &report)?;
    Ok(code(report.is_good()))
}

fn soak_all(args: &SoakArgs, load: Load) -> Result<SoakReport, BenchError> {
    let load = Load { duration: args.duration, body_bytes: args.bytes, service: args.service, ..load };
    with_bar(load.warm_up + args.duration, |on_tick| soak(&load, args.share, on_tick))
}

/// A number of minutes, up to a year of them.
fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.0..=525_600.0).contains(minutes));
    let minutes: f64 = minutes.ok_or("expected minutes from 0 to 525600")?;
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

/// A number of daemons that a configuration can have.
fn ring(text: &str) -> Result<usize, String> {
    let daemons = text.parse().ok().filter(|daemons| (1..=DAEMONS_MAX).contains(daemons));
    daemons.ok_or_else(|| format!("expected a number from 1 to {DAEMONS_MAX}"))
}

/// A part of the whole, without nothing.
fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "expected a part above 0 and up to 1, as in 0.8".to_owned())
}
