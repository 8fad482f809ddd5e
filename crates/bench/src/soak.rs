//! Hours of load below saturation, with members that come and go: does anything grow, get lost or change?

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use antiphon::Event;
use serde::Serialize;

use crate::error::BenchError;
use crate::load::{Load, Rate, client_error};
use crate::membership::await_event;
use crate::process::Usage;
use crate::report::Report;
use crate::run::measure;
use crate::sequence::Faults;

/// How long the rate that saturates the ring is measured.
const CALIBRATION: Duration = Duration::from_secs(5);

/// How often memory is looked at, at least in long runs.
const SAMPLING: Duration = Duration::from_secs(1);

/// How often it is looked at in all, at least.
const SAMPLES: u32 = 16;

/// In less time memory cannot be looked at so often.
const SHORTEST: Duration = Duration::from_secs(2);

/// Between two members that come and go.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a member that comes or goes waits for the word that it did.
const PATIENCE: Duration = Duration::from_secs(30);

/// Memory may grow by so much of itself, or by so many bytes, between two parts of the run, and is still flat:
/// queues that are fuller for a while are no leak, and a leak of one byte in ten messages is more.
const FLAT_PART: f64 = 0.1;
const FLAT_BYTES: u64 = 4 << 20;

/// What a soak came to.
#[derive(Clone, Debug, Serialize)]
pub struct SoakReport {
    /// Messages a second at one receiver where back-pressure set the rate.
    pub saturation_per_second: f64,
    /// What went wrong while that was found out.
    pub saturation_faults: Faults,
    /// What was measured at a part of that rate.
    pub report: Report,
    /// Members that joined and left meanwhile.
    pub joins_and_leaves: u64,
    /// Memory of each daemon process.
    pub memory: Vec<Memory>,
}

/// Resident memory of one process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Memory {
    /// The process.
    pub pid: u32,
    /// Median in the second quarter of the run.
    pub early_bytes: u64,
    /// Median in the last quarter.
    pub late_bytes: u64,
    /// The most at any time.
    pub most_bytes: u64,
}

impl Memory {
    /// From samples in the order of time.
    fn of(pid: u32, samples: &[u64]) -> Self {
        let quarter = samples.len() / 4;
        let median = |part: Option<&[u64]>| {
            let mut part = part.unwrap_or_default().to_vec();
            part.sort_unstable();
            part.get(part.len() / 2).copied().unwrap_or_default()
        };
        Self {
            pid,
            early_bytes: median(samples.get(quarter..quarter * 2)),
            late_bytes: median(samples.get(quarter * 3..)),
            most_bytes: samples.iter().copied().max().unwrap_or_default(),
        }
    }

    /// Whether it did not grow.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        let growth = self.late_bytes.saturating_sub(self.early_bytes);
        growth <= FLAT_BYTES || growth as f64 <= self.early_bytes as f64 * FLAT_PART
    }
}

impl SoakReport {
    /// Whether nothing was lost or changed, the daemons kept up, and no memory that was looked at grew.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let is_whole = self.saturation_faults.is_empty() && self.report.faults.is_empty();
        is_whole && self.report.keeps_up() && self.memory.iter().all(Memory::is_flat)
    }
}

impl Display for SoakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { saturation_per_second, saturation_faults, report, joins_and_leaves, memory } = self;
        writeln!(f, "saturation {saturation_per_second:.0} msg/s; faults: {saturation_faults}")?;
        write!(f, "{report}")?;
        writeln!(f, "changes    {joins_and_leaves} members joined and left")?;
        for process in memory {
            let mb = |bytes: u64| bytes as f64 / 1e6;
            let Memory { pid, early_bytes, late_bytes, most_bytes } = *process;
            let verdict = if process.is_flat() { "flat" } else { "grows" };
            let (early, late, most) = (mb(early_bytes), mb(late_bytes), mb(most_bytes));
            writeln!(
                f,
                "memory     {pid}: {early:.1} MB early, {late:.1} late, {most:.1} at most: {verdict}"
            )?;
        }
        Ok(())
    }
}

/// Measures at which rate the load saturates the daemons, then puts `share` of that on them for the load's
/// duration, while members join and leave. `on_tick` is told which part of that is over.
///
/// # Errors
/// As [`measure`], when there is too little time to judge memory, and when a member cannot join or leave.
pub fn soak(load: &Load, share: f64, mut on_tick: impl FnMut(Duration)) -> Result<SoakReport, BenchError> {
    if load.duration < SHORTEST {
        let (seconds, least) = (load.duration.as_secs_f64(), SHORTEST.as_secs());
        return Err(BenchError::ShortSoak { seconds, least });
    }
    let sampling = SAMPLING.min(load.duration / SAMPLES);
    let saturating = Load { rate: Rate::BackPressure, duration: CALIBRATION, ..load.clone() };
    let saturated = measure(&saturating, |_| {})?;
    let rate = saturated.messages_per_second * share / load.sender_count() as f64;
    // Receivers of the run before may still be leaving its group.
    let load = Load { rate: Rate::Fixed(rate), group: format!("{}-soak", load.group), ..load.clone() };
    let is_over = AtomicBool::new(false);
    let mut samples = vec![Vec::new(); load.daemon_pids.len()];
    let mut sampled = Instant::now();
    let (measured, changes) = thread::scope(|scope| {
        let coming_and_going = scope.spawn(|| come_and_go(&load, &is_over));
        let measured = measure(&load, |elapsed| {
            on_tick(elapsed);
            if sampled.elapsed() >= sampling {
                sampled = Instant::now();
                sample(&load.daemon_pids, &mut samples);
            }
        });
        is_over.store(true, Ordering::Relaxed);
        (measured, coming_and_going.join().unwrap_or(Err(BenchError::Thread)))
    });
    let memory = load.daemon_pids.iter().zip(&samples).map(|(pid, samples)| Memory::of(*pid, samples));
    Ok(SoakReport {
        saturation_per_second: saturated.messages_per_second,
        saturation_faults: saturated.faults,
        report: measured?,
        joins_and_leaves: changes?,
        memory: memory.collect(),
    })
}

/// A process that is gone shows in what is measured, not here.
fn sample(pids: &[u32], samples: &mut [Vec<u64>]) {
    for (pid, samples) in pids.iter().zip(samples) {
        if let Ok(usage) = Usage::of(*pid) {
            samples.push(usage.resident_bytes);
        }
    }
}

/// One member after the other, on one daemon after the other; returns how many.
fn come_and_go(load: &Load, is_over: &AtomicBool) -> Result<u64, BenchError> {
    let mut changes = 0;
    for address in load.daemons.iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        one_comes_and_goes(load, address)?;
        changes += 1;
        thread::sleep(PAUSE);
    }
    Ok(changes)
}

fn one_comes_and_goes(load: &Load, address: &str) -> Result<(), BenchError> {
    let on_error = |source| client_error(address, source);
    let mut member = load.reach.connector(address).connect().map_err(on_error)?;
    let group = load.group_name(0);
    member.join(&*group).map_err(on_error)?;
    let is_view = |event: &Event| matches!(event, Event::View(_));
    await_event(&mut member, address, "a view with a new member", PATIENCE, is_view)?;
    member.leave(&*group).map_err(on_error)?;
    let is_gone = |event: &Event| matches!(event, Event::SelfLeave(_));
    await_event(&mut member, address, "the word that a member left", PATIENCE, is_gone)?;
    member.disconnect().map_err(on_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_is_told_from_memory_that_is_filled_once() {
        let mb = |megabytes: u64| megabytes << 20;
        let filled: Vec<u64> = (0..100).map(|second| mb(20 + second.min(20))).collect();
        assert!(Memory::of(1, &filled).is_flat());
        let growing: Vec<u64> = (0..100).map(|second| mb(20 + second)).collect();
        assert!(!Memory::of(1, &growing).is_flat());
        assert!(Memory::of(1, &[]).is_flat(), "nothing is known of it");
    }
}
