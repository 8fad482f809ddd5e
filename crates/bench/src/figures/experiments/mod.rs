//! What is measured: each experiment gives rows, and pictures of them.

mod latency;
mod limits;
mod membership;
mod scale;
mod sharing;
mod throughput;

use super::Lab;
use super::plot::Plot;
use super::table::Table;
use crate::error::BenchError;
use crate::report::Report;

/// Something to measure.
#[derive(Debug)]
pub(crate) struct Experiment {
    /// Name on the command line and of its file.
    pub(crate) name: &'static str,
    /// Names of its pictures.
    pub(crate) plots: &'static [&'static str],
    pub(crate) title: &'static str,
    /// How it is done and what its columns mean.
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Lab<'_>) -> Result<Outcome, BenchError>,
}

/// What an experiment found.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) table: Table,
    pub(crate) plots: Vec<Plot>,
    /// Gaps, duplicates, order differences and false views.
    pub(crate) faults: u64,
}

impl Outcome {
    fn new(table: Table, plots: Vec<Plot>) -> Self {
        Self { table, plots, faults: 0 }
    }
}

/// All experiments, in the order of the page.
pub(crate) const EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "limits",
        plots: &[],
        title: "What the test bed can do at best",
        about: "UDP from one host to another through the bridge, sent in batches (segmentation offload) or by \
                one call a datagram, through cables that carry batches, single frames, or 100 Mbit/s; and \
                bytes through a Unix socket between two threads.",
        run: limits::limits,
    },
    Experiment {
        name: "network",
        plots: &["network"],
        title: "Throughput on 100 Mbit/s, against the number of daemons",
        about: "Half of the daemons serve one sender each, the others one receiver each; agreed messages as fast \
                as back-pressure allows. Every host's cable carries 100 Mbit/s each way, of which 97.2 can be \
                UDP payload of 1472-byte datagrams. On a real wire 95.7 could: there a frame also takes 24 \
                bytes for preamble, check sequence and gap; here only the 14 of its header count. Of three runs \
                the one with the median rate, with the faults of all; columns as below.",
        run: throughput::network,
    },
    Experiment {
        name: "small",
        plots: &["small"],
        title: "Throughput of small messages on 100 Mbit/s",
        about: "The same with 50 to 1400 bytes, where it shows whether messages share packets.",
        run: throughput::small,
    },
    Experiment {
        name: "groups",
        plots: &["groups"],
        title: "Latency against the number of groups",
        about: "20 daemons on 100 Mbit/s, half with a sender, half with a receiver; 500 kbit/s of messages from all \
                senders together, spread over all groups. Every receiver is in all groups; joining is how long \
                the slowest took to join them. Samples: messages, each at every receiver. Memory: that of the \
                daemon that has most, which keeps what it once needed in the rows above. Single runs.",
        run: latency::groups,
    },
    Experiment {
        name: "membership",
        plots: &["membership"],
        title: "Latency of joins and leaves, against the size of the group",
        about: "Members spread over 20 daemons on 100 Mbit/s; one more joins and leaves. Here: until it knows; \
                everywhere: until the last member has the view.",
        run: membership::membership,
    },
    Experiment {
        name: "throughput",
        plots: &["throughput", "throughput_messages"],
        title: "Throughput without a limit of the network",
        about: "As above, with cables as fast as the machine: carrying batches of datagrams as one (segmentation \
                offload), or every datagram alone. Latency is what windows and buffers hold. Processor time is that \
                of a daemon for each message that one receiver got, the mean of all daemons: of 20 daemons, all \
                together take 20 times as much. Of three runs the one with the median rate, with the faults of all.",
        run: throughput::unlimited,
    },
    Experiment {
        name: "latency",
        plots: &["latency"],
        title: "One-way latency of an idle ring",
        about: "1000 bytes, 100 messages a second from all senders together, on cables as fast as the machine; \
                with daemons that sleep while there is nothing to do, and with daemons that poll (`BusyPoll`). Of \
                three runs the one with the median p50.",
        run: latency::idle,
    },
    Experiment {
        name: "views",
        plots: &["views"],
        title: "Time to a view",
        about: "From the start of the first process to a view of all at the last client; from SIGKILL of one \
                daemon, and from the healing of a network that was parted in halves.",
        run: membership::views,
    },
    Experiment {
        name: "fairness",
        plots: &[],
        title: "What each of several saturating senders gets",
        about: "Parts of the mean of all senders: 1 for each would be the same for all.",
        run: sharing::fairness,
    },
    Experiment {
        name: "interference",
        plots: &[],
        title: "What a flood does to the messages of others",
        about: "Two daemons; one-way latency of 100 bytes, 200 a second, agreed, while another client floods.",
        run: sharing::interference,
    },
    Experiment {
        name: "receivers",
        plots: &[],
        title: "Throughput against the receivers of one daemon",
        about: "Two daemons, one sender at one, all receivers at the other; 100 bytes, agreed, as fast as back-pressure \
                allows. Frames: messages that the receivers got together. Processor time is that of their daemon for \
                a frame. Of three runs the one with the median rate, with the faults of all.",
        run: scale::receivers,
    },
    Experiment {
        name: "connections",
        plots: &[],
        title: "Many client connections on one daemon",
        about: "Sessions without membership, all in one group, and one message to them all. Where the system \
                allows a process fewer open files than 20,000 and some, so many.",
        run: scale::connections,
    },
    Experiment {
        name: "idle",
        plots: &[],
        title: "What an idle ring costs",
        about: "Daemons with one client each that says nothing; processor time of each in percent of a core.",
        run: scale::idle,
    },
];

/// A number with so many digits after the point.
fn number(value: f64, digits: usize) -> String {
    format!("{value:.digits$}")
}

/// Microseconds as milliseconds.
fn ms(us: f64) -> String {
    number(us / 1e3, 3)
}

/// Processor time for each message that one receiver got, in microseconds, the mean of all daemons.
fn cpu(report: &Report) -> String {
    let known: Vec<f64> = report.processes.iter().filter_map(|process| process.cpu_us_per_message).collect();
    if known.is_empty() { "-".to_owned() } else { number(known.iter().sum::<f64>() / known.len() as f64, 2) }
}

/// Memory of the daemon that has most, in megabytes.
fn memory(report: &Report) -> String {
    let most = report.processes.iter().map(|process| process.resident_bytes).max().unwrap_or_default();
    number(most as f64 / 1e6, 1)
}
