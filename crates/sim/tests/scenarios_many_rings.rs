//! Stories about several rings, attempts and lives at once (docs/testing.md, Scenarios).

use antiphon_sim::network::Quality;
use antiphon_sim::scenario::ms;
use antiphon_sim::world::{Fault, Settings, World};
use antiphon_wire::ring::DatagramKind;
use antiphon_wire::service::ServiceLevel::{Agreed, Safe};

/// SC-17: two of five are asked to stop, then, while the rest looks for a ring, two more; all four
/// start again at once.
#[test]
fn one_after_the_other_stops_and_all_come_back() {
    for between in [0, 1, 5, 30, 60] {
        let mut world = World::ring_of(5);
        let clients: [_; 5] = world.clients_in("g");
        for client in clients {
            world.cast(client, "g", Safe, 3000);
        }
        world.apply(Fault::Shutdown(2));
        world.apply(Fault::Shutdown(3));
        world.run(ms(between));
        world.apply(Fault::Shutdown(0));
        world.apply(Fault::Shutdown(1));
        world.wait_for("the fifth to be alone", |world| world.are_one_ring(&[4]));
        for host in 0..4 {
            world.apply(Fault::Restart { host, after: ms(0) });
        }
        world.finish();
        assert!(world.are_one_ring(&[0, 1, 2, 3, 4]));
        world.expect_view(clients[4], "g", &[clients[4]]);
    }
}

/// SC-18: for a second no packet arrives during recovery; then it goes on by itself.
#[test]
fn recovery_waits_for_the_packets_it_needs() {
    let mut world = World::ring_of(4);
    let [p, q, r, s] = world.clients_in("g");
    world.drop_to(2, DatagramKind::Packet);
    let messages = [(p, Safe), (q, Agreed), (s, Agreed)].map(|(client, level)| {
        world.run(ms(1));
        world.cast(client, "g", level, 2000)
    });
    world.run(ms(3));
    world.apply(Fault::Crash { host: 3, silent: false });
    world.run(ms(1000));
    world.apply(Fault::Heal);
    world.run_until_one_ring();
    world.run_until_quiet();
    for message in messages {
        assert_eq!(world.has_read(p, message), world.has_read(q, message), "they stayed together");
    }
    world.finish();
    world.expect_view(r, "g", &[p, q, r]);
}

/// SC-19: a packet of the dead member arrives at one survivor after it has reported what it holds.
#[test]
fn what_comes_after_the_report_does_not_count_for_one_alone() {
    for late in 0..40 {
        let mut world = World::ring_of(3);
        let [_, q, r] = world.clients_in("g");
        world.network.link(2, 0).dropped_kinds.push(DatagramKind::Packet);
        world.network.link(2, 1).dropped_kinds.push(DatagramKind::Packet);
        for _ in 0..5 {
            world.cast(r, "g", Agreed, 1000);
        }
        world.cast(q, "g", Safe, 100);
        world.run(ms(4));
        world.apply(Fault::Crash { host: 2, silent: false });
        let accepted = world.network.tally.of(DatagramKind::Accept);
        world.wait_for("a report", |world| world.network.tally.of(DatagramKind::Accept) > accepted);
        world.run(std::time::Duration::from_micros(late * 20));
        world.apply(Fault::Resurrect(3));
        world.apply(Fault::Heal);
        world.finish();
    }
}

/// SC-23: three rings, each with holes in what it sent, become one over links that lose a tenth.
#[test]
fn three_rings_with_holes_merge() {
    let mut world = World::ring_of(6);
    let clients: [_; 6] = world.clients_in("g");
    world.apply(Fault::Partition(vec![0, 0, 1, 1, 2, 2]));
    world.run_until_quiet();
    world.apply(Fault::Links(Quality { loss_ppm: 300_000, ..Quality::default() }));
    for _ in 0..20 {
        for client in clients {
            world.cast(client, "g", Agreed, 2000);
        }
        world.run(ms(2));
    }
    world.apply(Fault::Heal);
    world.apply(Fault::Links(Quality { loss_ppm: 100_000, ..Quality::default() }));
    for _ in 0..100 {
        world.cast(clients[2], "g", Safe, 500);
        world.run(ms(20));
    }
    world.apply(Fault::Links(Quality::default()));
    world.finish();
    for client in clients {
        world.expect_view(client, "g", &clients);
    }
}

/// SC-28: a daemon that was alone has sent much when it meets the others, who are in the middle of
/// sending themselves.
#[test]
fn a_loner_with_much_to_say_merges() {
    let mut world = World::ring_of(3);
    let [p, q, r] = world.clients_in("g");
    world.apply(Fault::Partition(vec![0, 0, 1]));
    world.run_until_quiet();
    let alone: Vec<_> = (0..300).map(|_| world.cast(r, "g", Agreed, 3000)).collect();
    world.apply(Fault::Heal);
    let mut later = Vec::new();
    for _ in 0..200 {
        later.push(world.cast(p, "g", Agreed, 3000));
        later.push(world.cast(r, "g", Agreed, 3000));
        world.run(ms(5));
    }
    world.finish();
    alone.iter().for_each(|message| world.expect_message(r, *message));
    for message in &later[200..] {
        world.expect_message(p, *message);
        world.expect_message(r, *message);
    }
    world.expect_view(q, "g", &[p, q, r]);
}

/// SC-32: a daemon is restarted with a calendar that is a year late, and has no memory of its last run.
#[test]
fn a_calendar_that_was_set_back_is_forgiven() {
    let mut world = World::ring_of(3);
    let [p, _, r] = world.clients_in("g");
    world.apply(Fault::SetCalendar { host: 1, late: ms(365 * 24 * 3_600_000) });
    world.apply(Fault::Restart { host: 1, after: ms(20) });
    world.run(ms(300));
    world.wait_for("the others to go on", |world| world.are_one_ring(&[0, 2]));
    world.cast(p, "g", Safe, 100);
    world.run_until_one_ring();
    assert!(world.are_one_ring(&[0, 1, 2]));
    world.run_until_quiet();
    world.expect_view(p, "g", &[p, r]);
    world.finish();
}

/// Seed 50081396: a daemon was alone while the other stood still, and is restarted with a calendar that is
/// late. It hears the other, not the other it, and is alone again, after the same epoch as in its first life:
/// its groups have other ids than then.
#[test]
fn a_second_life_after_the_same_epoch_has_ids_of_its_own() {
    for after in (0..60).step_by(10) {
        let mut world = World::ring_of(2);
        let [_, q] = world.clients_in("g");
        let id = |world: &World, client| world.last_view(client, "g").map(|view| view.id);
        world.apply(Fault::Pause { host: 0, duration: ms(600) });
        world.wait_for("the second to be alone", |world| world.are_one_ring(&[1]));
        world.run(ms(20));
        world.expect_view(q, "g", &[q]);
        let first = id(&world, q);
        world.apply(Fault::SetCalendar { host: 1, late: ms(5 * 24 * 3_600_000) });
        world.apply(Fault::CutOneWay { from: 1, to: 0 });
        world.run(ms(after));
        world.apply(Fault::Restart { host: 1, after: ms(300) });
        world.run(ms(800));
        let second = world.client_in(1, "second", "g");
        world.run(ms(50));
        world.expect_view(second, "g", &[second]);
        assert_ne!(id(&world, second), first, "after {after} ms");
        world.apply(Fault::Heal);
        world.finish();
    }
}

/// SC-38: each of the 90 directed links between ten daemons is cut with a chance of one in ten, for
/// ever: rings form in which everyone can serve the others, and then stay.
#[test]
fn frozen_cuts_end_in_rings_that_stay() {
    for pattern in 0..3 {
        let mut world = World::new(100 + pattern, Settings { daemons: 10, ..Settings::default() });
        world.run_until_one_ring();
        let clients: [_; 10] = world.clients_in("g");
        let mut chance = fastrand::Rng::with_seed(pattern);
        for from in 0..10 {
            for to in (0..10).filter(|to| *to != from) {
                if chance.u32(..10) == 0 {
                    world.apply(Fault::CutOneWay { from, to });
                }
            }
        }
        for _ in 0..40 {
            world.cast(clients[chance.usize(..10)], "g", Safe, 100);
            world.run(ms(250));
        }
        world.run_until_quiet();
        let installs = world.installs();
        world.run(ms(10_000));
        assert_eq!(world.installs(), installs, "pattern {pattern} keeps the rings changing");
        world.apply(Fault::Heal);
        world.finish();
    }
}

/// SC-40: twenty daemons start within 200 ms, eight times: one ring within three seconds, and no
/// daemon goes through more than five configurations.
#[test]
fn twenty_daemons_start_at_once() {
    for seed in 0..8 {
        let settings = Settings { daemons: 20, staggered_start: true, ..Settings::default() };
        let mut world = World::new(seed, settings);
        world.run(ms(3000));
        let all: Vec<usize> = (0..20).collect();
        assert!(world.are_one_ring(&all), "seed {seed}");
        assert!(world.installs() <= 20 * 5, "{} configurations with seed {seed}", world.installs());
        world.check();
    }
}

/// A daemon that crashes again and again is heard by an outsider, whose joins the ring hears. When the ring
/// loses its token, what it was told of all those runs must not keep its members from each other.
#[test]
fn word_of_many_runs_of_one_daemon_does_not_part_others() {
    let mut world = World::ring_of(4);
    let [p, q, _, _] = world.clients_in("g");
    for (from, to) in [(0, 2), (1, 2), (0, 3), (3, 0), (1, 3), (3, 1)] {
        world.apply(Fault::CutOneWay { from, to });
    }
    world.wait_for("the two to be a ring", |world| world.are_one_ring(&[0, 1]));
    world.run_until_quiet();
    for _ in 0..12 {
        world.apply(Fault::Restart { host: 3, after: ms(5) });
        world.run(ms(400));
    }
    assert!(world.are_one_ring(&[0, 1]));
    let signals = [p, q].map(|client| world.signals(client));
    world.network.link(0, 1).dropped_kinds.push(DatagramKind::Token);
    world.run(ms(300));
    world.network.link(0, 1).dropped_kinds.clear();
    world.run_until_quiet();
    world.expect_view(p, "g", &[p, q]);
    world.expect_view(q, "g", &[p, q]);
    assert_eq!([p, q].map(|client| world.signals(client)), signals, "nobody was ever thought lost");
    world.apply(Fault::Heal);
    world.finish();
}

/// SC-41: the leader of twenty stalls again and again for 0.7 of the time after which it would be missed.
#[test]
fn a_leader_that_stalls_is_kept() {
    let mut world = World::ring_with(Settings { daemons: 20, ..Settings::default() });
    let installs = world.installs();
    let stall = world.settings().ring.token_loss * 7 / 10;
    for _ in 0..100 {
        world.apply(Fault::Pause { host: 0, duration: stall });
        world.run(stall * 2);
    }
    assert_eq!(world.installs(), installs, "no ring was installed");
    world.finish();
}

/// Two rings of which each has a member beyond the other's leader: one leader asks to merge, and the other
/// keeps its ring until it is asked.
#[test]
fn of_two_leaders_one_asks_to_merge() {
    let mut world = World::ring_of(4);
    world.apply(Fault::Partition(vec![0, 1, 0, 1]));
    world.wait_for("two rings", |world| world.are_one_ring(&[0, 2]) && world.are_one_ring(&[1, 3]));
    let before = world.network.tally.of(DatagramKind::MergeRequest);
    world.apply(Fault::Heal);
    world.network.link(0, 1).dropped_kinds.push(DatagramKind::MergeRequest);
    world.run(ms(3000));
    assert!(world.network.tally.of(DatagramKind::MergeRequest) > before, "the first asks");
    assert!(world.are_one_ring(&[0, 2]) && world.are_one_ring(&[1, 3]), "the second was not asked");
    world.network.link(0, 1).dropped_kinds.clear();
    world.run(ms(1000));
    assert!(world.are_one_ring(&[0, 1, 2, 3]));
    world.finish();
}

/// SC-50: a newcomer hears the ring, and nobody hears the newcomer.
#[test]
fn a_mute_newcomer_does_not_disturb_the_ring() {
    let mut world = World::ring_of(4);
    let [p, q, r, s] = world.clients_in("g");
    world.apply(Fault::Crash { host: 3, silent: false });
    world.run_until_one_ring();
    let ring = world.ring_id(0);
    world.apply(Fault::Mute(3));
    world.apply(Fault::Restart { host: 3, after: ms(0) });
    for _ in 0..100 {
        world.cast(p, "g", Safe, 100);
        world.run(ms(100));
    }
    assert!(world.are_one_ring(&[0, 1, 2]));
    assert_eq!(world.ring_id(0), ring, "the three kept their ring");
    world.apply(Fault::Heal);
    world.finish();
    world.expect_view(q, "g", &[p, q, r]);
    assert!(world.client(s).session().is_none());
}

/// SC-69: a safe message is known to be stable at some daemons when the ring breaks, with them on
/// either side of the cut.
#[test]
fn a_message_that_is_safe_for_some_is_safe_for_their_side() {
    for steps in 0..60 {
        for sides in [vec![0, 1, 1, 1], vec![0, 0, 1, 1], vec![1, 0, 1, 1]] {
            let mut world = World::ring_of(4);
            let clients: [_; 4] = world.clients_in("g");
            let safe = world.cast(clients[1], "g", Safe, 100);
            for _ in 0..steps {
                world.step();
            }
            world.apply(Fault::Partition(sides));
            world.run_until_quiet();
            world.expect_message(clients[1], safe);
            world.apply(Fault::Heal);
            world.finish();
        }
    }
}

/// SC-70: a daemon gets a tenth of a processor for a minute under load: it is slow, and it stays.
#[test]
fn a_starved_daemon_slows_the_ring_and_stays_in_it() {
    let mut world = World::ring_of(4);
    let clients: [_; 4] = world.clients_in("g");
    let installs = world.installs();
    world.apply(Fault::Slow { host: 2, extra: ms(2) });
    for _ in 0..600 {
        for client in clients {
            world.cast(client, "g", Agreed, 1000);
        }
        world.run(ms(100));
    }
    assert_eq!(world.installs(), installs, "no ring was installed");
    world.apply(Fault::Slow { host: 2, extra: ms(0) });
    world.finish();
}

/// Two configurations on one network: two clusters that know nothing of each other.
#[test]
fn clusters_with_different_configurations_do_not_meet() {
    let mut world = World::new(11, Settings { daemons: 4, strangers: 2, ..Settings::default() });
    world.run(ms(3000));
    assert!(world.are_one_ring(&[0, 1]) && world.are_one_ring(&[2, 3]));
    let installs = world.installs();
    let [p, q, r, s] = world.clients_in("g");
    let message = world.cast(p, "g", Safe, 100);
    world.run(ms(10_000));
    world.expect_message(q, message);
    world.expect_no_message(r, message);
    world.expect_view(p, "g", &[p, q]);
    world.expect_view(s, "g", &[r, s]);
    assert_eq!(world.installs(), installs, "no ring was installed");
    world.check();
}

/// SC-33: two processes run as one daemon, which takes two hosts with one address: on one host the
/// second does not start. For the others the later one is the daemon restarted; the earlier one says
/// what is wrong, once, and disturbs nobody.
#[test]
fn of_two_processes_with_one_name_the_later_counts() {
    let double = Some((1, 3));
    let mut world = World::ring_with(Settings { daemons: 4, double, ..Settings::default() });
    assert!(world.are_one_ring(&[0, 1, 2]));
    let [p, _, r] = world.clients_in("g");
    world.apply(Fault::Restart { host: 3, after: ms(0) });
    world.run(ms(2000));
    assert!(world.are_one_ring(&[0, 2, 3]) && world.are_one_ring(&[1]));
    let reported: Vec<usize> = world.duplicates_reported.iter().map(|(host, _)| *host).collect();
    assert_eq!(reported, [1], "the earlier one reports the later one, once");
    let ring = world.ring_id(0);
    let message = world.cast(p, "g", Safe, 100);
    world.run(ms(20_000));
    assert_eq!(world.ring_id(0), ring, "the earlier one disturbs nobody");
    world.expect_message(r, message);
    world.apply(Fault::Crash { host: 3, silent: false });
    world.wait_for("the earlier one to be believed again", |world| world.are_one_ring(&[0, 1, 2]));
}

/// A datagram of a daemon's former run comes when the ring has been idle for so long that the others
/// have heard nothing of some members but through the token. It is a word of the dead all the same.
#[test]
fn a_late_word_of_a_former_run_breaks_no_ring() {
    let mut world = World::new(1, Settings { daemons: 4, ..Settings::default() });
    world.network.copied = vec![DatagramKind::Hello, DatagramKind::Join];
    world.run_until_one_ring();
    world.network.copied.clear();
    world.apply(Fault::Restart { host: 1, after: ms(10) });
    world.run(ms(500));
    world.run_until_one_ring();
    world.run(ms(10_000));
    let installs = world.installs();
    world.apply(Fault::Resurrect(500));
    world.run(ms(3000));
    assert_eq!(world.installs(), installs, "no ring was installed");
    world.finish();
}
