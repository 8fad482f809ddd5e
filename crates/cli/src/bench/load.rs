//! Options of the runs that send messages.

use std::path::PathBuf;
use std::time::Duration;

use antiphon::ServiceLevel;
use antiphon_bench::{Load, Rate, Reach, groups_load};
use antiphon_daemon::conf::UNIX_DIRECTORY;

use crate::connect::{Auth, methods, seconds};

/// Where the daemons are.
#[derive(Debug, clap::Args)]
pub(super) struct DaemonArgs {
    /// A daemon: PORT for the Unix socket on this machine, PORT@HOST for TCP, or the path of a Unix
    /// socket, /DIRECTORY/PORT; give all of them. Where some send and some receive, the first half serves
    /// the senders, the second half the receivers; a single one serves both.
    #[arg(short, long = "daemon", value_name = "DAEMON", required = true)]
    pub(super) daemons: Vec<String>,
    #[command(flatten)]
    clients: ClientArgs,
}

/// How clients of the daemons begin.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArgs {
    /// Directory of the daemons' Unix sockets.
    #[arg(long, value_name = "DIRECTORY", default_value = UNIX_DIRECTORY)]
    unix_dir: PathBuf,
    /// How to authenticate; may be given several times.
    #[arg(long, value_enum, default_value = "null")]
    auth: Vec<Auth>,
    /// Name of the group, or first part of the names of the groups [default: one of this run's own].
    #[arg(long)]
    group: Option<String>,
}

impl ClientArgs {
    pub(super) fn group(&self) -> String {
        self.group.clone().unwrap_or_else(antiphon_bench::own_group)
    }

    pub(super) fn reach(&self) -> Reach {
        Reach { unix_directory: self.unix_dir.clone(), auth: methods(&self.auth) }
    }
}

impl DaemonArgs {
    pub(super) fn group(&self) -> String {
        self.clients.group()
    }

    pub(super) fn reach(&self) -> Reach {
        self.clients.reach()
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    #[command(flatten)]
    daemons: DaemonArgs,
    /// Senders and receivers on every daemon.
    #[arg(long)]
    everywhere: bool,
    /// Ids of the daemons' processes on this machine: reports their processor time and memory.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    daemon_pids: Vec<u32>,
    /// Bytes of each message, 20 at least.
    #[arg(short, long)]
    bytes: Option<usize>,
    /// fifo, causal, agreed or safe.
    #[arg(short, long, value_name = "LEVEL", default_value = "agreed")]
    service: ServiceLevel,
    /// Senders on each daemon that has senders.
    #[arg(long, default_value = "1")]
    senders: usize,
    /// Receivers on each daemon that has receivers.
    #[arg(long, default_value = "1")]
    receivers: usize,
    /// Messages a second of each sender.
    #[arg(short, long, allow_negative_numbers = true)]
    rate: Option<f64>,
    /// How long to measure.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds, allow_negative_numbers = true)]
    duration: Duration,
    /// How long to send before that.
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds, allow_negative_numbers = true)]
    warm_up: Duration,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl LoadArgs {
    pub(super) fn load(&self, body_bytes: usize, rate: Rate) -> Load {
        Load {
            reach: self.daemons.reach(),
            daemon_pids: self.daemon_pids.clone(),
            group: self.daemons.group(),
            body_bytes: self.bytes.unwrap_or(body_bytes),
            service: self.service,
            senders: self.senders,
            receivers: self.receivers,
            everywhere: self.everywhere,
            rate: self.rate.map_or(rate, Rate::Fixed),
            warm_up: self.warm_up,
            duration: self.duration,
            ..Load::new(self.daemons.daemons.clone())
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct GroupsArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// How many groups each receiver joins; with commas between several, a run for each.
    #[arg(short, long, value_delimiter = ',', default_values_t = [1, 10, 100, 1000, 10_000])]
    groups: Vec<usize>,
}

impl GroupsArgs {
    pub(super) fn json(&self) -> bool {
        self.load.json
    }

    /// Runs have groups of different names, as the receivers of one may still leave when another begins.
    pub(super) fn loads(&self) -> Vec<Load> {
        let load = self.load.load(1000, Rate::BackPressure);
        let rate = match load.rate {
            Rate::BackPressure => Rate::Fixed(groups_load(load.body_bytes) / load.sender_count() as f64),
            Rate::Fixed(rate) => Rate::Fixed(rate),
        };
        self.groups
            .iter()
            .map(|groups| Load {
                groups: *groups,
                group: format!("{}-{groups}", load.group),
                rate,
                ..load.clone()
            })
            .collect()
    }
}
