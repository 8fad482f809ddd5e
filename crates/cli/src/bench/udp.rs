//! `antiphon bench udp`: datagrams without a daemon, which the figures let run on the hosts of their bed.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use antiphon_bench::limits::{udp_sink, udp_source};

use crate::connect::seconds;
use crate::error::CliError;
use crate::output::show_json;

#[derive(Debug, clap::Args)]
pub(super) struct UdpArgs {
    #[command(subcommand)]
    end: End,
}

#[derive(Debug, clap::Subcommand)]
enum End {
    /// Send as fast as the system takes it.
    Source {
        /// Where the sink is.
        #[arg(long)]
        at: SocketAddr,
        /// Bytes of each datagram.
        #[arg(long, default_value = "1472")]
        bytes: usize,
        /// Datagrams of each call.
        #[arg(long, default_value = "1")]
        segments: usize,
        /// For how long.
        #[arg(long, default_value = "1", value_parser = seconds)]
        seconds: Duration,
    },
    /// Count what comes, and print it as JSON.
    Sink {
        /// Where to listen.
        #[arg(long)]
        at: SocketAddr,
        /// For how long after the first datagram.
        #[arg(long, default_value = "1", value_parser = seconds)]
        seconds: Duration,
    },
}

pub(super) fn run(args: UdpArgs) -> Result<ExitCode, CliError> {
    match args.end {
        End::Source { at, bytes, segments, seconds } => {
            udp_source(at, bytes, segments, seconds).map_err(CliError::Datagrams)?;
        }
        End::Sink { at, seconds } => {
            let arrived = udp_sink(at, seconds).map_err(CliError::Datagrams)?;
            show_json(&arrived)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
