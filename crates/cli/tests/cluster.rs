//! Five daemons, ten clients, and everything that can go wrong with processes and networks; then the
//! logs of all clients are judged.
//!
//! The seed decides what goes wrong; what is in flight at that moment is up to the machine. Three
//! rounds by default, twenty with `ANTIPHON_NIGHTLY=1`, a certain one with `ANTIPHON_SEED=n`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "cluster/check.rs"]
mod check;
#[path = "cluster/client.rs"]
mod client;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/planted.rs"]
mod planted;
mod support;

use std::path::PathBuf;
use std::time::Duration;

use client::{Client, Control, Phase, Session};
use fastrand::Rng;
use support::cluster::{Cluster, Layout};
use support::{nightly, poll};

const DAEMONS: u8 = 5;
const CLIENTS: usize = 10;
/// How long all clients may take to find each other after the last fault.
const CONVERGENCE_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn clients_see_one_order_whatever_happens_to_daemons() {
    let seed = std::env::var("ANTIPHON_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = seed.map_or(1..=if nightly() { 20 } else { 3 }, |seed| seed..=seed);
    for seed in seeds {
        let layout = if seed % 3 == 2 { Layout::SharedSegment } else { Layout::OwnSegments };
        println!("seed {seed}, {layout:?}");
        let mut cluster = Cluster::running(layout, DAEMONS, "");
        let (sessions, logs) = round(seed, &mut cluster);
        println!("  {}", check::check(&sessions));
        assert_eq!(violations(&logs), Vec::<String>::new(), "seed {seed}");
        logs_that_were_tampered_with_are_rejected(&logs);
    }
}

/// What the simulator's checkers say of the logs: the names of the broken properties.
fn violations(logs: &[PathBuf]) -> Vec<String> {
    let trace = antiphon_sim::log::read(logs).expect("logs");
    antiphon_sim::check::clients(&trace).iter().map(ToString::to_string).collect()
}

/// The same checkers notice each of several changes of one log.
fn logs_that_were_tampered_with_are_rejected(logs: &[PathBuf]) {
    let good = std::fs::read_to_string(&logs[0]).expect("a log");
    let lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let is_agreed = |line: &String| line.contains("\"message\"") && line.contains("\"agreed\"");
    let agreed: Vec<usize> = (0..lines.len()).filter(|at| is_agreed(&lines[*at])).collect();
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
    let tampered = [
        ("twice", changed(&|lines| lines.insert(at, lines[at].clone())), "S1"),
        ("not at all", changed(&|lines| drop(lines.remove(at))), "G10"),
        ("too late", changed(&|lines| lines.swap(at, next)), "G10"),
        ("changed", changed(&|lines| lines[at].clone_from(&another_size)), "S9"),
        ("another member", changed(&|lines| lines[view].clone_from(&another_view)), "G"),
    ];
    for (what, log, property) in tampered {
        std::fs::write(&logs[0], log).expect("a log");
        let found = violations(logs);
        assert!(found.iter().any(|found| found.starts_with(property)), "{what}: {found:?}");
    }
    std::fs::write(&logs[0], good).expect("a log");
}

/// Runs a cluster through a round of faults; returns what all sessions did and the files they wrote.
fn round(seed: u64, cluster: &mut Cluster) -> (Vec<Session>, Vec<PathBuf>) {
    let mut random = Rng::with_seed(seed);
    let log = |number: usize| cluster.directory().path().join(format!("client-{number}.log"));
    let logs: Vec<PathBuf> = (0..CLIENTS).map(log).collect();
    let control = Control::new(CLIENTS);
    let connectors: Vec<_> = (0..CLIENTS).map(|number| cluster.connector(number / 2, "")).collect();
    std::thread::scope(|scope| {
        let clients: Vec<_> = connectors
            .into_iter()
            .enumerate()
            .map(|(number, connector)| {
                let (random, log) = (random.fork(), logs[number].clone());
                Client { number, connector, control: &control, random, log }
            })
            .map(|client| scope.spawn(move || client.live()))
            .collect();
        let everybody = || control.members().iter().all(|members| *members == CLIENTS).then_some(());
        poll(CONVERGENCE_LIMIT, everybody).expect("all clients meet before anything happens");
        faults::happen(cluster, &mut random);
        let converged = poll(CONVERGENCE_LIMIT, everybody);
        let members = control.members();
        control.enter(Phase::Last);
        let sessions: Vec<Session> =
            clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect();
        assert!(converged.is_some(), "after {CONVERGENCE_LIMIT:?} the views have {members:?} members");
        cluster.assert_running();
        (sessions, logs)
    })
}
