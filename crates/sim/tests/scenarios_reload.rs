//! Stories about files that list more daemons, or fewer, than before (docs/testing.md, Scenarios; SC-61 and 85).

use antiphon_proto::StateName;
use antiphon_proto::config::SessionConfig;
use antiphon_sim::scenario::ms;
use antiphon_sim::workload::group;
use antiphon_sim::world::{Fault, Settings, World};
use antiphon_wire::monitor::WindowChange;
use antiphon_wire::ring::DatagramKind;
use antiphon_wire::service::ServiceLevel::{Agreed, Safe};

/// A ring of the first `daemons`; the files do not have the newcomers yet.
fn ring_before(daemons: usize, newcomers: usize) -> World {
    World::ring_with(Settings { daemons: daemons + newcomers, newcomers, ..Settings::default() })
}

fn reload(world: &mut World, hosts: std::ops::Range<usize>, listed: usize) {
    hosts.for_each(|host| world.apply(Fault::Reload { host, listed }));
}

/// Starts daemons whose file lists so many.
fn start(world: &mut World, hosts: std::ops::Range<usize>, listed: usize) {
    reload(world, hosts.clone(), listed);
    hosts.for_each(|host| world.apply(Fault::Restart { host, after: ms(0) }));
}

/// The members of its ring that a host's daemon waits for; none of one that waits for nobody.
fn lacking(world: &World, host: usize) -> Option<Vec<usize>> {
    let next = world.node(host)?.status().next_cluster?;
    Some(next.lacking.iter().map(|process| process.daemon.index()).collect())
}

/// Daemons read a file that lists two more, one a while after the other and in the midst of traffic. Nobody sees any of it,
/// and the new ones join.
#[test]
fn daemons_are_added_to_a_ring_that_goes_on() {
    let mut world = ring_before(3, 2);
    let [p, q, r] = world.clients_in("g");
    let (installs, signals) = (world.installs(), world.signals(p));
    for host in 0..3 {
        let message = world.cast(q, "g", Safe, 3000);
        reload(&mut world, host..host + 1, 5);
        world.run(ms(50));
        [p, q, r].into_iter().for_each(|client| world.expect_message(client, message));
        let awaited = if host < 2 { Some((host + 1..3).collect()) } else { None };
        assert_eq!(lacking(&world, 0), awaited);
    }
    world.run(ms(1000));
    assert_eq!(world.installs(), installs, "the ring goes on");
    start(&mut world, 3..5, 5);
    world.wait_for("all five to be one ring", |world| world.are_one_ring(&[0, 1, 2, 3, 4]));
    assert_eq!(world.signals(p), signals, "no group has lost or gained anyone");
    let s = world.client_in(4, "s", "g");
    world.run_until_quiet();
    world.expect_view(p, "g", &[p, q, r, s]);
    world.finish();
}

/// A daemon that was not told holds the others up until it is told, or leaves the ring; they stay together with it.
#[test]
fn nobody_is_left_behind() {
    for is_told in [true, false] {
        let mut world = ring_before(3, 1);
        let [p, q, r] = world.clients_in("g");
        reload(&mut world, 0..2, 4);
        start(&mut world, 3..4, 4);
        world.run(ms(2000));
        assert!(world.are_one_ring(&[0, 1, 2]) && world.are_one_ring(&[3]));
        assert_eq!(lacking(&world, 0), Some(vec![2]));
        match is_told {
            true => reload(&mut world, 2..3, 4),
            false => world.apply(Fault::Shutdown(2)),
        }
        let together: &[usize] = if is_told { &[0, 1, 2, 3] } else { &[0, 1, 3] };
        world.wait_for("the fourth to be with them", |world| world.are_one_ring(together));
        world.finish();
        let left = if is_told { vec![p, q, r] } else { vec![p, q] };
        world.expect_view(p, "g", &left);
    }
}

/// The last two daemons are left out, and later taken in again.
#[test]
fn daemons_are_removed_and_come_back() {
    let mut world = World::ring_of(5);
    let [p, q, r, ..]: [_; 5] = world.clients_in("g");
    reload(&mut world, 0..5, 3);
    world.wait_for("the others to be left", |world| world.are_one_ring(&[0, 1, 2]));
    world.run_until_quiet();
    world.expect_view(p, "g", &[p, q, r]);
    assert_eq!(lacking(&world, 0), None);
    world.apply(Fault::Restart { host: 4, after: ms(0) });
    world.run(ms(1000));
    assert!(!world.is_up(4), "its file does not have it");
    reload(&mut world, 0..5, 5);
    (3..5).for_each(|host| world.apply(Fault::Restart { host, after: ms(0) }));
    world.wait_for("all five to be one ring", |world| world.are_one_ring(&[0, 1, 2, 3, 4]));
    world.finish();
}

/// A file is read while a ring breaks, forms or works; all read it within the time of a round or of many.
#[test]
fn files_are_read_in_every_state() {
    for (late, between) in (0..60).flat_map(|late| [0, 3].map(|between| (7 * late, between))) {
        let mut world = ring_before(4, 2);
        let [p, q, r, s] = world.clients_in("g");
        for client in [p, q, s] {
            world.cast(client, "g", Agreed, 3000);
        }
        world.apply(Fault::Crash { host: 1, silent: false });
        world.apply(Fault::Restart { host: 1, after: ms(150) });
        world.run(ms(late));
        for host in [2, 0, 3, 1] {
            reload(&mut world, host..host + 1, 6);
            world.run(ms(between));
        }
        start(&mut world, 4..6, 6);
        world.wait_for("all six to be one ring", |world| world.are_one_ring(&[0, 1, 2, 3, 4, 5]));
        world.finish();
        world.expect_view(p, "g", &[p, r, s]);
    }
}

/// A file is read while daemons are busy with what a new ring asks of every group. What is said of it is said in that ring
/// only once its configuration was delivered.
#[test]
fn files_are_read_while_many_groups_change() {
    let mut settings = Settings { daemons: 4, newcomers: 1, ..Settings::default() };
    settings.host.turn_cost = ms(2);
    settings.sessions.frames_at_once = 1;
    let mut world = World::ring_with(settings);
    let clients: [_; 3] = world.clients_in("g");
    for number in 0..100 {
        clients.iter().for_each(|client| world.join(*client, group(&format!("group-{number}"))));
        world.run_until_quiet();
    }
    let (installs, signals) = (world.installs(), world.signals(clients[0]));
    world.apply(Fault::Partition(vec![0, 0, 1, 1]));
    world.wait_for("the first signal", |world| world.signals(clients[0]) > signals);
    reload(&mut world, 0..3, 4);
    assert_eq!(world.installs(), installs, "no new configuration was delivered yet");
    world.run_until_quiet();
    world.apply(Fault::Heal);
    start(&mut world, 3..4, 4);
    world.wait_for("all four to be one ring", |world| world.are_one_ring(&[0, 1, 2, 3]));
    world.finish();
}

/// A file is taken back before all have read it: nothing changes.
#[test]
fn a_file_that_is_taken_back_changes_nothing() {
    let mut world = ring_before(3, 1);
    let [p, q, r] = world.clients_in("g");
    let installs = world.installs();
    reload(&mut world, 0..2, 4);
    world.run(ms(100));
    reload(&mut world, 0..2, 3);
    world.run(ms(100));
    assert_eq!(lacking(&world, 0), None);
    reload(&mut world, 2..3, 4);
    world.run(ms(100));
    assert_eq!(lacking(&world, 2), Some(vec![0, 1]));
    reload(&mut world, 2..3, 3);
    let message = world.cast(q, "g", Safe, 10);
    world.run(ms(100));
    [p, q, r].into_iter().for_each(|client| world.expect_message(client, message));
    assert_eq!(world.installs(), installs);
    world.check();
}

/// A daemon takes its file back after it said that it has it, while the others go over. The ring goes on, though its
/// members have two lists, everyone is told who differs, and the new daemon is kept out until they agree.
#[test]
fn a_ring_whose_members_have_two_lists_goes_on() {
    let mut world = ring_before(3, 1);
    let [p, q, r] = world.clients_in("g");
    let installs = world.installs();
    reload(&mut world, 0..2, 4);
    world.run(ms(100));
    world.drop_to(0, DatagramKind::Packet);
    reload(&mut world, 2..3, 4);
    world.run(ms(5));
    assert_eq!([0, 1, 2].map(|host| lacking(&world, host)), [Some(vec![2]), None, None]);
    reload(&mut world, 0..1, 3);
    world.apply(Fault::Heal);
    for _ in 0..20 {
        let message = world.cast(q, "g", Safe, 3000);
        world.run(ms(100));
        [p, q, r].into_iter().for_each(|client| world.expect_message(client, message));
    }
    assert_eq!(world.installs(), installs, "the ring goes on");
    assert_eq!([0, 1, 2].map(|host| lacking(&world, host)), [Some(vec![1, 2]), Some(vec![0]), Some(vec![0])]);
    start(&mut world, 3..4, 4);
    world.run(ms(1000));
    assert!(world.are_one_ring(&[3]));
    reload(&mut world, 0..1, 4);
    world.wait_for("all four to be one ring", |world| world.are_one_ring(&[0, 1, 2, 3]));
    world.finish();
}

/// A daemon that stood apart, with the old file, while the others went over is one of them as soon as it has read the new
/// one.
#[test]
fn who_stood_apart_goes_over_alone() {
    let mut world = ring_before(4, 1);
    let [p, q, r, s] = world.clients_in("g");
    world.apply(Fault::Partition(vec![0, 0, 0, 1, 0]));
    world.wait_for("the partition to show", |world| world.are_one_ring(&[0, 1, 2]));
    reload(&mut world, 0..3, 5);
    start(&mut world, 4..5, 5);
    world.wait_for("the new one to be there", |world| world.are_one_ring(&[0, 1, 2, 4]));
    world.apply(Fault::Heal);
    world.run(ms(2000));
    assert!(world.are_one_ring(&[3]) && world.are_one_ring(&[0, 1, 2, 4]), "they are strangers");
    reload(&mut world, 3..4, 5);
    world.wait_for("all to be one ring", |world| world.are_one_ring(&[0, 1, 2, 3, 4]));
    world.finish();
    world.expect_view(p, "g", &[p, q, r, s]);
}

/// All that a cluster may get at once.
#[test]
fn eighteen_are_added_at_once() {
    let mut world = ring_before(2, 18);
    let [p, q] = world.clients_in("g");
    reload(&mut world, 0..2, 20);
    start(&mut world, 2..20, 20);
    let all: Vec<usize> = (0..20).collect();
    world.wait_for("all twenty to be one ring", |world| world.are_one_ring(&all));
    world.finish();
    world.expect_view(p, "g", &[p, q]);
}

/// A daemon that was the only one in its file is joined by a second one, whichever of them is first.
#[test]
fn one_alone_is_joined_by_a_second() {
    for is_there_already in [true, false] {
        let mut world = ring_before(1, 1);
        let [p] = world.clients_in("g");
        if is_there_already {
            start(&mut world, 1..2, 2);
            world.run(ms(500));
        }
        reload(&mut world, 0..1, 2);
        if !is_there_already {
            start(&mut world, 1..2, 2);
        }
        world.wait_for("both to be one ring", |world| world.are_one_ring(&[0, 1]));
        world.finish();
        world.expect_view(p, "g", &[p]);
    }
}

/// SC-85: the last daemon has led a ring, as the first stood still, and is left out of the file then. What is left of its
/// ring meets a ring that has gone over to the list without it: all show the sets of the view in one order.
#[test]
fn sets_of_a_ring_whose_leader_is_left_out_keep_their_place() {
    let mut world = World::ring_without_doubt(Settings { daemons: 4, ..Settings::default() });
    let [p, q, ..]: [_; 4] = world.clients_in("g");
    let_the_last_lead_the_first(&mut world);
    reload(&mut world, 0..3, 3);
    // Until the one that stood still is as impatient as before.
    world.run(ms(20_000));
    world.apply(Fault::Heal);
    world.apply(Fault::Partition(vec![0, 0, 1, 1]));
    world.wait_for("the rest of both", |world| world.are_one_ring(&[0, 1]));
    world.run_until_quiet();
    world.check();
    world.expect_view(p, "g", &[p, q]);
}

/// SC-85: the same, but the ring in which all have said that they have the shorter list ends while groups are reported,
/// which takes a few rounds. The rest of it meets a daemon that has never had the longer one.
#[test]
fn a_list_is_not_gone_over_to_before_the_groups_are_known() {
    let sessions = SessionConfig { frames_at_once: 1, ..SessionConfig::default() };
    let mut world = World::ring_without_doubt(Settings { daemons: 5, sessions, ..Settings::default() });
    let [p, _, q, ..]: [_; 5] = world.clients_in("g");
    (0..300).for_each(|number| world.join(q, group(&format!("{number:0>31}"))));
    world.run_until_quiet();
    let_the_last_lead_the_first(&mut world);
    reload(&mut world, 0..4, 4);
    world.apply(Fault::Restart { host: 3, after: ms(0) });
    world.run(ms(20_000));
    let r = world.client_in(3, "again", "g");
    world.run_until_quiet();

    world.set_windows(2, WindowChange { personal: Some(1), ..WindowChange::default() });
    world.apply(Fault::Partition(vec![0, 1, 2, 1, 3]));
    world.wait_for("two to gather", |world| gathers(world, 0) && gathers(world, 2));
    world.apply(Fault::Heal);
    world.apply(Fault::Partition(vec![0, 1, 0, 1, 3]));
    world.wait_for("both to have the list", |world| {
        lacking(world, 0).is_none_or(|lacking| lacking.is_empty())
    });
    assert!(world.are_one_ring(&[0, 2]) && !world.node(0).expect("up").status().settled);

    world.apply(Fault::Partition(vec![0, 1, 2, 1, 3]));
    world.wait_for("the others to be one ring", |world| world.are_one_ring(&[1, 3]));
    world.apply(Fault::Partition(vec![0, 1, 2, 3, 4]));
    world.wait_for("two to gather", |world| gathers(world, 0) && gathers(world, 3));
    world.apply(Fault::Heal);
    world.apply(Fault::Partition(vec![0, 1, 2, 0, 3]));
    world.wait_for("the rest of both", |world| world.are_one_ring(&[0, 3]));
    world.run_until_quiet();
    world.check();
    world.expect_view(p, "g", &[p, r]);
}

/// Parts the first daemon and the last from the others, so that the last leads their ring: the first stands still.
fn let_the_last_lead_the_first(world: &mut World) {
    let last = world.settings().daemons - 1;
    let sides = (0..=last).map(|host| usize::from(host != 0 && host != last)).collect();
    world.apply(Fault::Partition(sides));
    world.wait_for("them to gather", |world| gathers(world, 0) && gathers(world, last));
    world.run(ms(20));
    world.apply(Fault::Pause { host: 0, duration: ms(90) });
    let others: Vec<usize> = (1..last).collect();
    world.wait_for("two rings", |world| world.are_one_ring(&[0, last]) && world.are_one_ring(&others));
    assert_eq!(world.ring_id(0).leader.daemon.index(), last, "it passed over the one that stood still");
}

fn gathers(world: &World, host: usize) -> bool {
    world.node(host).is_some_and(|node| node.status().state == StateName::Gather)
}
