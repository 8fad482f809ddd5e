//! Ten clients at work while things go wrong, and the judgement of their logs.

use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;

use super::client::{Client, Control, Names};
use super::support::cluster::Cluster;
use super::support::poll;

const CLIENTS: usize = 10;
/// How long all clients may take to find each other after the last fault.
const CONVERGENCE_LIMIT: Duration = Duration::from_secs(30);

/// Runs a cluster through the faults that `happen`; returns the logs of all clients. Those of an even seed come
/// back under their names.
pub(crate) fn round(
    seed: u64,
    cluster: &mut Cluster,
    happen: impl FnOnce(&mut Cluster, &mut Rng),
) -> Vec<PathBuf> {
    let mut random = Rng::with_seed(seed);
    let names = if seed.is_multiple_of(2) { Names::Same } else { Names::New };
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
                Client { number, names, connector, control: &control, random, log }
            })
            .map(|client| scope.spawn(move || client.live()))
            .collect();
        let have_met = || control.have_met().then_some(());
        poll(CONVERGENCE_LIMIT, have_met).expect("all clients meet before anything happens");
        happen(cluster, &mut random);
        let converged = poll(CONVERGENCE_LIMIT, have_met);
        let views = control.views();
        control.end();
        clients.into_iter().for_each(|client| client.join().expect("no panic"));
        assert!(converged.is_some(), "after {CONVERGENCE_LIMIT:?} the clients are in {views:?}");
        cluster.assert_running();
    });
    logs
}

/// What the simulator's checkers say of the logs: the names of the broken properties.
pub(crate) fn violations(logs: &[PathBuf]) -> Vec<String> {
    let trace = antiphon_sim::log::read(logs).expect("logs");
    let events: usize = trace.sessions.iter().map(|session| session.records.len()).sum();
    // Of a round in which little was read, little is judged.
    assert!(events > 2 * trace.submissions.len(), "{events} events, {} messages", trace.submissions.len());
    antiphon_sim::check::clients(&trace).iter().map(ToString::to_string).collect()
}
