//! Throughput, against daemons and sizes.

use std::time::Duration;

use super::super::Lab;
use super::super::bed::Cable;
use super::super::ring::Ring;
use super::super::table::{Cell, Table};
use super::{cpu, memory, ms, number};
use crate::error::BenchError;
use crate::load::Load;

const NARROW: Cable = Cable::Mbit(100);

/// How long a daemon's share of a narrow network takes to settle after the first messages of all.
const SETTLING_OF_EACH: Duration = Duration::from_millis(100);

/// Against the number of daemons, on a narrow network.
pub(super) fn network(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let counts = lab.by_extent(&[2, 4, 8, 12, 16, 20][..], &[2, 8, 20], &[2]);
    let sizes = lab.by_extent(&[1000, 1350, 8192, 100_000][..], &[1350, 8192], &[1350]);
    sweep(lab, &[NARROW], counts, sizes)
}

/// Small messages, on a narrow network.
pub(super) fn small(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let counts = lab.by_extent(&[2, 8, 20][..], &[8], &[2]);
    let sizes = lab.by_extent(
        &[50, 100, 200, 350, 500, 650, 700, 750, 900, 1100, 1250, 1400][..],
        &[50, 100, 350, 700, 1400],
        &[50, 700],
    );
    sweep(lab, &[NARROW], counts, sizes)
}

/// As fast as the machine is.
pub(super) fn unlimited(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let counts = lab.by_extent(&[1, 2, 4, 8, 20][..], &[1, 2, 8, 20], &[2]);
    let sizes = lab.by_extent(&[64, 100, 700, 1350, 8192, 100_000][..], &[100, 1350, 8192], &[100]);
    sweep(lab, &[Cable::Batches, Cable::Frames], counts, sizes)
}

/// A single daemon needs no cable and is measured with the first only.
fn sweep(lab: &Lab<'_>, cables: &[Cable], counts: &[usize], sizes: &[usize]) -> Result<Table, BenchError> {
    let mut table = Table::new();
    for (place, cable) in cables.iter().enumerate() {
        for count in counts.iter().filter(|count| place == 0 || **count > 1) {
            let ring = Ring::start(lab, *count, *cable)?;
            for size in sizes {
                lab.step(&format!("{count} daemons, {size} bytes, {}", cable.name()));
                table.push(row(lab, &ring, *cable, *size)?);
            }
        }
    }
    Ok(table)
}

fn row(lab: &Lab<'_>, ring: &Ring<'_>, cable: Cable, size: usize) -> Result<[Cell; 11], BenchError> {
    let load = lab.saturating(Load { body_bytes: size, ..ring.load() });
    let settling =
        if cable == NARROW { SETTLING_OF_EACH * ring.load().daemons.len() as u32 } else { Duration::ZERO };
    let report = lab.measure(&Load { warm_up: load.warm_up.max(settling), ..load })?;
    Ok([
        ("cable", if report.daemons == 1 { "none".to_owned() } else { cable.name() }),
        ("daemons", report.daemons.to_string()),
        ("bytes", size.to_string()),
        ("messages_per_second", number(report.messages_per_second, 0)),
        ("Mbit_per_second", number(report.payload_mbit_per_second, 1)),
        ("CPU_us_per_message_and_daemon", cpu(&report)),
        ("memory_MB", memory(&report)),
        ("p50_ms", ms(report.latency.p50_us)),
        ("p99_ms", ms(report.latency.p99_us)),
        ("max_ms", ms(report.latency.max_us)),
        ("faults", report.faults.count().to_string()),
    ])
}
