//! Stories about the token and the packets of one ring (docs/testing.md, Scenarios).

use antiphon_proto::config::RingConfig;
use antiphon_proto::config::Windows;
use antiphon_sim::network::Quality;
use antiphon_sim::scenario::ms;
use antiphon_sim::world::{ClientId, Fault, Settings, World};
use antiphon_wire::monitor::WindowChange;
use antiphon_wire::ring::DatagramKind;
use antiphon_wire::service::ServiceLevel::{Agreed, Fifo, Reliable, Safe};

/// SC-01: one lost token costs a retransmission, at each hop, and no configuration.
#[test]
fn a_lost_token_is_sent_again() {
    for deaf in 0..4 {
        let mut world = World::ring_of(4);
        let [p, q, r, s] = world.clients_in("g");
        let installs = world.installs();
        world.drop_to(deaf, DatagramKind::Token);
        let message = world.cast(p, "g", Agreed, 100);
        world.run(ms(12));
        world.apply(Fault::Heal);
        world.run(ms(60));
        for client in [p, q, r, s] {
            world.expect_message(client, message);
        }
        assert_eq!(world.installs(), installs, "no ring was installed");
        world.finish();
    }
}

/// SC-03: copies of the token change nothing, however late they come.
#[test]
fn copies_of_the_token_change_nothing() {
    let quality =
        Quality { duplicate_ppm: 1_000_000, reorder_ppm: 300_000, held_up: ms(3), ..Quality::default() };
    let mut world = World::ring_with(Settings { quality, ..Settings::default() });
    let clients: [_; 3] = world.clients_in("g");
    let installs = world.installs();
    for round in 0..60 {
        for client in clients {
            world.cast(client, "g", if round % 3 == 0 { Safe } else { Agreed }, 300);
        }
        world.run(ms(2));
    }
    assert_eq!(world.installs(), installs, "no ring was installed");
    world.finish();
}

/// SC-05: a daemon numbers messages, sends some of them, and dies before the token leaves.
#[test]
fn a_sender_dies_before_it_passes_the_token() {
    for bursts in 0..3 {
        let mut world = World::ring_of(3);
        let [p, q, r] = world.clients_in("g");
        world.cast(p, "g", Agreed, 100);
        for _ in 0..10 {
            world.cast(q, "g", Agreed, 1000);
        }
        world.apply(Fault::CrashWhileSending { host: 1, bursts });
        world.cast(r, "g", Safe, 100);
        world.wait_for("the death", |world| !world.is_up(1));
        world.run_until_one_ring();
        world.run_until_quiet();
        world.expect_view(p, "g", &[p, r]);
        world.finish();
    }
}

/// SC-06: with the accelerated ring the token leaves before the packets; they are lost with their
/// sender, and what others sent after them is delivered in the transitional configuration.
#[test]
fn a_sender_dies_after_it_passed_the_token() {
    let mut world = World::ring_of(3);
    let [p, q, r] = world.clients_in("g");
    world.drop_from(1, DatagramKind::Packet);
    for _ in 0..10 {
        world.cast(q, "g", Agreed, 1000);
    }
    world.run(ms(5));
    let after = world.cast(p, "g", Agreed, 10);
    let safe = world.cast(r, "g", Safe, 10);
    world.run(ms(5));
    world.apply(Fault::Crash { host: 1, silent: true });
    world.run_until_one_ring();
    world.run_until_quiet();
    for client in [p, r] {
        world.expect_message(client, after);
        world.expect_message(client, safe);
        assert_eq!(world.signals(client), 1);
    }
    world.finish();
}

/// SC-07: a third of everything is lost for seconds, and all of it arrives in one ring.
#[test]
fn heavy_loss_slows_the_ring_and_does_not_break_it() {
    let mut world = World::ring_of(3);
    let [p, q, r] = world.clients_in("g");
    let installs = world.installs();
    world.apply(Fault::Links(Quality { loss_ppm: 200_000, ..Quality::default() }));
    let mut messages = Vec::new();
    for round in 0..100 {
        for client in [p, q, r] {
            messages.push(world.cast(client, "g", if round % 4 == 0 { Safe } else { Fifo }, 500));
        }
        world.run(ms(10));
    }
    world.apply(Fault::Links(Quality::default()));
    world.run_until_quiet();
    for message in messages {
        for client in [p, q, r] {
            world.expect_message(client, message);
        }
    }
    assert!(world.installs() <= installs + 6, "the ring broke more than twice");
    world.finish();
}

/// In a ring of ten, every second round loses its token. Each loss cost 8 ms, and all of this 205 ms; without loss it
/// takes 18 ms.
#[test]
fn a_busy_ring_misses_its_token_soon() {
    let mut world = World::ring_of(10);
    let clients: [_; 10] = world.clients_in("g");
    let installs = world.installs();
    world.apply(Fault::Links(Quality { loss_ppm: 50_000, ..Quality::default() }));
    let begun = world.now();
    let senders = clients.iter().take(5);
    let last = senders.map(|sender| (0..600).map(|_| world.cast(*sender, "g", Agreed, 1300)).last());
    let last: Vec<_> = last.flatten().collect();
    world.wait_for("all to be read", |world| {
        clients.iter().all(|client| last.iter().all(|message| world.has_read(*client, *message)))
    });
    let took = world.now().since(begun);
    assert!(took < ms(100), "{took:?}");
    assert_eq!(world.installs(), installs, "no ring was installed");
    world.finish();
}

/// A safe message is delivered nowhere until every daemon has it (EVS, safe delivery).
#[test]
fn a_safe_message_waits_for_the_slowest_daemon() {
    let mut world = World::ring_of(3);
    let clients: [_; 3] = world.clients_in("g");
    world.drop_to(2, DatagramKind::Packet);
    let safe = world.cast(clients[0], "g", Safe, 100);
    world.run(ms(100));
    for client in clients {
        world.expect_no_message(client, safe);
    }
    world.apply(Fault::Heal);
    world.run(ms(100));
    for client in clients {
        world.expect_message(client, safe);
    }
    world.finish();
}

/// An agreed message does not wait for a daemon that lacks it, but for a safe one before it.
#[test]
fn an_agreed_message_waits_only_behind_a_safe_one() {
    let mut world = World::ring_of(3);
    let [p, q, _] = world.clients_in("g");
    world.drop_to(2, DatagramKind::Packet);
    let first = world.cast(p, "g", Agreed, 100);
    world.run(ms(20));
    world.expect_message(q, first);
    let safe = world.cast(p, "g", Safe, 100);
    let behind = world.cast(p, "g", Agreed, 100);
    world.run(ms(50));
    world.expect_no_message(q, safe);
    world.expect_no_message(q, behind);
    world.apply(Fault::Heal);
    world.run_until_quiet();
    world.expect_message(q, behind);
    world.finish();
}

/// SC-15: what needs no order is delivered on arrival, and the survivors agree on it.
#[test]
fn reliable_messages_pass_a_gap_and_are_agreed_on() {
    let mut world = World::ring_of(4);
    let [p, _, r, s] = world.clients_in("g");
    world.drop_to(1, DatagramKind::Packet);
    world.cast(s, "g", Agreed, 100);
    let reliable = world.cast(s, "g", Reliable, 100);
    world.run(ms(30));
    world.expect_message(p, reliable);
    world.expect_message(r, reliable);
    world.apply(Fault::Crash { host: 3, silent: true });
    world.apply(Fault::Heal);
    world.finish();
}

/// SC-44: the token rests with another member; a message elsewhere wakes it although the wakes get lost.
#[test]
fn a_resting_token_is_woken() {
    let mut world = World::ring_of(3);
    let [p, q, r] = world.clients_in("g");
    let_rest_with(&mut world, p);
    world.drop_from(2, DatagramKind::Wake);
    let message = world.cast(r, "g", Agreed, 10);
    world.run(ms(5));
    world.apply(Fault::Heal);
    world.run(ms(10));
    for client in [p, q, r] {
        world.expect_message(client, message);
    }
    world.finish();
}

/// A large message of a daemon that does not lead is not slowed down by rests of the token.
#[test]
fn the_token_does_not_rest_while_a_member_sends() {
    for daemons in 2..4 {
        let mut settings = Settings { daemons, ..Settings::default() };
        settings.ring.windows.personal = 1;
        let mut world = World::ring_with(settings);
        let p = world.client_in(0, "p", "g");
        let q = world.client_in(1, "q", "g");
        world.run_until_quiet();
        let message = world.cast(q, "g", Agreed, 100_000);
        world.run(ms(200));
        world.expect_message(p, message);
        world.finish();
    }
}

/// Lets the token come to rest with the daemon of that client.
fn let_rest_with(world: &mut World, client: ClientId) {
    world.cast(client, "g", Agreed, 10);
    world.run(ms(50));
}

/// SC-79: who sent the last message need not ask anyone for the token before it sends the next one.
#[test]
fn the_token_rests_with_who_sent_last() {
    let mut world = World::ring_of(6);
    let clients: [_; 6] = world.clients_in("g");
    for sender in [clients[3], clients[5], clients[0]] {
        let_rest_with(&mut world, sender);
        (0..6).for_each(|host| world.drop_from(host, DatagramKind::Token));
        let message = world.cast(sender, "g", Agreed, 10);
        world.run(ms(1));
        clients.into_iter().for_each(|client| world.expect_message(client, message));
        world.apply(Fault::Heal);
        world.run(ms(50));
    }
    world.finish();
}

/// The resting token goes straight to the member that asks for it, not by those between.
#[test]
fn a_woken_token_takes_the_short_way() {
    let mut world = World::ring_of(6);
    let [p, q, r, s, t, u] = world.clients_in("g");
    let_rest_with(&mut world, p);
    world.drop_to(1, DatagramKind::Token);
    let message = world.cast(u, "g", Agreed, 10);
    world.run(ms(3));
    for client in [p, q, r, s, t, u] {
        world.expect_message(client, message);
    }
    world.apply(Fault::Heal);
    world.finish();
}

/// A token that is lost on the short way is repeated to where it was meant for, and nobody else takes it.
#[test]
fn a_token_lost_on_the_short_way_is_sent_again() {
    let mut world = World::ring_of(5);
    let [p, _, _, s, t] = world.clients_in("g");
    let_rest_with(&mut world, p);
    world.drop_to(4, DatagramKind::Token);
    let (late, next) = (world.cast(t, "g", Agreed, 10), world.cast(s, "g", Agreed, 10));
    world.run(ms(20));
    world.apply(Fault::Heal);
    world.run(ms(30));
    world.expect_message(p, late);
    world.expect_message(p, next);
    world.finish();
}

/// In a quiet ring a safe message is delivered as soon as all have acknowledged it, without the token.
#[test]
fn a_lone_safe_message_does_not_wait_for_the_token() {
    let mut world = World::ring_of(6);
    let clients: [_; 6] = world.clients_in("g");
    let_rest_with(&mut world, clients[0]);
    (0..6).for_each(|host| world.drop_from(host, DatagramKind::Token));
    let message = world.cast(clients[0], "g", Safe, 3000);
    world.run(ms(4));
    for client in clients {
        world.expect_message(client, message);
    }
    world.apply(Fault::Heal);
    world.finish();
}

/// A daemon that lacks a packet does not acknowledge it, so no safe message is delivered anywhere.
#[test]
fn a_safe_message_is_not_acknowledged_by_who_lacks_a_part_of_it() {
    let mut world = World::ring_of(3);
    let clients: [_; 3] = world.clients_in("g");
    world.run(ms(50));
    world.drop_to(2, DatagramKind::Packet);
    let message = world.cast(clients[0], "g", Safe, 3000);
    world.run(ms(20));
    clients.into_iter().for_each(|client| world.expect_no_message(client, message));
    world.apply(Fault::Heal);
    world.run(ms(50));
    clients.into_iter().for_each(|client| world.expect_message(client, message));
    world.finish();
}

/// SC-13: a ring has worked for so long that the numbers of its packets, and of the token's hops, pass
/// 32 bits. Nothing happens.
#[test]
fn numbers_may_be_larger_than_32_bits() {
    let mut world = large_numbers((1 << 32) - 50);
    let installs = world.installs();
    speak(&mut world);
    assert_eq!(world.installs(), installs, "no ring was installed");
    // The holes of a ring that breaks have large numbers as well.
    world.apply(Fault::Crash { host: 2, silent: true });
    world.run_until_quiet();
    world.apply(Fault::Restart { host: 2, after: ms(1) });
    world.finish();
}

/// SC-13: a ring comes near to 2^63 packets, after 290,000 years with a million in a second. Before
/// that it makes way for a new one, and no message is lost.
#[test]
fn a_ring_without_numbers_makes_way_for_another() {
    let mut world = large_numbers((1 << 63) - (1 << 16) - 200);
    let installs = world.installs();
    speak(&mut world);
    assert!(world.installs() > installs, "rings of 200 packets follow each other");
    world.finish();
}

fn large_numbers(numbers_from: u64) -> World {
    let ring = RingConfig { numbers_from, ..RingConfig::default() };
    World::ring_with(Settings { ring, ..Settings::default() })
}

/// Three clients send many messages over bad links, and all of them arrive.
fn speak(world: &mut World) {
    let clients: [_; 3] = world.clients_in("g");
    world.apply(Fault::Links(Quality { loss_ppm: 20_000, ..Quality::default() }));
    let mut sent = Vec::new();
    for _ in 0..100 {
        sent.extend(clients.map(|client| world.cast(client, "g", Safe, 1000)));
        sent.push(world.cast(clients[0], "g", Agreed, 5000));
        world.run(ms(5));
    }
    world.apply(Fault::Links(Quality::default()));
    world.run_until_quiet();
    for message in sent {
        clients.iter().for_each(|client| world.expect_message(*client, message));
    }
}

/// To hand up what is there takes a daemon longer than others wait for the token: it serves the ring in between.
#[test]
fn many_receivers_of_a_daemon_hold_no_token_up() {
    let mut settings = Settings { daemons: 2, ..Settings::default() };
    settings.host.frame_cost = std::time::Duration::from_micros(200);
    settings.sessions.frames_at_once = 200;
    let token_loss = settings.ring.token_loss;
    let mut world = World::ring_with(settings);
    let sender = world.client_in(0, "p", "h");
    let readers: Vec<_> = (0..60).map(|reader| world.client_in(1, &format!("r{reader}"), "g")).collect();
    world.run_until_quiet();
    let installs = world.installs();
    let messages: Vec<_> = (0..200).map(|_| world.cast(sender, "g", Agreed, 100)).collect();
    let begun = world.now();
    let last = messages[messages.len() - 1];
    world.wait_for("all to be read", |world| readers.iter().all(|reader| world.has_read(*reader, last)));
    assert_eq!(world.installs(), installs, "no ring was installed");
    assert!(world.now().since(begun) > token_loss * 5, "all the frames take that long");
    let put_off = world.node(1).map_or(0, |node| node.stats().deliveries_put_off);
    assert!(put_off > 0, "the ring was served in between");
    world.finish();
}

/// SC-77: an operator sets windows, and takes them back while messages wait: rounds begin anew with them each time.
#[test]
fn rounds_begin_anew_with_the_windows_that_an_operator_sets() {
    let mut world = World::ring_of(3);
    let clients: [_; 3] = world.clients_in("g");
    let windows = |world: &World, host| world.node(host).expect("up").status().windows;
    let set = |world: &mut World, all, personal| {
        let change = WindowChange { all: Some(all), personal, after_token: None };
        (0..3).for_each(|host| world.set_windows(host, change));
        world.run(ms(30));
    };
    assert_eq!((0..3).map(|host| windows(&world, host).all).collect::<Vec<_>>(), [160; 3]);
    set(&mut world, 6, None);
    set(&mut world, 160, None);
    assert_eq!(
        windows(&world, 1),
        Windows { all: 160, personal: 20, after_token: 15 },
        "what was not changed"
    );
    set(&mut world, 6, Some(2));
    for host in 0..3 {
        assert_eq!(windows(&world, host), Windows { all: 6, personal: 2, after_token: 2 });
    }
    let messages: Vec<_> = (0..300).map(|index| world.cast(clients[index % 3], "g", Agreed, 1000)).collect();
    world.run(ms(2));
    assert!(windows(&world, 0).all < 100, "it grows from there");
    set(&mut world, 400, Some(800));
    world.run_until_quiet();
    assert!((0..3).all(|host| windows(&world, host).all >= 400));
    assert!((0..3).all(|host| windows(&world, host).personal >= 400), "no more than all");
    for message in messages {
        clients.iter().for_each(|client| world.expect_message(*client, message));
    }
    world.finish();
}

/// SC-78: a daemon had so much to hand up that all sent less. Once that is over a lone message that takes several
/// packets leaves in one visit again, although nothing waits that would raise the window.
#[test]
fn a_window_that_was_lowered_is_whole_after_a_rest() {
    let mut settings = Settings { daemons: 3, ..Settings::default() };
    settings.host.frame_cost = std::time::Duration::from_micros(200);
    settings.sessions.frames_at_once = 60;
    let mut world = World::ring_with(settings);
    let sender = world.client_in(0, "p", "h");
    let readers: Vec<_> = (0..60).map(|reader| world.client_in(1, &format!("r{reader}"), "g")).collect();
    let messages: Vec<_> = (0..100).map(|_| world.cast(sender, "g", Agreed, 1000)).collect();
    let lowered = |world: &World| world.node(0).is_some_and(|node| node.status().windows.personal < 4);
    world.wait_for("a small window", lowered);
    let read = |world: &World| readers.iter().all(|reader| world.has_read(*reader, messages[99]));
    world.wait_for("all to be read", read);
    world.run_until_quiet();
    assert_eq!(world.node(0).map(|node| node.status().windows.all), Some(160));
    world.finish();
}
