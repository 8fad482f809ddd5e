//! Losses and merges.

use antiphon_wire::ids::{ClusterHash, DaemonId, ProcessId, RingId};
use antiphon_wire::names::DaemonName;

use super::world::World;
use crate::config::{Cluster, Config, Daemon};
use crate::delivery::Kind;
use crate::groups::Stamp;

const SAFE: u32 = 0x20;

fn drain(world: &mut World, clients: &[super::world::Client]) {
    clients.iter().for_each(|client| {
        world.told(*client);
    });
}

#[test]
fn a_loss_is_signalled_and_resolved_for_the_groups_it_touches() {
    let mut world = World::together(3);
    let (a, z, m) = (world.connect(1, "amy"), world.connect(0, "zoe"), world.connect(2, "max"));
    for (client, group) in
        [(a, "midalpha"), (m, "midalpha"), (a, "grp"), (z, "grp"), (m, "grp"), (a, "onlyalpha")]
    {
        world.join(client, group);
        world.run();
    }
    drain(&mut world, &[a, z, m]);
    world.regroup(&[&[0, 1]]);
    assert_eq!(
        world.told(a),
        [
            "TRANSITION grp 3",
            "TRANSITION midalpha 2",
            "NETWORK grp 1: #zoe#zeta #amy#alpha / *#zoe#zeta #amy#alpha",
            "NETWORK midalpha 1: #amy#alpha / *#amy#alpha",
        ]
    );
    assert_eq!(
        world.told(z),
        ["TRANSITION grp 3", "NETWORK grp 1: #zoe#zeta #amy#alpha / *#zoe#zeta #amy#alpha"]
    );
    assert_eq!(world.table(0), world.table(1));
    assert!(world.hosts[0].groups.is_settled(), "a pure loss needs no exchange");
    assert!(world.ordered(0, Kind::Daemon).is_empty());
    world.restart(2);
    world.regroup(&[&[0, 1, 2]]);
    world.run();
    assert!(world.told(a).is_empty(), "a daemon without members changes no group");
    assert_eq!(world.table(0), world.table(2));
    let m = world.connect(2, "max");
    world.join(m, "grp");
    world.run();
    assert_eq!(world.told(a), ["JOIN grp 2: #zoe#zeta #amy#alpha #max#mid / *#max#mid"]);
}

#[test]
fn a_merge_shows_the_components_as_sets_without_a_transition() {
    let mut world = World::together(3);
    let clients =
        [(0, "zoe"), (1, "amy"), (1, "abe"), (2, "max")].map(|(host, name)| world.connect(host, name));
    for client in clients {
        world.join(client, "grp");
        world.run();
    }
    world.regroup(&[&[0, 1], &[2]]);
    drain(&mut world, &clients);
    world.regroup(&[&[0, 1, 2]]);
    assert!(!world.hosts[0].groups.is_settled());
    world.run();
    let all = "#zoe#zeta #abe#alpha #amy#alpha #max#mid";
    let view = format!("NETWORK grp 1: {all} / *#zoe#zeta #abe#alpha #amy#alpha | #max#mid");
    assert_eq!(world.told(clients[0]), [view]);
    let view = format!("NETWORK grp 1: {all} / #zoe#zeta #abe#alpha #amy#alpha | *#max#mid");
    assert_eq!(world.told(clients[3]), [view]);
    assert_eq!(world.table(0), world.table(2));
}

/// The table numbers groups in the order of the reports: `c` comes first, though the last of its member's.
#[test]
fn members_of_a_merged_ring_can_leave_each_of_their_groups() {
    let mut world = World::apart(2);
    let (one, other) = (world.connect(0, "one"), world.connect(1, "other"));
    for (client, group) in [(one, "c"), (other, "a"), (other, "b"), (other, "c")] {
        world.join(client, group);
        world.run();
    }
    world.regroup(&[&[0, 1]]);
    world.run();
    drain(&mut world, &[one, other]);
    for group in ["c", "a", "b"] {
        world.leave(other, group);
        world.run();
        assert_eq!(world.told(other), [format!("LEFT {group}")]);
    }
    assert_eq!(world.told(one), ["LEAVE c 2: #one#zeta / *#other#alpha"]);
    assert_eq!(world.table(0), world.table(1));
}

#[test]
fn sets_are_ordered_by_leader_address_as_a_signed_number() {
    let mut world = World::together(5);
    let clients: Vec<_> = (0..5).map(|host| world.connect(host, "m")).collect();
    for client in &clients {
        world.join(*client, "g");
        world.run();
    }
    world.regroup(&[&[0], &[1], &[2], &[3], &[4]]);
    drain(&mut world, &clients);
    world.regroup(&[&[0, 1, 2, 3, 4]]);
    world.run();
    let all = "#m#zeta #m#alpha #m#mid #m#deep #m#far";
    let sets = "#m#far | *#m#alpha | #m#zeta | #m#mid | #m#deep";
    assert_eq!(world.told(clients[1]), [format!("NETWORK g 1: {all} / {sets}")]);
}

#[test]
fn messages_wait_for_the_exchange_and_follow_its_views() {
    let mut world = World::apart(2);
    let (a, b) = (world.connect(0, "a"), world.connect(1, "b"));
    world.join(a, "g");
    world.join(b, "g");
    world.run();
    world.regroup(&[&[0, 1]]);
    drain(&mut world, &[a, b]);
    world.send(a, SAFE, &["g"], "early");
    world.run();
    assert_eq!(world.told(b), ["NETWORK g 1: #a#zeta #b#alpha / *#b#alpha | #a#zeta", "DATA early"]);
    assert_eq!(world.settled_events(0), 2);
}

#[test]
fn a_leave_between_loss_and_resolution_matches_the_recording() {
    // Recording A0: alpha is `one`, mid is `two`; the leaver's data is still of the old view.
    let mut world = World::together(3);
    world.regroup(&[&[1, 2]]);
    let (a, b, t) = (world.connect(1, "amy"), world.connect(2, "bob"), world.connect(2, "t2"));
    for client in [a, b, t] {
        world.join(client, "grp");
        world.run();
    }
    drain(&mut world, &[a, b, t]);
    world.send(t, SAFE, &["grp"], "m11531");
    world.leave(t, "grp");
    world.originate(2);
    world.originate(2);
    let late: Vec<_> = [Kind::Client, Kind::Leave].iter().flat_map(|kind| world.ordered(1, *kind)).collect();
    for host in [1, 2] {
        let new = world.propose(&[host]);
        world.close(&[host], new);
        late.iter().for_each(|message| world.deliver_late(&[host], message));
        world.install(&[host], new);
    }
    let stayed = |own: &str, other: &str| {
        [
            "TRANSITION grp 3".to_owned(),
            "DATA m11531".to_owned(),
            format!("NETWORK grp 2: #amy#alpha #bob#mid / *{own} | {other}"),
            "TRANSITION grp 2".to_owned(),
            format!("NETWORK grp 1: {own} / *{own}"),
        ]
    };
    assert_eq!(world.told(a), stayed("#amy#alpha", "#bob#mid"));
    assert_eq!(world.told(b), stayed("#bob#mid", "#amy#alpha"));
    assert_eq!(world.told(t), ["TRANSITION grp 3", "DATA m11531", "LEFT grp"]);
}

#[test]
fn a_join_between_loss_and_resolution_has_a_set_of_its_own() {
    let mut world = World::together(3);
    let (a, b, j) = (world.connect(0, "a"), world.connect(2, "b"), world.connect(1, "j"));
    for client in [a, b] {
        world.join(client, "g");
        world.run();
    }
    drain(&mut world, &[a, b]);
    world.join(j, "g");
    world.join(j, "untouched");
    world.originate(1);
    world.originate(1);
    let late = world.ordered(0, Kind::Join)[2..].to_vec();
    let new = world.propose(&[0, 1]);
    world.close(&[0, 1], new);
    late.iter().for_each(|message| world.deliver_late(&[0, 1], message));
    world.install(&[0, 1], new);
    let all = "#a#zeta #j#alpha #b#mid";
    assert_eq!(
        world.told(a),
        [
            "TRANSITION g 2".to_owned(),
            format!("NETWORK g 2: {all} / *#a#zeta | #b#mid | #j#alpha"),
            "TRANSITION g 2".to_owned(),
            "NETWORK g 1: #a#zeta #j#alpha / *#a#zeta #j#alpha".to_owned(),
        ]
    );
    assert_eq!(
        world.told(j),
        [
            format!("NETWORK g 2: {all} / #a#zeta | #b#mid | *#j#alpha"),
            "TRANSITION g 2".to_owned(),
            "JOIN untouched 1: #j#alpha / *#j#alpha".to_owned(),
            "NETWORK g 1: #a#zeta #j#alpha / *#a#zeta #j#alpha".to_owned(),
        ]
    );
}

#[test]
fn a_joiner_that_is_lost_itself_is_shown_and_then_signalled() {
    let mut world = World::together(2);
    let (a, x) = (world.connect(0, "a"), world.connect(1, "x"));
    world.join(a, "g");
    world.run();
    world.told(a);
    world.join(x, "g");
    world.originate(1);
    let late = world.ordered(0, Kind::Join)[1..].to_vec();
    let new = world.propose(&[0]);
    world.close(&[0], new);
    world.deliver_late(&[0], &late[0]);
    world.install(&[0], new);
    assert_eq!(
        world.told(a),
        ["JOIN g 2: #a#zeta #x#alpha / *#x#alpha", "TRANSITION g 2", "NETWORK g 1: #a#zeta / *#a#zeta"]
    );
}

#[test]
fn a_group_that_is_born_and_hit_between_two_rings_counts_on() {
    let mut world = World::together(2);
    let (a, b, x) = (world.connect(0, "a"), world.connect(0, "b"), world.connect(1, "x"));
    for (client, host) in [(a, 0), (x, 1), (b, 0)] {
        world.join(client, "g");
        world.originate(host);
    }
    let late = world.ordered(0, Kind::Join);
    let new = world.propose(&[0]);
    world.close(&[0], new);
    late.iter().for_each(|message| world.deliver_late(&[0], message));
    world.install(&[0], new);
    assert_eq!(
        world.told(a),
        [
            "JOIN g 1: #a#zeta / *#a#zeta",
            "JOIN g 2: #a#zeta #x#alpha / *#x#alpha",
            "TRANSITION g 2",
            "NETWORK g 3: #a#zeta #b#zeta #x#alpha / *#a#zeta | #x#alpha | #b#zeta",
            "TRANSITION g 3",
            "NETWORK g 1: #a#zeta #b#zeta / *#a#zeta #b#zeta",
        ]
    );
}

#[test]
fn a_loss_is_over_when_the_lost_had_left_before() {
    let mut world = World::together(3);
    let (a, x) = (world.connect(0, "a"), world.connect(1, "x"));
    for client in [a, x] {
        world.join(client, "g");
        world.run();
    }
    world.told(a);
    world.leave(x, "g");
    world.originate(1);
    let late = world.ordered(0, Kind::Leave);
    let new = world.propose(&[0, 2]);
    world.close(&[0, 2], new);
    late.iter().for_each(|message| world.deliver_late(&[0, 2], message));
    world.install(&[0, 2], new);
    assert_eq!(world.told(a), ["TRANSITION g 2", "NETWORK g 2: #a#zeta / *#a#zeta"]);
    world.deliver_late(&[1], &late[0]);
    world.regroup(&[&[1]]);
    world.regroup(&[&[0, 1, 2]]);
    world.run();
    assert!(world.told(a).is_empty(), "nothing changed for the group since its last view");
    assert_eq!(world.table(0), world.table(1));
}

/// Two runs of a leader that doubts its calendar may come to the same epoch.
#[test]
fn ids_tell_runs_of_a_doubtful_leader_apart_and_else_have_its_address() {
    let daemon = Daemon { name: DaemonName::new(b"a").expect("a name"), address: [10, 0, 0, 1].into() };
    let config = Config::new(Cluster { daemons: vec![daemon], hash: ClusterHash(1) }, DaemonId(0));
    let run = |incarnation| ProcessId { daemon: DaemonId(0), incarnation };
    let leader = |epoch, incarnation| {
        let ring = RingId { epoch, leader: run(incarnation) };
        Stamp::of_ring(ring, &config).leader
    };
    assert_eq!((leader(8, 5), leader(8, 6)), (0x0a00_0001, 0x0a00_0001));
    assert_ne!(leader(10, 5), leader(10, 6));
    let ring = RingId { epoch: 8, leader: run(5) };
    let [first, second] = [5, 6].map(|lowest| Stamp::of_transitional(ring, run(lowest), &config));
    assert_eq!((first.time, second.time), (7, 7));
    assert_ne!(first.leader, second.leader);
}
