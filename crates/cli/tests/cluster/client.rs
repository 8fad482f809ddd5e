//! Clients that send, join and leave, connect again when their daemon dies, and write down everything.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use antiphon::{Connection, Connector, Envelope, Error, Event, GroupId, Message, ServiceLevel};
use antiphon_sim::log::Recorder;
use fastrand::Rng;

/// The group that all clients are always in.
const EVERYBODY: &str = "all";
/// A group that clients with an odd number join and leave. The others stay in it: the id of a group
/// that becomes empty is used again, and then logs cannot be compared.
const SOMETIMES: &str = "some";
/// What a session's last messages have as their type, by which all see that everything has arrived.
const LAST: i16 = 1;
/// The levels of the last messages: one of each must arrive.
const LAST_LEVELS: [ServiceLevel; 4] =
    [ServiceLevel::Reliable, ServiceLevel::Fifo, ServiceLevel::Agreed, ServiceLevel::Safe];
const PAUSE: std::ops::Range<u64> = 2..25;
/// How long the last messages may take.
const LAST_LIMIT: Duration = Duration::from_secs(30);

/// Under which name a client comes back when its connection broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Names {
    Same,
    New,
}

/// What the test tells the clients, and they it.
#[derive(Debug)]
pub(crate) struct Control {
    ends: AtomicBool,
    /// Each client's view of everybody, and of how many members it is.
    views: Mutex<Vec<Option<(GroupId, usize)>>>,
}

impl Control {
    pub(crate) fn new(clients: usize) -> Self {
        Self { ends: AtomicBool::new(false), views: Mutex::new(vec![None; clients]) }
    }

    /// Lets all clients send their last messages, receive those of all others, and end.
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
    }

    fn is_ending(&self) -> bool {
        self.ends.load(Ordering::SeqCst)
    }

    pub(crate) fn views(&self) -> Vec<Option<(GroupId, usize)>> {
        self.views.lock().expect("no client panics there").clone()
    }

    /// Whether all clients are in one view.
    pub(crate) fn have_met(&self) -> bool {
        let views = self.views();
        views.iter().all(|view| view.is_some_and(|(_, members)| members == views.len()) && *view == views[0])
    }

    fn note_view(&self, client: usize, view: Option<(GroupId, usize)>) {
        self.views.lock().expect("no client panics there")[client] = view;
    }
}

/// One client: sessions, one after the other.
pub(crate) struct Client<'a> {
    pub(crate) number: usize,
    pub(crate) names: Names,
    pub(crate) connector: Connector,
    pub(crate) control: &'a Control,
    pub(crate) random: Rng,
    /// Where to write down what happens.
    pub(crate) log: PathBuf,
}

impl Client<'_> {
    /// Lives until the last messages have come.
    pub(crate) fn live(mut self) {
        let mut recorder = Recorder::new(File::create(&self.log).expect("a log"));
        let (mut lives, mut sent) = (0, 0);
        loop {
            let name = match self.names {
                Names::Same => format!("c{}", self.number),
                Names::New => format!("c{}x{lives}", self.number),
            };
            let Some(connection) = self.connect(&name) else { continue };
            lives += 1;
            let mut life = Life::new(connection, &mut recorder, sent);
            let ended = self.session(&mut life);
            sent = life.sent;
            let written = if ended.is_ok() { life.log.disconnecting() } else { life.log.closed() };
            written.expect("the log is written");
            self.control.note_view(self.number, None);
            match ended {
                Ok(()) => return,
                Err(Error::Closed | Error::Io(_)) => {}
                Err(error) => panic!("{name}: {error}"),
            }
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
        while !self.control.is_ending() {
            self.act(life)?;
            life.receive(Duration::from_millis(self.random.u64(PAUSE)))?;
            self.control.note_view(self.number, life.view);
        }
        LAST_LEVELS.iter().try_for_each(|service| life.send(LAST, *service, &[EVERYBODY]))?;
        let deadline = Instant::now() + LAST_LIMIT;
        while life.last_messages < self.control.views().len() * LAST_LEVELS.len() {
            let member = life.connection.member();
            assert!(Instant::now() < deadline, "{member} has only {} last messages", life.last_messages);
            // Not one event more: the clients that have everything disconnect.
            if let Some(event) = life.connection.receive_timeout(Duration::from_millis(50))? {
                life.note(&event);
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
        life.send(0, service, groups)
    }
}

/// A session that goes on.
struct Life<'a> {
    connection: Connection,
    log: &'a mut Recorder<File>,
    /// Messages that the client has sent, in this session and before.
    sent: u32,
    /// What was asked for.
    groups: BTreeSet<&'static str>,
    /// The last view of everybody, and of how many members it is.
    view: Option<(GroupId, usize)>,
    /// Members at the own daemon, with this one.
    neighbours: usize,
    last_messages: usize,
}

impl<'a> Life<'a> {
    fn new(connection: Connection, log: &'a mut Recorder<File>, sent: u32) -> Self {
        log.opened(&connection.member()).expect("the log is written");
        Self { connection, log, sent, groups: BTreeSet::new(), view: None, neighbours: 0, last_messages: 0 }
    }

    fn join(&mut self, group: &'static str) -> Result<(), Error> {
        self.groups.insert(group);
        self.log.joining(group).expect("the log is written");
        self.connection.join(group)
    }

    fn leave(&mut self, group: &'static str) -> Result<(), Error> {
        self.groups.remove(group);
        self.log.leaving(group).expect("the log is written");
        self.connection.leave(group)
    }

    fn send(&mut self, message_type: i16, service: ServiceLevel, groups: &[&str]) -> Result<(), Error> {
        let number = self.sent;
        self.sent += 1;
        let mut envelope = Envelope::new(service).message_type(message_type);
        for group in groups {
            envelope = envelope.to(*group)?;
        }
        let body = body(number, &self.connection.member().to_string());
        self.log.sent(number, service, groups, body.len()).expect("the log is written");
        self.connection.send(&envelope, body)
    }

    /// Receives for about this time.
    fn receive(&mut self, time: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.connection.receive_timeout(left)? {
                Some(event) => self.note(&event),
                None => return Ok(()),
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    fn note(&mut self, event: &Event) {
        self.log.read(event).expect("the log is written");
        match event {
            Event::Message(message) => {
                assert!(is_intact(message), "{} got {message:?} changed", self.connection.member());
                self.last_messages += usize::from(message.message_type == LAST);
            }
            Event::View(view) if view.group == EVERYBODY => {
                self.view = Some((view.id, view.members.len()));
                let member = self.connection.member();
                let is_neighbour = |other: &&antiphon::MemberName| other.daemon() == member.daemon();
                self.neighbours = view.members.iter().filter(is_neighbour).count();
            }
            Event::Rejected(rejected) => panic!("nothing is refused: {rejected:?}"),
            Event::View(_) | Event::Transition(_) | Event::SelfLeave(_) => {}
        }
    }
}

fn is_intact(message: &Message) -> bool {
    let number = antiphon_sim::log::number_of(message);
    number.is_some_and(|number| message.body == body(number, &message.sender.to_string()))
}

/// The bytes of a message: its number, and what no other message has.
fn body(number: u32, sender: &str) -> Vec<u8> {
    let bytes = number.to_le_bytes();
    // Some messages need several packets.
    let padding = if number.is_multiple_of(50) { 5000 } else { usize::from(bytes[0]) };
    let mut body = [&bytes[..], &vec![0; padding]].concat();
    let seed = sender.bytes().fold(u64::from(number), |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    Rng::with_seed(seed).fill(&mut body[bytes.len()..]);
    body
}
