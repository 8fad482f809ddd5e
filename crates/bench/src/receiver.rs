//! One receiver of a run.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use antiphon::{Connection, Envelope, Event, Message};
use hdrhistogram::Histogram;

use crate::error::BenchError;
use crate::load::{Load, Rate, client_error};
use crate::progress::Progress;
use crate::sender::END_TYPE;
use crate::sequence::Sequence;
use crate::stamp::{STAMP_BYTES, Stamp};

/// Message type by which a receiver tells itself that it is in all groups: its joins were before it.
const READY_TYPE: i16 = 2;

/// How long nothing may come before a receiver gives up.
const STALL: Duration = Duration::from_secs(15);

/// The longest latency that is told from longer ones, in nanoseconds: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// What one receiver found.
#[derive(Debug)]
pub(crate) struct Received {
    /// From the first request to join to the time at which it was in all groups.
    pub(crate) joining: Duration,
    /// Messages that came while the run measured, by sender.
    pub(crate) measured: Vec<u64>,
    /// One-way latency of what was due, or without a rate came, while the run measured, in nanoseconds.
    pub(crate) latency_ns: Histogram<u64>,
    /// All that came.
    pub(crate) sequence: Sequence,
    /// Still open: closing it while others receive would put a membership change into the measurement.
    pub(crate) connection: Connection,
}

/// Joins, waits at `ready` until all receivers are in their groups, and receives until all `senders`
/// have ended. A receiver that fails before it is ready passes the barrier all the same.
pub(crate) fn receive(
    load: &Load,
    address: &str,
    me: u32,
    senders: usize,
    ready: &Barrier,
    progress: &Progress,
) -> Result<Received, BenchError> {
    let joined = join(load, address, me, progress);
    ready.wait();
    let (connection, joining) = joined?;
    let mut received = Received {
        joining,
        measured: vec![0; senders],
        latency_ns: latencies()?,
        sequence: Sequence::new(senders),
        connection,
    };
    while !received.sequence.is_complete() {
        let message = received.next_message(address, progress)?;
        let foreign = || BenchError::Foreign(address.to_owned());
        let stamp = Stamp::read(&message.body).ok_or_else(foreign)?;
        let known = match message.message_type {
            READY_TYPE => true,
            END_TYPE => received.sequence.on_end(stamp.sender, stamp.number),
            _ => message.body.len() == load.body_bytes && received.on_message(stamp, load.rate, progress),
        };
        if !known {
            return Err(foreign());
        }
    }
    Ok(received)
}

/// An empty histogram with three digits. Its range is set, since what lies beyond is counted as its end.
pub(crate) fn latencies() -> Result<Histogram<u64>, BenchError> {
    Ok(Histogram::new_with_max(LONGEST_NS, 3)?)
}

impl Received {
    /// At a fixed rate it counts when a message was due: what a stall at the end holds back is late, however
    /// late it comes.
    fn on_message(&mut self, stamp: Stamp, rate: Rate, progress: &Progress) -> bool {
        let now_ns = progress.clock.now_ns();
        if progress.measures(now_ns)
            && let Some(measured) = self.measured.get_mut(stamp.sender as usize)
        {
            *measured += 1;
        }
        let counts_at_ns = match rate {
            Rate::BackPressure => now_ns,
            Rate::Fixed(_) => stamp.due_ns,
        };
        if progress.measures(counts_at_ns) {
            self.latency_ns.saturating_record(now_ns.saturating_sub(stamp.due_ns));
        }
        self.sequence.on_message(stamp.sender, stamp.number)
    }

    fn next_message(&mut self, address: &str, progress: &Progress) -> Result<Message, BenchError> {
        next_message(&mut self.connection, address, "the last message", progress)
    }
}

/// Joins all groups, and returns how long that took. A session's requests are ordered as it made them,
/// so when its own message comes back it is in all of them.
fn join(
    load: &Load,
    address: &str,
    me: u32,
    progress: &Progress,
) -> Result<(Connection, Duration), BenchError> {
    let mut connection = load.connect(address)?;
    connection.set_buffered(true);
    let begun = Instant::now();
    request(&mut connection, load, me).map_err(|source| client_error(address, source))?;
    loop {
        let message = next_message(&mut connection, address, "it was in all groups", progress)?;
        if message.message_type == READY_TYPE
            && Stamp::read(&message.body).is_some_and(|stamp| stamp.sender == me)
        {
            return Ok((connection, begun.elapsed()));
        }
    }
}

fn request(connection: &mut Connection, load: &Load, me: u32) -> Result<(), antiphon::Error> {
    for number in 0..load.groups {
        connection.join(load.group_name(number))?;
    }
    let mut body = [0; STAMP_BYTES];
    Stamp { sender: me, number: 0, due_ns: 0 }.write(&mut body);
    let envelope = Envelope::new(load.service).to(load.group_name(0))?.message_type(READY_TYPE);
    connection.send(&envelope, body)?;
    connection.flush()
}

/// The next message. A session without membership is told of nothing else, but that something was refused.
fn next_message(
    connection: &mut Connection,
    address: &str,
    wanted: &'static str,
    progress: &Progress,
) -> Result<Message, BenchError> {
    let on_error = |source| client_error(address, source);
    loop {
        let event = match connection.receive_ready().map_err(on_error)? {
            Some(event) => event,
            None => connection.receive_timeout(STALL).map_err(on_error)?.ok_or_else(|| {
                let (address, seconds) = (address.to_owned(), STALL.as_secs());
                BenchError::Stalled { address, wanted, seconds, network_views: progress.network_views() }
            })?,
        };
        match event {
            Event::Message(message) => return Ok(message),
            Event::Rejected(_) => return Err(BenchError::Rejected(address.to_owned())),
            Event::View(_) | Event::Transition(_) | Event::SelfLeave(_) => {}
        }
    }
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
