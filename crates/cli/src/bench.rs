//! `antiphon bench`: loads for daemons, and what they took.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use antiphon::ServiceLevel;
use antiphon_bench::{Load, Rate, measure};
use clap::Subcommand;
use indicatif::ProgressBar;

use crate::connect::{seconds, service};
use crate::error::CliError;

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
}

#[derive(Debug, clap::Args)]
struct LoadArgs {
    /// A daemon: PORT for the Unix socket on this machine, PORT@HOST for TCP; give all of them. The
    /// first half serves the senders, the second half the receivers; a single one serves both.
    #[arg(short, long = "daemon", value_name = "PORT[@HOST]", required = true)]
    daemons: Vec<String>,
    /// Senders and receivers on every daemon.
    #[arg(long)]
    everywhere: bool,
    /// Directory of the daemons' Unix sockets.
    #[arg(long, value_name = "DIRECTORY", default_value = "/tmp")]
    unix_dir: PathBuf,
    /// Ids of the daemons' processes on this machine: reports their processor time and memory.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    daemon_pids: Vec<u32>,
    /// Bytes of each message, 20 at least.
    #[arg(short, long)]
    bytes: Option<usize>,
    /// fifo, causal, agreed or safe.
    #[arg(short, long, value_name = "LEVEL", default_value = "agreed", value_parser = service)]
    service: ServiceLevel,
    /// Senders on each daemon that has senders.
    #[arg(long, default_value = "1")]
    senders: usize,
    /// Receivers on each daemon that has receivers.
    #[arg(long, default_value = "1")]
    receivers: usize,
    /// Messages a second of each sender.
    #[arg(short, long)]
    rate: Option<f64>,
    /// How long to measure.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    duration: Duration,
    /// How long to send before that.
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    warm_up: Duration,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Fails when the daemons do: a gap, a duplicate or an order difference makes the run one.
pub(crate) fn run(args: Args) -> Result<ExitCode, CliError> {
    let (json, load) = match args.bench {
        Bench::Throughput(args) => (args.json, args.load(100, Rate::BackPressure)),
        Bench::Latency(args) => (args.json, args.load(1000, Rate::Fixed(200.0))),
    };
    let whole = load.warm_up + load.duration;
    let bar = (whole > LONG && io::stderr().is_terminal()).then(|| ProgressBar::new(milliseconds(whole)));
    let report = measure(&load, |elapsed| {
        if let Some(bar) = &bar {
            bar.set_position(milliseconds(elapsed));
        }
    })?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let mut text = report.to_string();
    if json {
        text = serde_json::to_string(&report).map_err(|error| CliError::Output(error.into()))? + "\n";
    }
    io::stdout().write_all(text.as_bytes()).map_err(CliError::Output)?;
    Ok(if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl LoadArgs {
    fn load(self, body_bytes: usize, rate: Rate) -> Load {
        Load {
            daemons: self.daemons,
            unix_directory: self.unix_dir,
            daemon_pids: self.daemon_pids,
            body_bytes: self.bytes.unwrap_or(body_bytes),
            service: self.service,
            senders: self.senders,
            receivers: self.receivers,
            everywhere: self.everywhere,
            rate: self.rate.map_or(rate, Rate::Fixed),
            warm_up: self.warm_up,
            duration: self.duration,
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
