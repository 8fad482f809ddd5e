//! Stories about who is in the ring (docs/testing.md, Scenarios).

use std::collections::BTreeSet;

use antiphon_proto::StateName;
use antiphon_sim::scenario::ms;
use antiphon_sim::world::{Fault, Settings, World};
use antiphon_wire::ring::DatagramKind;
use antiphon_wire::service::ServiceLevel::{Agreed, Safe};

/// SC-31: the leader is back under the same address long before anyone could miss it.
#[test]
fn a_restart_faster_than_detection_is_a_new_process() {
    let mut world = World::ring_of(3);
    let [p, q, r] = world.clients_in("g");
    let message = world.cast(q, "g", Safe, 100);
    world.apply(Fault::Restart { host: 0, after: ms(10) });
    world.run(ms(300));
    assert!(world.are_one_ring(&[0, 1, 2]), "nobody waited for a lost token");
    world.run_until_quiet();
    world.expect_view(q, "g", &[q, r]);
    world.expect_message(r, message);
    assert!(world.client(p).session().is_none(), "the connection broke with the daemon");
    world.finish();
}

/// A partition shows both sides to each other as lost, and a merge brings them back.
#[test]
fn a_partition_and_a_merge_are_seen_as_views() {
    let mut world = World::ring_of(4);
    let [p, q, r, s] = world.clients_in("g");
    world.apply(Fault::Partition(vec![0, 0, 1, 1]));
    world.run_until_quiet();
    world.expect_view(p, "g", &[p, q]);
    world.expect_view(s, "g", &[r, s]);
    let left = world.cast(p, "g", Safe, 100);
    let right = world.cast(s, "g", Agreed, 100);
    world.run_until_quiet();
    world.expect_message(q, left);
    world.expect_no_message(r, left);
    world.expect_message(r, right);
    world.apply(Fault::Heal);
    world.run_until_one_ring();
    world.run_until_quiet();
    for client in [p, q, r, s] {
        world.expect_view(client, "g", &[p, q, r, s]);
        assert_eq!(world.signals(client), 1, "a merge is no loss");
        let view = world.last_view(client, "g").expect("a view");
        assert_eq!(view.sets.len(), 2, "two histories meet");
    }
    world.finish();
}

/// SC-35: one link of a ring is cut in one direction, for ever. The ring goes on or changes, and
/// then stays as it is; what is sent is delivered.
#[test]
fn a_one_way_cut_does_not_stop_the_ring() {
    for (from, to) in [(0, 2), (2, 0), (0, 1), (1, 0), (2, 1)] {
        let mut world = World::ring_of(3);
        let [p, _, r] = world.clients_in("g");
        world.apply(Fault::CutOneWay { from, to });
        for _ in 0..40 {
            world.cast(p, "g", Safe, 100);
            world.cast(r, "g", Agreed, 100);
            world.run(ms(100));
        }
        world.run_until_quiet();
        let installs = world.installs();
        world.run(ms(5000));
        assert_eq!(world.installs(), installs, "the cut {from} to {to} keeps the ring changing");
        world.apply(Fault::Heal);
        world.finish();
    }
}

/// SC-36: a daemon that can send and hears nobody is left alone, and the others are left in peace.
#[test]
fn a_deaf_daemon_does_not_disturb_the_others() {
    let mut world = World::ring_of(4);
    let clients: [_; 4] = world.clients_in("g");
    world.apply(Fault::Deafen(1));
    for client in clients {
        world.cast(client, "g", Safe, 100);
    }
    world.run(ms(3000));
    assert!(world.are_one_ring(&[0, 2, 3]) && world.are_one_ring(&[1]));
    let ring = world.ring_id(0);
    world.run(ms(10_000));
    assert_eq!(world.ring_id(0), ring, "the three kept their ring");
    world.apply(Fault::Heal);
    world.finish();
}

/// SC-37: two of three daemons cannot hear each other. Two rings form, and stay.
#[test]
fn a_daemon_between_two_that_are_apart_decides_once() {
    let mut world = World::ring_of(3);
    let clients: [_; 3] = world.clients_in("g");
    world.apply(Fault::CutBothWays(0, 1));
    for _ in 0..20 {
        for client in clients {
            world.cast(client, "g", Safe, 100);
        }
        world.run(ms(100));
    }
    world.run_until_quiet();
    let installs = world.installs();
    world.run(ms(60_000));
    assert_eq!(world.installs(), installs, "the rings kept changing");
    world.apply(Fault::Heal);
    world.finish();
}

/// SC-39, SC-43: all are alone, each with its own clients, and idle; then everyone meets.
#[test]
fn all_alone_then_all_together() {
    let mut world = World::ring_of(4);
    let clients: [_; 4] = world.clients_in("g");
    world.apply(Fault::Partition(vec![0, 1, 2, 3]));
    world.run_until_quiet();
    for client in clients {
        world.expect_view(client, "g", &[client]);
        let own = world.cast(client, "g", Safe, 10);
        world.run(ms(50));
        world.expect_message(client, own);
    }
    world.apply(Fault::Heal);
    world.run_until_one_ring();
    world.run_until_quiet();
    for client in clients {
        world.expect_view(client, "g", &clients);
    }
    world.finish();
}

/// SC-42: two rings that are never idle find each other.
#[test]
fn busy_rings_merge() {
    let mut world = World::ring_of(4);
    let clients: [_; 4] = world.clients_in("g");
    world.apply(Fault::Partition(vec![0, 0, 1, 1]));
    world.run(ms(1500));
    world.apply(Fault::Heal);
    for _ in 0..400 {
        for client in clients {
            world.cast(client, "g", Agreed, 400);
        }
        world.run(ms(5));
    }
    assert!(world.are_one_ring(&[0, 1, 2, 3]), "traffic hid the rings from each other");
    world.finish();
}

/// SC-48: a daemon that says goodbye is not waited for.
#[test]
fn a_clean_leave_is_immediate() {
    let mut world = World::ring_of(3);
    let [p, q, _] = world.clients_in("g");
    world.apply(Fault::Shutdown(2));
    world.wait_for("the daemon to stop", |world| !world.is_up(2));
    let stopped = world.now();
    world.wait_for("a ring of two", |world| world.are_one_ring(&[0, 1]));
    let waited = world.now().since(stopped);
    assert!(waited < world.settings().ring.token_loss / 2, "the others waited for {waited:?}");
    world.run_until_quiet();
    world.expect_view(p, "g", &[p, q]);
    world.finish();
}

/// SC-45, SC-46: the holder of the token sleeps, or all do.
#[test]
fn sleepers_come_back() {
    for (hosts, millis) in [(vec![0], 2000), (vec![1], 300), (vec![0, 1, 2], 2000), (vec![1, 2], 700)] {
        let mut world = World::ring_of(3);
        let clients: [_; 3] = world.clients_in("g");
        for client in clients {
            world.cast(client, "g", Safe, 1000);
        }
        for host in hosts {
            world.apply(Fault::Pause { host, duration: ms(millis) });
        }
        for client in clients {
            world.cast(client, "g", Agreed, 100);
        }
        world.run(ms(millis + 10));
        for client in clients {
            world.cast(client, "g", Agreed, 100);
        }
        world.finish();
        for client in clients {
            world.expect_view(client, "g", &clients);
        }
    }
}

/// SC-51: for half a minute foreign traffic fills the receive buffers of one daemon, so that most of what is for it is
/// lost. Then it stops, and the daemon is back by itself; all that others said, and what they said to it, arrives.
#[test]
fn a_daemon_whose_buffers_overflowed_is_back_by_itself() {
    for lost_ppm in [300_000, 900_000, 990_000] {
        let mut world = World::ring_of(3);
        let [p, q, r] = world.clients_in("g");
        (0..2).for_each(|from| world.network.link(from, 2).quality.loss_ppm = lost_ppm);
        let mut sent = Vec::new();
        for round in 0..300 {
            sent.push(world.cast([p, q, r][round % 3], "g", Agreed, 1000));
            world.run(ms(100));
        }
        (0..2).for_each(|from| world.network.link(from, 2).quality.loss_ppm = 0);
        let quiet = world.now();
        world.run_until_one_ring();
        let took = world.now().since(quiet);
        assert!(took < ms(1000), "{lost_ppm} ppm lost: back after {took:?}");
        sent.push(world.cast(p, "g", Safe, 100));
        world.run_until_quiet();
        world.expect_view(r, "g", &[p, q, r]);
        for (round, message) in sent.into_iter().enumerate() {
            world.expect_message([p, q, r][round % 3], message);
        }
        world.finish();
    }
}

/// SC-47: daemons are stopped and started in the reverse order of their ranks.
#[test]
fn a_rolling_restart_ends_in_one_ring() {
    let mut world = World::ring_of(4);
    for host in (0..4).rev() {
        world.apply(Fault::Shutdown(host));
        world.wait_for("the daemon to stop", |world| !world.is_up(host));
        world.run(ms(50));
        world.apply(Fault::Restart { host, after: ms(0) });
        world.run_until_one_ring();
    }
    world.finish();
}

/// SC-40: many daemons start within 200 ms and settle in one ring soon.
#[test]
fn a_simultaneous_start_ends_in_one_ring() {
    let mut world = World::new(3, Settings { daemons: 8, staggered_start: true, ..Settings::default() });
    world.run(ms(3000));
    assert!(world.are_one_ring(&[0, 1, 2, 3, 4, 5, 6, 7]));
    world.finish();
}

/// SC-80: what is told to one daemon alone does not reach it, from anybody or from one other; gossip and packets
/// do. Whoever can form a ring does so once, and is left in peace.
#[test]
fn a_closed_control_port_does_not_keep_the_rings_changing() {
    for daemons in [3, 8] {
        let every = 0..daemons;
        let closed = every.clone().map(Fault::CloseControl);
        let one_way = every.clone().map(|from| Fault::CutControl { from, to: (from + 1) % daemons });
        let other_way = every.map(|to| Fault::CutControl { from: (to + 1) % daemons, to });
        for fault in closed.chain(one_way).chain(other_way) {
            let mut world = World::ring_of(daemons);
            let client = world.client_in(0, "p", "g");
            world.apply(fault.clone());
            world.run(ms(4000));
            let installs = world.installs();
            for _ in 0..100 {
                world.cast(client, "g", Safe, 100);
                world.run(ms(100));
            }
            assert_eq!(world.installs(), installs, "{fault:?} keeps the rings changing");
            let rings: BTreeSet<_> = (0..daemons).map(|host| world.ring_id(host)).collect();
            assert!(rings.len() <= 2, "{fault:?} leaves one daemon apart at most");
            world.apply(Fault::Heal);
            world.finish();
        }
    }
}

/// SC-80: several daemons, or all, can be told nothing. Those are alone, and nobody's gossip calls forth others' more
/// often than they say hello by themselves.
#[test]
fn closed_control_ports_call_forth_no_gossip() {
    const SECONDS: u64 = 10;
    let daemons = 8;
    for closed in [1, 2, daemons] {
        let mut world = World::ring_of(daemons);
        (0..closed).for_each(|host| world.apply(Fault::CloseControl(host)));
        world.run(ms(4000));
        let hellos = |world: &World| world.network.tally.of(DatagramKind::Hello);
        let (before, installs) = (hellos(&world), world.installs());
        world.run(ms(SECONDS * 1000));
        assert_eq!(world.installs(), installs, "{closed} closed ports keep the rings changing");
        let each_second = (hellos(&world) - before) / SECONDS / (daemons * (daemons - 1)) as u64;
        assert!(each_second <= 10, "{each_second} hellos a second on each link with {closed} closed ports");
        world.apply(Fault::Heal);
        world.finish();
    }
}

/// SC-82: many daemons start, and their leader dies when half of them, or all, know that everyone has accepted. The
/// others form a ring at once, and not first one each and then, by and by, larger ones.
#[test]
fn daemons_that_lose_their_first_leader_stay_together() {
    let daemons = 12;
    for informed in [daemons / 2, daemons] {
        let mut world = World::new(1, Settings { daemons, ..Settings::default() });
        let step = (StateName::Accepted, StateName::Recover);
        world.wait_for("the commit", |world| world.transitions.get(&step) == Some(&(informed as u64)));
        let installs = world.installs();
        world.apply(Fault::Crash { host: 0, silent: true });
        world.run(ms(1100));
        let rest: Vec<usize> = (1..daemons).collect();
        assert!(world.are_one_ring(&rest), "{informed} were informed");
        assert_eq!(world.installs() - installs, daemons - 1, "{informed} were informed");
        world.finish();
    }
}

/// SC-86: the first daemon hears all and is heard, but nothing that it proposes arrives. Another leads in its place, with
/// a proposal that the first takes for a newer one than its own.
#[test]
fn a_leader_whose_proposals_are_lost_is_passed_over() {
    let mut world = World::ring_without_doubt(Settings { daemons: 4, ..Settings::default() });
    world.drop_from(0, DatagramKind::Propose);
    world.apply(Fault::Crash { host: 2, silent: true });
    world.wait_for("a ring that another leads", |world| world.are_one_ring(&[0, 1, 3]));
    let node = world.node(0).expect("it runs").status();
    assert_eq!(node.ring.leader.daemon.index(), 1);
    assert!(node.reasons.iter().any(|reason| reason.starts_with("alpha proposes")), "{:?}", node.reasons);
    world.check();
}
