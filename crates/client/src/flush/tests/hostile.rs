//! What a daemon or a member should never send.

use antiphon_wire::client::flags::SUBGROUP_CAST;

use super::*;

const EVENTS: usize = 100_000;

/// Any event, about few names and ids, so that they meet.
fn any_event(random: &mut fastrand::Rng, names: &[MemberName]) -> message::Event {
    let id = GroupId { leader: 0, time: 0, counter: random.u32(..6) };
    let mut some = |most: usize| -> Vec<MemberName> {
        (0..random.usize(..=most)).map(|_| names[random.usize(..names.len())]).collect()
    };
    let (members, vs_sets) = (some(4), vec![some(3), some(2)]);
    match random.u32(..10) {
        0 | 1 => message::Event::View(message::View {
            group: group(),
            id,
            change: any_change(random, names),
            members,
            my_index: None,
            vs_sets,
            my_vs_set: random.usize(..4),
        }),
        2 => message::Event::Transition(message::Transition { group: group(), id }),
        3 if random.u32(..50) == 0 => message::Event::SelfLeave(group()),
        _ => message::Event::Message(Message {
            sender: names[random.usize(..names.len())],
            service: Fifo,
            groups: vec![group(); random.usize(..3)],
            message_type: i16::MIN + random.i16(0..4),
            endian_mismatch: random.bool(),
            flags: if random.u32(..4) == 0 { SUBGROUP_CAST } else { 0 },
            body: any_body(random, id),
        }),
    }
}

fn any_change(random: &mut fastrand::Rng, names: &[MemberName]) -> Change {
    let member = names[random.usize(..names.len())];
    let changes = [Change::Join(member), Change::Leave(member), Change::Disconnect(member), Change::Network];
    changes[random.usize(..changes.len())]
}

fn any_body(random: &mut fastrand::Rng, id: GroupId) -> Bytes {
    let mut body = Vec::new();
    if random.bool() {
        body.extend_from_slice(&[0, 7]);
    }
    wire::put_id(&mut body, id);
    if random.u32(..3) == 0 {
        body.extend_from_slice(group().as_field());
    }
    body.truncate(random.usize(..=64));
    body.into()
}

#[test]
fn no_daemon_makes_a_layer_panic() {
    let mut random = fastrand::Rng::with_seed(5);
    let world = World::of(4);
    let names: Vec<MemberName> = world.places.iter().map(|place| place.name).collect();
    let mut layer = Layer::new(names[0]);
    let mut views = 0;
    for _ in 0..EVENTS {
        match random.u32(..20) {
            0 => drop(layer.join("g")),
            1 => drop(layer.flush("g")),
            2 if random.u32(..50) == 0 => drop(layer.leave("g")),
            3 => drop(layer.multicast(Fifo, "g", 7, "x")),
            _ => layer.on_event(any_event(&mut random, &names)).expect("never too much between views"),
        }
        while layer.next_request().is_some() {}
        while let Some(event) = layer.next_event() {
            views += u32::from(matches!(event, Event::View(_)));
        }
    }
    assert!(views > 1000, "{views} views: the events meet too seldom");
}

/// How many messages of one sender, and of that many bytes, the layer takes for a view that never comes.
fn flood(members: usize, sender: usize, bytes: usize) -> Option<usize> {
    let mut world = World::steady(members);
    world.crash(members - 1);
    world.hear(0);
    let mut body = vec![0; bytes];
    wire::put_mark(&mut body, 7, world.id);
    let flood = Message {
        sender: world.name(sender),
        service: Fifo,
        groups: vec![group()],
        message_type: wire::MARKED,
        endian_mismatch: cfg!(target_endian = "big"),
        flags: 0,
        body: body.into(),
    };
    let layer = &mut world.places[0].layer;
    (0..100_000).find(|_| match layer.on_event(message::Event::Message(flood.clone())) {
        Ok(()) => false,
        Err(error) => matches!(error, FlushError::TooManyHeld),
    })
}

#[test]
fn a_flood_for_a_view_that_never_comes_is_an_error() {
    assert_eq!(flood(3, 1, 0), Some(65_536));
    let of_bytes = flood(3, 1, 100_000).expect("too many bytes");
    assert!(of_bytes < (64 << 20) / 100_000 + 1, "{of_bytes}");
}

#[test]
fn a_flood_of_somebody_who_is_not_in_the_view_is_nothing() {
    assert_eq!(flood(3, 2, 0), None);
}

#[test]
fn numbers_of_the_other_byte_order_are_understood() {
    let mark = [0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    let message = Message {
        sender: World::of(1).name(0),
        service: Fifo,
        groups: vec![group()],
        message_type: wire::MARKED,
        endian_mismatch: cfg!(target_endian = "little"),
        flags: 0,
        body: [b"body".as_slice(), &mark].concat().into(),
    };
    let Some((name, wire::Meaning::Data(message, view))) = wire::decode(message) else {
        panic!("it is well formed");
    };
    assert_eq!((name, message.message_type, message.body), (group(), 0x1234, Bytes::from_static(b"body")));
    assert_eq!(view, Some(GroupId { leader: 1, time: 2, counter: 3 }));
}
