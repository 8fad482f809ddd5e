//! What goes wrong in a round.

use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use super::support::cluster::Cluster;

const SHORT_STOP: Duration = Duration::from_millis(200);
const LONG_STOP: Duration = Duration::from_secs(2);
/// Traffic before, between and after faults, in milliseconds.
const PAUSE: std::ops::Range<u64> = 500..1500;

/// One daemon dies, another is stopped, and the network falls in two, in an order and overlapping as
/// the seed decides. In the end all daemons run and all links are whole.
pub(crate) fn happen(cluster: &mut Cluster, random: &mut Rng) {
    let mut hosts: Vec<usize> = (0..cluster.count()).collect();
    random.shuffle(&mut hosts);
    let (victim, stopped) = (hosts[0], hosts[1]);
    let mut sides = hosts.clone();
    random.shuffle(&mut sides);
    let (left, right) = sides.split_at(random.usize(1..hosts.len()));
    let stop = if random.bool() { SHORT_STOP } else { LONG_STOP };
    let mut order = ['k', 's', 'p'];
    random.shuffle(&mut order);
    // What is not undone at once overlaps with the faults after it.
    let pause = |random: &mut Rng| sleep(Duration::from_millis(random.u64(PAUSE)));
    println!("  {order:?}: kill {victim}, stop {stopped} for {stop:?}, part {left:?} from {right:?}");
    for fault in order {
        pause(random);
        match fault {
            'k' => cluster.kill(victim),
            's' => {
                cluster.signal(stopped, Signal::STOP);
                sleep(stop);
                cluster.signal(stopped, Signal::CONT);
            }
            _ => cluster.partition(&[left, right]),
        }
    }
    let mut undo = [true, false];
    random.shuffle(&mut undo);
    for restart in undo {
        pause(random);
        if restart { cluster.launch(victim) } else { cluster.heal() }
    }
    pause(random);
}
