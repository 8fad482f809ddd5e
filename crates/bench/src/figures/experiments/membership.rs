//! Views: of groups that members join and leave, and of rings that break and heal.

use std::thread;
use std::time::{Duration, Instant};

use super::super::Lab;
use super::super::bed::Cable;
use super::super::ring::Ring;
use super::super::table::Table;
use super::number;
use crate::address::Reach;
use crate::error::BenchError;
use crate::membership::{MembershipLoad, Spread, measure_membership};
use crate::sequence::Faults;

/// How long a view may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a ring is left alone before something happens to it.
const CALM: Duration = Duration::from_millis(500);

/// Joins and leaves.
pub(super) fn membership(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let mut table = Table::new();
    let ring = Ring::start(lab, lab.by_extent(20, 20, 2), Cable::Mbit(100))?;
    let load = MembershipLoad {
        daemons: ring.addresses(),
        reach: Reach::default(),
        group: "everyone".to_owned(),
        members: lab.by_extent(&[20, 100, 200, 500, 1000][..], &[20, 200, 1000], &[5, 20]).to_vec(),
        rounds: lab.by_extent(10, 10, 2),
    };
    let rows = measure_membership(&load, |row| lab.step(&format!("{} members", row.members)))?;
    for row in &rows {
        lab.count(Faults { false_views: row.false_views, ..Faults::default() });
        for (what, Spread { mean_ms, median_ms, max_ms }) in [
            ("join here", row.join_here),
            ("join everywhere", row.join_everywhere),
            ("leave here", row.leave_here),
            ("leave everywhere", row.leave_everywhere),
        ] {
            table.push([
                ("daemons", row.daemons.to_string()),
                ("members", row.members.to_string()),
                ("what", what.to_owned()),
                ("mean_ms", number(mean_ms, 2)),
                ("median_ms", number(median_ms, 2)),
                ("max_ms", number(max_ms, 2)),
                ("filling_ms", number(row.filling_ms, 0)),
                ("faults", row.false_views.to_string()),
            ]);
        }
    }
    Ok(table)
}

/// First view, crash and merge.
pub(super) fn views(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let mut table = Table::new();
    let samples = lab.by_extent(2, 2, 1);
    for count in lab.by_extent(&[2, 4, 8, 20][..], &[2, 20], &[2]) {
        let (mut first, mut crash, mut merge) = (Vec::new(), Vec::new(), Vec::new());
        for sample in 1..=samples {
            lab.step(&format!("{count} daemons, {sample} of {samples}"));
            let ring = Ring::start(lab, *count, Cable::Batches)?;
            first.push(ring.forming);
            merge.push(part_and_heal(&ring, *count)?);
            crash.push(crash_one(&ring, *count)?);
        }
        for (what, times) in [("first view", first), ("crash", crash), ("merge", merge)] {
            let Spread { mean_ms, median_ms, max_ms } = Spread::of(&times);
            table.push([
                ("daemons", count.to_string()),
                ("what", what.to_owned()),
                ("samples", samples.to_string()),
                ("mean_ms", number(mean_ms, 1)),
                ("median_ms", number(median_ms, 1)),
                ("max_ms", number(max_ms, 1)),
            ]);
        }
    }
    Ok(table)
}

fn part_and_heal(ring: &Ring<'_>, count: usize) -> Result<Duration, BenchError> {
    let mut crowd = ring.crowd(0..count)?;
    crowd.await_views(count, PATIENCE)?;
    thread::sleep(CALM);
    ring.bed.part()?;
    // Half of an even number, so that both sides come to the same.
    crowd.await_views(count / 2, PATIENCE)?;
    thread::sleep(CALM);
    let begun = Instant::now();
    ring.bed.heal()?;
    Ok(crowd.await_views(count, PATIENCE)? - begun)
}

fn crash_one(ring: &Ring<'_>, count: usize) -> Result<Duration, BenchError> {
    let victim = ring.crowd(count - 1..count)?;
    let mut others = ring.crowd(0..count - 1)?;
    others.await_views(count, PATIENCE)?;
    thread::sleep(CALM);
    let begun = Instant::now();
    ring.kill(count - 1);
    let seen = others.await_views(count - 1, PATIENCE)?;
    drop(victim);
    Ok(seen - begun)
}
