//! Five daemons, ten clients, and everything that can go wrong with processes and networks; then the
//! logs of all clients are judged.
//!
//! The seed decides what goes wrong; what is in flight at that moment is up to the machine. Four
//! rounds by default, twenty with `ANTIPHON_NIGHTLY=1`, a certain one with `ANTIPHON_SEED=n`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "cluster/client.rs"]
mod client;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/round.rs"]
mod round;
mod support;

use std::path::PathBuf;

use round::violations;
use support::cluster::{Cluster, Layout};
use support::nightly;

const DAEMONS: u8 = 5;

#[test]
fn clients_see_one_order_whatever_happens_to_daemons() {
    let seed = std::env::var("ANTIPHON_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = seed.map_or(1..=if nightly() { 20 } else { 4 }, |seed| seed..=seed);
    for seed in seeds {
        let layout = if seed % 3 == 2 { Layout::SharedSegment } else { Layout::OwnSegments };
        println!("seed {seed}, {layout:?}");
        let mut cluster = Cluster::running(layout, DAEMONS, "");
        let logs = round::round(seed, &mut cluster, faults::happen);
        assert_eq!(violations(&logs), Vec::<String>::new(), "seed {seed}");
        logs_that_were_tampered_with_are_rejected(&logs);
    }
}

/// The checkers notice each of several changes of one log.
fn logs_that_were_tampered_with_are_rejected(logs: &[PathBuf]) {
    let good = std::fs::read_to_string(&logs[0]).expect("a log");
    let lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let is_agreed = |line: &String| line.contains("\"message\"") && line.contains("\"agreed\"");
    let agreed: Vec<usize> = (0..lines.len()).filter(|at| is_agreed(&lines[*at])).collect();
    let own =
        *agreed.iter().find(|at| lines[**at].contains("\"sender\":\"#c0")).expect("a message of its own");
    let view = lines.iter().rposition(|line| line.contains("\"view\"")).expect("a view");
    let at = agreed[agreed.len() / 2];
    let next = agreed[agreed.len() / 2 + 1];
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        lines.join("\n") + "\n"
    };
    let another_size = lines[at].replace("\"bytes\":", "\"bytes\":1");
    let another_view = lines[view].replacen("\"#", "\"#x", 1);
    // Two messages in the wrong order break the sender's order if they are of one sender, else the total one.
    let tampered = [
        ("twice", changed(&|lines| lines.insert(at, lines[at].clone())), &["S1"][..]),
        ("not at all", changed(&|lines| drop(lines.remove(at))), &["G10"]),
        ("its own not", changed(&|lines| drop(lines.remove(own))), &["C5"]),
        ("too late", changed(&|lines| lines.swap(at, next)), &["G10", "S3", "S5"]),
        ("changed", changed(&|lines| lines[at].clone_from(&another_size)), &["S9"]),
        ("another member", changed(&|lines| lines[view].clone_from(&another_view)), &["G"]),
    ];
    for (what, log, properties) in tampered {
        std::fs::write(&logs[0], log).expect("a log");
        let found = violations(logs);
        let is_right = |found: &String| properties.iter().any(|property| found.starts_with(property));
        assert!(found.iter().any(is_right), "{what}: {found:?}");
    }
    std::fs::write(&logs[0], good).expect("a log");
}
