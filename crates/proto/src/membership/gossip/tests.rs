//! Who is believed about whom.

use antiphon_wire::ids::ClusterHash;
use antiphon_wire::names::DaemonName;

use super::*;
use crate::config::{Cluster, Daemon};

fn process(daemon: u16, incarnation: u64) -> ProcessId {
    ProcessId { daemon: DaemonId(daemon), incarnation }
}

fn config(daemons: u8) -> Config {
    let daemon = |at: u8| Daemon {
        name: DaemonName::new(format!("d{at}").as_bytes()).expect("legal"),
        address: std::net::Ipv4Addr::new(10, 0, 0, at),
    };
    let daemons = (0..daemons).map(daemon).collect();
    Config::new(Cluster { daemons, hash: ClusterHash(7) }, DaemonId(0))
}

fn row(of: ProcessId, version: u64, hears: &[ProcessId]) -> HearsRow {
    HearsRow { of, version, hears: hears.iter().copied().collect() }
}

fn join(from: ProcessId, version: u64, rows: Vec<HearsRow>) -> Join {
    Join { from, epoch: 1, version, wanted: vec![], cause: String::new(), rows }
}

fn at(ms: u64) -> Instant {
    Instant::default() + Duration::from_millis(ms)
}

#[test]
fn rows_are_kept_of_two_runs_of_each_configured_daemon_and_the_stalest_makes_way() {
    let (other, config) = (process(1, 1), config(3));
    let mut gossip = Gossip::new(process(0, 1));
    let told = (2..100).map(|daemon| row(process(daemon, 1), 1, &[])).chain([row(other, 1, &[])]);
    assert_eq!(gossip.on_join(&join(other, 1, told.collect()), &config, at(0)), Some(true));
    assert_eq!(gossip.rows.keys().copied().collect::<Vec<_>>(), [other, process(2, 1)]);
    for run in 2..100 {
        gossip.on_join(&join(other, run, vec![row(process(2, run), 1, &[])]), &config, at(run));
    }
    assert_eq!(
        gossip.rows.keys().copied().collect::<Vec<_>>(),
        [other, process(2, 98), process(2, 99)],
        "a daemon that crashes again and again takes no place of others"
    );
}

#[test]
fn of_what_a_row_says_only_configured_daemons_are_kept() {
    let (other, config) = (process(1, 1), config(3));
    let mut gossip = Gossip::new(process(0, 1));
    let named: Vec<ProcessId> = (0..100).map(|daemon| process(daemon, 1)).collect();
    gossip.on_join(&join(other, 1, vec![row(other, 1, &named)]), &config, at(0));
    assert!(gossip.rows[&other].hears.iter().eq(&named[..3]));
}

/// A path may let gossip through and not what is told to one daemon alone.
#[test]
fn who_is_heard_has_sent_a_probe_as_well() {
    let (me, other, config) = (process(0, 1), process(1, 1), config(2));
    let mut gossip = Gossip::new(me);
    gossip.on_join(&join(other, 1, vec![]), &config, at(0));
    assert!(gossip.hears(at(0), &config).is_empty());
    assert!(gossip.on_probe(other, at(1), &config), "news");
    assert!(!gossip.on_probe(other, at(2), &config), "no news");
    assert_eq!(gossip.hears(at(2), &config), BTreeSet::from([other]));
    gossip.on_join(&join(other, 2, vec![]), &config, at(1002));
    assert!(gossip.hears(at(1002), &config).is_empty(), "too long ago");
    let ring = RingId { epoch: 4, leader: other };
    let hello = Hello { from: other, ring, members: vec![other], hears: BTreeSet::from([me]) };
    assert!(gossip.on_hello(&hello, at(1003), &config), "news");
    let hears = |gossip: &Gossip, mine: &[ProcessId]| gossip.hears_hellos(mine, at(1003), &config);
    assert!(hears(&gossip, &[me]).is_empty() && gossip.mergeable(&[me], other, at(1003), &config).is_none());
    assert_eq!(hears(&gossip, &[me, other]), BTreeSet::from([other]), "a ring shows it");
    assert!(gossip.on_probe(other, at(1003), &config), "news again");
    assert_eq!(hears(&gossip, &[me]), BTreeSet::from([other]));
    assert_eq!(gossip.mergeable(&[me], other, at(1003), &config), Some(vec![me, other]));
}

/// A daemon that stood still finds seconds of gossip, and reads it before the probes, which come another way.
#[test]
fn gossip_that_comes_all_at_once_says_nothing_of_the_other_way() {
    let (other, config) = (process(1, 1), config(2));
    let mut gossip = Gossip::new(process(0, 1));
    let ring = RingId { epoch: 4, leader: other };
    let hello = Hello { from: other, ring, members: vec![other], hears: BTreeSet::new() };
    let mut count = |now| {
        gossip.on_hello(&hello, now, &config);
        gossip.count_unprobed(other, now, &config)
    };
    assert_eq!((0..30).find_map(|_| count(at(5000)).filter(|count| *count > 1)), None);
    let counts: Vec<Option<u32>> = (1..4).map(|number| count(at(5000 + 120 * number))).collect();
    assert_eq!(counts, [Some(2), Some(3), Some(4)]);
    gossip.on_probe(other, at(5500), &config);
    gossip.on_hello(&hello, at(5501), &config);
    assert_eq!(gossip.count_unprobed(other, at(5501), &config), None);
    gossip.on_hello(&hello, at(7000), &config);
    assert_eq!(gossip.count_unprobed(other, at(7000), &config), Some(1), "from the beginning");
}

#[test]
fn of_a_process_that_is_heard_only_its_own_word_counts() {
    let (me, liar, other, config) = (process(0, 1), process(1, 1), process(2, 1), config(3));
    let mut gossip = Gossip::new(me);
    let lie = |version| join(liar, version, vec![row(other, u64::MAX, &[])]);
    gossip.on_join(&lie(1), &config, at(0));
    assert!(gossip.rows[&other].hears.is_empty(), "nothing else is known");
    gossip.on_join(&join(other, 1, vec![row(other, 1, &[me])]), &config, at(1));
    gossip.on_probe(other, at(1), &config);
    gossip.on_join(&lie(2), &config, at(2));
    assert_eq!(gossip.rows[&other].hears, BTreeSet::from([me]));
    gossip.on_join(&join(liar, 3, vec![row(other, 2, &[])]), &config, at(200));
    assert!(gossip.rows[&other].hears.is_empty(), "not heard any more: what others know counts");
}

#[test]
fn a_join_that_was_overtaken_by_a_later_one_tells_nothing() {
    let (other, third, config) = (process(1, 1), process(2, 1), config(3));
    let mut gossip = Gossip::new(process(0, 1));
    let told = |version, hears: &[ProcessId]| join(other, version, vec![row(other, version, hears)]);
    assert_eq!(gossip.on_join(&told(2, &[third]), &config, at(0)), Some(true));
    for old in [1, 2] {
        assert_eq!(gossip.on_join(&told(old, &[]), &config, at(1)), None);
        assert_eq!(gossip.rows[&other].hears, BTreeSet::from([third]));
    }
    assert_eq!(gossip.on_join(&told(3, &[]), &config, at(2)), Some(false));
}

/// A gossip that has heard everything that there is of a process.
fn knowing(process: ProcessId, config: &Config) -> Gossip {
    let mut gossip = Gossip::new(self::process(0, 1));
    assert_eq!(gossip.sight(process, false, at(0)), Sighting::Known);
    gossip.on_join(&join(process, 1, vec![row(process, 1, &[])]), config, at(0));
    gossip.on_probe(process, at(0), config);
    let ring = RingId { epoch: 4, leader: process };
    let hello = Hello { from: process, ring, members: vec![process], hears: BTreeSet::new() };
    gossip.on_hello(&hello, at(0), config);
    gossip.avoid(process, at(1000));
    gossip
}

/// How many joins, rows, hellos, probes and failures it knows of.
fn kept(gossip: &Gossip) -> [usize; 5] {
    let Gossip { heard, rows, hellos, probes, avoided, .. } = gossip;
    [heard.len(), rows.len(), hellos.len(), probes.len(), avoided.len()]
}

#[test]
fn nothing_is_heard_of_a_process_that_said_goodbye() {
    let (other, config) = (process(1, 1), config(2));
    let mut gossip = knowing(other, &config);
    let ring = RingId { epoch: 4, leader: process(0, 1) };
    let known = |gossip: &Gossip| {
        let heard = gossip.hears(at(1), &config).contains(&other);
        let told_of = gossip.fresh_rows(at(1), &config).contains_key(&other);
        (heard, told_of, gossip.hears_strangers(ring, at(1), &config))
    };
    assert_eq!(known(&gossip), (true, true, true));
    gossip.depart(other);
    assert_eq!(gossip.sight(other, false, at(1)), Sighting::Dead);
    assert_eq!(known(&gossip), (false, false, false));
    assert_eq!(kept(&gossip), [0, 0, 0, 0, 1]);
}

#[test]
fn of_a_process_that_was_restarted_nothing_is_kept() {
    let [(old, new), (another, its_next)] = [1, 2].map(|daemon| (process(daemon, 1), process(daemon, 2)));
    let mut gossip = knowing(old, &config(3));
    gossip.sight(another, false, at(0));
    assert_eq!(gossip.sight(its_next, false, at(0)), Sighting::Newer);
    assert_eq!(kept(&gossip), [1; 5]);
    assert_eq!(gossip.sight(new, false, at(0)), Sighting::Newer);
    assert_eq!(kept(&gossip), [0; 5]);
}
