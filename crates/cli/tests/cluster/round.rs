//! Ten clients at work while things go wrong.

use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;

use super::client::{Client, Control, Phase, Session};
use super::support::cluster::Cluster;
use super::support::poll;

const CLIENTS: usize = 10;
/// How long all clients may take to find each other after the last fault.
const CONVERGENCE_LIMIT: Duration = Duration::from_secs(30);

/// Runs a cluster through the faults that `happen`; returns what all sessions did and the files they
/// wrote.
pub(crate) fn round(
    seed: u64,
    cluster: &mut Cluster,
    happen: impl FnOnce(&mut Cluster, &mut Rng),
) -> (Vec<Session>, Vec<PathBuf>) {
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
        happen(cluster, &mut random);
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

/// What the simulator's checkers say of the logs: the names of the broken properties.
pub(crate) fn violations(logs: &[PathBuf]) -> Vec<String> {
    let trace = antiphon_sim::log::read(logs).expect("logs");
    antiphon_sim::check::clients(&trace).iter().map(ToString::to_string).collect()
}
