//! Daemons without a network: rings are logs, and the test decides who sees how much of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use antiphon_wire::client::flags::{JOIN, KILL, LEAVE};
use antiphon_wire::client::frame::{FrameLimits, FrameReader, put_frame};
use antiphon_wire::client::handshake::{AuthChoice, Hello, Version};
use antiphon_wire::client::header::Hint;
use antiphon_wire::client::membership::{GroupId, Membership, View};
use antiphon_wire::ids::{ClusterHash, DaemonId, ProcessId, RingId, SessionId};
use antiphon_wire::names::{DaemonName, GroupName, MemberName, PrivateName};
use bytes::{Buf, Bytes, BytesMut};

use super::super::Groups;
use crate::NameHash;
use crate::config::{Cluster, Config, Daemon};
use crate::cx::Cx;
use crate::delivery::{Configuration, KeptMessage, Kind};
use crate::io::{Event, Origin, Outputs};
use crate::patience::Patience;
use crate::preambles::Said;
use crate::send_queue::{Outgoing, SendQueue, Space};
use crate::sessions::Sessions;
use crate::stats::Stats;
use crate::time::{Instant, Timers};

/// Names and last address bytes of the daemons, in configuration order, as in the recordings.
pub(super) const DAEMONS: [(&str, u8); 5] =
    [("zeta", 3), ("alpha", 2), ("mid", 4), ("deep", 9), ("far", 200)];

/// A client: its daemon and its session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Client {
    pub(super) host: usize,
    pub(super) session: SessionId,
    pub(super) member: MemberName,
}

/// What a client read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    View(View),
    Transition(String, GroupId),
    SelfLeave(String),
    Data(String),
}

pub(super) struct Host {
    pub(super) me: ProcessId,
    pub(super) config: Config,
    pub(super) groups: Groups,
    pub(super) sessions: Sessions,
    pub(super) queue: SendQueue,
    pub(super) stats: Stats,
    pub(super) out: Outputs,
    pub(super) ring: usize,
    pub(super) cursor: usize,
    /// Preambles by what they say, each in one place.
    preambles: BTreeMap<Vec<u8>, Bytes>,
    timers: Timers,
    closing: Option<RingId>,
}

pub(super) struct Ring {
    pub(super) id: RingId,
    pub(super) log: Vec<KeptMessage>,
}

pub(super) struct World {
    pub(super) hosts: Vec<Host>,
    pub(super) rings: Vec<Ring>,
    next_session: u64,
    epoch: u64,
}

pub(super) fn group(name: &str) -> GroupName {
    GroupName::new(name.as_bytes()).expect("a legal group name")
}

fn config(me: usize) -> Config {
    let daemon = |(name, last): (&str, u8)| Daemon {
        name: DaemonName::new(name.as_bytes()).expect("legal"),
        address: Ipv4Addr::new(if last > 100 { 200 } else { 127 }, 0, 0, last),
    };
    let daemons = DAEMONS.into_iter().map(daemon).collect();
    Config::new(Cluster { daemons, hash: ClusterHash(1) }, DaemonId(me as u16))
}

impl Host {
    fn new(index: usize, incarnation: u64, ring: usize, boot: RingId) -> Self {
        let config = config(index);
        let me = ProcessId { daemon: config.me, incarnation };
        Self {
            me,
            groups: Groups::new(me, boot, NameHash::fixed()),
            sessions: Sessions::new(&config, 1, NameHash::fixed()),
            config,
            queue: SendQueue::default(),
            stats: Stats::default(),
            out: Outputs::default(),
            ring,
            cursor: 0,
            preambles: BTreeMap::new(),
            timers: Timers::default(),
            closing: None,
        }
    }

    /// Lets the layers do something, and all that follows from it.
    pub(super) fn with<T>(&mut self, run: impl FnOnce(&mut Groups, &mut Sessions, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx {
            now: Instant(0),
            config: &self.config,
            timers: &mut self.timers,
            patience: &mut Patience::default(),
            queue: &mut self.queue,
            stats: &mut self.stats,
            out: &mut self.out,
        };
        let result = run(&mut self.groups, &mut self.sessions, &mut cx);
        while self.groups.is_busy() {
            self.groups.go_on(&mut self.sessions, &mut cx);
        }
        cx.queue.set_clients_open(self.groups.is_settled());
        result
    }

    /// The next message that the daemon would put on the ring.
    fn originate(&mut self) -> Option<KeptMessage> {
        let space = Space { left: usize::from(u16::MAX), capacity: usize::from(u16::MAX) };
        let piece = self.queue.take(space, &mut Said::default(), 1)?;
        assert!(piece.head.ends_message(), "the packet is large enough");
        let Outgoing { kind, service, payload } = piece.message;
        let said = payload.preamble().to_vec();
        let bytes = payload.to_bytes().slice(said.len()..);
        let kept = Bytes::copy_from_slice(&said);
        let preamble = self.preambles.entry(said).or_insert(kept).clone();
        Some(KeptMessage { sender: self.me, kind, service, preamble, bytes })
    }
}

impl World {
    /// That many daemons, each alone.
    pub(super) fn apart(count: usize) -> Self {
        let mut world = Self { hosts: Vec::new(), rings: Vec::new(), next_session: 1, epoch: 100 };
        for index in 0..count {
            let host = world.boot(index, 1);
            world.hosts.push(host);
        }
        for index in 0..count {
            world.regroup(&[&[index]]);
        }
        world
    }

    /// That many daemons in one ring.
    pub(super) fn together(count: usize) -> Self {
        let mut world = Self::apart(count);
        world.regroup(&[&(0..count).collect::<Vec<_>>()]);
        world.run();
        world
    }

    fn boot(&mut self, index: usize, incarnation: u64) -> Host {
        let leader = ProcessId { daemon: DaemonId(index as u16), incarnation };
        let id = self.next_ring(leader);
        self.rings.push(Ring { id, log: Vec::new() });
        Host::new(index, incarnation, self.rings.len() - 1, id)
    }

    fn next_ring(&mut self, leader: ProcessId) -> RingId {
        self.epoch += 4;
        RingId { epoch: self.epoch, leader }
    }

    /// The daemon crashes and starts again, alone. Its ring is not told.
    pub(super) fn restart(&mut self, index: usize) {
        let incarnation = self.hosts[index].me.incarnation + 1;
        self.hosts[index] = self.boot(index, incarnation);
        self.regroup(&[&[index]]);
    }

    pub(super) fn connect(&mut self, host: usize, name: &str) -> Client {
        self.connect_with(host, name, true)
    }

    pub(super) fn connect_with(&mut self, host: usize, name: &str, wants_membership: bool) -> Client {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let private = PrivateName::new(name.as_bytes()).expect("legal");
        let hello = Hello { version: Version::REPORTED, wants_membership, priority: 0, name: Some(private) };
        let choice = AuthChoice::new(&["NULL"]).encode();
        let entry = &mut self.hosts[host];
        entry.with(|_, sessions, cx| {
            sessions.on_opened(session, Origin::Unix, cx);
            sessions.on_bytes(session, hello.encode(), cx);
            sessions.on_bytes(session, choice, cx);
        });
        let outbox = entry.sessions.outbox(session).expect("open");
        outbox.advance(outbox.remaining());
        let member = MemberName::new(&private, &DaemonName::new(DAEMONS[host].0.as_bytes()).expect("legal"));
        Client { host, session, member }
    }

    fn request(&mut self, client: Client, flags: u32, groups: &[&str], body: &str) {
        let mut out = BytesMut::new();
        let groups: Vec<[u8; 32]> = groups
            .iter()
            .map(|name| {
                let mut field = [0; 32];
                field[..name.len()].copy_from_slice(name.as_bytes());
                field
            })
            .collect();
        put_frame(&mut out, flags, client.member.as_field(), Hint::ZERO, groups.iter(), body.as_bytes());
        let host = &mut self.hosts[client.host];
        host.with(|_, sessions, cx| sessions.on_bytes(client.session, out.freeze(), cx));
    }

    pub(super) fn join(&mut self, client: Client, group: &str) {
        self.request(client, JOIN, &[group], "");
    }

    pub(super) fn leave(&mut self, client: Client, group: &str) {
        self.request(client, LEAVE, &[group], "");
    }

    pub(super) fn kill(&mut self, client: Client) {
        self.request(client, KILL, &[&client.member.to_string()], "");
    }

    pub(super) fn send(&mut self, client: Client, flags: u32, groups: &[&str], body: &str) {
        self.request(client, flags, groups, body);
    }

    /// Puts one message of a daemon into the order of its ring; false when it has none to send.
    pub(super) fn originate(&mut self, host: usize) -> bool {
        let Some(message) = self.hosts[host].originate() else { return false };
        let ring = self.hosts[host].ring;
        self.rings[ring].log.push(message);
        true
    }

    /// Delivers the next message of its ring to a daemon; false when there is none.
    pub(super) fn deliver(&mut self, host: usize) -> bool {
        let (ring, cursor) = (self.hosts[host].ring, self.hosts[host].cursor);
        let Some(message) = self.rings[ring].log.get(cursor).cloned() else { return false };
        self.hosts[host].cursor += 1;
        self.hosts[host].with(|groups, sessions, cx| groups.on_message(message.lend(), sessions, cx));
        true
    }

    /// Originates and delivers everything, everywhere.
    pub(super) fn run(&mut self) {
        loop {
            let mut moved = false;
            for host in 0..self.hosts.len() {
                moved |= self.originate(host);
                while self.deliver(host) {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// A new ring for each of the lists, of daemons that had all delivered their whole ring.
    pub(super) fn regroup(&mut self, rings: &[&[usize]]) {
        for members in rings {
            let new = self.propose(members);
            let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            members.iter().for_each(|host| parts.entry(self.hosts[*host].ring).or_default().push(*host));
            parts.values().for_each(|part| self.close(part, new));
            self.install(members, new);
        }
    }

    /// Names a ring for these daemons.
    pub(super) fn propose(&mut self, members: &[usize]) -> RingId {
        let leader = members.iter().min().expect("a ring has members");
        self.next_ring(self.hosts[*leader].me)
    }

    /// Delivers the transitional configuration to daemons that go on together. What waits is dealt with as by the
    /// membership, before anything of the ring's end is delivered.
    pub(super) fn close(&mut self, part: &[usize], new: RingId) {
        let members = self.processes(part);
        for host in part {
            let old = self.rings[self.hosts[*host].ring].id;
            let configuration = Configuration::Transitional { old, new, members: members.clone() };
            self.hosts[*host].closing = Some(new);
            self.hosts[*host].queue.clear_control();
            self.hosts[*host].with(|groups, _, cx| groups.on_configuration(&configuration, cx.config));
        }
    }

    /// Delivers a message that only the closed part still gets.
    pub(super) fn deliver_late(&mut self, part: &[usize], message: &KeptMessage) {
        for host in part {
            self.hosts[*host].with(|groups, sessions, cx| groups.on_message(message.lend(), sessions, cx));
        }
    }

    /// Installs a ring at daemons that have delivered its transitional configuration.
    pub(super) fn install(&mut self, members: &[usize], ring: RingId) {
        let old = self.hosts[members[0]].ring;
        let all_from_one_ring = members.iter().all(|host| self.hosts[*host].ring == old);
        let processes = self.processes(members);
        self.rings.push(Ring { id: ring, log: Vec::new() });
        for host in members {
            let configuration =
                Configuration::Regular { ring, members: processes.clone(), all_from_one_ring };
            assert_eq!(self.hosts[*host].closing.take(), Some(ring));
            self.hosts[*host].ring = self.rings.len() - 1;
            self.hosts[*host].cursor = 0;
            self.hosts[*host].with(|groups, _, cx| groups.on_configuration(&configuration, cx.config));
        }
    }

    fn processes(&self, hosts: &[usize]) -> Vec<ProcessId> {
        let mut processes: Vec<ProcessId> = hosts.iter().map(|host| self.hosts[*host].me).collect();
        processes.sort_unstable();
        processes
    }

    /// Everything that a client has not read yet, frame by frame.
    pub(super) fn frames(&mut self, client: Client) -> Vec<antiphon_wire::client::frame::Frame> {
        let Some(outbox) = self.hosts[client.host].sessions.outbox(client.session) else { return Vec::new() };
        let mut reader = FrameReader::new(FrameLimits::FROM_DAEMON);
        let bytes: Bytes = outbox.copy_to_bytes(outbox.remaining());
        reader.push(bytes);
        let frames = std::iter::from_fn(|| reader.next_frame().expect("well formed")).collect();
        assert_eq!(reader.buffered_bytes(), 0);
        frames
    }

    pub(super) fn read(&mut self, client: Client) -> Vec<Seen> {
        let seen = |frame: &antiphon_wire::client::frame::Frame| {
            if !Membership::is_in(frame.header.flags) {
                return Seen::Data(String::from_utf8_lossy(frame.body()).into_owned());
            }
            match Membership::decode(frame).expect("well formed") {
                Membership::View(view) => Seen::View(view),
                Membership::Transition { group, id } => Seen::Transition(group.to_string(), id),
                Membership::SelfLeave { group } => Seen::SelfLeave(group.to_string()),
            }
        };
        self.frames(client).iter().map(seen).collect()
    }

    /// What a client read, in short: `JOIN g 1: #a#zeta #b#mid | #b#mid`, own set marked by `*`.
    pub(super) fn told(&mut self, client: Client) -> Vec<String> {
        self.read(client).iter().map(in_short).collect()
    }

    /// The group table of a daemon, for comparison.
    pub(super) fn table(&self, host: usize) -> Vec<(GroupName, GroupId, bool, Vec<MemberName>)> {
        let table = &self.hosts[host].groups.table;
        let row = |group| {
            let entry = table.group(group);
            let members = entry.members().iter().map(|member| table.member(*member).name).collect();
            (entry.name, entry.id, entry.marked, members)
        };
        table.groups().map(row).collect()
    }

    pub(super) fn settled_events(&self, host: usize) -> usize {
        self.hosts[host].out.events.iter().filter(|event| matches!(event, Event::Settled { .. })).count()
    }

    /// Messages of a kind that a ring has ordered.
    pub(super) fn ordered(&self, host: usize, kind: Kind) -> Vec<KeptMessage> {
        let log = &self.rings[self.hosts[host].ring].log;
        log.iter().filter(|message| message.kind == kind).cloned().collect()
    }
}

fn joined(members: &[MemberName]) -> String {
    members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn in_short(seen: &Seen) -> String {
    match seen {
        Seen::View(view) => {
            let sets = view.sets.iter().enumerate().map(|(index, set)| {
                let mark = if index == view.own_set { "*" } else { "" };
                format!("{mark}{}", joined(&set.members))
            });
            let cause = format!("{:?}", view.cause).to_uppercase();
            let sets = sets.collect::<Vec<_>>().join(" | ");
            format!("{cause} {} {}: {} / {sets}", view.group, view.id.counter, joined(&view.members))
        }
        Seen::Transition(group, id) => format!("TRANSITION {group} {}", id.counter),
        Seen::SelfLeave(group) => format!("LEFT {group}"),
        Seen::Data(body) => format!("DATA {body}"),
    }
}
