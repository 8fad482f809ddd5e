//! Stories about groups while rings change (docs/testing.md, Scenarios).

use antiphon_sim::network::Quality;
use antiphon_sim::scenario::ms;
use antiphon_sim::workload::group;
use antiphon_sim::world::{Fault, Settings, World};
use antiphon_wire::client::membership::Cause;
use antiphon_wire::service::ServiceLevel;
use antiphon_wire::service::ServiceLevel::{Agreed, Safe};

/// SC-53: groups are exchanged after a merge while everyone sends at all levels, and one daemon is so
/// slow that it finishes long after the others.
#[test]
fn messages_wait_for_the_slowest_exchange() {
    let mut world = World::ring_of(4);
    let clients: [_; 4] = world.clients_in("g");
    world.apply(Fault::Partition(vec![0, 0, 1, 1]));
    world.run_until_quiet();
    world.apply(Fault::Slow { host: 3, extra: ms(5) });
    world.apply(Fault::Heal);
    let mut last = Vec::new();
    for _ in 0..100 {
        last.clear();
        for (client, level) in clients.into_iter().zip(ServiceLevel::ALL.into_iter().cycle().skip(2)) {
            last.push(world.cast(client, "g", level, 700));
        }
        world.run(ms(20));
    }
    world.apply(Fault::Slow { host: 3, extra: ms(0) });
    world.finish();
    for client in clients {
        last.iter().for_each(|message| world.expect_message(client, *message));
    }
}

/// SC-55: the groups of two halves, a thousand of them with four members each, meet over links that
/// lose a hundredth: everyone has the whole of them within a second, for a bounded number of bytes.
#[test]
fn a_thousand_groups_are_exchanged_at_once() {
    let mut world = World::ring_with(Settings { daemons: 4, ..Settings::default() });
    let clients: Vec<_> = (0..40).map(|at| world.add_client(at % 4, &format!("m{at}"), true)).collect();
    for client in &clients {
        world.connect(*client);
    }
    world.run(ms(50));
    for (at, client) in clients.iter().enumerate() {
        for number in 0..100 {
            world.join(*client, group(&format!("group-{}", (at / 4) * 100 + number)));
        }
    }
    world.run_until_quiet();
    world.apply(Fault::Partition(vec![0, 0, 1, 1]));
    world.run_until_quiet();
    world.apply(Fault::Heal);
    world.apply(Fault::Links(Quality { loss_ppm: 10_000, ..Quality::default() }));
    world.wait_for("the merge", |world| world.are_one_ring(&[0, 1, 2, 3]));
    let merged = world.now();
    let complete = |world: &World| {
        (0..4).all(|at| world.last_view(clients[at], "group-99").is_some_and(|view| view.members.len() == 4))
    };
    world.wait_for("views of all members", complete);
    let took = world.now().since(merged);
    assert!(took < ms(1000), "the exchange took {took:?}");
    world.apply(Fault::Links(Quality::default()));
    world.finish();
}

/// SC-83: clients are in many groups, and to show them all that a partition or a merge changes takes longer than others
/// wait for the token: the ring is served in between, and lasts.
#[test]
fn changes_of_many_groups_hold_no_token_up() {
    const GROUPS: usize = 200;
    let mut world = ring_of_slow_clients();
    let token_loss = world.settings().ring.token_loss;
    let clients: [_; 3] = world.clients_in("g");
    let names: Vec<String> = (0..GROUPS).map(|number| format!("group-{number}")).collect();
    for name in &names {
        clients.iter().for_each(|client| world.join(*client, group(name)));
        world.run_until_quiet();
    }
    for (fault, members) in [(Fault::Partition(vec![0, 0, 1]), 2), (Fault::Heal, 3)] {
        let installs = world.installs();
        world.apply(fault);
        world.wait_for("new rings", |world| world.installs() == installs + 3);
        let installed = world.now();
        let is_known = |world: &World| world.node(0).is_some_and(|node| node.status().groups == GROUPS + 1);
        let is_shown = |world: &World, name: &String| {
            world.last_view(clients[0], name).is_some_and(|view| view.members.len() == members)
        };
        world.wait_for("views of all groups", |world| {
            assert!(is_known(world), "no group is gone meanwhile");
            names.iter().all(|name| is_shown(world, name))
        });
        let took = world.now().since(installed);
        world.run_until_quiet();
        assert_eq!(world.installs(), installs + 3, "no ring broke");
        assert!(took > token_loss * 2, "all the views take that long");
    }
    world.finish();
}

/// SC-87: so it is with all the views that the end of a session brings. Its name can be had again once the last of them
/// is on its way.
#[test]
fn the_end_of_a_session_in_many_groups_holds_no_token_up() {
    const GROUPS: usize = 200;
    for says_goodbye in [true, false] {
        let mut world = ring_of_slow_clients();
        let token_loss = world.settings().ring.token_loss;
        let [p, q]: [_; 2] = std::array::from_fn(|client| world.client_in(0, &format!("c{client}"), "g"));
        let r = world.client_in(1, "r", "g");
        for number in 0..GROUPS {
            [p, q, r].into_iter().for_each(|client| world.join(client, group(&format!("group-{number}"))));
            world.run_until_quiet();
        }
        let (installs, ended) = (world.installs(), world.now());
        world.disconnect(q, !says_goodbye);
        let is_shown = |world: &World, number: usize| {
            world.last_view(p, &format!("group-{number}")).is_some_and(|view| view.members.len() == 2)
        };
        world.wait_for("views of all groups", |world| (0..GROUPS).all(|number| is_shown(world, number)));
        world.run_until_quiet();
        assert_eq!(world.installs(), installs, "no ring broke");
        assert!(world.now().since(ended) > token_loss * 2, "all the views take that long");
        world.finish();
    }
}

/// A ring of three whose daemons need a long time for each frame, and hand up few at once.
fn ring_of_slow_clients() -> World {
    let mut settings = Settings { daemons: 3, ..Settings::default() };
    settings.host.frame_cost = ms(3);
    settings.sessions.frames_at_once = 60;
    World::ring_with(settings)
}

/// SC-56: members at the own and at the other side join, leave and disconnect before or after the
/// network falls apart, in all orders.
#[test]
fn every_order_of_changes_and_a_partition_gives_the_right_views() {
    for order in 0..64_u32 {
        let mut world = World::ring_of(2);
        let [p, q] = world.clients_in("g");
        let others: Vec<_> = (0..6).map(|at| world.client_in(at % 2, &format!("x{at}"), "h")).collect();
        for client in &others[2..] {
            world.join(*client, group("g"));
        }
        world.run_until_quiet();
        let change = |world: &mut World, at: usize| match at {
            0 | 1 => world.join(others[at], group("g")),
            2 | 3 => world.leave(others[at], group("g")),
            _ => world.disconnect(others[at], false),
        };
        (0..6).filter(|at| order >> at & 1 == 0).for_each(|at| change(&mut world, at));
        world.apply(Fault::Partition(vec![0, 1]));
        (0..6).filter(|at| order >> at & 1 == 1).for_each(|at| change(&mut world, at));
        world.run_until_quiet();
        world.expect_view(p, "g", &[p, others[0]]);
        world.expect_view(q, "g", &[q, others[1]]);
        world.apply(Fault::Heal);
        world.finish();
        let view = world.last_view(p, "g").expect("a view");
        assert_eq!((view.cause, view.members.len()), (Cause::Network, 4), "order {order:06b}");
    }
}

/// SC-65: a member sends the moment it reads a view, which others read a tenth of a second later.
#[test]
fn a_message_sent_in_a_new_view_is_read_after_that_view() {
    let mut world = World::ring_of(3);
    let [p, _, r] = world.clients_in("g");
    let late = world.add_client(1, "late", true);
    world.open(late);
    world.apply(Fault::Pause { host: 2, duration: ms(100) });
    world.join(late, group("g"));
    world
        .wait_for("the view", |world| world.last_view(late, "g").is_some_and(|view| view.members.len() == 4));
    let at_once = world.cast(late, "g", Agreed, 100);
    let safe = world.cast(p, "g", Safe, 100);
    world.run_until_quiet();
    for client in [p, r, late] {
        world.expect_message(client, at_once);
        world.expect_message(client, safe);
    }
    world.finish();
}
