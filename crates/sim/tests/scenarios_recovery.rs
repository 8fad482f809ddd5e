//! Stories about what is delivered when rings break (docs/testing.md, Scenarios).

use antiphon_proto::StateName;
use antiphon_proto::delivery::Configuration;
use antiphon_sim::scenario::{Message, ms};
use antiphon_sim::trace::ProcessEvent;
use antiphon_sim::world::{ClientId, Fault, Settings, World};
use antiphon_wire::ids::{DaemonId, Seq};
use antiphon_wire::ring::ranges::SeqRange;
use antiphon_wire::ring::{Datagram, DatagramKind, decode};
use antiphon_wire::service::ServiceLevel::{Agreed, Safe};
use bytes::Bytes;

/// Runs until a host's daemon has left its ring and looks for another.
fn until_it_gathers(world: &mut World, host: usize) {
    until_it_gathers_from(world, host, StateName::Operational);
}

/// The same from another state.
fn until_it_gathers_from(world: &mut World, host: usize, state: StateName) {
    let ring = world.ring_id(host);
    let noticed = format!("d{host}: {state} -> gather");
    let seen = world.recorder.trace.remarks.len();
    world.wait_for("the loss of the ring", |world| {
        let remarks = &world.recorder.trace.remarks[seen..];
        world.ring_id(host) != ring || remarks.iter().any(|(_, text)| text.contains(&noticed))
    });
}

/// SC-20, SC-21: the leader of the attempt dies in the middle of it, after any number of steps.
#[test]
fn a_leader_dies_in_recovery() {
    for kind in [DatagramKind::Propose, DatagramKind::Commit, DatagramKind::Install] {
        for bursts in 0..2 {
            let mut world = World::ring_of(4);
            let [_, q, r, _] = world.clients_in("g");
            world.cast(q, "g", Safe, 100);
            world.cast(r, "g", Agreed, 5000);
            world.apply(Fault::Crash { host: 3, silent: false });
            until_it_gathers(&mut world, 1);
            let sent = world.network.tally.kinds[kind as usize];
            world.wait_for("the step", |world| world.network.tally.kinds[kind as usize] > sent + bursts);
            world.apply(Fault::Crash { host: 0, silent: bursts == 1 });
            world.run_until_one_ring();
            world.run_until_quiet();
            world.expect_view(q, "g", &[q, r]);
            world.finish();
        }
    }
}

/// A faulty member reports a packet that no window can hold. Nobody looks for it, one after the other, up to there.
#[test]
fn a_claim_beyond_every_window_holds_nobody_up() {
    fn claim(bytes: &Bytes) -> Bytes {
        match decode(bytes.clone()) {
            Ok((envelope, Datagram::Accept(mut accept))) if envelope.daemon == DaemonId(1) => {
                let far = Seq(u64::MAX / 2);
                accept.holdings.beyond = vec![SeqRange { first: far, last: far }];
                Datagram::Accept(accept).encode(envelope.cluster)
            }
            _ => bytes.clone(),
        }
    }
    let mut world = World::ring_of(3);
    let [p, q, _] = world.clients_in("g");
    world.network.forge = Some(claim);
    let message = world.cast(p, "g", Safe, 5000);
    world.apply(Fault::Crash { host: 2, silent: false });
    world.run_until_one_ring();
    world.run_until_quiet();
    world.expect_message(q, message);
    world.expect_view(p, "g", &[p, q]);
    world.finish();
}

/// SC-22: everyone is done and nobody is told to install; the same messages survive.
#[test]
fn installation_is_announced_to_half_of_the_ring() {
    let mut world = World::ring_of(4);
    let clients: [_; 4] = world.clients_in("g");
    let safe = world.cast(clients[3], "g", Safe, 100);
    world.apply(Fault::Crash { host: 3, silent: false });
    until_it_gathers(&mut world, 1);
    world.network.link(0, 2).dropped_kinds.push(DatagramKind::Install);
    world.network.link(0, 2).dropped_kinds.push(DatagramKind::Token);
    let ring = world.ring_id(1);
    world.wait_for("the first installation", |world| world.ring_id(1) != ring);
    world.apply(Fault::Crash { host: 0, silent: true });
    world.apply(Fault::Heal);
    world.run_until_one_ring();
    world.run_until_quiet();
    let read = [1, 2].map(|host| world.has_read(clients[host], safe));
    assert_eq!(read[0], read[1], "the survivors agree");
    world.finish();
}

/// SC-24: the token is lost and nobody is dead; an unstable safe message survives, groups are silent.
#[test]
fn a_ring_that_lost_only_its_token_loses_nothing() {
    let mut world = World::ring_of(3);
    let clients: [_; 3] = world.clients_in("g");
    world.drop_to(2, DatagramKind::Packet);
    let safe = world.cast(clients[0], "g", Safe, 100);
    world.run(ms(20));
    world.drop_to(1, DatagramKind::Token);
    until_it_gathers(&mut world, 1);
    world.apply(Fault::Heal);
    world.run_until_one_ring();
    world.run_until_quiet();
    for client in clients {
        world.expect_message(client, safe);
        assert_eq!(world.signals(client), 0, "nobody was lost");
    }
    world.finish();
}

/// SC-25: a crash at each of many moments of a busy ring.
#[test]
fn a_daemon_crashes_at_any_moment() {
    for moment in 0..40 {
        let mut world = World::ring_of(3);
        let [p, q, r] = world.clients_in("g");
        for round in 0..6 {
            let level = if round % 2 == 0 { Safe } else { Agreed };
            for client in [p, q, r] {
                world.cast(client, "g", level, 700);
            }
        }
        for _ in 0..moment * 4 {
            world.step();
        }
        let host = moment % 3;
        world.apply(Fault::Crash { host, silent: moment % 2 == 0 });
        world.finish();
    }
}

/// SC-26: a large message is half sent when the ring breaks: it is delivered once, whole.
#[test]
fn a_large_message_survives_a_membership_change() {
    for started in [2, 10, 40, 70, 90, 95, 96, 97, 98] {
        let mut settings = Settings::default();
        settings.ring.windows.personal = 1;
        let mut world = World::ring_with(settings);
        let [p, q, _] = world.clients_in("g");
        let large = world.cast(q, "g", Agreed, 140_000);
        let sent = world.network.tally.kinds[DatagramKind::Packet as usize];
        world.wait_for("some packets", |world| {
            world.network.tally.kinds[DatagramKind::Packet as usize] >= sent + 2 * started
        });
        world.apply(Fault::Partition(vec![0, 0, 1]));
        world.wait_for("the message", |world| world.has_read(p, large) && world.has_read(q, large));
        world.apply(Fault::Heal);
        world.finish();
    }
}

/// SC-29: every step of every attempt comes several times and out of order.
#[test]
fn copies_of_the_steps_change_nothing() {
    use antiphon_sim::network::Quality;
    let quality =
        Quality { duplicate_ppm: 900_000, reorder_ppm: 500_000, held_up: ms(20), ..Quality::default() };
    let mut world = World::ring_with(Settings { daemons: 4, quality, ..Settings::default() });
    let clients: [_; 4] = world.clients_in("g");
    for (round, client) in clients.into_iter().enumerate() {
        world.cast(client, "g", Safe, 2000);
        world.apply(Fault::Partition((0..4).map(|host| usize::from(host <= round)).collect()));
        world.run(ms(900));
        world.apply(Fault::Heal);
        world.run(ms(900));
    }
    world.finish();
}

/// SC-27: each of several attempts is broken by another death.
#[test]
fn deaths_in_a_row_take_one_attempt_each() {
    let mut world = World::ring_of(6);
    let clients: [_; 6] = world.clients_in("g");
    for client in clients {
        world.cast(client, "g", Safe, 300);
    }
    for host in [5, 0, 1] {
        world.apply(Fault::Crash { host, silent: false });
        until_it_gathers(&mut world, 2);
        world.run(ms(40));
    }
    world.finish();
    let rings = world.recorder.trace.processes[2].records.iter();
    let is_regular =
        |event: &ProcessEvent| matches!(event, ProcessEvent::Configured(Configuration::Regular { .. }));
    let rings = rings.filter(|(_, event)| is_regular(event)).count();
    assert!(rings <= 6, "one ring for each death at most, after the first two");
}

/// SC-30: survivors have what the others lack of each other, but all lack one of the dead sender's.
#[test]
fn messages_behind_a_hole_of_the_dead_are_delivered() {
    let mut world = World::ring_of(4);
    let [p, q, r, s] = world.clients_in("g");
    world.drop_from(3, DatagramKind::Packet);
    world.cast(s, "g", Agreed, 100);
    world.run(ms(5));
    let from_p = world.cast(p, "g", Agreed, 100);
    let from_q = world.cast(q, "g", Safe, 100);
    world.run(ms(5));
    world.apply(Fault::Crash { host: 3, silent: true });
    world.run_until_one_ring();
    for client in [p, q, r] {
        world.expect_message(client, from_p);
        world.expect_message(client, from_q);
    }
    world.finish();
}

/// SC-16: everyone said that it has everything; one is cut off and never hears that the others
/// installed and delivered, behind a hole, a safe message. It delivers that too, although it is alone,
/// because it gave its word (Totem, obligation set).
#[test]
fn a_word_given_in_a_failed_attempt_is_kept() {
    a_word_is_given(World::ring_of(5));
}

/// Random faults find this one too seldom to wait for; the story always does.
#[cfg(feature = "mutants")]
#[test]
#[should_panic(expected = "did not read message")]
fn a_word_that_is_forgotten_is_noticed() {
    let mutant = Some(antiphon_proto::mutant::Mutant::ForgetObligations);
    a_word_is_given(World::ring_with(Settings { daemons: 5, mutant, ..Settings::default() }));
}

/// Seed 60018777: the same with a message that begins before the hole and ends behind it. Its sender did
/// not come along in the end, but when the word was given, so nothing of it is in the hole.
#[test]
fn a_word_given_for_a_message_around_a_hole_is_kept() {
    let mut world = World::ring_of(5);
    let clients: [_; 5] = world.clients_in("g");
    world.drop_from(4, DatagramKind::Packet);
    let around = world.cast(clients[2], "g", Safe, 60_000);
    world.run(ms(1));
    let lost = world.cast(clients[4], "g", Agreed, 100);
    world.run(ms(5));
    let behind = world.cast(clients[2], "g", Agreed, 100);
    world.run(ms(10));
    the_others_install_and_one_is_alone(world, clients, &[around, behind], lost);
}

fn a_word_is_given(mut world: World) {
    let clients: [_; 5] = world.clients_in("g");
    world.drop_from(4, DatagramKind::Packet);
    let lost = world.cast(clients[4], "g", Agreed, 100);
    world.run(ms(5));
    let behind = world.cast(clients[2], "g", Safe, 100);
    world.run(ms(5));
    the_others_install_and_one_is_alone(world, clients, &[behind], lost);
}

fn the_others_install_and_one_is_alone(
    mut world: World,
    clients: [ClientId; 5],
    kept: &[Message],
    lost: Message,
) {
    world.apply(Fault::Crash { host: 4, silent: true });
    for kind in [DatagramKind::Install, DatagramKind::Token, DatagramKind::Packet] {
        world.drop_to(3, kind);
    }
    let ring = world.ring_id(2);
    world.wait_for("the others to install", |world| world.ring_id(2) != ring);
    world.apply(Fault::Partition(vec![0, 0, 0, 1, 2]));
    until_it_gathers_from(&mut world, 3, StateName::Recover);
    world.run_until_quiet();
    assert!(world.are_one_ring(&[3]) && world.are_one_ring(&[0, 1, 2]));
    for client in [0, 1, 2, 3].map(|host| clients[host]) {
        for message in kept {
            world.expect_message(client, *message);
        }
        world.expect_no_message(client, lost);
    }
    world.apply(Fault::Heal);
    world.finish();
}
