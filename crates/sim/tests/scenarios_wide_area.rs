//! Stories about daemons in two places that are far from each other (docs/testing.md, Scenarios).

use std::time::Duration;

use antiphon_proto::config::{MembershipConfig, RingConfig, SessionConfig};
use antiphon_sim::network::Quality;
use antiphon_sim::scenario::ms;
use antiphon_sim::world::{Fault, Settings, World};
use antiphon_wire::service::ServiceLevel::{Agreed, Safe};

const DAEMONS: usize = 6;

/// Times of a wide area network.
fn wide() -> Settings {
    Settings {
        daemons: DAEMONS,
        ring: RingConfig::default().in_wide_area(),
        membership: MembershipConfig::default().in_wide_area(),
        ..Settings::default()
    }
}

/// The same, with a window that does not grow.
fn wide_with_constant_window() -> Settings {
    let settings = wide();
    let window_limit_packets = settings.ring.windows.all;
    Settings { ring: RingConfig { window_limit_packets, ..settings.ring }, ..settings }
}

fn place(host: usize) -> usize {
    host * 2 / DAEMONS
}

/// Half of the daemons are in each place, and a datagram takes `way`, or a tenth more, to the other.
fn two_places(way: Duration, settings: Settings) -> World {
    let mut world = World::new(1, settings);
    move_apart(&mut world, way);
    world
}

fn move_apart(world: &mut World, way: Duration) {
    let far = Quality { delay: way, jitter: way / 10, ..Quality::default() };
    for from in 0..DAEMONS {
        for to in (0..DAEMONS).filter(|to| place(*to) != place(from)) {
            world.network.link(from, to).quality = far;
        }
    }
}

/// How long it takes until what one sends at once is read in the other place. `between` happens after a ring has
/// formed over ways of that length.
fn carrying(way: Duration, settings: Settings, between: impl Fn(&mut World)) -> Duration {
    let mut world = two_places(way, settings);
    world.run_until_one_ring();
    let [sender, .., receiver]: [_; DAEMONS] = world.clients_in("g");
    world.run_until_quiet();
    between(&mut world);
    let begun = world.now();
    for _ in 1..5000 {
        world.cast(sender, "g", Agreed, 1300);
    }
    let last = world.cast(sender, "g", Agreed, 1300);
    world.wait_for("the last message", |world| world.has_read(receiver, last));
    let took = world.now().since(begun);
    world.finish();
    took
}

/// Whether that takes a third of the time if the window grows.
fn expect_window_to_fill_the_way(way: Duration, between: impl Fn(&mut World)) {
    let [growing, constant] =
        [wide(), wide_with_constant_window()].map(|settings| carrying(way, settings, &between));
    assert!(
        growing * 3 < constant,
        "{growing:?} with a window that grows, {constant:?} with one that does not"
    );
}

/// How long it takes until all are one ring.
fn forming(world: &mut World) -> Duration {
    let begun = world.now();
    world.run_until_one_ring();
    world.now().since(begun)
}

/// SC-71: daemons of two places find each other, stay together whatever is sent, notice a crash, and take back who
/// comes again.
#[test]
fn daemons_of_two_places_are_one_ring() {
    for way in [5, 40, 100, 150] {
        let mut world = two_places(ms(way), wide());
        assert!(forming(&mut world) < ms(2000), "a way of {way} ms");
        let clients: [_; DAEMONS] = world.clients_in("g");
        let installs = world.installs();
        for client in clients {
            world.cast(client, "g", Safe, 20_000);
            world.cast(client, "g", Agreed, 100);
        }
        world.run(ms(20_000));
        assert_eq!(world.installs(), installs, "a way of {way} ms breaks no ring");
        world.apply(Fault::Crash { host: 5, silent: false });
        world.run(ms(6000));
        assert!(world.are_one_ring(&[0, 1, 2, 3, 4]), "a way of {way} ms, and the crash is noticed");
        world.apply(Fault::Restart { host: 5, after: ms(0) });
        assert!(forming(&mut world) < ms(6000), "a way of {way} ms back");
        world.finish();
    }
}

/// SC-72: the places part, both go on, and they merge.
#[test]
fn places_part_and_merge() {
    let mut world = two_places(ms(80), wide());
    world.run_until_one_ring();
    let clients: [_; DAEMONS] = world.clients_in("g");
    world.apply(Fault::Partition((0..DAEMONS).map(place).collect()));
    world.run(ms(6000));
    assert!(world.are_one_ring(&[0, 1, 2]) && world.are_one_ring(&[3, 4, 5]));
    let here = world.cast(clients[0], "g", Safe, 100);
    let there = world.cast(clients[5], "g", Safe, 100);
    world.run(ms(1000));
    assert!(world.has_read(clients[2], here) && world.has_read(clients[3], there));
    world.apply(Fault::Heal);
    world.run(ms(8000));
    assert!(world.are_one_ring(&[0, 1, 2, 3, 4, 5]));
    world.finish();
}

/// SC-73: times for a local network do for places that are 20 ms apart.
#[test]
fn places_that_are_not_far_need_no_other_times() {
    let mut world = two_places(ms(20), Settings { daemons: DAEMONS, ..Settings::default() });
    assert!(forming(&mut world) < ms(1000));
    let installs = world.installs();
    world.run(ms(20_000));
    assert_eq!(world.installs(), installs);
    world.finish();
}

/// SC-74: the way takes most of a round, so the window grows although rounds are long.
#[test]
fn what_is_on_its_way_fills_the_way() {
    expect_window_to_fill_the_way(ms(50), |_| {});
}

/// SC-75: the same when the way became longer after the ring had measured it.
#[test]
fn a_way_that_becomes_longer_is_measured_anew() {
    expect_window_to_fill_the_way(ms(20), |world| {
        move_apart(world, ms(60));
        world.run(ms(3000));
    });
}

/// SC-76: clients that are served in small parts are no reason to send less where the way is long.
#[test]
fn what_is_put_off_for_a_moment_does_not_narrow_the_way() {
    let [at_once, in_parts] = [200_000, 1].map(|frames_at_once| {
        let settings = wide();
        let sessions = SessionConfig { frames_at_once, ..settings.sessions.clone() };
        carrying(ms(50), Settings { sessions, ..settings }, |_| {})
    });
    assert!(in_parts < at_once * 2, "{in_parts:?} in parts, {at_once:?} at once");
}

/// SC-81: daemons between which a datagram takes as long as the times allow for, also where some are lost: they form
/// a ring, part, merge, and form one without a member that has crashed, each in seconds.
#[test]
fn rings_form_over_the_longest_ways() {
    let near = Settings::default();
    let far = wide();
    for (way, settings, patience) in [(ms(20), near, ms(5000)), (ms(150), far, ms(15_000))] {
        for (daemons, loss_ppm) in [(4, 0), (4, 50_000), (8, 0), (8, 20_000)] {
            let quality = Quality { delay: way, loss_ppm, ..Quality::default() };
            let mut world = World::new(1, Settings { daemons, quality, ..settings.clone() });
            let all: Vec<usize> = (0..daemons).collect();
            expect_one_ring(&mut world, &all, patience);
            world.apply(Fault::Partition(all.iter().map(|host| usize::from(*host < daemons / 2)).collect()));
            world.run(patience);
            world.apply(Fault::Heal);
            expect_one_ring(&mut world, &all, patience);
            world.apply(Fault::Crash { host: 1, silent: true });
            let rest: Vec<usize> = all.into_iter().filter(|host| *host != 1).collect();
            expect_one_ring(&mut world, &rest, patience);
        }
    }
}

fn expect_one_ring(world: &mut World, hosts: &[usize], patience: Duration) {
    let until = world.now() + patience;
    while !(hosts.iter().all(|host| world.is_up(*host)) && world.are_one_ring(hosts)) {
        assert!(world.now() < until, "{} daemons form no ring in {patience:?}", hosts.len());
        world.run(ms(10));
    }
}
