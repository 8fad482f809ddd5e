//! What goes wrong in a round.

use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use super::support::cluster::Cluster;

const PAUSE_MS: std::ops::Range<u64> = 300..1200;
const SHORT_STOP: Duration = Duration::from_millis(200);
const LONG_STOP: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    StopShortly,
    StopLong,
    Partition,
    Heal,
    Restart,
}

/// Makes a round of faults, in an order and at places that the seed decides. In the end all daemons
/// run and all links are whole.
pub(crate) fn happen(cluster: &mut Cluster, random: &mut Rng) {
    let mut faults = [
        Fault::Kill,
        Fault::Kill,
        Fault::StopShortly,
        Fault::StopLong,
        Fault::Partition,
        Fault::Partition,
        Fault::Heal,
        Fault::Restart,
    ];
    random.shuffle(&mut faults);
    let mut dead = Vec::new();
    for fault in faults {
        println!("  {fault:?}");
        happens(fault, cluster, &mut dead, random);
        // The traffic between the faults is what is tested.
        std::thread::sleep(Duration::from_millis(random.u64(PAUSE_MS)));
    }
    cluster.heal();
    dead.into_iter().for_each(|host| cluster.launch(host));
}

fn happens(fault: Fault, cluster: &mut Cluster, dead: &mut Vec<usize>, random: &mut Rng) {
    match fault {
        Fault::Kill => {
            let victim = living(cluster, dead, random);
            cluster.kill(victim);
            dead.push(victim);
        }
        Fault::StopShortly => stop(cluster, living(cluster, dead, random), SHORT_STOP),
        Fault::StopLong => stop(cluster, living(cluster, dead, random), LONG_STOP),
        Fault::Partition => {
            let mut hosts: Vec<usize> = (0..cluster.count()).collect();
            random.shuffle(&mut hosts);
            let (left, right) = hosts.split_at(random.usize(1..hosts.len()));
            cluster.partition(&[left, right]);
        }
        Fault::Heal => cluster.heal(),
        Fault::Restart => dead.drain(..).for_each(|host| cluster.launch(host)),
    }
}

fn living(cluster: &Cluster, dead: &[usize], random: &mut Rng) -> usize {
    let living: Vec<usize> = (0..cluster.count()).filter(|host| !dead.contains(host)).collect();
    *random.choice(&living).expect("two of five die")
}

fn stop(cluster: &Cluster, host: usize, time: Duration) {
    cluster.signal(host, Signal::STOP);
    std::thread::sleep(time);
    cluster.signal(host, Signal::CONT);
}
