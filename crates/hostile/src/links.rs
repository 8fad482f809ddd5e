//! Three daemons between which datagrams are altered. Who makes datagrams up does not get to the steps in which a
//! ring is formed, since these have to agree with each other.

use std::collections::VecDeque;
use std::time::Duration;

use antiphon::session::Outbox;
use antiphon::{Envelope, MemberName, ServiceLevel, Version};
use antiphon_proto::time::Instant;
use antiphon_proto::{Input, Node, Origin, Outputs, Stats};
use antiphon_wire::client::handshake::{AuthChoice, Hello};
use antiphon_wire::ids::SessionId;
use antiphon_wire::names::PrivateName;
use antiphon_wire::ring::DatagramKind;
use bytes::{Buf, Bytes};

use crate::{BEGINNING, TRIO, node};

/// How long a datagram is on its way.
const TRAVEL: Duration = Duration::from_millis(1);
/// How long a daemon is cut off, so that the others form a ring without it, and then one with it.
const CUT_OFF: Duration = Duration::from_millis(500);
/// How long a ring at work takes to send a datagram of each kind that it sends often.
const ROUND: Duration = Duration::from_millis(50);
/// How long it takes to form a ring.
const FORMING: Duration = Duration::from_secs(2);
/// How long it may take when all but the last attempts have failed.
const HEALING: Duration = Duration::from_secs(10);
/// The client's session, at the first daemon.
const CLIENT: SessionId = SessionId(1);

/// How far the daemons came.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The kinds of the datagrams that were altered.
    pub altered: Vec<DatagramKind>,
    /// Rings installed, those of all daemons together.
    pub rings: u64,
    /// Messages of the client that were delivered, by all daemons together.
    pub delivered: u64,
    /// Whether they were one ring in the end, when nothing had been altered for a while.
    pub is_whole: bool,
}

/// What happens to the next datagram of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Alteration {
    /// Which kind.
    pub kind: DatagramKind,
    /// What happens.
    pub change: Change,
    /// Who is cut off for a while if a ring at work has no such datagram; that of a daemon, taken modulo their number.
    pub victim: u8,
}

/// What happens to a datagram. Places are taken modulo its length.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// Nothing.
    Pass,
    /// It is lost.
    Lose,
    /// It comes twice.
    Double,
    /// It comes after all others that are on their way.
    Delay,
    /// It ends here.
    Cut(u16),
    /// It has this byte here.
    Set(u16, u8),
    /// It has this bit of eight turned over here.
    Flip(u16, u8),
}

impl Alteration {
    /// How many bytes say what happens.
    pub const BYTES: usize = 5;

    /// What these bytes say.
    #[must_use]
    pub fn new([kind, change, low, high, value]: [u8; Self::BYTES]) -> Self {
        let kind = DatagramKind::ALL[usize::from(kind) % DatagramKind::ALL.len()];
        let at = u16::from_le_bytes([low, high]);
        let change = match change % 16 {
            0 => Change::Pass,
            1 => Change::Lose,
            2 => Change::Double,
            3 => Change::Delay,
            4 => Change::Cut(at),
            5..10 => Change::Set(at, value),
            _ => Change::Flip(at, value),
        };
        Self { kind, change, victim: value }
    }
}

/// Lets three daemons and a client work while datagrams between them are altered, one after the other; returns how far
/// they came.
#[must_use]
pub fn links(alterations: impl IntoIterator<Item = Alteration>) -> Reached {
    let mut links = Links::new();
    let mut altered = Vec::new();
    for alteration in alterations {
        if links.await_kind(alteration.kind, usize::from(alteration.victim) % TRIO.len()) {
            links.alter(alteration.change);
            altered.push(alteration.kind);
        }
    }
    let is_whole = links.holds_within(HEALING, |links| links.is_whole());
    let stats: Vec<Stats> = links.nodes.iter().map(Node::stats).collect();
    let rings = stats.iter().map(|stats| stats.rings_installed).sum();
    let delivered = stats.iter().map(|stats| stats.messages_delivered).sum();
    Reached { altered, rings, delivered, is_whole }
}

#[derive(Debug)]
struct Links {
    now: Instant,
    nodes: Vec<Node>,
    /// The first one comes next.
    on_the_way: VecDeque<Datagram>,
    /// What the client says every now and then.
    message: Bytes,
}

#[derive(Clone, Debug)]
struct Datagram {
    arrival: Instant,
    from: usize,
    to: usize,
    bytes: Bytes,
}

/// What a client says: a hello, its proof, that it joins a group, and two messages to that.
fn client() -> Result<[Bytes; 4], antiphon::Error> {
    let name = Some(PrivateName::new(b"alice")?);
    let hello = Hello { version: Version::REPORTED, wants_membership: true, priority: 0, name };
    let mut outbox = Outbox::new(MemberName::parse(b"#alice#d0")?);
    outbox.join("group")?;
    let join = outbox.take();
    for service in [ServiceLevel::Agreed, ServiceLevel::Safe] {
        outbox.send(&Envelope::new(service).to("group")?, &[7; 200])?;
    }
    Ok([hello.encode(), AuthChoice::new(&["NULL"]).encode(), join, outbox.take()])
}

impl Links {
    /// Three daemons that start, and a client of the first.
    fn new() -> Self {
        let [opening @ .., message] = client().unwrap_or_default();
        let mut links = Self { now: BEGINNING, nodes: Vec::new(), on_the_way: VecDeque::new(), message };
        for (me, _) in (0..).zip(TRIO) {
            let mut out = Outputs::default();
            links.nodes.push(node(me, &TRIO, &mut out));
            links.send(me.into(), out);
        }
        links.input(0, Input::SessionOpened(CLIENT, Origin::Unix));
        opening.into_iter().for_each(|bytes| links.client_says(bytes));
        links
    }

    /// Lets the next datagram come, or the next deadline.
    fn step(&mut self) {
        let deadlines =
            self.nodes.iter().enumerate().filter_map(|(at, node)| Some((node.next_timeout()?.0, at)));
        let due = deadlines.min();
        let arrival = self.on_the_way.front().map(|datagram| datagram.arrival);
        match due.filter(|(deadline, _)| arrival.is_none_or(|arrival| *deadline <= arrival)) {
            Some((deadline, at)) => {
                self.now = self.now.max(deadline);
                self.input(at, Input::Timeout);
                self.input(at, Input::OutboxesOffered);
                self.client_says(self.message.clone());
            }
            None => {
                let next = self.on_the_way.pop_front();
                self.now = self.now.max(arrival.unwrap_or(self.now + TRAVEL));
                next.into_iter().for_each(|next| self.input(next.to, Input::Datagram(next.bytes)));
            }
        }
    }

    /// Whether something holds before so much time has passed.
    fn holds_within(&mut self, time: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + time;
        while self.now < end {
            if holds(self) {
                return true;
            }
            self.step();
        }
        false
    }

    /// Lets time pass until the next datagram is of this kind, and makes a ring be formed anew if none is. Whether
    /// there is one.
    fn await_kind(&mut self, kind: DatagramKind, victim: usize) -> bool {
        let is_next = |links: &mut Self| {
            links.on_the_way.front().is_some_and(|next| DatagramKind::of(&next.bytes) == Some(kind))
        };
        let is_next_without_victim = |links: &mut Self| {
            links.on_the_way.retain(|datagram| datagram.from != victim && datagram.to != victim);
            is_next(links)
        };
        self.holds_within(ROUND, is_next)
            || self.holds_within(CUT_OFF, is_next_without_victim)
            || self.holds_within(FORMING, is_next)
    }

    /// Changes the next datagram.
    fn alter(&mut self, change: Change) {
        let Some(datagram) = self.on_the_way.pop_front() else { return };
        let mut bytes = datagram.bytes.to_vec();
        let place = |at: u16| usize::from(at) % datagram.bytes.len();
        match change {
            Change::Pass => {}
            Change::Lose => return,
            Change::Double => self.on_the_way.push_front(datagram.clone()),
            Change::Delay => return self.on_the_way.push_back(datagram),
            Change::Cut(at) => bytes.truncate(place(at)),
            Change::Set(at, value) => bytes[place(at)] = value,
            Change::Flip(at, bit) => bytes[place(at)] ^= 1 << (bit % 8),
        }
        self.input(datagram.to, Input::Datagram(bytes.into()));
    }

    fn input(&mut self, to: usize, input: Input) {
        let mut out = Outputs::default();
        self.nodes[to].handle(self.now, input, &mut out);
        self.send(to, out);
    }

    fn send(&mut self, from: usize, out: Outputs) {
        let arrival = self.now + TRAVEL;
        for transmit in out.transmits {
            for bytes in transmit.datagrams() {
                let to_each = transmit.to.daemons().iter().map(|to| Datagram {
                    arrival,
                    from,
                    to: to.index(),
                    bytes: bytes.clone(),
                });
                self.on_the_way.extend(to_each);
            }
        }
    }

    fn client_says(&mut self, bytes: Bytes) {
        self.input(0, Input::SessionBytes(CLIENT, bytes));
        if let Some(outbox) = self.nodes[0].outbox(CLIENT) {
            outbox.advance(outbox.remaining());
        }
    }

    fn is_whole(&self) -> bool {
        let ring = self.nodes[0].status().ring;
        self.nodes
            .iter()
            .map(Node::status)
            .all(|status| status.settled && status.ring == ring && status.members.len() == self.nodes.len())
    }
}
