//! The conversation of `README.md`, for any client library that a Rust program can call.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use antiphon::{Change, Envelope, Error, Event, GroupId, Message, ServiceLevel, View};

/// Longer bodies are written as length and checksum.
const TEXT_MAX_BYTES: usize = 40;

/// A client library.
pub(crate) trait Client: Sized {
    fn connect(address: &str, name: &str, membership: bool) -> Result<Self, Error>;
    fn member(&self) -> String;
    fn join(&mut self, group: &str) -> Result<(), Error>;
    fn leave(&mut self, group: &str) -> Result<(), Error>;
    fn send(&mut self, envelope: &Envelope, body: &[u8]) -> Result<(), Error>;
    /// Waits for the next event, and fails the test when none comes.
    fn receive(&mut self) -> Event;
    fn disconnect(self) -> Result<(), Error>;
}

/// Goes through the conversation and returns its log.
pub(crate) fn run<C: Client>(address: &str) -> String {
    let mut talk = Talk::<C> { address, sessions: BTreeMap::new(), ids: Vec::new(), log: String::new() };
    connect(&mut talk);
    join_and_send(&mut talk);
    send_to_three(&mut talk);
    send_what_can_not_be_sent(&mut talk);
    leave_and_come_back(&mut talk);
    end(&mut talk);
    talk.log
}

/// Steps 1 to 5.
fn connect<C: Client>(talk: &mut Talk<'_, C>) {
    talk.connect("alice", true);
    talk.connect("bob", true);
    talk.connect("carol", false);
    talk.connect_in_vain("alice", talk.address);
    talk.connect_in_vain("a#b", talk.address);
    talk.connect_in_vain("dave", "1@127.0.0.1");
    talk.connect_in_vain("dave", "localhost:4803");
}

/// Steps 6 to 12.
fn join_and_send<C: Client>(talk: &mut Talk<'_, C>) {
    talk.join("alice", "red");
    talk.hear(&["alice"]);
    talk.join("alice", "blue");
    talk.hear(&["alice"]);
    talk.join("bob", "red");
    talk.hear(&["alice", "bob"]);
    for service in ServiceLevel::ALL {
        talk.say("alice", service, i16::from(service.rank()), "red", service.name());
        talk.hear(&["alice", "bob"]);
    }
    talk.say("carol", ServiceLevel::Agreed, 100, "red", "open");
    talk.hear(&["alice", "bob"]);
    talk.say("bob", ServiceLevel::Fifo, -1, "#alice#localhost", "for alice");
    talk.hear(&["alice"]);
    talk.say("alice", ServiceLevel::Fifo, -32768, "#carol#localhost", "for carol");
    talk.hear(&["carol"]);
}

/// Steps 13 to 19.
fn send_to_three<C: Client>(talk: &mut Talk<'_, C>) {
    talk.join("carol", "red");
    talk.hear(&["alice", "bob"]);
    talk.say("alice", ServiceLevel::Safe, 32767, "red", "three");
    talk.hear(&["alice", "bob", "carol"]);
    let several = envelope(ServiceLevel::Causal, 15, &["red", "blue", "#carol#localhost"]);
    talk.send("bob", &several, b"several");
    talk.hear(&["alice", "bob", "carol"]);
    let red = envelope(ServiceLevel::Fifo, 16, &["red"]);
    talk.send("alice", &red.clone().self_discard(true), b"not to me");
    talk.send("alice", &red, b"to all");
    talk.hear(&["bob", "bob", "carol", "carol", "alice"]);
    talk.say("alice", ServiceLevel::Reliable, 17, "blue", "");
    talk.hear(&["alice"]);
    let large: Vec<u8> = (0_u8..251).cycle().take(100_000).collect();
    talk.send("bob", &envelope(ServiceLevel::Agreed, 18, &["red"]), &large);
    talk.hear(&["alice", "bob", "carol"]);
    for text in ["one", "two", "three"] {
        talk.say("alice", ServiceLevel::Agreed, 19, "red", text);
    }
    for name in ["alice", "bob", "carol"] {
        talk.hear(&[name; 3]);
    }
}

/// Steps 20 to 24.
fn send_what_can_not_be_sent<C: Client>(talk: &mut Talk<'_, C>) {
    let joined = talk.session("alice").join("two words");
    talk.failed("alice", "join", &joined.expect_err("blanks are not legal"));
    let left = talk.session("alice").leave("");
    talk.failed("alice", "leave", &left.expect_err("a group has a name"));
    let sent = talk.session("alice").send(&envelope(ServiceLevel::Agreed, 22, &["red"]), &[0; 150_000]);
    talk.failed("alice", "multicast", &sent.expect_err("the message is too long"));
    if ServiceLevel::from_flags(0).is_none() {
        talk.write("alice", format_args!("failed multicast -12"));
    }
    talk.say("alice", ServiceLevel::Agreed, 24, "red", "still here");
    talk.hear(&["alice", "bob", "carol"]);
}

/// Steps 25 to 32.
fn leave_and_come_back<C: Client>(talk: &mut Talk<'_, C>) {
    talk.leave("bob", "red");
    talk.hear(&["bob", "alice"]);
    talk.say("bob", ServiceLevel::Agreed, 26, "red", "from outside");
    talk.hear(&["alice", "carol"]);
    talk.leave("carol", "red");
    talk.hear(&["alice"]);
    talk.say("alice", ServiceLevel::Fifo, 28, "#carol#localhost", "alone");
    talk.hear(&["carol"]);
    talk.join("bob", "red");
    talk.hear(&["alice", "bob"]);
    talk.disconnect("bob");
    talk.hear(&["alice"]);
    talk.connect("bob", true);
    talk.join("bob", "blue");
    talk.hear(&["alice", "bob"]);
}

/// Steps 33 to 37.
fn end<C: Client>(talk: &mut Talk<'_, C>) {
    talk.disconnect("carol");
    talk.leave("alice", "blue");
    talk.hear(&["alice", "bob"]);
    talk.leave("alice", "red");
    talk.hear(&["alice"]);
    talk.disconnect("alice");
    talk.disconnect("bob");
}

fn envelope(service: ServiceLevel, message_type: i16, groups: &[&str]) -> Envelope {
    let empty = Envelope::new(service).message_type(message_type);
    groups.iter().fold(empty, |envelope, group| envelope.to(group).expect("a legal name"))
}

/// The open sessions, and the log so far.
struct Talk<'a, C> {
    address: &'a str,
    sessions: BTreeMap<&'static str, C>,
    /// Group ids in the order in which the log has them.
    ids: Vec<GroupId>,
    log: String,
}

impl<C: Client> Talk<'_, C> {
    fn connect(&mut self, name: &'static str, membership: bool) {
        let session = C::connect(self.address, name, membership).expect("accepted");
        self.write(name, format_args!("connected {}", session.member()));
        self.sessions.insert(name, session);
    }

    fn connect_in_vain(&mut self, name: &str, address: &str) {
        let Err(error) = C::connect(address, name, true) else { panic!("{name} is accepted") };
        self.failed(name, "connect", &error);
    }

    fn session(&mut self, name: &str) -> &mut C {
        self.sessions.get_mut(name).expect("an open session")
    }

    fn join(&mut self, name: &str, group: &str) {
        self.session(name).join(group).expect("sent");
    }

    fn leave(&mut self, name: &str, group: &str) {
        self.session(name).leave(group).expect("sent");
    }

    fn say(&mut self, name: &str, service: ServiceLevel, message_type: i16, to: &str, body: &str) {
        self.send(name, &envelope(service, message_type, &[to]), body.as_bytes());
    }

    fn send(&mut self, name: &str, envelope: &Envelope, body: &[u8]) {
        self.session(name).send(envelope, body).expect("sent");
    }

    fn disconnect(&mut self, name: &str) {
        self.sessions.remove(name).expect("an open session").disconnect().expect("said goodbye");
        self.write(name, format_args!("disconnected"));
    }

    /// Lets each of these sessions wait for its next event.
    fn hear(&mut self, names: &[&str]) {
        for name in names {
            let event = self.session(name).receive();
            let line = self.line(&event);
            self.write(name, line);
        }
    }

    fn write(&mut self, name: &str, line: impl Display) {
        writeln!(self.log, "{name} {line}").expect("memory");
    }

    fn failed(&mut self, name: &str, call: &str, error: &Error) {
        let code = match error {
            Error::Address(_) => -1,
            Error::Connect { .. } => -2,
            Error::Name(_) if call == "connect" => -5,
            Error::Refused(code) => i32::from(code.number()),
            Error::Name(_) => -14,
            Error::MessageTooLong(_) => -17,
            other => panic!("{other}"),
        };
        self.write(name, format_args!("failed {call} {code}"));
    }

    fn line(&mut self, event: &Event) -> String {
        match event {
            Event::Message(message) => message_line(message),
            Event::View(view) => view_line(view, self.id(view.id)),
            Event::Transition(transition) => {
                format!("transition {} id {}", transition.group, self.id(transition.id))
            }
            Event::SelfLeave(group) => format!("self-leave {group}"),
            other => panic!("no daemon says this here: {other:?}"),
        }
    }

    fn id(&mut self, id: GroupId) -> usize {
        let known = self.ids.iter().position(|known| *known == id);
        let index = known.unwrap_or_else(|| {
            self.ids.push(id);
            self.ids.len() - 1
        });
        index + 1
    }
}

fn message_line(message: &Message) -> String {
    let Message { service, message_type, sender, groups, .. } = message;
    let (service, groups, body) = (service.name(), list(groups), body_text(&message.body));
    format!("message {service} type {message_type} from {sender} to {groups} {body}")
}

fn view_line(view: &View, id: usize) -> String {
    let (cause, sets) = match view.change {
        Change::Join(member) => ("join", vec![vec![member]]),
        Change::Leave(member) => ("leave", vec![vec![member]]),
        Change::Disconnect(member) => ("disconnect", vec![vec![member]]),
        Change::Network => ("network", view.vs_sets.clone()),
    };
    let members = list(&view.members);
    let index = view.my_index.expect("a member is in its views");
    let sets: String = sets.iter().map(|set| format!("{{{}}}", list(set))).collect();
    let View { group, my_vs_set, .. } = view;
    format!("view {group} {cause} id {id} members {members} index {index} sets {sets} own {my_vs_set}")
}

fn list(names: &[impl Display]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn body_text(body: &[u8]) -> String {
    if body.len() > TEXT_MAX_BYTES {
        return format!("{} bytes adler32 {:08x}", body.len(), adler32(body));
    }
    format!("\"{}\"", String::from_utf8_lossy(body))
}

fn adler32(bytes: &[u8]) -> u32 {
    let step = |(low, high), byte: &u8| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    };
    let (low, high) = bytes.iter().fold((1, 0), step);
    high << 16 | low
}
