//! One receiver of a run.

use std::sync::Barrier;
use std::time::Duration;

use antiphon::{Connection, Event, Message};
use hdrhistogram::Histogram;

use crate::error::BenchError;
use crate::load::{Load, client_error};
use crate::run::{Phase, Progress};
use crate::sender::END_TYPE;
use crate::sequence::Sequence;
use crate::stamp::Stamp;

/// How long nothing may come before a receiver gives up.
const STALL: Duration = Duration::from_secs(15);

/// The longest latency that is told from longer ones, in nanoseconds: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// What one receiver found.
#[derive(Debug)]
pub(crate) struct Received {
    /// Messages that came while the run measured.
    pub(crate) measured: u64,
    /// One-way latency of what came while the run measured, in nanoseconds.
    pub(crate) latency_ns: Histogram<u64>,
    /// All that came.
    pub(crate) sequence: Sequence,
    /// Still open: closing it while others receive would put a membership change into the measurement.
    pub(crate) connection: Connection,
}

/// Joins, waits at `ready` until all `receivers` are in the group, and receives until all `senders`
/// have ended. A receiver that fails before it is ready passes the barrier all the same.
pub(crate) fn receive(
    load: &Load,
    address: &str,
    group: &str,
    counts: Counts,
    ready: &Barrier,
    progress: &Progress,
) -> Result<Received, BenchError> {
    let joined = join(load, address, group, counts.receivers);
    ready.wait();
    let mut received = Received {
        measured: 0,
        latency_ns: latencies()?,
        sequence: Sequence::new(counts.senders),
        connection: joined?,
    };
    let mut senders_left = counts.senders;
    while senders_left > 0 {
        let message = next_message(&mut received.connection, address)?;
        let foreign = || BenchError::Foreign(address.to_owned());
        let stamp = Stamp::read(&message.body).ok_or_else(foreign)?;
        let known = if message.message_type == END_TYPE {
            senders_left -= 1;
            received.sequence.on_end(stamp.sender, stamp.number)
        } else {
            received.on_message(stamp, progress)
        };
        if !known {
            return Err(foreign());
        }
    }
    Ok(received)
}

/// An empty histogram with three digits. Its range is set, since what lies beyond is counted as its end.
fn latencies() -> Result<Histogram<u64>, BenchError> {
    Ok(Histogram::new_with_max(LONGEST_NS, 3)?)
}

/// How many others there are in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) senders: usize,
    pub(crate) receivers: usize,
}

impl Received {
    fn on_message(&mut self, stamp: Stamp, progress: &Progress) -> bool {
        if progress.phase() == Phase::Measuring {
            self.measured += 1;
            self.latency_ns.saturating_record(progress.clock.now_ns().saturating_sub(stamp.due_ns));
        }
        self.sequence.on_message(stamp.sender, stamp.number)
    }
}

/// Joins and waits until every receiver of the run has joined.
fn join(load: &Load, address: &str, group: &str, receivers: usize) -> Result<Connection, BenchError> {
    let mut connection = load.connect(address, true)?;
    connection.join(group).map_err(|source| client_error(address, source))?;
    loop {
        let event = next_event(&mut connection, address, "all receivers were in one view")?;
        if matches!(&event, Event::View(view) if view.members.len() >= receivers) {
            return Ok(connection);
        }
    }
}

fn next_message(connection: &mut Connection, address: &str) -> Result<Message, BenchError> {
    loop {
        if let Event::Message(message) = next_event(connection, address, "the last message")? {
            return Ok(message);
        }
    }
}

fn next_event(connection: &mut Connection, address: &str, wanted: &'static str) -> Result<Event, BenchError> {
    if let Some(event) = connection.receive_ready().map_err(|source| client_error(address, source))? {
        return Ok(event);
    }
    connection
        .receive_timeout(STALL)
        .map_err(|source| client_error(address, source))?
        .ok_or_else(|| BenchError::Stalled { address: address.to_owned(), wanted, seconds: STALL.as_secs() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_of_any_size_are_told_apart() {
        for ns in [14_000, 3_000_000, 90_000_000_000] {
            let mut latencies = latencies().expect("the range is a valid one");
            latencies.saturating_record(ns);
            let found = latencies.value_at_quantile(0.5);
            assert!(found.abs_diff(ns) <= ns / 1000, "{found} for {ns}");
        }
    }
}
