//! Events for people and for programs.

use std::fmt::Display;

use antiphon::{Change, Event, GroupId, Message, View};
use serde_json::{Value, json};

/// An event as one line for a person.
pub(crate) fn line(event: &Event) -> String {
    match event {
        Event::Message(message) => message_line(message),
        Event::View(view) => view_line(view),
        Event::Transition(transition) => {
            format!("-- {}: transition, members are becoming unreachable", transition.group)
        }
        Event::SelfLeave(group) => format!("-- {group}: left"),
        Event::Rejected(rejected) => format!("-- the daemon refused a request to {}", list(&rejected.groups)),
    }
}

fn message_line(message: &Message) -> String {
    let kind = match message.message_type {
        0 => String::new(),
        number => format!(", type {number}"),
    };
    let (sender, groups, service) = (message.sender, list(&message.groups), message.service.name());
    format!("{sender} to {groups} ({service}{kind}): {}", text(&message.body))
}

/// A body for a terminal: what would do something to it, or not be seen, is written out.
pub(crate) fn text(body: &[u8]) -> String {
    let mut text = String::new();
    for char in String::from_utf8_lossy(body).chars() {
        match char {
            '\'' | '"' => text.push(char),
            _ => text.extend(char.escape_debug()),
        }
    }
    text
}

fn view_line(view: &View) -> String {
    let change = match view.change {
        Change::Join(who) => format!("{who} joined"),
        Change::Leave(who) => format!("{who} left"),
        Change::Disconnect(who) => format!("{who} disconnected"),
        Change::Network => "the network changed".to_owned(),
    };
    let members = match view.members.as_slice() {
        [only] => format!("1 member: {only}"),
        members => format!("{} members: {}", members.len(), list(members)),
    };
    let sets = match view.change {
        Change::Network => format!("; came together: {}", sets(view)),
        Change::Join(_) | Change::Leave(_) | Change::Disconnect(_) => String::new(),
    };
    format!("-- {}: {change}; {members}{sets}", view.group)
}

/// The virtual synchrony sets of a view, each in brackets.
fn sets(view: &View) -> String {
    view.vs_sets.iter().map(|set| format!("[{}]", list(set))).collect::<Vec<_>>().join(" ")
}

fn list(names: &[impl Display]) -> String {
    strings(names).join(" ")
}

/// An event as one JSON object.
pub(crate) fn json(event: &Event) -> Value {
    match event {
        Event::Message(message) => message_json(message),
        Event::View(view) => json!({
            "event": "view",
            "group": view.group.to_string(),
            "id": id(view.id),
            "cause": cause(view.change),
            "changed": view.change.member().map(ToString::to_string),
            "members": strings(&view.members),
            "my_index": view.my_index,
            "vs_sets": view.vs_sets.iter().map(|set| strings(set)).collect::<Vec<_>>(),
            "my_vs_set": view.my_vs_set,
        }),
        Event::Transition(transition) => json!({
            "event": "transition",
            "group": transition.group.to_string(),
            "id": id(transition.id),
        }),
        Event::SelfLeave(group) => json!({ "event": "self_leave", "group": group.to_string() }),
        Event::Rejected(rejected) => json!({
            "event": "rejected",
            "flags": rejected.flags,
            "groups": strings(&rejected.groups),
            "type": rejected.message_type,
        }),
    }
}

/// Text goes into `body`; a body that is not text goes into `body_hex`.
fn message_json(message: &Message) -> Value {
    let mut value = json!({
        "event": "message",
        "sender": message.sender.to_string(),
        "service": message.service.name(),
        "groups": strings(&message.groups),
        "type": message.message_type,
        "endian_mismatch": message.endian_mismatch,
    });
    let (key, body) = match str::from_utf8(&message.body) {
        Ok(text) => ("body", text.to_owned()),
        Err(_) => ("body_hex", message.body.iter().map(|byte| format!("{byte:02x}")).collect()),
    };
    if let Value::Object(fields) = &mut value {
        fields.insert(key.to_owned(), Value::String(body));
    }
    value
}

fn strings(names: &[impl Display]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn id(id: GroupId) -> [u32; 3] {
    [id.leader, id.time, id.counter]
}

fn cause(change: Change) -> &'static str {
    match change {
        Change::Join(_) => "join",
        Change::Leave(_) => "leave",
        Change::Disconnect(_) => "disconnect",
        Change::Network => "network",
    }
}

#[cfg(test)]
mod tests {
    use antiphon::{GroupName, MemberName, ServiceLevel};

    use super::*;

    fn message(body: &'static [u8]) -> Event {
        Event::Message(Message {
            sender: MemberName::parse(b"#alice#db1").expect("legal"),
            service: ServiceLevel::Safe,
            groups: vec![GroupName::new(b"chat").expect("legal")],
            message_type: 7,
            endian_mismatch: false,
            flags: 0x20,
            body: body.into(),
        })
    }

    fn alice() -> MemberName {
        MemberName::parse(b"#alice#db1").expect("legal")
    }

    fn view(change: Change) -> Event {
        let members = vec![alice()];
        Event::View(View {
            group: GroupName::new(b"chat").expect("legal"),
            id: GroupId { leader: 1, time: 2, counter: 3 },
            change,
            vs_sets: if change == Change::Network { vec![members.clone()] } else { Vec::new() },
            members,
            my_index: Some(0),
            my_vs_set: 0,
        })
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let shown = "#alice#db1 to chat (safe, type 7): don't\\u{1b}[2J";
        assert_eq!(line(&message(b"don't\x1b[2J")), shown);
    }

    #[test]
    fn views_say_what_happened() {
        assert_eq!(line(&view(Change::Join(alice()))), "-- chat: #alice#db1 joined; 1 member: #alice#db1");
        let network = "-- chat: the network changed; 1 member: #alice#db1; came together: [#alice#db1]";
        assert_eq!(line(&view(Change::Network)), network);
    }

    #[test]
    fn json_tells_text_from_bytes() {
        assert_eq!(json(&message(b"hi"))["body"], "hi");
        let binary = json(&message(b"\xff\x00"));
        assert_eq!((&binary["body_hex"], &binary["body"]), (&json!("ff00"), &Value::Null));
        let left = json(&view(Change::Leave(alice())));
        assert_eq!((&left["cause"], &left["changed"]), (&json!("leave"), &json!("#alice#db1")));
        assert_eq!((&left["id"], &left["vs_sets"]), (&json!([1, 2, 3]), &json!([])));
    }
}
