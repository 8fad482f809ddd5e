//! What is measured: each experiment gives rows, and pictures of them.

mod latency;
mod limits;
mod membership;
mod scale;
mod sharing;
mod throughput;

use super::Lab;
use super::plot::{Axis, Plot};
use super::table::Table;
use crate::error::BenchError;
use crate::report::Report;

/// Something to measure.
#[derive(Debug)]
pub(crate) struct Experiment {
    /// Name on the command line and of its file.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// How it is done and what its columns mean.
    pub(crate) about: &'static str,
    /// By which columns the rounds of a row are compared: the first in which it has a number.
    pub(crate) median_by: &'static [&'static str],
    pub(crate) plots: &'static [Plot],
    /// A round. The rows of all rounds are of the same.
    pub(crate) run: fn(&Lab<'_>) -> Result<Table, BenchError>,
}

/// All experiments, in the order of the page.
pub(crate) const EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "limits",
        title: "What the test bed can do at best",
        about: "UDP from one host to another through the bridge, sent in batches (segmentation offload) or by \
                one call a datagram, through cables that carry batches, single frames, or 100 Mbit/s; and \
                bytes through a Unix socket between two threads.",
        median_by: &["Mbit_per_second", "p50_us"],
        plots: &[],
        run: limits::limits,
    },
    Experiment {
        name: "network",
        title: "Throughput on 100 Mbit/s, against the number of daemons",
        about: "Half of the daemons serve one sender each, the others one receiver each; agreed messages as fast \
                as back-pressure allows. Every host's cable carries 100 Mbit/s each way, of which 97.2 can be \
                UDP payload of 1472-byte datagrams. On a real wire 95.7 could: there a frame also takes 24 \
                bytes for preamble, check sequence and gap; here only the 14 of its header count. Columns as below.",
        median_by: &["messages_per_second"],
        plots: &[Plot {
            file: "network",
            title: "Agreed, 100 Mbit/s: payload at each receiver",
            x: Axis::linear("daemons"),
            y: Axis::linear("Mbit_per_second"),
            by: &["bytes"],
        }],
        run: throughput::network,
    },
    Experiment {
        name: "small",
        title: "Throughput of small messages on 100 Mbit/s",
        about: "The same with 50 to 1400 bytes, where it shows whether messages share packets.",
        median_by: &["messages_per_second"],
        plots: &[Plot {
            file: "small",
            title: "Agreed, 100 Mbit/s, small messages: payload at each receiver",
            x: Axis::linear("bytes"),
            y: Axis::linear("Mbit_per_second"),
            by: &["daemons"],
        }],
        run: throughput::small,
    },
    Experiment {
        name: "groups",
        title: "Latency against the number of groups",
        about: "20 daemons on 100 Mbit/s, half with a sender, half with a receiver; 500 kbit/s of messages from all \
                senders together, spread over all groups. Every receiver is in all groups; joining is how long \
                the slowest took to join them. Samples: messages, each at every receiver. Memory: that of the \
                daemon that has most, which keeps what it once needed in the rows above.",
        median_by: &["mean_ms"],
        plots: &[Plot {
            file: "groups",
            title: "500 kbit/s on 100 Mbit/s: mean one-way latency",
            x: Axis::log("groups"),
            y: Axis::linear("mean_ms"),
            by: &["service", "bytes"],
        }],
        run: latency::groups,
    },
    Experiment {
        name: "membership",
        title: "Latency of joins and leaves, against the size of the group",
        about: "Members spread over 20 daemons on 100 Mbit/s; one more joins and leaves. Here: until it knows; \
                everywhere: until the last member has the view.",
        median_by: &["mean_ms"],
        plots: &[Plot {
            file: "membership",
            title: "Joins and leaves in a group: mean latency",
            x: Axis::linear("members"),
            y: Axis::linear("mean_ms"),
            by: &["what"],
        }],
        run: membership::membership,
    },
    Experiment {
        name: "throughput",
        title: "Throughput without a limit of the network",
        about: "As above, with cables as fast as the machine: carrying batches of datagrams as one (segmentation \
                offload), or every datagram alone. Latency is what windows and buffers hold. Processor time is that \
                of a daemon for each message that one receiver got, the mean of all daemons: of 20 daemons, all \
                together take 20 times as much.",
        median_by: &["messages_per_second"],
        plots: &[
            Plot {
                file: "throughput",
                title: "Agreed, no limit of the network: payload at each receiver",
                x: Axis::log("bytes"),
                y: Axis::log("Mbit_per_second"),
                by: &["cable", "daemons"],
            },
            Plot {
                file: "throughput_messages",
                title: "Agreed, no limit of the network: messages",
                x: Axis::log("bytes"),
                y: Axis::log("messages_per_second"),
                by: &["cable", "daemons"],
            },
        ],
        run: throughput::unlimited,
    },
    Experiment {
        name: "latency",
        title: "One-way latency of an idle ring",
        about: "1000 bytes, 100 messages a second from all senders together, on cables as fast as the machine; \
                with daemons that sleep while there is nothing to do, and with daemons that poll (`BusyPoll`).",
        median_by: &["p50_us"],
        plots: &[Plot {
            file: "latency",
            title: "Idle ring, 1000 bytes: one-way latency, median",
            x: Axis::linear("daemons"),
            y: Axis::linear("p50_us"),
            by: &["service", "idle_daemons"],
        }],
        run: latency::idle,
    },
    Experiment {
        name: "views",
        title: "Time to a view",
        about: "From the start of the first process to a view of all at the last client; from SIGKILL of one \
                daemon, and from the healing of a network that was parted in halves.",
        median_by: &["median_ms"],
        plots: &[Plot {
            file: "views",
            title: "Time to a view at the last client, median",
            x: Axis::linear("daemons"),
            y: Axis::linear("median_ms"),
            by: &["what"],
        }],
        run: membership::views,
    },
    Experiment {
        name: "fairness",
        title: "What each of several saturating senders gets",
        about: "Parts of the mean of all senders: 1 for each would be the same for all.",
        median_by: &["least"],
        plots: &[],
        run: sharing::fairness,
    },
    Experiment {
        name: "interference",
        title: "What a flood does to the messages of others",
        about: "Two daemons; one-way latency of 100 bytes, 200 a second, agreed, while another client floods. By \
                idle: by the p99 without a flood in the same round.",
        median_by: &["p99_ms"],
        plots: &[],
        run: sharing::interference,
    },
    Experiment {
        name: "receivers",
        title: "Throughput against the receivers of one daemon",
        about: "Two daemons, one sender at one, all receivers at the other; 100 bytes, agreed, as fast as back-pressure \
                allows. Frames: messages that the receivers got together. Processor time is that of their daemon for \
                a frame.",
        median_by: &["messages_per_second"],
        plots: &[],
        run: scale::receivers,
    },
    Experiment {
        name: "connections",
        title: "Many client connections on one daemon",
        about: "Sessions without membership, all in one group, and one message to them all. Where the system \
                allows a process fewer open files than 20,000 and some, so many.",
        median_by: &["connecting_ms"],
        plots: &[],
        run: scale::connections,
    },
    Experiment {
        name: "idle",
        title: "What an idle ring costs",
        about: "Daemons with one client each that says nothing; processor time of each in percent of a core.",
        median_by: &["mean_CPU_percent"],
        plots: &[],
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
