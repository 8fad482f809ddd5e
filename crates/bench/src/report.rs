//! The outcome of a run, as a table for people or for serde.

use std::fmt::{self, Display};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::{Load, Rate};
use crate::process::Usage;
use crate::receiver::Received;
use crate::sender::Sent;
use crate::sequence::{Faults, Sequence, compare};

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Level of the messages.
    pub service: &'static str,
    /// Length of the messages.
    pub body_bytes: usize,
    /// Daemons that clients were connected to.
    pub daemons: usize,
    /// Senders on all daemons.
    pub senders: usize,
    /// Receivers on all daemons.
    pub receivers: usize,
    /// Messages a second of each sender; nothing where back-pressure set it.
    pub rate_per_sender: Option<f64>,
    /// Whether every daemon had senders and receivers.
    pub everywhere: bool,
    /// Groups that each receiver joined.
    pub groups: usize,
    /// How long the slowest receiver took to join all groups, in milliseconds.
    pub joining_ms: f64,
    /// What was not measured at the start.
    pub warm_up_seconds: f64,
    /// How long was measured.
    pub seconds: f64,
    /// Messages a second at one receiver, the mean of all.
    pub messages_per_second: f64,
    /// The same in payload.
    pub payload_mbit_per_second: f64,
    /// What the senders got of the whole, where each could have had the same.
    pub shares: Shares,
    /// From the time at which a message was due to its reception, over all receivers; what was due and not
    /// sent counts with the time until the end.
    pub latency: Latency,
    /// Messages that were due and not sent, because the daemons took no more.
    pub unsent: u64,
    /// From the time at which a message was due to its sending, over all senders: part of the latency. Nothing
    /// where back-pressure set the rate.
    pub lag: Option<Latency>,
    /// The daemon processes that were asked for.
    pub processes: Vec<Process>,
    /// What went wrong.
    pub faults: Faults,
}

/// Messages of the sender with the fewest and of that with the most, as parts of the mean of all.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Shares {
    pub least: f64,
    pub most: f64,
}

/// Quantiles of times, in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    /// Nothing where there are too few samples to tell it from the longest.
    pub p99_9_us: Option<f64>,
    pub max_us: f64,
    /// How many times these are of.
    pub samples: u64,
}

/// What one daemon process used while the run measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Processor time for each message that one receiver got, in microseconds; nothing if none came.
    pub cpu_us_per_message: Option<f64>,
    /// Processor time for each second, in percent of one core.
    pub cpu_percent: f64,
    /// Memory resident at the end.
    pub resident_bytes: u64,
}

impl Report {
    pub(crate) fn new(
        load: &Load,
        measured: Duration,
        received: &[Received],
        sent: &[Sent],
        network_views: u64,
        (before, after): (&[Usage], &[Usage]),
    ) -> Self {
        let unsent = || sent.iter().map(|sent| &sent.unsent_ns).filter(|unsent| !unsent.is_empty());
        let unsent_at_each = received.iter().flat_map(|_| unsent());
        let joining = received.iter().map(|receiver| receiver.joining).max().unwrap_or_default();
        let seconds = measured.as_secs_f64();
        let by_sender = by_sender(received);
        let messages = by_sender.iter().sum::<u64>() as f64 / received.len() as f64;
        let sequences: Vec<Sequence> = received.iter().map(|receiver| receiver.sequence.clone()).collect();
        let processes = load.daemon_pids.iter().zip(before.iter().zip(after));
        Self {
            service: load.service.name(),
            body_bytes: load.body_bytes,
            daemons: load.daemons.len(),
            senders: load.sender_count(),
            receivers: received.len(),
            rate_per_sender: match load.rate {
                Rate::BackPressure => None,
                Rate::Fixed(rate) => Some(rate),
            },
            everywhere: load.everywhere,
            groups: load.groups,
            joining_ms: joining.as_secs_f64() * 1e3,
            warm_up_seconds: load.warm_up.as_secs_f64(),
            seconds,
            messages_per_second: messages / seconds,
            payload_mbit_per_second: messages / seconds * load.body_bytes as f64 * 8.0 / 1e6,
            shares: shares(&by_sender),
            latency: Latency::of(received.iter().map(|receiver| &receiver.latency_ns).chain(unsent_at_each)),
            unsent: unsent().map(Histogram::len).sum(),
            lag: matches!(load.rate, Rate::Fixed(_))
                .then(|| Latency::of(sent.iter().map(|sent| &sent.lag_ns).chain(unsent()))),
            processes: processes
                .map(|(pid, (before, after))| Process::new(*pid, before, after, seconds, messages))
                .collect(),
            faults: Faults { false_views: network_views, ..compare(&sequences, load.has_total_order()) },
        }
    }
}

/// A run that delivers less than this part of what was due was too fast for the daemons.
const KEPT_UP: f64 = 0.95;

impl Report {
    /// Messages a second that were due from all senders; nothing where back-pressure set the rate.
    #[must_use]
    pub fn offered(&self) -> Option<f64> {
        Some(self.rate_per_sender? * self.senders as f64)
    }

    /// Whether about as much was delivered as was due.
    #[must_use]
    pub fn keeps_up(&self) -> bool {
        self.offered().is_none_or(|offered| self.messages_per_second >= offered * KEPT_UP)
    }
}

impl Process {
    fn new(pid: u32, before: &Usage, after: &Usage, seconds: f64, messages: f64) -> Self {
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        Self {
            pid,
            cpu_us_per_message: (messages > 0.0).then(|| cpu_seconds * 1e6 / messages),
            cpu_percent: cpu_seconds / seconds * 100.0,
            resident_bytes: after.resident_bytes,
        }
    }
}

/// How many messages of each sender came while the run measured, over all receivers.
fn by_sender(received: &[Received]) -> Vec<u64> {
    let mut sums = vec![0; received.first().map_or(0, |receiver| receiver.measured.len())];
    for receiver in received {
        for (sum, measured) in sums.iter_mut().zip(&receiver.measured) {
            *sum += measured;
        }
    }
    sums
}

fn shares(by_sender: &[u64]) -> Shares {
    let mean = by_sender.iter().sum::<u64>() as f64 / by_sender.len() as f64;
    let part = |messages: Option<&u64>| match messages {
        Some(messages) if mean > 0.0 => *messages as f64 / mean,
        _ => 1.0,
    };
    Shares { least: part(by_sender.iter().min()), most: part(by_sender.iter().max()) }
}

/// Samples from which on the longest of a thousand is told from the longest of all.
const SAMPLES_OF_P99_9: u64 = 1000;

impl Latency {
    /// Of the samples of several histograms, in nanoseconds.
    fn of<'a>(mut histograms: impl Iterator<Item = &'a Histogram<u64>>) -> Self {
        let mut all = histograms.next().cloned();
        if let Some(all) = &mut all {
            for one in histograms {
                // All are of one range, so there is room.
                let _ = all.add(one);
            }
        }
        let (longest, samples) = all.as_ref().map_or((0, 0), |all| (all.max(), all.len()));
        // A bucket's upper end may lie above the longest time that was measured.
        let us = |ns: u64| ns.min(longest) as f64 / 1e3;
        let quantile = |quantile| all.as_ref().map_or(0.0, |all| us(all.value_at_quantile(quantile)));
        Self {
            mean_us: all.as_ref().filter(|_| samples > 0).map_or(0.0, |all| all.mean() / 1e3),
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p99_9_us: (samples >= SAMPLES_OF_P99_9).then(|| quantile(0.999)),
            max_us: us(longest),
            samples,
        }
    }
}

impl Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean_us, p50_us, p90_us, p99_us, max_us, samples, .. } = self;
        let p99_9 = self.p99_9_us.map_or(String::new(), |us| format!("p99.9 {us:.0}, "));
        write!(f, "mean {mean_us:.0}, p50 {p50_us:.0}, p90 {p90_us:.0}, p99 {p99_us:.0}, {p99_9}")?;
        write!(f, "max {max_us:.0} µs of {samples}")
    }
}

/// So many of something.
pub(crate) fn several(count: usize, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, body_bytes, seconds, latency, faults, .. } = self;
        let (daemons, senders) = (several(self.daemons, "daemon"), several(self.senders, "sender"));
        let receivers = several(self.receivers, "receiver");
        writeln!(f, "load       {service}, {body_bytes} bytes, {daemons}, {senders}")?;
        match self.rate_per_sender {
            Some(rate) => writeln!(f, "           {rate:.2} msg/s each, {receivers}, {seconds:.1} s")?,
            None => writeln!(f, "           back-pressure, {receivers}, {seconds:.1} s")?,
        }
        let (rate, payload) = (self.messages_per_second, self.payload_mbit_per_second);
        writeln!(f, "delivered  {rate:.0} msg/s, {payload:.1} Mbit/s to each receiver")?;
        if let Some(offered) = self.offered().filter(|_| !self.keeps_up()) {
            let unsent = self.unsent;
            writeln!(
                f,
                "           of {offered:.0} that were due ({unsent} not sent): the daemons do not keep up"
            )?;
        }
        if self.senders > 1 {
            let Shares { least, most } = self.shares;
            writeln!(f, "shares     {least:.2} to {most:.2} of the mean of all senders")?;
        }
        if self.groups > 1 {
            writeln!(f, "groups     {}, joined in {:.0} ms", self.groups, self.joining_ms)?;
        }
        writeln!(f, "latency    {latency}")?;
        if let Some(lag) = &self.lag {
            writeln!(
                f,
                "           of which, until they were sent: p50 {:.0}, p99 {:.0} µs",
                lag.p50_us, lag.p99_us
            )?;
        }
        if self.processes.is_empty() {
            writeln!(f, "daemons    processor and memory not looked at (--daemon-pids)")?;
        }
        for Process { pid, cpu_us_per_message, cpu_percent, resident_bytes } in &self.processes {
            let memory = *resident_bytes as f64 / 1e6;
            let price = cpu_us_per_message.map_or(String::new(), |us| format!("{us:.2} µs a message, "));
            writeln!(f, "daemon     {pid}: {price}{cpu_percent:.0} % of a core, {memory:.1} MB resident")?;
        }
        writeln!(f, "faults     {faults}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_parts_of_the_mean() {
        assert_eq!(shares(&[90, 100, 110]), Shares { least: 0.9, most: 1.1 });
        assert_eq!(shares(&[0, 0]), Shares { least: 1.0, most: 1.0 });
    }
}
