//! Stories about groups and sessions (docs/testing.md, Scenarios).

use antiphon_proto::CloseReason;
use antiphon_sim::scenario::ms;
use antiphon_sim::trace::SessionEvent;
use antiphon_sim::workload::group;
use antiphon_sim::world::{Fault, Settings, World};
use antiphon_wire::client::membership::Cause;
use antiphon_wire::service::ServiceLevel::{Agreed, Fifo, Reliable, Safe, Unreliable};

/// Joins, leaves and messages that are on the ring when it breaks are shown in the transition.
#[test]
fn joins_and_leaves_in_a_transition() {
    for steps in (0..120).step_by(6) {
        let mut world = World::ring_of(4);
        let [p, q, r, s] = world.clients_in("g");
        let late = world.add_client(1, "late", true);
        world.connect(late);
        world.run(ms(5));
        world.cast(p, "g", Safe, 100);
        world.join(late, group("g"));
        world.leave(q, group("g"));
        world.cast(s, "g", Safe, 100);
        world.disconnect(r, false);
        for _ in 0..steps {
            world.step();
        }
        world.apply(Fault::Partition(vec![0, 0, 0, 1]));
        world.run_until_quiet();
        world.expect_view(p, "g", &[p, late]);
        world.apply(Fault::Heal);
        world.run_until_one_ring();
        world.run_until_quiet();
        world.expect_view(s, "g", &[p, late, s]);
        world.finish();
    }
}

/// A view of a join names the joiner, and everyone sees the same identity.
#[test]
fn everyone_sees_the_same_views() {
    let mut world = World::ring_of(3);
    let [p, q, r] = world.clients_in("g");
    let views = [p, q, r].map(|client| world.last_view(client, "g").expect("a view").clone());
    assert!(views.iter().all(|view| view.id == views[0].id && view.members == views[0].members));
    world.leave(q, group("g"));
    world.run_until_quiet();
    let view = world.last_view(p, "g").expect("a view");
    assert_eq!(view.cause, Cause::Leave);
    world.expect_view(r, "g", &[p, r]);
    world.finish();
}

/// Own operations take effect in the order in which they were asked for.
#[test]
fn a_session_sees_its_own_operations_in_order() {
    let mut world = World::ring_of(2);
    let client = world.add_client(0, "x", true);
    world.open(client);
    world.join(client, group("g"));
    let inside = world.cast(client, "g", Fifo, 30_000);
    world.leave(client, group("g"));
    let outside = world.cast(client, "g", Fifo, 10);
    world.run_until_quiet();
    world.expect_message(client, inside);
    world.expect_no_message(client, outside);
    world.finish();
}

/// SC-84: what is sent in one go with a join or a leave does not overtake it, also where it needs no order.
#[test]
fn messages_without_order_do_not_overtake_changes_of_their_sender() {
    for (daemons, level) in [(1, Unreliable), (1, Reliable), (3, Unreliable), (3, Reliable)] {
        let mut world = World::ring_of(daemons);
        let client = world.add_client(0, "x", true);
        world.open(client);
        world.join(client, group("g"));
        let inside = world.cast(client, "g", level, 10);
        world.leave(client, group("g"));
        let outside = world.cast(client, "g", level, 10);
        world.run_until_quiet();
        world.expect_message(client, inside);
        world.expect_no_message(client, outside);
        world.finish();
    }
}

/// SC-52: a reader that stops reading is cut off; the others see it go and lose nothing.
#[test]
fn a_slow_reader_is_cut_off() {
    let mut settings = Settings::default();
    settings.sessions.max_outbox_messages = 50;
    let mut world = World::ring_with(settings);
    let [p, q, r] = world.clients_in("g");
    world.stop_reading(r, ms(60_000));
    let mut sent = Vec::new();
    for _ in 0..100 {
        sent.push(world.cast(p, "g", Agreed, 100));
        world.run(ms(1));
    }
    world.run_until_quiet();
    for client in [p, q] {
        world.expect_view(client, "g", &[p, q]);
        sent.iter().for_each(|message| world.expect_message(client, *message));
    }
    let sessions = world.recorder.trace.sessions.iter();
    let events = sessions.flat_map(|session| session.records.iter().map(|(_, event)| (session.name, event)));
    let closed: Vec<_> = events.filter(|(_, event)| matches!(event, SessionEvent::Closed(_))).collect();
    let slow = SessionEvent::Closed(Some(CloseReason::SlowReader));
    assert_eq!(closed, [(world.client(r).member, &slow)]);
    world.finish();
}

/// Readers of one host that stand still get behind one after the other. That must not stop the others for as long as
/// one of them is waited for, each time anew.
#[test]
fn many_readers_that_stand_still_do_not_stop_the_others_for_long() {
    let mut settings = Settings::default();
    settings.sessions.pressure_bytes = 10_000;
    settings.ring.outstanding_packets = 8;
    let patience = settings.sessions.pressure_patience;
    let mut world = World::ring_with(settings);
    let [p, _, r] = world.clients_in("g");
    let still = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|number| {
        let name = format!("still{number}");
        (world.client_in(2, &name, &name), name)
    });
    world.run_until_quiet();
    let start = world.now();
    for (client, name) in still {
        world.stop_reading(client, patience * 20);
        for _ in 0..40 {
            world.cast(p, &name, Agreed, 1000);
        }
        let last = world.cast(p, "g", Agreed, 100);
        world.wait_for("the message behind those", |world| world.has_read(r, last));
    }
    let took = world.now().since(start);
    assert!(took > patience, "{took:?}: the first of them is waited for");
    assert!(took < patience * 3, "{took:?}");
    world.run(patience * 20);
    world.run_until_quiet();
    world.finish();
}

/// SC-54: the exchange of groups is cut off again and again by merges and partitions.
#[test]
fn exchanges_that_are_cut_off_leave_no_mixed_tables() {
    for millis in 1..20 {
        let mut world = World::ring_of(4);
        let clients: [_; 4] = world.clients_in("g");
        for client in clients {
            (0..5).for_each(|number| world.join(client, group(&format!("g{number}"))));
        }
        world.apply(Fault::Partition(vec![0, 0, 1, 1]));
        world.run(ms(1200));
        let rings = [world.ring_id(0), world.ring_id(3)];
        world.apply(Fault::Heal);
        world.wait_for("the merge", |world| world.ring_id(0) != rings[0] || world.ring_id(3) != rings[1]);
        world.run(ms(millis) / 10);
        world.apply(Fault::Partition(vec![0, 1, 1, 0]));
        world.run(ms(1200));
        world.apply(Fault::Heal);
        world.finish();
        for client in clients {
            world.expect_view(client, "g", &clients);
        }
    }
}

/// SC-58: a client reconnects under its name as fast as it can.
#[test]
fn a_name_is_used_again() {
    let mut world = World::ring_of(2);
    let [p, q] = world.clients_in("g");
    for round in 0..30 {
        if round % 2 == 0 {
            world.disconnect(p, true)
        } else {
            world.hang_up(p)
        }
        for _ in 0..200 {
            world.connect(p);
            world.run(ms(1));
            if world.client(p).is_open() {
                break;
            }
        }
        world.join(p, group("g"));
        world.run(ms(round % 7));
    }
    world.run_until_quiet();
    world.expect_view(q, "g", &[p, q]);
    world.finish();
}

/// SC-64: groups overlap, senders are outside, copies are discarded, sessions are named directly.
#[test]
fn a_message_comes_once_whatever_the_overlap() {
    use antiphon_sim::client::Cast;
    use antiphon_wire::names::GroupName;
    let mut world = World::ring_of(2);
    let [p, q] = world.clients_in("g");
    for client in [p, q] {
        world.join(client, group("h"));
    }
    let outside = world.add_client(0, "out", true);
    world.connect(outside);
    world.run_until_quiet();
    for service in [Reliable, Fifo, Agreed, Safe] {
        for (sender, self_discard) in [(outside, false), (p, true), (p, false)] {
            let private = GroupName::from_field(world.client(q).member.as_field());
            let groups = vec![group("h"), private, group("none"), group("g"), group("h")];
            let number = world.recorder.trace.submissions.len();
            world.multicast(sender, Cast { service, groups, self_discard, body_bytes: 100 });
            world.run(ms(200));
            let message = antiphon_sim::scenario::Message(number);
            world.expect_message(q, message);
            world.expect_no_message(outside, message);
            assert_eq!(world.has_read(p, message), sender == outside || !self_discard);
        }
    }
    world.finish();
}

/// SC-68: the last message before silence is lost at one daemon, and no traffic follows.
#[test]
fn the_last_message_arrives_without_another_one() {
    let mut world = World::ring_of(3);
    let [p, q, r] = world.clients_in("g");
    world.network.link(0, 2).dropped_kinds.push(antiphon_wire::ring::DatagramKind::Packet);
    let message = world.cast(p, "g", Agreed, 100);
    world.run(ms(1));
    world.apply(Fault::Heal);
    world.run(ms(30));
    for client in [p, q, r] {
        world.expect_message(client, message);
    }
    world.finish();
}
