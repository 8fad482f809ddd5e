//! `antiphon demo`: the product in under twenty seconds, without any setup.
//!
//! Three daemons run as processes of their own on loopback addresses; three clients join a group;
//! one daemon is killed and comes back, the network parts and heals. What the clients received is
//! printed as it comes and judged at the end.

mod check;
mod cluster;
mod stage;

use std::process::ExitCode;
use std::time::Duration;

use crate::error::CliError;
use crate::output::{code, show_line};
use cluster::Cluster;
use stage::Stage;

/// Shows a cluster at work: order, failures, a partition, and a check of what was received.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port of the three daemons, and the next one; a free pair is taken if none is given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..65_535))]
    port: Option<u16>,
}

/// The daemons and who talks to them, in the order of the configuration.
const DAEMONS: [&str; 3] = ["alpha", "beta", "gamma"];
const CLIENTS: [&str; 3] = ["ann", "bob", "cat"];
const GROUP: &str = "demo";

/// How long the demo waits for one thing to happen before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the demo; fails if something that is waited for does not come or a guarantee did not hold.
pub(crate) fn run(args: Args) -> Result<ExitCode, CliError> {
    let mut cluster = Cluster::start(&DAEMONS, args.port)?;
    let mut stage = Stage::new();
    meet(&mut cluster, &mut stage)?;
    talk(&mut stage)?;
    crash(&mut cluster, &mut stage)?;
    part_and_merge(&mut cluster, &mut stage)?;
    stage.act("the clients leave")?;
    let logs = stage.close();
    let findings = check::judge(&logs);
    show_line("")?;
    show_line("What must hold, computed from what the clients received:")?;
    for finding in &findings {
        show_line(&format!("  {finding}"))?;
    }
    let failed = findings.iter().filter(|finding| finding.is_violated()).count();
    show_line(if failed == 0 { "All guarantees held." } else { "A GUARANTEE WAS VIOLATED." })?;
    Ok(code(failed == 0))
}

fn meet(cluster: &mut Cluster, stage: &mut Stage) -> Result<(), CliError> {
    stage.act("three daemons form a ring; a client joins at each")?;
    for (client, daemon) in CLIENTS.iter().zip(DAEMONS) {
        stage.enter(client, &cluster.address(daemon))?;
        stage.join(client, GROUP)?;
    }
    stage.until_all_see(&CLIENTS, &CLIENTS)
}

fn talk(stage: &mut Stage) -> Result<(), CliError> {
    stage.act("all three send at once; everyone receives one order")?;
    for number in 1..=4 {
        for client in CLIENTS {
            stage.send(client, GROUP, &format!("{client}-{number}"))?;
        }
    }
    stage.until_received(&CLIENTS, 12)
}

fn crash(cluster: &mut Cluster, stage: &mut Stage) -> Result<(), CliError> {
    stage.act("daemon gamma is killed (SIGKILL)")?;
    cluster.kill("gamma");
    stage.until_all_see(&["ann", "bob"], &["ann", "bob"])?;
    stage.send("bob", GROUP, "bob: still here")?;
    stage.until_received(&["ann", "bob"], 13)?;
    stage.act("gamma is started again, and cat comes back")?;
    cluster.restart("gamma")?;
    stage.enter("cat", &cluster.address("gamma"))?;
    stage.join("cat", GROUP)?;
    stage.until_all_see(&CLIENTS, &CLIENTS)
}

fn part_and_merge(cluster: &mut Cluster, stage: &mut Stage) -> Result<(), CliError> {
    stage.act("the network parts: alpha | beta and gamma")?;
    cluster.part(&[&["alpha"], &["beta", "gamma"]])?;
    stage.until_all_see(&["ann"], &["ann"])?;
    stage.until_all_see(&["bob", "cat"], &["bob", "cat"])?;
    stage.act("both sides go on")?;
    stage.send("ann", GROUP, "ann: alone on my side")?;
    stage.send("bob", GROUP, "bob: two of us here")?;
    stage.send("cat", GROUP, "cat: so it is")?;
    stage.until_sent_is_received("ann", "ann: alone on my side")?;
    for text in ["bob: two of us here", "cat: so it is"] {
        stage.until_sent_is_received("bob", text)?;
        stage.until_sent_is_received("cat", text)?;
    }
    stage.act("the network heals; the rings merge")?;
    cluster.heal()?;
    stage.until_all_see(&CLIENTS, &CLIENTS)?;
    stage.act("one order for all again")?;
    for client in CLIENTS {
        stage.send(client, GROUP, &format!("{client}: welcome back"))?;
    }
    for client in CLIENTS {
        for sender in CLIENTS {
            stage.until_sent_is_received(client, &format!("{sender}: welcome back"))?;
        }
    }
    Ok(())
}
