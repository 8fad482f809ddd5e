//! One-way latency, of an idle ring and with many groups.

use std::time::Duration;

use antiphon::ServiceLevel;

use super::super::Lab;
use super::super::bed::Cable;
use super::super::ring::Ring;
use super::super::table::Table;
use super::{memory, ms, number};
use crate::error::BenchError;
use crate::load::{Load, Rate, groups_load};

const SERVICES: [ServiceLevel; 2] = [ServiceLevel::Agreed, ServiceLevel::Safe];

/// Messages a second of all senders together in an idle ring.
const IDLE_RATE: f64 = 100.0;

/// Messages that a row of many groups is of in a round, at least; each comes to all receivers.
const MESSAGES_TO_GROUPS: f64 = 20.0;

/// An idle ring.
pub(super) fn idle(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let mut table = Table::new();
    for (busy_poll, idle_daemons) in [("no", "sleeping"), ("yes", "polling")] {
        for count in lab.by_extent(&[1, 2, 4, 8, 20][..], &[1, 2, 8, 20], &[2]) {
            let directive = format!("BusyPoll = {busy_poll}\n");
            let ring = Ring::start_with(lab, *count, Cable::Batches, &directive)?;
            for service in SERVICES {
                lab.step(&format!("{count} {idle_daemons} daemons, {}", service.name()));
                let load = timed(lab, Load { body_bytes: 1000, service, ..ring.load() }, IDLE_RATE);
                let report = lab.measure(&load)?;
                let us = |us: f64| number(us, 0);
                let latency = report.latency;
                table.push([
                    ("daemons", count.to_string()),
                    ("idle_daemons", idle_daemons.to_owned()),
                    ("service", report.service.to_owned()),
                    ("bytes", report.body_bytes.to_string()),
                    ("samples", latency.samples.to_string()),
                    ("p50_us", us(latency.p50_us)),
                    ("p90_us", us(latency.p90_us)),
                    ("p99_us", us(latency.p99_us)),
                    ("max_us", us(latency.max_us)),
                    ("faults", report.faults.count().to_string()),
                ]);
            }
        }
    }
    Ok(table)
}

/// Many groups, on a narrow network.
pub(super) fn groups(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let daemons = lab.by_extent(20, 20, 2);
    let sizes = lab.by_extent(&[1000, 5000, 10_000][..], &[1000, 10_000], &[1000]);
    let counts = lab.by_extent(&[1, 10, 100, 1000, 10_000][..], &[1, 1000, 10_000], &[1, 50]);
    let mut table = Table::new();
    let ring = Ring::start(lab, daemons, Cable::Mbit(100))?;
    for service in SERVICES {
        for size in sizes {
            for groups in counts {
                lab.step(&format!("{}, {size} bytes, {groups} groups", service.name()));
                let load = Load {
                    body_bytes: *size,
                    service,
                    groups: *groups,
                    // Receivers of the run before may still be leaving theirs.
                    group: format!("{}-{size}-{groups}", service.name()),
                    ..ring.load()
                };
                let rate = groups_load(*size);
                let load = timed(lab, load, rate);
                // Large messages are rare at this load.
                let least = Duration::from_secs_f64(lab.by_extent(MESSAGES_TO_GROUPS, 1.0, 1.0) / rate);
                let report = lab.measure(&Load { duration: load.duration.max(least), ..load })?;
                table.push([
                    ("daemons", daemons.to_string()),
                    ("service", report.service.to_owned()),
                    ("bytes", size.to_string()),
                    ("groups", groups.to_string()),
                    ("joining_ms", number(report.joining_ms, 1)),
                    ("samples", report.latency.samples.to_string()),
                    ("mean_ms", ms(report.latency.mean_us)),
                    ("p50_ms", ms(report.latency.p50_us)),
                    ("p99_ms", ms(report.latency.p99_us)),
                    ("max_ms", ms(report.latency.max_us)),
                    ("memory_MB", memory(&report)),
                    ("faults", report.faults.count().to_string()),
                ]);
            }
        }
    }
    Ok(table)
}

/// With `rate` messages a second of all senders together.
fn timed(lab: &Lab<'_>, load: Load, rate: f64) -> Load {
    Load {
        rate: Rate::Fixed(rate / load.sender_count() as f64),
        warm_up: Duration::from_millis(300),
        duration: lab.by_extent(Duration::from_secs(2), Duration::from_secs(2), Duration::from_millis(500)),
        ..load
    }
}
