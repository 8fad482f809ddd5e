//! Five daemons whose processes are killed, stopped and cut off, and ten clients that come back under
//! the same names; then each guarantee is checked over the logs of all connections.
//!
//! The seed decides what goes wrong; what is in flight at that moment is up to the machine. Three
//! rounds by default, twenty with `ANTIPHON_NIGHTLY=1`, a certain one with `ANTIPHON_SEED=n`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "cluster_lives/check.rs"]
mod check;
#[path = "cluster_lives/client.rs"]
mod client;
#[path = "cluster_lives/faults.rs"]
mod faults;
#[path = "cluster_lives/log.rs"]
mod log;
mod support;

use std::time::Duration;

use client::{Client, Control};
use fastrand::Rng;
use log::Log;
use support::cluster::{Cluster, Layout};
use support::{nightly, poll};

const HOSTS: [(&str, u8); 5] = [("a", 11), ("b", 12), ("c", 13), ("d", 14), ("e", 15)];
const CLIENTS: usize = 10;
/// How long all clients may take to find each other and to get each other's last messages.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn guarantees_hold_over_the_lives_of_daemons_and_clients() {
    let seed = std::env::var("ANTIPHON_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = seed.map_or(1..=if nightly() { 20 } else { 3 }, |seed| seed..=seed);
    for seed in seeds {
        println!("seed {seed}");
        let logs = round(seed);
        let (sent, seen): (usize, usize) =
            logs.iter().fold((0, 0), |sum, log| (sum.0 + log.sent.len(), sum.1 + log.seen.len()));
        println!("  {} connections, {sent} messages sent, {seen} events", logs.len());
        let findings = check::judge(&logs, CLIENTS);
        for (guarantee, outcome) in &findings {
            println!("  {guarantee}: {outcome:?}");
        }
        let held = findings.iter().all(|(_, outcome)| matches!(outcome, Ok(1..)));
        assert!(held, "seed {seed}: {findings:#?}");
    }
}

/// Runs a cluster through its faults; returns the logs of all connections.
fn round(seed: u64) -> Vec<Log> {
    let mut random = Rng::with_seed(seed);
    let mut cluster = Cluster::new(Layout::OwnSegments, &HOSTS, "");
    cluster.heal();
    (0..HOSTS.len()).for_each(|host| cluster.launch(host));
    let control = Control::new(CLIENTS);
    let connectors: Vec<_> =
        (0..CLIENTS).map(|number| cluster.connector(number / 2, &format!("c{number}"))).collect();
    std::thread::scope(|scope| {
        let clients: Vec<_> = connectors
            .into_iter()
            .enumerate()
            .map(|(number, connector)| Client { number, connector, control: &control, random: random.fork() })
            .map(|client| scope.spawn(move || client.live()))
            .collect();
        // Whatever fails in here, the clients must end before the scope can.
        let ending = control.end_when_dropped();
        poll(LIMIT, || control.common_view()).expect("all clients meet before anything happens");
        faults::happen(&mut cluster, &mut random);
        let finished = finish(&control);
        let status = control.describe();
        drop(ending);
        let (logs, connections): (Vec<_>, Vec<_>) =
            clients.into_iter().map(|client| client.join().expect("no panic")).unzip();
        drop(connections);
        assert!(finished, "seed {seed}: no common end within {LIMIT:?}: {status}");
        cluster.assert_running();
        logs.into_iter().flatten().collect()
    })
}

/// Lets all send a last time in a common view, again if another view came in between.
fn finish(control: &Control) -> bool {
    let attempt = || {
        let view = control.common_view()?;
        control.send_last();
        poll(LIMIT, || (control.all_have_last() || control.common_view() != Some(view)).then_some(()))?;
        (control.all_have_last() && control.common_view() == Some(view)).then_some(())
    };
    poll(LIMIT, attempt).is_some()
}
