//! Joins, leaves, ends of sessions, and routing, in a ring that does not change.

use std::collections::BTreeSet;

use antiphon_wire::client::flags::SELF_DISCARD;

use super::world::{Seen, World};

const AGREED: u32 = 0x10;

#[test]
fn a_join_shows_everyone_the_members_by_daemon_then_by_name() {
    let mut world = World::together(2);
    let clients = [(0, "zed"), (0, "Bob"), (1, "x"), (0, "amy"), (0, "$1")]
        .map(|(host, name)| world.connect(host, name));
    for client in clients {
        world.join(client, "grp");
        world.run();
    }
    let all = "#$1#zeta #Bob#zeta #amy#zeta #zed#zeta #x#alpha";
    for client in clients {
        assert_eq!(world.told(client).pop(), Some(format!("JOIN grp 5: {all} / *#$1#zeta")));
    }
    assert_eq!(world.table(0), world.table(1));
}

#[test]
fn a_leaver_gets_its_confirmation_and_the_others_the_view() {
    let mut world = World::together(2);
    let (a, b) = (world.connect(0, "a"), world.connect(1, "b"));
    world.join(a, "g");
    world.run();
    world.join(b, "g");
    world.run();
    world.leave(b, "g");
    world.run();
    assert_eq!(world.told(a)[2..], ["LEAVE g 3: #a#zeta / *#b#alpha"]);
    assert_eq!(world.told(b)[1..], ["LEFT g"]);
    world.leave(a, "g");
    world.run();
    assert_eq!(world.told(a), ["LEFT g"]);
    assert!(world.table(0).is_empty() && world.table(1).is_empty());
    world.join(b, "g");
    world.run();
    assert_eq!(world.told(b), ["JOIN g 1: #b#alpha / *#b#alpha"], "a new life begins at 1");
}

#[test]
fn the_lives_of_a_group_have_different_ids() {
    let mut world = World::together(2);
    let clients = [world.connect(0, "a"), world.connect(1, "b")];
    let mut ids = BTreeSet::new();
    for life in 0..100 {
        let client = clients[life % 2];
        world.join(client, "g");
        world.run();
        let seen = world.read(client);
        let [Seen::View(view)] = &seen[..] else { panic!("one view expected, seen: {seen:?}") };
        assert!(ids.insert((view.id.leader, view.id.time, view.id.counter)), "{:?} came again", view.id);
        world.leave(client, "g");
        world.run();
        world.told(client);
    }
}

#[test]
fn the_end_of_a_session_is_told_group_by_group_in_name_order() {
    let mut world = World::together(2);
    let (a, b) = (world.connect(0, "a"), world.connect(1, "b"));
    for group in ["z", "k", "m"] {
        world.join(a, group);
        world.join(b, group);
        world.run();
    }
    world.join(a, "only");
    world.run();
    world.told(a);
    world.kill(b);
    world.run();
    let told = ["k", "m", "z"].map(|name| format!("DISCONNECT {name} 3: #a#zeta / *#b#alpha"));
    assert_eq!(world.told(a), told);
}

#[test]
fn repeated_joins_and_leaves_of_strangers_do_nothing() {
    let mut world = World::together(2);
    let (a, b) = (world.connect(0, "a"), world.connect(1, "b"));
    world.join(a, "g");
    world.join(a, "g");
    world.leave(b, "g");
    world.leave(b, "nowhere");
    world.run();
    assert_eq!(world.told(a), ["JOIN g 1: #a#zeta / *#a#zeta"]);
    assert!(world.told(b).is_empty());
}

#[test]
fn sessions_without_the_flag_get_data_and_nothing_else() {
    let mut world = World::together(1);
    let a = world.connect_with(0, "a", false);
    world.join(a, "g");
    world.send(a, AGREED, &["g"], "hello");
    world.leave(a, "g");
    world.run();
    assert_eq!(world.told(a), ["DATA hello"]);
}

#[test]
fn who_comes_is_told_what_concerned_nobody_before() {
    let mut world = World::together(2);
    let (a, b, c) = (world.connect(0, "a"), world.connect(1, "b"), world.connect(1, "c"));
    let send = |world: &mut World, body| {
        world.send(a, AGREED, &["g"], body);
        world.send(a, AGREED, &["g"], body);
        world.run();
    };
    send(&mut world, "nobody");
    world.join(b, "g");
    world.run();
    send(&mut world, "b");
    world.leave(b, "g");
    world.run();
    send(&mut world, "nobody again");
    world.join(c, "g");
    world.run();
    send(&mut world, "c");
    assert_eq!(world.told(b), ["JOIN g 1: #b#alpha / *#b#alpha", "DATA b", "DATA b", "LEFT g"]);
    assert_eq!(world.told(c), ["JOIN g 1: #c#alpha / *#c#alpha", "DATA c", "DATA c"]);
}

#[test]
fn what_concerned_nobody_reaches_whom_another_ring_brings() {
    let mut world = World::apart(2);
    let (a, b) = (world.connect(0, "a"), world.connect(1, "b"));
    world.join(b, "g");
    world.send(a, AGREED, &["g"], "nobody");
    world.run();
    world.regroup(&[&[0, 1]]);
    world.run();
    drop(world.told(b));
    world.send(a, AGREED, &["g"], "b");
    world.run();
    assert_eq!(world.told(b), ["DATA b"]);
}

#[test]
fn each_target_gets_one_copy_whatever_its_roles() {
    let mut world = World::together(2);
    let (a, b, c) = (world.connect(0, "a"), world.connect(0, "b"), world.connect(1, "c"));
    for (client, group) in [(a, "g1"), (a, "g2"), (b, "g2"), (c, "g3")] {
        world.join(client, group);
    }
    world.run();
    [a, b, c].iter().for_each(|client| drop(world.told(*client)));
    world.send(c, AGREED, &["g1", "g2", "g1", "#a#zeta", "#nobody#zeta", "#a", "unknown"], "x");
    world.run();
    assert_eq!(world.told(a), ["DATA x"]);
    assert_eq!(world.told(b), ["DATA x"]);
    assert!(world.told(c).is_empty(), "an open group is not echoed to a sender outside of it");
    world.send(a, AGREED | SELF_DISCARD, &["g1", "g2", "#a#zeta"], "y");
    world.run();
    assert!(world.told(a).is_empty());
    assert_eq!(world.told(b), ["DATA y"]);
}

#[test]
fn messages_in_a_row_reach_each_member_once_and_only_while_it_is_one() {
    for (flags, discarded) in [(AGREED, false), (AGREED | SELF_DISCARD, true)] {
        let mut world = World::together(1);
        let [a, b, c] = ["a", "b", "c"].map(|name| world.connect_with(0, name, false));
        let changes = [(Some(a), None), (Some(b), None), (Some(c), Some(a)), (None, Some(b))];
        for (comes, goes) in changes {
            for group in ["g1", "g2"] {
                comes.iter().for_each(|client| world.join(*client, group));
                goes.iter().for_each(|client| world.leave(*client, group));
            }
            world.run();
            for body in ["1", "2", "3"] {
                world.send(b, flags, &["g1", "g2", "g1"], body);
            }
            world.run();
        }
        let row = ["DATA 1", "DATA 2", "DATA 3"];
        assert_eq!(world.told(a), row.repeat(2));
        assert_eq!(world.told(b), row.repeat(if discarded { 0 } else { 2 }));
        assert_eq!(world.told(c), row.repeat(2));
    }
}

#[test]
fn a_hundred_groups_reach_every_member() {
    let mut world = World::together(2);
    let client = world.connect(1, "a");
    world.join(client, "g99");
    world.run();
    world.told(client);
    let names: Vec<String> = (0..100).map(|number| format!("g{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let sender = world.connect(0, "s");
    world.send(sender, AGREED, &names, "wide");
    world.run();
    assert_eq!(world.told(client), ["DATA wide"]);
}

#[test]
fn a_group_named_like_a_member_is_joined_but_gets_no_data() {
    let mut world = World::together(1);
    let (a, b) = (world.connect(0, "a"), world.connect(0, "b"));
    world.join(a, "#b#zeta");
    world.run();
    assert_eq!(world.told(a), ["JOIN #b#zeta 1: #a#zeta / *#a#zeta"]);
    world.send(b, AGREED, &["#b#zeta"], "to b");
    world.run();
    assert!(world.told(a).is_empty());
    assert_eq!(world.told(b), ["DATA to b"]);
}

#[test]
fn all_members_get_the_same_frame() {
    let mut world = World::together(2);
    let clients = [world.connect(0, "a"), world.connect(0, "b"), world.connect(1, "c")];
    for client in clients {
        world.join(client, "g");
        world.run();
    }
    let last = clients.map(|client| world.read(client).pop());
    assert!(matches!(last[0], Some(Seen::View(_))));
    assert_eq!(last[0], last[1]);
    assert_eq!(last[0], last[2]);
}
