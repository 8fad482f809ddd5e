//! Many connections, many receivers, and many daemons with nothing to do.

use std::thread;
use std::time::{Duration, Instant};

use antiphon::{Envelope, ServiceLevel};

use super::super::Lab;
use super::super::bed::Cable;
use super::super::ring::Ring;
use super::super::table::{Cell, Table};
use super::{memory, ms, number};
use crate::address::Reach;
use crate::crowd::{Crowd, allow_sessions};
use crate::error::BenchError;
use crate::load::{Load, client_error};
use crate::membership::Spread;
use crate::process::Usage;

/// How long all sessions may take to receive a message.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sessions on one daemon.
pub(super) fn connections(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let mut table = Table::new();
    for count in lab.by_extent(&[1000, 5000, 20_000][..], &[1000, 20_000], &[100]) {
        lab.step(&format!("{count} connections"));
        // Before the daemon starts, which has the limits of this process.
        let allowed = allow_sessions(*count);
        let ring = Ring::start(lab, 1, Cable::Batches)?;
        table.push(row(&ring, allowed)?);
    }
    Ok(table)
}

fn row(ring: &Ring<'_>, count: usize) -> Result<[Cell; 5], BenchError> {
    let address = ring.address(0);
    let begun = Instant::now();
    let mut crowd = Crowd::new()?;
    for index in 0..count {
        crowd.connect(&address, &Reach::default(), false)?;
        crowd.request(index, |outbox| {
            outbox.join("crowd")?;
            // A session's requests are done in its order: when this comes back, it has joined.
            let me = outbox.member();
            outbox.send(&Envelope::new(ServiceLevel::Agreed).to(me)?, &[])
        })?;
    }
    crowd.await_messages(PATIENCE)?;
    let connecting = begun.elapsed();
    let envelope = Envelope::new(ServiceLevel::Agreed)
        .to("crowd")
        .map_err(|error| client_error(&address, error.into()))?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        crowd.request(0, |outbox| outbox.send(&envelope, &[0; 100]))?;
        times.push(crowd.await_messages(PATIENCE)? - begun);
    }
    let idle = idle_percent(&ring.pids(), Duration::from_secs(2))?;
    let memory: u64 =
        ring.pids().iter().map(|pid| Ok(Usage::of(*pid)?.resident_bytes)).sum::<Result<u64, BenchError>>()?;
    Ok([
        ("connections", count.to_string()),
        ("connecting_ms", number(connecting.as_secs_f64() * 1e3, 0)),
        ("memory_MB", number(memory as f64 / 1e6, 1)),
        ("message_to_all_ms", number(Spread::of(&times).median_ms, 1)),
        ("idle_CPU_percent", number(idle.iter().sum(), 1)),
    ])
}

/// Receivers that all get the same, at one daemon.
pub(super) fn receivers(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let mut table = Table::new();
    for count in lab.by_extent(&[1, 10, 100, 1000][..], &[10, 1000], &[2]) {
        lab.step(&format!("{count} receivers"));
        let ring = Ring::start(lab, 2, Cable::Batches)?;
        let report = lab.measure(&lab.saturating(Load { receivers: *count, ..ring.load() }))?;
        let theirs = report.processes.last();
        let cpu = theirs.and_then(|process| process.cpu_us_per_message).map(|cpu| cpu / *count as f64);
        table.push([
            ("receivers", count.to_string()),
            ("messages_per_second", number(report.messages_per_second, 0)),
            ("frames_per_second", number(report.messages_per_second * *count as f64, 0)),
            ("CPU_us_per_frame", cpu.map_or("-".to_owned(), |cpu| number(cpu, 2))),
            ("memory_MB", memory(&report)),
            ("p50_ms", ms(report.latency.p50_us)),
            ("p99_ms", ms(report.latency.p99_us)),
            ("max_ms", ms(report.latency.max_us)),
            ("faults", report.faults.count().to_string()),
        ]);
    }
    Ok(table)
}

/// Rings with nothing to do.
pub(super) fn idle(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let mut table = Table::new();
    for count in lab.by_extent(&[2, 8, 20][..], &[20], &[2]) {
        let ring = Ring::start(lab, *count, Cable::Batches)?;
        lab.step(&format!("{count} daemons"));
        let crowd = ring.crowd(0..*count)?;
        thread::sleep(lab.by_extent(Duration::from_secs(2), Duration::from_secs(1), Duration::ZERO));
        let time = lab.by_extent(Duration::from_secs(10), Duration::from_secs(5), Duration::from_millis(200));
        let percent = idle_percent(&ring.pids(), time)?;
        let mut most_bytes = 0;
        for pid in ring.pids() {
            most_bytes = most_bytes.max(Usage::of(pid)?.resident_bytes);
        }
        drop(crowd);
        table.push([
            ("daemons", count.to_string()),
            ("mean_CPU_percent", number(percent.iter().sum::<f64>() / percent.len() as f64, 2)),
            ("most_CPU_percent", number(percent.iter().copied().fold(0.0, f64::max), 2)),
            ("memory_MB", number(most_bytes as f64 / 1e6, 1)),
        ]);
    }
    Ok(table)
}

/// Processor time of each process while nothing happens, in percent of a core.
fn idle_percent(pids: &[u32], time: Duration) -> Result<Vec<f64>, BenchError> {
    let usage = || pids.iter().map(|pid| Usage::of(*pid)).collect::<Result<Vec<_>, _>>();
    let (before, begun) = (usage()?, Instant::now());
    thread::sleep(time);
    let (after, seconds) = (usage()?, begun.elapsed().as_secs_f64());
    let used = |(before, after): (&Usage, &Usage)| (after.cpu_seconds - before.cpu_seconds) / seconds * 100.0;
    Ok(before.iter().zip(&after).map(used).collect())
}
