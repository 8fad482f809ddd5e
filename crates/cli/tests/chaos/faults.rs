//! What goes wrong with hosts and cables in a round.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use super::support::cluster::Cluster;

const PAUSE_MS: std::ops::Range<u64> = 50..1500;
const STOP_MS: std::ops::Range<u64> = 20..2500;
const SQUEEZE_KBITS: std::ops::Range<u32> = 300..3000;
const FAULTS: std::ops::Range<usize> = 6..16;
/// As many daemons run at least, so that something goes on.
const LIVING_AT_LEAST: usize = 2;

/// How often each fault happened.
pub(crate) type Tally = BTreeMap<Fault, usize>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Fault {
    Kill,
    Restart,
    Stop,
    CutOneWay,
    Partition,
    Unplug,
    Squeeze,
    Heal,
}

const ALL: [Fault; 8] = [
    Fault::Kill,
    Fault::Restart,
    Fault::Stop,
    Fault::CutOneWay,
    Fault::Partition,
    Fault::Unplug,
    Fault::Squeeze,
    Fault::Heal,
];

/// Makes faults that the seed decides. In the end all daemons run and all links are whole.
pub(crate) fn happen(cluster: &mut Cluster, random: &mut Rng, tally: &mut Tally) {
    let mut dead = Vec::new();
    for _ in 0..random.usize(FAULTS) {
        let fault = *random.choice(&ALL).expect("there are some");
        *tally.entry(fault).or_default() += 1;
        happens(fault, cluster, &mut dead, random);
        // The traffic between the faults is what is tested.
        std::thread::sleep(Duration::from_millis(random.u64(PAUSE_MS)));
    }
    cluster.namespaces().heal();
    dead.into_iter().for_each(|host| cluster.launch(host));
}

fn happens(fault: Fault, cluster: &mut Cluster, dead: &mut Vec<usize>, random: &mut Rng) {
    let living: Vec<usize> = (0..cluster.count()).filter(|host| !dead.contains(host)).collect();
    let mut hosts: Vec<usize> = (0..cluster.count()).collect();
    random.shuffle(&mut hosts);
    let victim = *random.choice(&living).expect("not all die");
    let links = cluster.namespaces();
    match fault {
        Fault::Kill if living.len() > LIVING_AT_LEAST => {
            cluster.kill(victim);
            dead.push(victim);
        }
        Fault::Kill | Fault::Restart => dead.drain(..).for_each(|host| cluster.launch(host)),
        Fault::Stop => {
            cluster.signal(victim, Signal::STOP);
            std::thread::sleep(Duration::from_millis(random.u64(STOP_MS)));
            cluster.signal(victim, Signal::CONT);
        }
        Fault::CutOneWay => links.cut(hosts[0], hosts[1]),
        Fault::Partition => {
            let (left, right) = hosts.split_at(random.usize(1..hosts.len()));
            for (here, there) in left.iter().flat_map(|here| right.iter().map(move |there| (*here, *there))) {
                links.cut(here, there);
                links.cut(there, here);
            }
        }
        Fault::Unplug => links.unplug(victim),
        Fault::Squeeze => links.squeeze(victim, random.u32(SQUEEZE_KBITS)),
        Fault::Heal => links.heal(),
    }
}
