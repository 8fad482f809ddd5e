mod connection;
mod golden;
mod hostile;
mod network;
mod views;

use std::collections::VecDeque;
use std::time::Duration;

use antiphon_wire::client::membership::GroupId;
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::service::ServiceLevel::{Agreed, Fifo, Safe};
use bytes::Bytes;

use super::*;
use crate::message;

fn group() -> GroupName {
    GroupName::new(b"g").expect("legal")
}

/// Members `a`, `b`, … over a daemon in miniature: requests take effect in the order in which they are
/// made, and each member hears of them when the test says so.
struct World {
    places: Vec<Place>,
    /// Of the newest view.
    id: GroupId,
}

struct Place {
    name: MemberName,
    layer: Layer,
    joined: bool,
    /// Who cannot reach each other is on different sides.
    side: usize,
    inbox: VecDeque<message::Event>,
    told: Vec<String>,
}

impl World {
    fn of(members: usize) -> Self {
        let place = |letter: char| {
            let name = MemberName::parse(format!("#{letter}#d").as_bytes()).expect("legal");
            let layer = Layer::new(name);
            Place { name, layer, joined: false, side: 0, inbox: VecDeque::new(), told: Vec::new() }
        };
        Self {
            places: ('a'..).take(members).map(place).collect(),
            id: GroupId { leader: 1, time: 2, counter: 0 },
        }
    }

    /// Members of one group that all have the same view, and have said so.
    fn steady(members: usize) -> Self {
        let mut world = Self::of(members);
        for member in 0..members {
            world.ask(member, |layer| layer.join("g")).expect("joins");
            world.hear_all();
            world.flush_all();
        }
        for member in 0..members {
            world.told(member);
        }
        world
    }

    fn name(&self, member: usize) -> MemberName {
        self.places[member].name
    }

    fn ask<T>(&mut self, member: usize, call: impl FnOnce(&mut Layer) -> T) -> T {
        let answer = call(&mut self.places[member].layer);
        self.order(member);
        answer
    }

    fn say(&mut self, member: usize, service: ServiceLevel, text: &str) {
        self.ask(member, |layer| layer.multicast(service, "g", 7, text)).expect("may send");
    }

    fn flush(&mut self, member: usize) {
        self.ask(member, |layer| layer.flush("g")).expect("was asked");
    }

    /// Everyone who was asked flushes, and hears the rest.
    fn flush_all(&mut self) {
        for member in 0..self.places.len() {
            let _ = self.ask(member, |layer| layer.flush("g"));
        }
        self.hear_all();
    }

    fn order(&mut self, member: usize) {
        while let Some(request) = self.places[member].layer.next_request() {
            match request {
                Request::Join(_) => {
                    self.places[member].joined = true;
                    self.change(Change::Join, member);
                }
                Request::Leave(_) => {
                    self.places[member].inbox.push_back(message::Event::SelfLeave(group()));
                    self.places[member].joined = false;
                    self.change(Change::Leave, member);
                }
                Request::Send(envelope, body) => self.deliver(member, &envelope, &body),
            }
        }
    }

    fn deliver(&mut self, member: usize, envelope: &Envelope, body: &[u8]) {
        let sent = Message {
            sender: self.name(member),
            service: Fifo,
            groups: envelope.groups().to_vec(),
            message_type: envelope.type_number(),
            endian_mismatch: cfg!(target_endian = "big"),
            flags: envelope.flag_word(),
            body: Bytes::copy_from_slice(body),
        };
        let side = self.places[member].side;
        for place in self.places.iter_mut().filter(|place| place.side == side) {
            let private = GroupName::from_field(place.name.as_field());
            let is_target = |name: &GroupName| *name == private || place.joined && *name == group();
            if sent.groups.iter().any(is_target) {
                place.inbox.push_back(message::Event::Message(sent.clone()));
            }
        }
    }

    fn crash(&mut self, member: usize) {
        self.places[member].joined = false;
        self.places[member].inbox.clear();
        self.change(Change::Disconnect, member);
    }

    fn members(&self, side: usize) -> Vec<MemberName> {
        let is_in = |place: &&Place| place.joined && place.side == side;
        self.places.iter().filter(is_in).map(|place| place.name).collect()
    }

    fn change(&mut self, change: fn(MemberName) -> Change, about: usize) {
        let side = self.places[about].side;
        self.tell(side, change(self.name(about)), self.members(side), &[]);
    }

    /// The daemon tells all members of a side the next view; returns its id. A network change makes the
    /// ids count anew.
    fn tell(
        &mut self,
        side: usize,
        change: Change,
        members: Vec<MemberName>,
        sets: &[Vec<MemberName>],
    ) -> GroupId {
        let GroupId { leader, time, counter } = self.id;
        let id = match change {
            Change::Network => GroupId { leader, time: time + 2, counter: 1 },
            Change::Join(_) | Change::Leave(_) | Change::Disconnect(_) => {
                GroupId { leader, time, counter: counter + 1 }
            }
        };
        self.tell_as(id, side, change, members, sets)
    }

    /// The same of a view within a transitional configuration, which only stands in until the regular one.
    fn tell_stand_in(&mut self, side: usize, members: Vec<MemberName>, sets: &[Vec<MemberName>]) -> GroupId {
        let id = GroupId { time: self.id.time + 1, counter: 2, ..self.id };
        self.tell_as(id, side, Change::Network, members, sets)
    }

    fn tell_as(
        &mut self,
        id: GroupId,
        side: usize,
        change: Change,
        members: Vec<MemberName>,
        sets: &[Vec<MemberName>],
    ) -> GroupId {
        self.id = id;
        for place in self.places.iter_mut().filter(|place| place.joined && place.side == side) {
            let own = sets.iter().position(|set| set.contains(&place.name));
            place.inbox.push_back(message::Event::View(message::View {
                group: group(),
                id,
                change,
                my_index: members.iter().position(|member| *member == place.name),
                members: members.clone(),
                vs_sets: sets.to_vec(),
                my_vs_set: own.unwrap_or_default(),
            }));
        }
        id
    }

    fn signal(&mut self, side: usize, id: GroupId) {
        for place in self.places.iter_mut().filter(|place| place.joined && place.side == side) {
            place.inbox.push_back(message::Event::Transition(message::Transition { group: group(), id }));
        }
    }

    /// One member hears the next thing; false when there is nothing.
    fn hear(&mut self, member: usize) -> bool {
        let place = &mut self.places[member];
        let Some(event) = place.inbox.pop_front() else { return false };
        place.layer.on_event(event).expect("nothing is too much");
        while let Some(event) = place.layer.next_event() {
            place.told.push(in_words(event));
        }
        self.order(member);
        true
    }

    fn hear_all(&mut self) {
        while (0..self.places.len()).any(|member| self.hear(member)) {}
    }

    /// What the program of a member was told since the last call.
    fn told(&mut self, member: usize) -> Vec<String> {
        std::mem::take(&mut self.places[member].told)
    }
}

fn letters(members: &[MemberName]) -> String {
    members.iter().map(|member| char::from(member.as_bytes()[1])).collect()
}

fn in_words(event: Event) -> String {
    match event {
        Event::Message { message, .. } => {
            assert_eq!(message.message_type, 7, "the program's own type");
            format!("{}: {}", letters(&[message.sender]), String::from_utf8_lossy(&message.body))
        }
        Event::FlushRequest(_) => "flush?".to_owned(),
        Event::View(view) => {
            let change = match view.change {
                Change::Join(member) => format!("join of {}", letters(&[member])),
                Change::Leave(member) => format!("leave of {}", letters(&[member])),
                Change::Disconnect(member) => format!("disconnect of {}", letters(&[member])),
                Change::Network => "network".to_owned(),
            };
            format!("{}, {} after {change}", letters(&view.members), letters(&view.came_along))
        }
        Event::Transition(_) => "transition".to_owned(),
        Event::Overdue(_) => "overdue".to_owned(),
        Event::SelfLeave(_) => "left".to_owned(),
        Event::Outside(message) => format!("outside, {}", letters(&[message.sender])),
    }
}

/// SC-57, F7: one member never flushes; the others wait for it no longer than its limit.
#[test]
fn a_member_that_does_not_flush_in_time_leaves() {
    let mut world = World::steady(3);
    let limit = Duration::from_secs(2);
    world.ask(2, |layer| layer.set_flush_limit(Some(limit)));
    world.ask(2, |layer| layer.on_time(Duration::from_secs(10)));
    world.crash(1);
    world.hear_all();
    world.flush(0);
    world.hear_all();
    assert_eq!(world.told(0), ["flush?"], "c holds it up");
    assert_eq!(world.ask(2, |layer| layer.deadline()), Some(Duration::from_secs(12)));
    world.ask(2, |layer| layer.on_time(Duration::from_millis(11_999)));
    world.hear_all();
    assert_eq!((world.told(0), world.told(2)), (vec![], vec!["flush?".to_owned()]));
    world.ask(2, |layer| layer.on_time(Duration::from_secs(12)));
    world.hear_all();
    assert_eq!(world.told(0), ["a, a after network"]);
    assert_eq!(world.told(2), ["overdue", "left"]);
    assert!(matches!(world.ask(2, |layer| layer.flush("g")), Err(FlushError::NotAMember)));
    assert_eq!(world.ask(2, |layer| layer.deadline()), None);
}

#[test]
fn who_flushes_in_time_stays() {
    let mut world = World::steady(2);
    world.ask(1, |layer| layer.set_flush_limit(Some(Duration::from_secs(2))));
    let id = world.id;
    world.tell(0, Change::Network, world.members(0), &[world.members(0)]);
    assert_ne!(world.id, id);
    world.hear_all();
    world.flush_all();
    world.ask(1, |layer| layer.on_time(Duration::from_secs(60)));
    world.hear_all();
    assert_eq!(world.told(1), ["flush?", "ab, ab after network"]);
}
