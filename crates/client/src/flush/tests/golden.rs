//! Recorded conversations of programs with the existing flush library: with the same words from the
//! daemon and the same calls by the program, the layer says the same, byte for byte where bytes have
//! a meaning.

use std::collections::BTreeMap;

use antiphon_wire::client::flags::{JOIN, KILL, LEAVE, SUBGROUP_CAST};
use antiphon_wire::client::frame::{Frame, FrameLimits, FrameReader};

use super::*;

const TWO_MEMBERS: &str = include_str!("../../../../cli/tests/golden/F1_flush_user_two_members.hex");
const NO_FLUSH_LIBRARY: &str = include_str!("../../../../cli/tests/golden/F2_spuser.hex");
const MARKED: &str = include_str!("../../../../cli/tests/golden/F3_flush_vulnerable.hex");
const NETWORK: &str = include_str!("../../../../cli/tests/golden/F4_flush_network.hex");

/// Units of a connection before its first message; the last is the private group.
const HANDSHAKE_UNITS: usize = 8;

/// What one connection's program was told, and what the layer would have said more.
#[derive(Default)]
struct Replayed {
    told: Vec<String>,
    unsaid: Vec<i16>,
}

struct Side {
    layer: Layer,
    unsaid: VecDeque<Request>,
    told: Vec<String>,
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.trim().chars().map(|digit| digit.to_digit(16).expect("hex") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn frame(bytes: Vec<u8>, limits: FrameLimits) -> Frame {
    let mut reader = FrameReader::new(limits);
    reader.push(bytes.into());
    reader.next_frame().expect("well formed").expect("whole")
}

fn replay(text: &str) -> BTreeMap<String, Replayed> {
    let mut units: BTreeMap<String, usize> = BTreeMap::new();
    let mut sides: BTreeMap<String, Side> = BTreeMap::new();
    let mut connection = "A".to_owned();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# @conn ") {
            name.trim().clone_into(&mut connection);
        }
        let Some((direction @ ("<" | ">"), bytes)) = line.split_once(' ') else { continue };
        let bytes = unhex(bytes);
        let unit = units.entry(connection.clone()).or_default();
        *unit += 1;
        match (*unit).cmp(&HANDSHAKE_UNITS) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => {
                let me = MemberName::parse(&bytes).expect("a private group");
                let side = Side { layer: Layer::new(me), unsaid: VecDeque::new(), told: Vec::new() };
                sides.insert(connection.clone(), side);
            }
            std::cmp::Ordering::Greater => {
                let side = sides.get_mut(&connection).expect("is open");
                if direction == "<" { side.hear(bytes) } else { side.say(bytes) }
            }
        }
    }
    let end = |(name, side): (String, Side)| {
        let unsaid = side.unsaid.into_iter().map(|request| match request {
            Request::Send(envelope, _) => envelope.type_number(),
            Request::Join(_) | Request::Leave(_) => 0,
        });
        (name, Replayed { told: side.told, unsaid: unsaid.collect() })
    };
    sides.into_iter().map(end).collect()
}

impl Side {
    fn hear(&mut self, bytes: Vec<u8>) {
        let frame = frame(bytes, FrameLimits::FROM_DAEMON);
        let event = message::Event::from_frame(frame, &self.layer.member()).expect("well formed");
        self.layer.on_event(event).expect("nothing is too much");
        while let Some(event) = self.layer.next_event() {
            self.told.push(in_short(event));
        }
        self.collect();
    }

    fn collect(&mut self) {
        self.unsaid.extend(std::iter::from_fn(|| self.layer.next_request()));
    }

    /// The program's library said that, by itself or because the program called it.
    fn say(&mut self, bytes: Vec<u8>) {
        let frame = frame(bytes, FrameLimits::FROM_CLIENT);
        if frame.header.flags & KILL != 0 {
            return;
        }
        if !self.unsaid.iter().any(|request| says(request, &frame)) {
            self.call(&frame);
            self.collect();
        }
        let at = self.unsaid.iter().position(|request| says(request, &frame));
        let at = at.unwrap_or_else(|| panic!("{frame:?} is not among {:?}", self.unsaid));
        self.unsaid.remove(at);
    }

    /// What the program must have called for its library to say that.
    fn call(&mut self, frame: &Frame) {
        let name = frame.group_fields().map(GroupName::from_field).next().expect("a group");
        let (flags, layer) = (frame.header.flags, &mut self.layer);
        let done = match (flags & JOIN != 0, flags & LEAVE != 0, frame.header.hint.message_type()) {
            (true, _, _) => layer.join(name),
            (_, true, _) => layer.leave(name),
            (_, _, wire::FLUSH_OK) => layer.flush(name),
            _ => {
                let event = message::Event::from_frame(frame.clone(), &layer.member());
                let Ok(message::Event::Message(sent)) = event else { panic!("{frame:?} is no message") };
                let service = sent.service;
                let Some((name, wire::Meaning::Data(user, _))) = wire::decode(sent.clone()) else {
                    panic!("{sent:?} is no data");
                };
                if sent.flags & SUBGROUP_CAST == 0 {
                    layer.multicast(service, name, user.message_type, user.body.to_vec())
                } else {
                    let member = MemberName::from_field(sent.groups[0].as_field()).expect("a member");
                    layer.unicast(service, name, member, user.message_type, user.body.to_vec())
                }
            }
        };
        done.unwrap_or_else(|error| panic!("{frame:?}: {error}"));
    }
}

fn says(request: &Request, frame: &Frame) -> bool {
    let groups: Vec<GroupName> = frame.group_fields().map(GroupName::from_field).collect();
    let flags = frame.header.flags;
    match request {
        Request::Join(group) => flags & JOIN != 0 && groups == [*group],
        Request::Leave(group) => flags & LEAVE != 0 && groups == [*group],
        Request::Send(envelope, body) => {
            flags == envelope.flag_word()
                && frame.header.hint.message_type() == envelope.type_number()
                && groups == envelope.groups()
                && frame.body() == *body
        }
    }
}

fn in_short(event: Event) -> String {
    match event {
        Event::Message { message, .. } => {
            let text = String::from_utf8_lossy(&message.body);
            let end = text.find(['\0', '\n']).unwrap_or(text.len());
            format!("{} {}", message.message_type, &text[..end])
        }
        Event::View(view) => {
            format!("{} of {}", view.id.counter, letters_of_second(&view.members))
        }
        Event::FlushRequest(_) => "flush?".to_owned(),
        Event::Transition(_) => "transition".to_owned(),
        Event::Overdue(_) => "overdue".to_owned(),
        Event::SelfLeave(_) => "left".to_owned(),
        Event::Outside(_) => "outside".to_owned(),
    }
}

/// The members are called `fa`, `fb`, `fc`.
fn letters_of_second(members: &[MemberName]) -> String {
    members.iter().map(|member| char::from(member.as_bytes()[2])).collect()
}

fn numbered(range: std::ops::RangeInclusive<u32>) -> Vec<String> {
    range.map(|number| format!("2 mess num {number}")).collect()
}

#[test]
fn two_members_as_recorded() {
    let replayed = replay(TWO_MEMBERS);
    let (a, b) = (&replayed["A"], &replayed["B"]);
    assert_eq!(a.told[..5], ["1 of a", "flush?", "2 of ab", "1 hello all", "0 for a only"]);
    assert_eq!(a.told[5..15], numbered(2..=11));
    assert_eq!(a.told[15..], ["flush?", "3 of a"]);
    assert_eq!(b.told[..2], ["2 of ab", "1 hello all"]);
    assert_eq!(b.told[2..], [numbered(2..=11), vec!["left".to_owned()]].concat());
    // Its program ended before it would have said that it has its last view.
    assert_eq!((a.unsaid.as_slice(), b.unsaid.len()), ([wire::FLUSH_RECV].as_slice(), 0));
}

#[test]
fn a_member_without_the_layer_holds_the_view_up() {
    // What that program sends before it has a view, a program with the layer could not.
    let is_possible = |line: &&str| !line.starts_with("> a0000080") && !line.starts_with("> 80000280");
    let text: Vec<&str> = NO_FLUSH_LIBRARY.lines().filter(is_possible).collect();
    let replayed = replay(&text.join("\n"));
    let (_, only) = replayed.first_key_value().expect("one connection");
    assert_eq!(only.told, ["left"]);
    assert_eq!(only.unsaid, [wire::FLUSH_OK]);
}

#[test]
fn marked_messages_as_recorded() {
    let replayed = replay(MARKED);
    let a = &replayed["A"];
    assert_eq!(a.told[..4], ["1 of a", "flush?", "2 of ab", "flush?"]);
    assert_eq!(a.told[4..14], numbered(1..=10));
}

#[test]
fn a_divided_network_as_recorded() {
    let replayed = replay(NETWORK);
    assert_eq!(replayed["A"].told, ["1 of a", "flush?", "2 of ab", "transition", "flush?"]);
    assert!(replayed["A"].unsaid.is_empty(), "the program would have to flush");
}
