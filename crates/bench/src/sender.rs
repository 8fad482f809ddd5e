//! One sender of a run.

use std::thread;
use std::time::Duration;

use antiphon::{Connection, Envelope, Error};

use crate::error::BenchError;
use crate::load::{Load, Rate, client_error};
use crate::progress::{Phase, Progress};
use crate::stamp::Stamp;

/// Message type of the last message of a sender: its number is the count of those before it.
pub(crate) const END_TYPE: i16 = 1;

/// What is due sooner than this is waited for awake: a sleeper may wake up so late, and that would count
/// as latency of the daemons.
const AWAKE: Duration = Duration::from_micros(300);

/// How long a fast sender sleeps; what became due meanwhile it sends at once.
const BURST: Duration = Duration::from_micros(500);

/// Longest sleep, so that the end of a run is noticed.
const NAP: Duration = Duration::from_millis(50);

/// A sender of more messages a second than this does not wait awake: it would take a whole processor from
/// the daemons to be in time for messages that are late anyway when they wait for those before them.
const FAST: f64 = 5000.0;

/// Sends until the run is over, then says how many there were. Returns the open connection: closing it
/// while others still receive would put a membership change into the measurement.
pub(crate) fn send(
    load: &Load,
    address: &str,
    sender: u32,
    progress: &Progress,
) -> Result<Connection, BenchError> {
    let mut connection = load.connect(address, false)?;
    connection.set_buffered(true);
    send_all(&mut connection, load, sender, progress).map_err(|source| client_error(address, source))?;
    Ok(connection)
}

fn send_all(connection: &mut Connection, load: &Load, sender: u32, progress: &Progress) -> Result<(), Error> {
    let envelopes = load.envelopes()?;
    let mut envelopes = envelopes.iter().cycle();
    let end = Envelope::new(load.service).to(load.group_name(0))?.message_type(END_TYPE);
    let mut body = vec![0; load.body_bytes];
    let mut next = Stamp { sender, number: 0, due_ns: 0 };
    let schedule = Schedule::new(load, sender, progress.clock.now_ns());
    while progress.phase() != Phase::Over {
        let now_ns = progress.clock.now_ns();
        next.due_ns = schedule.due_ns(next.number, now_ns);
        if next.due_ns > now_ns {
            connection.flush()?;
            match schedule.nap(next.due_ns - now_ns) {
                Some(asleep) => thread::sleep(asleep),
                None => thread::yield_now(),
            }
            continue;
        }
        let Some(envelope) = envelopes.next() else { break };
        next.write(&mut body);
        connection.send(envelope, &body)?;
        next.number += 1;
    }
    next.write(&mut body);
    connection.send(&end, &body)?;
    connection.flush()
}

/// When messages are due.
struct Schedule {
    start_ns: u64,
    rate: Rate,
}

impl Schedule {
    /// The senders of a run take turns: together they send at even distances, not all at one time.
    fn new(load: &Load, sender: u32, now_ns: u64) -> Self {
        let Rate::Fixed(rate) = load.rate else { return Self { start_ns: now_ns, rate: load.rate } };
        let (period_ns, senders) = (1e9 / rate, load.halves().0.len() * load.senders);
        let turn_ns = period_ns * f64::from(sender) / senders.max(1) as f64;
        let start_ns = (now_ns as f64 / period_ns).ceil() * period_ns + turn_ns;
        Self { start_ns: start_ns as u64, rate: load.rate }
    }

    /// A sender that is held up at a fixed rate has its messages due at their old times: their waiting
    /// counts as latency (no coordinated omission).
    fn due_ns(&self, number: u64, now_ns: u64) -> u64 {
        match self.rate {
            Rate::BackPressure => now_ns,
            Rate::Fixed(rate) => self.start_ns + (number as f64 * 1e9 / rate) as u64,
        }
    }

    /// How long to sleep before what is due in `left_ns`; nothing when it is better awaited awake.
    fn nap(&self, left_ns: u64) -> Option<Duration> {
        if matches!(self.rate, Rate::Fixed(rate) if rate > FAST) {
            return Some(BURST);
        }
        Some(Duration::from_nanos(left_ns).checked_sub(AWAKE)?.min(NAP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_take_turns() {
        let load = Load { senders: 4, rate: Rate::Fixed(100.0), ..Load::new(vec!["4803".to_owned()]) };
        let due =
            |sender: u32, now_ms: u64| Schedule::new(&load, sender, now_ms * 1_000_000).due_ns(0, 0) / 1_000;
        assert_eq!([due(0, 5), due(1, 7), due(2, 3), due(3, 10)], [10_000, 12_500, 15_000, 17_500]);
    }

    #[test]
    fn a_late_sender_does_not_move_what_is_due() {
        let schedule = Schedule { start_ns: 1000, rate: Rate::Fixed(1e6) };
        assert_eq!(schedule.due_ns(3, 1000), 4000);
        assert_eq!(schedule.due_ns(3, 900_000), 4000);
        let flood = Schedule { start_ns: 1000, rate: Rate::BackPressure };
        assert_eq!(flood.due_ns(3, 900_000), 900_000);
    }

    #[test]
    fn only_a_slow_sender_is_awake_for_what_is_due_soon() {
        let slow = Schedule { start_ns: 0, rate: Rate::Fixed(200.0) };
        assert_eq!(slow.nap(100_000), None);
        assert_eq!(slow.nap(1_300_000), Some(Duration::from_millis(1)));
        let fast = Schedule { start_ns: 0, rate: Rate::Fixed(200_000.0) };
        assert_eq!(fast.nap(100), Some(BURST));
    }
}
