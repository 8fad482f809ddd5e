//! Configurations that change again before the exchange is complete.

use super::world::{Client, World};
use crate::delivery::Kind;

/// Three daemons with one member of `g` each, apart, and nothing unread.
fn three_apart() -> (World, [Client; 3]) {
    let mut world = World::together(3);
    let clients = [0, 1, 2].map(|host| world.connect(host, "m"));
    for client in clients {
        world.join(client, "g");
        world.run();
    }
    world.regroup(&[&[0, 1], &[2]]);
    for client in clients {
        world.told(client);
    }
    (world, clients)
}

#[test]
fn an_exchange_that_is_cut_begins_again_with_the_same_components() {
    let (mut world, [a, b, c]) = three_apart();
    world.regroup(&[&[0, 1, 2]]);
    world.originate(0);
    world.deliver(0);
    assert!(!world.hosts[0].groups.is_settled());
    world.regroup(&[&[0, 1, 2]]);
    world.run();
    let all = "#m#zeta #m#alpha #m#mid";
    assert_eq!(world.told(a), [format!("NETWORK g 1: {all} / *#m#zeta #m#alpha | #m#mid")]);
    assert_eq!(world.told(b), [format!("NETWORK g 1: {all} / *#m#zeta #m#alpha | #m#mid")]);
    assert_eq!(world.told(c), [format!("NETWORK g 1: {all} / #m#zeta #m#alpha | *#m#mid")]);
    assert_eq!(world.table(0), world.table(2));
    let rejected: u64 = world.hosts.iter().map(|host| host.stats.groups_messages_rejected).sum();
    assert_eq!(rejected, 0);
}

#[test]
fn a_member_lost_during_the_exchange_is_signalled_once() {
    let (mut world, [a, _, c]) = three_apart();
    world.regroup(&[&[0, 1, 2]]);
    world.regroup(&[&[0, 2], &[1]]);
    world.regroup(&[&[0, 2], &[1]]);
    world.run();
    // `c` had lost no one since it was alone, so it sees the merge only.
    assert_eq!(world.told(a), ["TRANSITION g 1", "NETWORK g 1: #m#zeta #m#mid / *#m#zeta | #m#mid"]);
    assert_eq!(world.told(c), ["NETWORK g 1: #m#zeta #m#mid / #m#zeta | *#m#mid"]);
    world.regroup(&[&[0, 1, 2]]);
    world.run();
    assert_eq!(world.table(0), world.table(1));
    let all = "#m#zeta #m#alpha #m#mid";
    assert_eq!(world.told(a), [format!("NETWORK g 1: {all} / #m#alpha | *#m#zeta #m#mid")]);
}

#[test]
fn parts_that_come_together_again_before_settling_keep_their_common_set() {
    let (mut world, [a, b, c]) = three_apart();
    world.regroup(&[&[0, 1, 2]]);
    world.regroup(&[&[0], &[1, 2]]);
    world.regroup(&[&[0, 1, 2]]);
    world.run();
    let all = "#m#zeta #m#alpha #m#mid";
    assert_eq!(world.told(c), [format!("NETWORK g 1: {all} / #m#zeta #m#alpha | *#m#mid")]);
    let view = format!("NETWORK g 1: {all} / *#m#zeta #m#alpha | #m#mid");
    assert_eq!(world.told(a), ["TRANSITION g 1".to_owned(), view.clone()]);
    assert_eq!(world.told(b), ["TRANSITION g 1".to_owned(), view]);
}

#[test]
fn reports_that_arrive_while_the_ring_is_closed_complete_its_exchange_first() {
    let (mut world, [a, b, c]) = three_apart();
    world.regroup(&[&[0, 1, 2]]);
    for host in 0..3 {
        world.originate(host);
    }
    let parts = world.ordered(0, Kind::Daemon);
    assert_eq!(parts.len(), 3);
    let new = world.propose(&[0, 1]);
    world.close(&[0, 1], new);
    assert!(world.told(a).is_empty(), "losses wait for the exchange");
    parts.iter().for_each(|part| world.deliver_late(&[0, 1], part));
    assert!(world.hosts[0].groups.is_settled());
    world.install(&[0, 1], new);
    let all = "#m#zeta #m#alpha #m#mid";
    let told = [
        format!("NETWORK g 1: {all} / *#m#zeta #m#alpha | #m#mid"),
        "TRANSITION g 1".to_owned(),
        "NETWORK g 1: #m#zeta #m#alpha / *#m#zeta #m#alpha".to_owned(),
    ];
    assert_eq!(world.told(a), told);
    assert_eq!(world.told(b), told);
    // The third never got the reports, so it comes from another history.
    world.regroup(&[&[2]]);
    world.run();
    world.told(c);
    world.regroup(&[&[0, 1, 2]]);
    world.run();
    assert_eq!(world.table(0), world.table(2));
    assert_eq!(world.told(c), [format!("NETWORK g 1: {all} / #m#zeta #m#alpha | *#m#mid")]);
}

#[test]
fn a_silent_group_stays_silent_through_a_cascade() {
    let (mut world, [a, b, c]) = three_apart();
    for client in [a, b] {
        world.join(client, "h");
    }
    world.run();
    [a, b, c].iter().for_each(|client| drop(world.told(*client)));
    world.regroup(&[&[0, 1, 2]]);
    world.regroup(&[&[0, 1], &[2]]);
    world.regroup(&[&[0, 1, 2]]);
    world.run();
    assert!(world.told(a).iter().all(|line| !line.contains(" h ")));
    assert_eq!(world.table(0), world.table(2));
    world.leave(b, "h");
    world.run();
    assert_eq!(world.told(a), ["LEAVE h 3: #m#zeta / *#m#alpha"]);
}

#[test]
fn sessions_that_end_during_the_exchange_leave_after_it() {
    let (mut world, [a, b, _]) = three_apart();
    world.regroup(&[&[0, 1, 2]]);
    world.kill(b);
    world.run();
    let told = world.told(a);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1], "DISCONNECT g 2: #m#zeta #m#mid / *#m#alpha");
}
