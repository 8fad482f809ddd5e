//! One sender of a run.

use std::thread;
use std::time::Duration;

use antiphon::{Connection, Envelope, Error};
use hdrhistogram::Histogram;

use crate::error::BenchError;
use crate::load::{Load, Rate, Scatter, client_error};
use crate::progress::Progress;
use crate::receiver::latencies;
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

/// How long after the end a sender goes on with what was due before it.
const GRACE_NS: u64 = 100_000_000;

/// Messages that were not sent are noted one by one up to so many; of more, each that is noted stands for several.
const UNSENT_SAMPLES: u64 = 10_000;

/// A sender of more messages a second than this does not wait awake: it would take a whole processor from
/// the daemons to be in time for messages that are late anyway when they wait for those before them.
const FAST: f64 = 5000.0;

/// What one sender did.
#[derive(Debug)]
pub(crate) struct Sent {
    /// How long after they were due messages of the measured time were sent, in nanoseconds: their sender was
    /// asleep, or the daemon took no more.
    pub(crate) lag_ns: Histogram<u64>,
    /// How long messages were due that were not sent at all because the daemon took no more, in nanoseconds at
    /// the end.
    pub(crate) unsent_ns: Histogram<u64>,
    /// Still open: closing it while others receive would put a membership change into the measurement.
    pub(crate) connection: Connection,
}

/// Sends until the run is over, then says how many there were.
pub(crate) fn send(load: &Load, address: &str, sender: u32, progress: &Progress) -> Result<Sent, BenchError> {
    let mut connection = load.connect(address)?;
    connection.set_buffered(true);
    let mut sent = Sent { lag_ns: latencies()?, unsent_ns: latencies()?, connection };
    sent.send_all(load, sender, progress).map_err(|source| client_error(address, source))?;
    Ok(sent)
}

impl Sent {
    fn send_all(&mut self, load: &Load, sender: u32, progress: &Progress) -> Result<(), Error> {
        let Self { lag_ns, unsent_ns, connection } = self;
        let (envelopes, scatter) = (load.envelopes()?, Scatter::new(load, sender));
        let end = Envelope::new(load.service).to(load.group_name(0))?.message_type(END_TYPE);
        let mut body = vec![0; load.body_bytes];
        let mut next = Stamp { sender, number: 0, due_ns: 0 };
        let schedule = Schedule::new(load, sender, progress.sending_from_ns());
        loop {
            let now_ns = progress.clock.now_ns();
            next.due_ns = schedule.due_ns(next.number, now_ns);
            let until_ns = progress.measured_until_ns();
            if next.due_ns >= until_ns || now_ns > until_ns.saturating_add(GRACE_NS) {
                break;
            }
            if next.due_ns > now_ns {
                connection.flush()?;
                match schedule.nap(next.due_ns - now_ns) {
                    Some(asleep) => thread::sleep(asleep),
                    None => thread::yield_now(),
                }
                continue;
            }
            let Some(envelope) = envelopes.get(scatter.group_of(next.number)) else { break };
            if schedule.is_fixed() && progress.measures(next.due_ns) {
                lag_ns.saturating_record(now_ns - next.due_ns);
            }
            next.write(&mut body);
            connection.send(envelope, &body)?;
            next.number += 1;
        }
        schedule.note_unsent(next.number, progress, unsent_ns);
        next.write(&mut body);
        connection.send(&end, &body)?;
        connection.flush()
    }
}

/// When messages are due.
struct Schedule {
    start_ns: u64,
    rate: Rate,
}

impl Schedule {
    /// The senders of a run take turns: from `start_ns` on they send together at even distances, not all at one
    /// time.
    fn new(load: &Load, sender: u32, start_ns: u64) -> Self {
        let turn_ns = match load.rate {
            Rate::BackPressure => 0.0,
            Rate::Fixed(rate) => 1e9 / rate * f64::from(sender) / load.sender_count().max(1) as f64,
        };
        Self { start_ns: start_ns.saturating_add(turn_ns as u64), rate: load.rate }
    }

    /// A sender that is held up at a fixed rate has its messages due at their old times: their waiting
    /// counts as latency (no coordinated omission).
    fn due_ns(&self, number: u64, now_ns: u64) -> u64 {
        match self.rate {
            Rate::BackPressure => now_ns,
            Rate::Fixed(rate) => self.start_ns + (number as f64 * 1e9 / rate) as u64,
        }
    }

    /// What was due before the end from this number on is as late as it is now, and later still if it were sent.
    fn note_unsent(&self, from: u64, progress: &Progress, unsent_ns: &mut Histogram<u64>) {
        let Rate::Fixed(rate) = self.rate else { return };
        let (now_ns, until_ns) = (progress.clock.now_ns(), progress.measured_until_ns());
        let due = (until_ns.saturating_sub(self.start_ns) as f64 * rate / 1e9).ceil() as u64;
        let step = due.saturating_sub(from).div_ceil(UNSENT_SAMPLES).max(1);
        for number in (from..due).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let due_ns = self.due_ns(number, now_ns);
            if progress.measures(due_ns) {
                unsent_ns.saturating_record_n(now_ns.saturating_sub(due_ns), step.min(due - number));
            }
        }
    }

    fn is_fixed(&self) -> bool {
        matches!(self.rate, Rate::Fixed(_))
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
            |sender: u32, number: u64| Schedule::new(&load, sender, 5_000_000).due_ns(number, 0) / 1_000;
        assert_eq!([due(0, 0), due(1, 0), due(2, 0), due(3, 0)], [5_000, 7_500, 10_000, 12_500]);
        assert_eq!([due(0, 1), due(3, 2)], [15_000, 32_500]);
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
    fn what_was_due_and_not_sent_is_as_late_as_it_is_at_the_end() {
        let progress = Progress::new();
        progress.begin_measuring();
        thread::sleep(Duration::from_millis(20));
        progress.end();
        let until_ns = progress.measured_until_ns();
        for rate in [1e3, 1e7] {
            let schedule = Schedule { start_ns: until_ns - 10_000_000, rate: Rate::Fixed(rate) };
            let mut unsent_ns = latencies().expect("the range is a valid one");
            schedule.note_unsent(rate as u64 / 200, &progress, &mut unsent_ns);
            assert_eq!(unsent_ns.len(), rate as u64 / 200, "half of what was due in 10 ms");
            assert!(unsent_ns.max() >= 4_900_000, "{}", unsent_ns.max());
            schedule.note_unsent(rate as u64, &progress, &mut unsent_ns);
            assert_eq!(unsent_ns.len(), rate as u64 / 200, "nothing is left of what was due");
        }
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
