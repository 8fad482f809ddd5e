//! What clients take from each other.

use std::thread;
use std::time::Duration;

use super::super::Lab;
use super::super::bed::Cable;
use super::super::ring::Ring;
use super::super::table::Table;
use super::{ms, number};
use crate::error::BenchError;
use crate::load::{Load, Rate};
use crate::run::measure;

/// Senders that all saturate the ring.
pub(super) fn fairness(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let mut table = Table::new();
    for (count, each) in lab.by_extent(&[(10, 1), (2, 10), (2, 200)][..], &[(10, 1), (2, 200)], &[(2, 2)]) {
        let ring = Ring::start(lab, *count, Cable::Batches)?;
        for size in lab.by_extent(&[100, 1350, 8192][..], &[100, 8192], &[100]) {
            lab.step(&format!("{count} daemons with {each} senders each, {size} bytes"));
            let load = Load { body_bytes: *size, senders: *each, everywhere: *count > 2, ..ring.load() };
            let load = lab.saturating(load);
            let report = lab.measure(&Load { duration: load.duration * 2, ..load })?;
            table.push([
                ("daemons", count.to_string()),
                ("senders", report.senders.to_string()),
                ("senders_on_each", each.to_string()),
                ("bytes", size.to_string()),
                ("messages_per_second", number(report.messages_per_second, 0)),
                ("least", number(report.shares.least, 3)),
                ("most", number(report.shares.most, 3)),
                ("faults", report.faults.count().to_string()),
            ]);
        }
    }
    Ok(table)
}

/// A client that sends much beside one that does not.
struct Flood {
    name: &'static str,
    bytes: usize,
    rate: Rate,
    /// Whether its messages come from the daemon of the others' receiver, not from that of their sender.
    from_the_receivers: bool,
}

const FLOODS: [Flood; 5] = [
    Flood { name: "100 bytes from the same daemon", bytes: 100, ..LARGE },
    Flood { name: "100000 bytes from the same daemon", ..LARGE },
    Flood { name: "100000 bytes from the other daemon", from_the_receivers: true, ..LARGE },
    Flood { name: "100000 bytes from the same daemon at 1 Gbit/s", rate: Rate::Fixed(1250.0), ..LARGE },
    Flood { name: "100000 bytes from the same daemon at 4 Gbit/s", rate: Rate::Fixed(5000.0), ..LARGE },
];

const LARGE: Flood = Flood { name: "", bytes: 100_000, rate: Rate::BackPressure, from_the_receivers: false };

/// Latency of a quiet client, alone and beside floods.
pub(super) fn interference(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let mut table = Table::new();
    let ring = Ring::start(lab, 2, Cable::Batches)?;
    let quiet = Load {
        rate: Rate::Fixed(200.0),
        duration: lab.by_extent(Duration::from_secs(4), Duration::from_secs(3), Duration::from_millis(500)),
        ..ring.load()
    };
    lab.step("no flood");
    let alone = lab.measure(&quiet)?;
    let mut push = |name: &str, flood: f64, report: &crate::report::Report| {
        table.push([
            ("flood", name.to_owned()),
            ("flood_Mbit_per_second", number(flood, 0)),
            ("p50_ms", ms(report.latency.p50_us)),
            ("p99_ms", ms(report.latency.p99_us)),
            ("max_ms", ms(report.latency.max_us)),
            ("p99_by_idle", number(report.latency.p99_us / alone.latency.p99_us, 1)),
            ("faults", report.faults.count().to_string()),
        ]);
    };
    push("none", 0.0, &alone);
    for flood in &FLOODS {
        lab.step(flood.name);
        let (flooded, report) = beside(lab, &ring, &quiet, flood)?;
        push(flood.name, flooded, &report);
    }
    Ok(table)
}

/// The quiet client in the middle of the flood, and how much the flood was.
fn beside(
    lab: &Lab<'_>,
    ring: &Ring<'_>,
    quiet: &Load,
    flood: &Flood,
) -> Result<(f64, crate::report::Report), BenchError> {
    let mut daemons = ring.addresses();
    if flood.from_the_receivers {
        daemons.reverse();
    }
    let load = Load {
        body_bytes: flood.bytes,
        rate: flood.rate,
        group: "flood".to_owned(),
        duration: quiet.duration + quiet.warm_up,
        ..Load::new(daemons)
    };
    thread::scope(|scope| {
        let flooding = scope.spawn(|| measure(&load, |_| {}));
        thread::sleep(load.warm_up);
        let mut report = lab.measure(quiet)?;
        let flooded = flooding.join().unwrap_or(Err(BenchError::Thread))?;
        lab.count(flooded.faults);
        report.faults += flooded.faults;
        Ok((flooded.payload_mbit_per_second, report))
    })
}
