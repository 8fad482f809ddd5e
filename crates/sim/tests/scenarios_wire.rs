//! Stories about datagrams that come late, again, from before or not at all (docs/testing.md, Scenarios).

use antiphon_proto::Stats;
use antiphon_sim::network::Quality;
use antiphon_sim::scenario::ms;
use antiphon_sim::world::{Fault, Settings, World};
use antiphon_wire::ring::DatagramKind;
use antiphon_wire::service::ServiceLevel::{Agreed, Fifo, Safe};

/// A counter, summed over the daemons that run.
fn total(world: &World, count: fn(Stats) -> u64) -> u64 {
    let hosts = 0..world.settings().daemons;
    hosts.filter_map(|host| world.node(host)).map(|node| count(node.stats())).sum()
}

/// SC-02: the token and its first five repetitions are lost; the ring is patient enough.
#[test]
fn a_token_that_is_lost_six_times_is_sent_again() {
    for holder in 0..3 {
        let mut world = World::ring_of(3);
        let clients: [_; 3] = world.clients_in("g");
        let installs = world.installs();
        let message = world.cast(clients[holder], "g", Safe, 100);
        world.drop_from(holder, DatagramKind::Token);
        let (lost, repetition) = (world.network.tally.filtered, world.settings().ring.token_retransmit);
        world.wait_for("six losses", |world| world.network.tally.filtered >= lost + 6);
        world.apply(Fault::Heal);
        world.run(repetition * 3);
        for client in clients {
            world.expect_message(client, message);
        }
        assert_eq!(world.installs(), installs, "no ring was installed");
        world.finish();
    }
}

/// SC-04: tokens of an earlier ring of the same daemons arrive at each of them.
#[test]
fn tokens_of_an_earlier_ring_are_ignored() {
    let mut world = World::ring_of(3);
    let [p, _, r] = world.clients_in("g");
    world.network.copied.push(DatagramKind::Token);
    world.cast(p, "g", Agreed, 100);
    world.run(ms(300));
    world.network.copied.clear();
    world.apply(Fault::Partition(vec![0, 1, 2]));
    world.run(ms(500));
    world.apply(Fault::Heal);
    world.run_until_one_ring();
    let (installs, stale) = (world.installs(), total(&world, |stats| stats.datagrams_stale));
    for _ in 0..20 {
        world.apply(Fault::Resurrect(10));
        world.cast(r, "g", Safe, 100);
        world.run(ms(10));
    }
    assert_eq!(world.installs(), installs, "no ring was installed");
    let stale = total(&world, |stats| stats.datagrams_stale) - stale;
    assert!(stale >= 100, "{stale} of 200, most of them tokens, were counted as stale");
    world.finish();
}

/// SC-08: what was said before a ring was agreed on reaches its members up to a second later.
#[test]
fn words_of_an_earlier_attempt_do_not_break_the_ring() {
    let mut world = World::new(5, Settings::default());
    world.network.copied = DatagramKind::ALL
        .into_iter()
        .filter(|kind| !matches!(kind, DatagramKind::Packet | DatagramKind::Token))
        .collect();
    world.run_until_one_ring();
    world.network.copied.clear();
    let [p, _, _] = world.clients_in("g");
    let installs = world.installs();
    for _ in 0..18 {
        world.apply(Fault::Resurrect(20));
        world.cast(p, "g", Safe, 100);
        world.run(ms(50));
    }
    assert_eq!(world.installs(), installs, "no ring was installed");
    world.finish();
}

/// SC-09: a member lacks a burst after which nobody sends: it gets the burst once, and no more.
#[test]
fn a_round_of_retransmissions_alone_ends() {
    let mut world = World::ring_of(3);
    let [p, _, r] = world.clients_in("g");
    world.drop_to(2, DatagramKind::Packet);
    let burst: Vec<_> = (0..30).map(|_| world.cast(p, "g", Agreed, 1400)).collect();
    world.run(ms(2));
    world.apply(Fault::Heal);
    let before = total(&world, |stats| stats.packets_retransmitted);
    world.run_until_quiet();
    burst.iter().for_each(|message| world.expect_message(r, *message));
    let again = total(&world, |stats| stats.packets_retransmitted) - before;
    assert!((20..=40).contains(&again), "{again} packets were sent again for 30 that were lost");
    world.finish();
}

/// SC-10: a switch takes 5 ms longer for what goes to all than for the token.
#[test]
fn packets_that_are_slower_than_the_token_are_not_asked_for() {
    let quality = Quality { data_late: ms(5), ..Quality::default() };
    let mut world = World::ring_with(Settings { quality, ..Settings::default() });
    let clients: [_; 3] = world.clients_in("g");
    let (sent, again) =
        (total(&world, |stats| stats.packets_sent), total(&world, |stats| stats.packets_retransmitted));
    for _ in 0..500 {
        for client in clients {
            world.cast(client, "g", Agreed, 1400);
        }
        world.run(ms(2));
    }
    let sent = total(&world, |stats| stats.packets_sent) - sent;
    let again = total(&world, |stats| stats.packets_retransmitted) - again;
    assert!(again * 50 < sent, "{again} packets were sent again for nothing, of {sent}");
    world.finish();
}

/// SC-11: two megabytes at once for receivers whose sockets hold 64 KB.
#[test]
fn a_burst_larger_than_the_sockets_arrives() {
    let mut settings = Settings::default();
    settings.host.data_buffer_bytes = 64 << 10;
    settings.host.datagram_cost = std::time::Duration::from_micros(20);
    let mut world = World::ring_with(settings);
    let [p, q, r] = world.clients_in("g");
    let installs = world.installs();
    let burst: Vec<_> = (0..20).map(|_| world.cast(p, "g", Fifo, 100_000)).collect();
    world.run_until_quiet();
    for client in [p, q, r] {
        burst.iter().for_each(|message| world.expect_message(client, *message));
    }
    assert_eq!(world.installs(), installs, "no ring was installed");
    world.finish();
}

/// SC-12: two senders have used up their windows, and every packet that would acknowledge is lost.
#[test]
fn tokens_alone_open_the_window_again() {
    let mut settings = Settings::default();
    settings.ring.outstanding_packets = 8;
    let mut world = World::ring_with(settings);
    let [p, q, r] = world.clients_in("g");
    let installs = world.installs();
    world.drop_from(0, DatagramKind::Packet);
    world.drop_from(1, DatagramKind::Packet);
    let mut messages = Vec::new();
    for _ in 0..20 {
        messages.push(world.cast(p, "g", Agreed, 1400));
        messages.push(world.cast(q, "g", Safe, 1400));
    }
    world.run(ms(100));
    world.apply(Fault::Heal);
    world.run_until_quiet();
    for client in [p, q, r] {
        messages.iter().for_each(|message| world.expect_message(client, *message));
    }
    assert_eq!(world.installs(), installs, "no ring was installed");
    world.finish();
}

/// SC-14: packets that everyone has delivered and dropped come again.
#[test]
fn packets_that_were_dropped_long_ago_change_nothing() {
    let mut world = World::ring_of(3);
    let clients: [_; 3] = world.clients_in("g");
    world.network.copied.push(DatagramKind::Packet);
    for _ in 0..30 {
        for client in clients {
            world.cast(client, "g", Agreed, 1400);
        }
        world.run(ms(2));
    }
    world.network.copied.clear();
    world.run_until_quiet();
    let records = world.recorder.records;
    let again = total(&world, |stats| stats.packets_duplicate + stats.datagrams_stale);
    world.apply(Fault::Resurrect(100));
    world.run(ms(50));
    assert!(total(&world, |stats| stats.packets_duplicate + stats.datagrams_stale) >= again + 100);
    assert_eq!(world.recorder.records, records, "nothing was delivered");
    world.finish();
}

/// SC-49: nine datagrams in ten are lost for five seconds, and everyone lacks nearly everything.
#[test]
fn mass_loss_costs_time_and_nothing_else() {
    let mut world = World::ring_of(5);
    let clients: [_; 5] = world.clients_in("g");
    world.apply(Fault::Links(Quality { loss_ppm: 900_000, ..Quality::default() }));
    for _ in 0..50 {
        world.cast(clients[0], "g", Safe, 5000);
        world.cast(clients[3], "g", Agreed, 5000);
        world.run(ms(100));
    }
    world.apply(Fault::Links(Quality::default()));
    world.finish();
    for client in clients {
        world.expect_view(client, "g", &clients);
    }
}

/// SC-66: everything that was said in an earlier run of the whole cluster is said again.
#[test]
fn the_words_of_a_dead_cluster_are_not_believed() {
    let mut world = World::new(7, Settings::default());
    world.network.copied = DatagramKind::ALL.into();
    world.run_until_one_ring();
    let [p, _, _] = world.clients_in("g");
    world.cast(p, "g", Safe, 100);
    world.run(ms(20));
    world.network.copied.clear();
    (0..3).for_each(|host| world.apply(Fault::Restart { host, after: ms(100) }));
    world.run(ms(200));
    world.run_until_one_ring();
    let installs = world.installs();
    for _ in 0..30 {
        world.apply(Fault::Resurrect(40));
        world.run(ms(20));
    }
    assert_eq!(world.installs(), installs, "no ring was installed");
    world.finish();
}

/// SC-67: packets of a member that was declared dead still come, from the network and from a ring-mate.
#[test]
fn packets_of_the_dead_count_only_if_the_survivors_agree() {
    for wait in [0, 1, 5, 60, 200, 260, 400] {
        let mut world = World::ring_of(4);
        let [p, q, r, s] = world.clients_in("g");
        world.network.copied.push(DatagramKind::Packet);
        world.drop_to(2, DatagramKind::Packet);
        for _ in 0..10 {
            world.cast(s, "g", Agreed, 1400);
        }
        world.run(ms(1));
        world.apply(Fault::Crash { host: 3, silent: true });
        world.apply(Fault::Heal);
        world.run(ms(wait));
        world.apply(Fault::Resurrect(60));
        world.run_until_one_ring();
        world.run_until_quiet();
        world.expect_view(p, "g", &[p, q, r]);
        world.finish();
    }
}

/// SC-34: a daemon joins over a path on which small datagrams arrive and full packets do not. It never
/// comes into the ring, where it would hear the token and nothing else, and the ring is left in peace.
#[test]
fn a_path_that_swallows_long_datagrams_is_no_path() {
    let mut world = World::new(9, Settings::default());
    for other in [0, 1] {
        for (from, to) in [(other, 2), (2, other)] {
            world.network.link(from, to).quality.longest = 1300;
        }
    }
    world.run(ms(2000));
    let p = world.client_in(0, "p", "g");
    let r = world.client_in(2, "r", "g");
    let installs = world.installs();
    for _ in 0..50 {
        world.cast(p, "g", Safe, 5000);
        world.cast(r, "g", Safe, 5000);
        world.run(ms(100));
    }
    assert!(world.are_one_ring(&[0, 1]) && world.are_one_ring(&[2]));
    assert_eq!(world.installs(), installs, "no ring was installed");
    world.apply(Fault::Links(Quality::default()));
    world.finish();
    world.expect_view(r, "g", &[p, r]);
}
