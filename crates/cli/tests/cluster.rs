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
        let sessions = round(seed, layout);
        println!("  {}", check::check(&sessions));
    }
}

/// Runs a cluster through a round of faults; returns the logs of all sessions.
fn round(seed: u64, layout: Layout) -> Vec<Session> {
    let mut random = Rng::with_seed(seed);
    let mut cluster = Cluster::running(layout, DAEMONS, "");
    let control = Control::new(CLIENTS);
    let connectors: Vec<_> = (0..CLIENTS).map(|number| cluster.connector(number / 2, "")).collect();
    std::thread::scope(|scope| {
        let clients: Vec<_> = connectors
            .into_iter()
            .enumerate()
            .map(|(number, connector)| Client { number, connector, control: &control, random: random.fork() })
            .map(|client| scope.spawn(move || client.live()))
            .collect();
        let everybody = || control.members().iter().all(|members| *members == CLIENTS).then_some(());
        poll(CONVERGENCE_LIMIT, everybody).expect("all clients meet before anything happens");
        faults::happen(&mut cluster, &mut random);
        let converged = poll(CONVERGENCE_LIMIT, everybody);
        let members = control.members();
        control.enter(Phase::Last);
        let sessions = clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect();
        assert!(converged.is_some(), "after {CONVERGENCE_LIMIT:?} the views have {members:?} members");
        cluster.assert_running();
        sessions
    })
}
