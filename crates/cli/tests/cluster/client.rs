//! Clients that send, join and leave, connect again when their daemon dies, and write down everything.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use antiphon::{
    Cause, Connection, Connector, Envelope, Error, Event, MemberName, ServiceLevel, Transition, View,
};
use antiphon_sim::log::Recorder;
use fastrand::Rng;

/// The group that all clients are always in.
pub(crate) const EVERYBODY: &str = "all";
/// A group that clients with an odd number join and leave. The others stay in it: the id of a group
/// that becomes empty is used again, and then logs can not be compared.
const SOMETIMES: &str = "some";
/// Number of a session's last message, by which all see that everything has arrived.
const MARKER: u32 = u32::MAX;
const PAUSE: std::ops::Range<u64> = 2..25;
/// How long the last messages may take.
const MARKER_LIMIT: Duration = Duration::from_secs(30);

/// Which message: who sent it, as which of its messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Id {
    pub(crate) sender: MemberName,
    pub(crate) number: u32,
}

/// What a session received.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Message { id: Id, service: ServiceLevel, groups: Vec<String> },
    View(View),
    Transition(Transition),
    SelfLeave(String),
}

/// A message as its sender remembers it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) id: Id,
    pub(crate) service: ServiceLevel,
    /// Whether it went to a group that the sender was in, by what it had asked for.
    pub(crate) to_self: bool,
}

/// The life of a session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) member: MemberName,
    pub(crate) sent: Vec<Sent>,
    pub(crate) seen: Vec<Seen>,
    /// The connection ended before the test did.
    pub(crate) broken: bool,
}

/// What the test tells the clients, and they it.
#[derive(Debug)]
pub(crate) struct Control {
    phase: AtomicU8,
    /// For each client, how many members its last view of everybody has.
    members: Vec<AtomicUsize>,
}

/// What clients do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Send, join and leave.
    Traffic,
    /// Send a last message, receive those of all others, and end.
    Last,
}

impl Control {
    pub(crate) fn new(clients: usize) -> Self {
        let members = (0..clients).map(|_| AtomicUsize::new(0)).collect();
        Self { phase: AtomicU8::new(Phase::Traffic as u8), members }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::SeqCst) == phase as u8
    }

    /// How many members each client's view of everybody has.
    pub(crate) fn members(&self) -> Vec<usize> {
        self.members.iter().map(|members| members.load(Ordering::SeqCst)).collect()
    }
}

/// One client: sessions, one after the other.
pub(crate) struct Client<'a> {
    pub(crate) number: usize,
    pub(crate) connector: Connector,
    pub(crate) control: &'a Control,
    pub(crate) random: Rng,
    /// Where to write down what happens.
    pub(crate) log: PathBuf,
}

impl Client<'_> {
    /// Lives until the last messages have come; returns all its sessions.
    pub(crate) fn live(mut self) -> Vec<Session> {
        let mut sessions = Vec::new();
        let mut recorder = Recorder::new(File::create(&self.log).expect("a log"));
        loop {
            let name = format!("c{}x{}", self.number, sessions.len());
            let Some(connection) = self.connect(&name) else { continue };
            let mut life = Life::new(connection, &mut recorder);
            let ended = self.session(&mut life);
            let written = if ended.is_ok() { life.log.disconnecting() } else { life.log.closed() };
            written.expect("the log is written");
            self.control.members[self.number].store(0, Ordering::SeqCst);
            match ended {
                Ok(()) => {
                    sessions.push(life.session);
                    return sessions;
                }
                Err(Error::Closed | Error::Io(_)) => life.session.broken = true,
                Err(error) => panic!("{name}: {error}"),
            }
            sessions.push(life.session);
        }
    }

    fn connect(&self, name: &str) -> Option<Connection> {
        match self.connector.clone().name(name).connect() {
            Ok(connection) => Some(connection),
            Err(Error::Connect { .. } | Error::Closed | Error::Io(_) | Error::Timeout) => {
                std::thread::sleep(Duration::from_millis(20));
                None
            }
            Err(error) => panic!("{name} is refused: {error}"),
        }
    }

    fn session(&mut self, life: &mut Life<'_>) -> Result<(), Error> {
        life.join(EVERYBODY)?;
        if self.number.is_multiple_of(2) {
            life.join(SOMETIMES)?;
        }
        while !self.control.is_in(Phase::Last) {
            self.act(life)?;
            life.receive(Duration::from_millis(self.random.u64(PAUSE)))?;
            self.control.members[self.number].store(life.members, Ordering::SeqCst);
        }
        life.send(MARKER, ServiceLevel::Agreed, &[EVERYBODY])?;
        let deadline = Instant::now() + MARKER_LIMIT;
        while life.markers < self.control.members.len() {
            let member = life.session.member;
            assert!(Instant::now() < deadline, "{member} has only {} last messages", life.markers);
            // Not one event more: the clients that have everything disconnect.
            if let Some(event) = life.connection.receive_timeout(Duration::from_millis(50))? {
                life.note(event);
            }
        }
        Ok(())
    }

    fn act(&mut self, life: &mut Life<'_>) -> Result<(), Error> {
        let random = &mut self.random;
        if random.u8(..) < 16 && self.number % 2 == 1 && life.neighbours > 1 {
            return if life.groups.contains(SOMETIMES) {
                life.leave(SOMETIMES)
            } else {
                life.join(SOMETIMES)
            };
        }
        let service = random.choice(ServiceLevel::ALL).expect("there are some");
        let groups: &[&str] = match random.u8(0..10) {
            0..7 => &[EVERYBODY],
            7..9 => &[SOMETIMES],
            _ => &[EVERYBODY, SOMETIMES],
        };
        let number = u32::try_from(life.session.sent.len()).expect("not that many");
        life.send(number, service, groups)
    }
}

/// A session that goes on.
struct Life<'a> {
    connection: Connection,
    log: &'a mut Recorder<File>,
    session: Session,
    /// What was asked for.
    groups: BTreeSet<&'static str>,
    joins_under_way: usize,
    members: usize,
    /// Members at the own daemon, with this one.
    neighbours: usize,
    markers: usize,
}

impl<'a> Life<'a> {
    fn new(connection: Connection, log: &'a mut Recorder<File>) -> Self {
        let member = connection.member();
        log.opened(&member).expect("the log is written");
        let session = Session { member, sent: Vec::new(), seen: Vec::new(), broken: false };
        Self {
            connection,
            log,
            session,
            groups: BTreeSet::new(),
            joins_under_way: 0,
            members: 0,
            neighbours: 0,
            markers: 0,
        }
    }

    fn join(&mut self, group: &'static str) -> Result<(), Error> {
        self.groups.insert(group);
        self.joins_under_way += 1;
        self.log.joining(group).expect("the log is written");
        self.connection.join(group)
    }

    fn leave(&mut self, group: &'static str) -> Result<(), Error> {
        self.groups.remove(group);
        self.log.leaving(group).expect("the log is written");
        self.connection.leave(group)
    }

    fn send(&mut self, number: u32, service: ServiceLevel, groups: &[&str]) -> Result<(), Error> {
        let id = Id { sender: self.session.member, number };
        // What is not ordered may overtake a join that is on its way.
        let in_time = service.is_ordered() || self.joins_under_way == 0;
        let to_self = in_time && groups.iter().any(|group| self.groups.contains(group));
        self.session.sent.push(Sent { id, service, to_self });
        let mut envelope = Envelope::new(service);
        for group in groups {
            envelope = envelope.to(*group)?;
        }
        let body = body(id);
        self.log.sent(number, service, groups, body.len()).expect("the log is written");
        self.connection.send(&envelope, body)
    }

    /// Receives for about this time.
    fn receive(&mut self, time: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.connection.receive_timeout(left)? {
                Some(event) => self.note(event),
                None => return Ok(()),
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    fn note(&mut self, event: Event) {
        self.log.read(&event).expect("the log is written");
        let seen = match event {
            Event::Message(message) => {
                let number = message.body.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                let id = Id { sender: message.sender, number: number.expect("a number") };
                assert!(message.body == body(id), "{} got {id:?} changed", self.session.member);
                self.markers += usize::from(id.number == MARKER);
                let groups = message.groups.iter().map(ToString::to_string).collect();
                Seen::Message { id, service: message.service, groups }
            }
            Event::View(view) => {
                let joined = view.cause == Cause::Join && view.changed_member() == Some(&self.session.member);
                self.joins_under_way -= usize::from(joined);
                if view.group.to_string() == EVERYBODY {
                    self.members = view.members.len();
                    let daemon = self.session.member.daemon();
                    self.neighbours = view.members.iter().filter(|member| member.daemon() == daemon).count();
                }
                Seen::View(view)
            }
            Event::Transition(transition) => Seen::Transition(transition),
            Event::SelfLeave(group) => Seen::SelfLeave(group.to_string()),
            Event::Rejected(rejected) => panic!("nothing is refused: {rejected:?}"),
        };
        self.session.seen.push(seen);
    }
}

/// The bytes of a message: its number, and what no other message has.
fn body(id: Id) -> Vec<u8> {
    let number = id.number.to_le_bytes();
    // Some messages need several packets.
    let padding = if id.number.is_multiple_of(50) { 5000 } else { usize::from(number[0]) };
    let mut body = [&number[..], &vec![0; padding]].concat();
    let name = id.sender.to_string();
    let seed = name.bytes().fold(u64::from(id.number), |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    Rng::with_seed(seed).fill(&mut body[number.len()..]);
    body
}
