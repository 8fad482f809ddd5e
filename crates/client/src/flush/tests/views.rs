//! Joins, leaves, ends of members and messages in one undivided network.

use super::*;

#[test]
fn a_joiner_becomes_a_member_when_all_have_flushed() {
    let mut world = World::of(2);
    world.ask(0, |layer| layer.join("g")).expect("joins");
    world.hear_all();
    assert_eq!(world.told(0), ["a, a after join of a"]);
    world.ask(1, |layer| layer.join("g")).expect("joins");
    world.hear_all();
    assert_eq!(world.told(0), ["flush?"]);
    assert!(world.told(1).is_empty(), "nobody has flushed");
    world.flush(0);
    world.hear_all();
    assert_eq!(world.told(0), ["ab, a after join of b"]);
    assert_eq!(world.told(1), ["ab, b after join of b"]);
}

#[test]
fn what_is_sent_before_the_flush_comes_before_the_view() {
    for service in [Fifo, Agreed, Safe] {
        let mut world = World::steady(3);
        world.ask(2, |layer| layer.leave("g")).expect("leaves");
        world.hear_all();
        assert_eq!(world.told(2), ["left"]);
        world.flush(0);
        world.hear_all();
        world.say(1, service, "last");
        world.flush(1);
        world.hear_all();
        for member in 0..2 {
            assert_eq!(world.told(member), ["flush?", "b: last", "ab, ab after leave of c"]);
        }
        world.ask(2, |layer| layer.join("g")).expect("a group can be joined again");
    }
}

#[test]
fn nothing_can_be_sent_between_flush_and_view() {
    let mut world = World::steady(2);
    let ask = |world: &mut World| world.ask(0, |layer| layer.multicast(Safe, "g", 7, "x"));
    assert!(matches!(world.ask(0, |layer| layer.flush("g")), Err(FlushError::NotRequested)));
    world.ask(1, |layer| layer.leave("g")).expect("leaves");
    world.hear(0);
    assert!(ask(&mut world).is_ok(), "between request and flush all is allowed");
    world.flush(0);
    assert!(matches!(ask(&mut world), Err(FlushError::Flushed)));
    assert!(matches!(world.ask(0, |layer| layer.flush("g")), Err(FlushError::NotRequested)));
    world.hear_all();
    assert!(ask(&mut world).is_ok());
}

#[test]
fn only_members_send_flush_and_leave() {
    let mut world = World::steady(1);
    assert!(matches!(world.ask(0, |layer| layer.join("g")), Err(FlushError::AlreadyInvolved)));
    assert!(matches!(world.ask(0, |layer| layer.join("#b#d")), Err(FlushError::PrivateGroup)));
    assert!(matches!(world.ask(0, |layer| layer.leave("h")), Err(FlushError::NotAMember)));
    let reserved = world.ask(0, |layer| layer.multicast(Fifo, "g", -32_766, "x"));
    assert!(matches!(reserved, Err(FlushError::ReservedType(-32_766))));
    world.ask(0, |layer| layer.multicast(Fifo, "g", -32_765, "x")).expect("not reserved");
    world.ask(0, |layer| layer.leave("g")).expect("leaves");
    assert!(matches!(world.ask(0, |layer| layer.leave("g")), Err(FlushError::NotAMember)));
    assert!(matches!(world.ask(0, |layer| layer.flush("g")), Err(FlushError::NotAMember)));
    let late = world.ask(0, |layer| layer.multicast(Fifo, "g", 7, "x"));
    assert!(matches!(late, Err(FlushError::NotAMember)));
}

#[test]
fn changes_during_a_flush_become_one_view() {
    let mut world = World::steady(2);
    let mut more = World::of(4);
    more.places.drain(..2);
    world.places.append(&mut more.places);
    world.ask(2, |layer| layer.join("g")).expect("joins");
    world.hear_all();
    world.flush(0);
    world.hear_all();
    world.ask(3, |layer| layer.join("g")).expect("joins");
    world.hear_all();
    assert_eq!((world.told(0).len(), world.told(1).len()), (1, 1), "one request each");
    world.flush(1);
    world.hear_all();
    assert_eq!(world.told(0), ["abcd, ab after network"]);
    assert_eq!(world.told(1), ["abcd, ab after network"]);
    assert_eq!(world.told(2), ["abcd, c after network"]);
    assert_eq!(world.told(3), ["abcd, d after join of d"]);
}

#[test]
fn a_member_that_ends_without_flushing_holds_nobody_up() {
    let mut world = World::steady(4);
    world.ask(3, |layer| layer.leave("g")).expect("leaves");
    world.hear_all();
    world.flush(0);
    world.say(2, Agreed, "my last");
    world.flush(1);
    world.hear_all();
    assert_eq!(world.told(0), ["flush?", "c: my last"]);
    world.crash(2);
    world.hear_all();
    assert_eq!(world.told(0), ["ab, ab after network"]);
    assert_eq!(world.told(1), ["flush?", "c: my last", "ab, ab after network"]);
}

#[test]
fn a_cast_to_some_members_reaches_only_them() {
    let mut world = World::steady(3);
    let (a, c) = (world.name(0), world.name(2));
    world.ask(1, |layer| layer.subgroup_cast(Agreed, "g", &[a, c], 7, "two")).expect("members");
    world.ask(1, |layer| layer.unicast(Fifo, "g", c, 7, "one")).expect("a member");
    let stranger = MemberName::parse(b"#z#d").expect("legal");
    let refused = world.ask(1, |layer| layer.unicast(Fifo, "g", stranger, 7, "x"));
    assert!(matches!(refused, Err(FlushError::NotInView(name)) if name == stranger));
    world.hear_all();
    assert_eq!(world.told(0), ["b: two"]);
    assert!(world.told(1).is_empty());
    assert_eq!(world.told(2), ["b: two", "b: one"]);
}

/// `b` has joined and heard all, so that it has the view with `a`; what `a` hears is up to the test.
fn ahead() -> World {
    let mut world = World::of(2);
    world.ask(0, |layer| layer.join("g")).expect("joins");
    world.hear_all();
    world.ask(1, |layer| layer.join("g")).expect("joins");
    world.hear(0);
    world.flush(0);
    while world.hear(1) {}
    assert_eq!(world.told(1), ["ab, b after join of b"]);
    world.told(0);
    world
}

/// Lets the first thing that a member would hear come last.
fn overtaken(world: &mut World, member: usize) {
    world.places[member].inbox.rotate_left(1);
}

#[test]
fn a_message_that_overtakes_its_view_is_kept_for_it() {
    let mut world = ahead();
    let a = world.name(0);
    world.say(1, Fifo, "to all");
    world.ask(1, |layer| layer.unicast(Fifo, "g", a, 7, "to a")).expect("a member");
    // Daemons may let FIFO messages of one sender pass those of another.
    overtaken(&mut world, 0);
    world.hear_all();
    assert_eq!(world.told(0), ["ab, a after join of b", "b: to all", "b: to a"]);
    assert_eq!(world.told(1), ["b: to all"]);
}

#[test]
fn acknowledgements_that_overtake_the_change_count() {
    let mut world = World::steady(2);
    let left = world.tell(0, Change::Network, vec![world.name(0)], &[vec![world.name(0)]]);
    let Request::Send(envelope, body) = Request::flush_ok(group(), left) else { unreachable!() };
    world.places[0].inbox.rotate_left(1);
    world.deliver(0, &envelope, &body);
    world.places[0].inbox.rotate_right(1);
    world.hear_all();
    assert_eq!(world.told(0), ["flush?", "a, a after network"]);
}

#[test]
fn messages_of_other_views_are_not_delivered() {
    let mut world = World::steady(2);
    for (view, text) in [(1, "old"), (2, "this"), (9, "nobody's")] {
        let mut body = text.as_bytes().to_vec();
        wire::put_mark(&mut body, 7, GroupId { leader: 1, time: 2, counter: view });
        let envelope = Envelope::for_group(Fifo, group()).message_type(wire::MARKED);
        world.deliver(1, &envelope, &body);
    }
    world.hear_all();
    assert_eq!(world.told(0), ["b: this"]);
}

#[test]
fn messages_of_strangers_are_not_delivered() {
    let mut world = World::steady(1);
    let mut other = World::of(2);
    world.places.push(other.places.remove(1));
    world.deliver(1, &Envelope::for_group(Agreed, group()).message_type(7), b"let me in");
    let private = Envelope::new(Agreed).to(world.name(0)).expect("legal").message_type(7);
    world.deliver(1, &private, b"hello");
    world.hear_all();
    assert_eq!(world.told(0), ["outside, b"], "only what comes to the private group");
}

#[test]
fn who_is_joining_can_leave_after_its_first_view_only() {
    let mut world = World::of(2);
    for member in [0, 1] {
        world.ask(member, |layer| layer.join("g")).expect("joins");
        world.hear_all();
    }
    assert!(matches!(world.ask(1, |layer| layer.leave("g")), Err(FlushError::NotAMember)));
    world.flush_all();
    world.ask(1, |layer| layer.leave("g")).expect("the other member has flushed");
}
