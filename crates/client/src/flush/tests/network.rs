//! Views of a network that divides and comes together.

use super::*;

/// `abc` divide into `ab` and `c`; `together` says who came along with whom.
fn divided() -> World {
    let mut world = World::steady(3);
    world.places[2].side = 1;
    let old = world.id;
    for side in 0..2 {
        world.signal(side, old);
        let members = world.members(side);
        world.tell(side, Change::Network, members.clone(), &[members]);
    }
    world
}

/// All sides come together, each as a set.
fn merge(world: &mut World) {
    let sets = [world.members(0), world.members(1)];
    world.places.iter_mut().for_each(|place| place.side = 0);
    world.tell(0, Change::Network, sets.concat(), &sets);
}

#[test]
fn each_side_goes_on_and_the_sets_say_who_came_along() {
    let mut world = divided();
    world.hear_all();
    world.say(0, Safe, "still in the old view");
    world.flush_all();
    let old = "a: still in the old view";
    assert_eq!(world.told(0), ["transition", "flush?", old, "ab, ab after network"]);
    assert_eq!(world.told(2), ["transition", "flush?", "c, c after network"]);
    merge(&mut world);
    world.hear_all();
    world.flush_all();
    assert_eq!(
        world.told(1),
        ["transition", "flush?", old, "ab, ab after network", "flush?", "abc, ab after network"]
    );
    assert_eq!(world.told(2), ["flush?", "abc, c after network"]);
}

#[test]
fn a_side_that_had_another_view_is_not_heard_before_the_common_one() {
    let mut world = divided();
    world.hear_all();
    world.flush_all();
    merge(&mut world);
    while world.hear(0) {}
    // c has not heard of the merge: it sends in the view that it has alone.
    world.places[2].inbox.clear();
    world.say(2, Agreed, "to myself");
    world.say(1, Agreed, "to both of us");
    world.told(0);
    world.hear_all();
    assert_eq!(world.told(0), ["b: to both of us"]);
}

#[test]
fn a_division_during_a_flush_ends_it_among_those_who_stay() {
    let mut world = World::steady(3);
    let mut more = World::of(4);
    world.places.push(more.places.remove(3));
    world.ask(3, |layer| layer.join("g")).expect("joins");
    world.hear_all();
    world.flush(0);
    world.hear_all();
    world.places[2].side = 1;
    world.places[3].side = 1;
    let pending = world.id;
    for side in 0..2 {
        world.signal(side, pending);
        let members = world.members(side);
        world.tell(side, Change::Network, members.clone(), &[members]);
    }
    world.hear_all();
    world.flush(1);
    world.flush(2);
    world.hear_all();
    assert_eq!(world.told(0), ["flush?", "transition", "ab, ab after network"]);
    assert_eq!(world.told(1), ["flush?", "transition", "ab, ab after network"]);
    assert_eq!(world.told(2), ["flush?", "transition", "cd, c after network"]);
    assert_eq!(world.told(3), ["cd, d after network"], "a joiner has no view that could end");
}

#[test]
fn unreachable_members_are_heard_until_the_new_configuration() {
    let mut world = World::steady(4);
    let old = world.id;
    world.signal(0, old);
    // d's leave was ordered before the end: a view that stands in, with c in a set of its own.
    world.places[3].joined = false;
    let (a, b, c) = (world.name(0), world.name(1), world.name(2));
    let stand_in = world.tell_stand_in(0, vec![a, b, c], &[vec![a, b], vec![c]]);
    world.signal(0, stand_in);
    world.deliver(2, &Envelope::for_group(Safe, group()).message_type(7), b"my last");
    world.places[2].joined = false;
    world.tell(0, Change::Network, vec![a, b], &[vec![a, b]]);
    world.hear_all();
    world.flush_all();
    for member in 0..2 {
        let expected = ["transition", "flush?", "c: my last", "ab, ab after network"];
        assert_eq!(world.told(member), expected);
    }
}

/// c has had a view alone when a hears of the division and the merge at once; then the network changes
/// again, with c on this side, before a has flushed. `between` comes after the merge.
fn told_of_two_changes(between: impl FnOnce(&mut World)) -> Vec<String> {
    let mut world = World::steady(3);
    let old = world.id;
    world.places[2].side = 1;
    world.signal(1, old);
    let (a, b, c) = (world.name(0), world.name(1), world.name(2));
    world.tell(1, Change::Network, vec![c], &[vec![c]]);
    world.hear_all();
    world.flush_all();
    world.signal(0, old);
    world.places[2].side = 0;
    let merged = world.tell(0, Change::Network, vec![a, b, c], &[vec![a, b], vec![c]]);
    while world.hear(0) {}
    between(&mut world);
    world.signal(0, merged);
    world.places[1].side = 1;
    world.places[2].inbox.clear();
    world.say(2, Agreed, "to myself");
    world.tell(0, Change::Network, vec![a, c], &[vec![a, c]]);
    world.say(2, Agreed, "to myself again");
    while world.hear(0) {}
    world.told(0)
}

#[test]
fn seed_42004663_who_had_another_view_is_not_heard_again_after_the_next_change() {
    let told = told_of_two_changes(|world| world.say(1, Agreed, "to both of us"));
    assert_eq!(told, ["transition", "flush?", "b: to both of us"]);
}

#[test]
fn seed_50011040_nor_when_nobody_said_anything_before_the_next_change() {
    assert_eq!(told_of_two_changes(|_| {}), ["transition", "flush?"]);
}
