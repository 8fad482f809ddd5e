//! A daemon's sessions without anything below them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use antiphon_wire::client::flags::HEADER_BYTES;
use antiphon_wire::client::handshake::{AuthChoice, Hello, Version};
use antiphon_wire::client::header::{Header, Hint};
use antiphon_wire::ids::{ClusterHash, DaemonId, SessionId};
use antiphon_wire::names::{DaemonName, MemberName, PrivateName};
use antiphon_wire::ring::multicast::unpack_frame;
use antiphon_wire::service::ServiceLevel;
use bytes::{Buf, Bytes};

use super::super::{Sessions, SharedFrame};
use crate::NameHash;
use crate::config::{Cluster, Config, Daemon};
use crate::cx::Cx;
use crate::delivery::Kind;
use crate::io::{CloseReason, Origin, Outputs};
use crate::patience::Patience;
use crate::preambles::Said;
use crate::send_queue::{Outgoing, SendQueue, Space};
use crate::stats::Stats;
use crate::time::{Instant, Timer, Timers};

pub(super) const LOOPBACK: Origin = Origin::Tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// A message for the ring; of a multicast the frame that its receivers will read.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) kind: Kind,
    pub(super) service: ServiceLevel,
    pub(super) frame: Bytes,
}

impl From<Outgoing> for Queued {
    fn from(message: Outgoing) -> Self {
        let Outgoing { kind, service, payload } = message;
        let bytes = payload.to_bytes();
        let frame =
            if kind == Kind::Client { unpack_frame(&bytes, &daemon()).expect("packed") } else { bytes };
        Self { kind, service, frame }
    }
}

pub(super) struct Bench {
    pub(super) config: Config,
    pub(super) sessions: Sessions,
    pub(super) stats: Stats,
    pub(super) out: Outputs,
    pub(super) now: Instant,
    timers: Timers,
    queue: SendQueue,
    next_session: u64,
}

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex")).collect()
}

fn daemon() -> DaemonName {
    DaemonName::new(b"localhost").expect("legal")
}

pub(super) fn member(name: &str) -> MemberName {
    let private = PrivateName::new(name.as_bytes()).expect("legal");
    MemberName::new(&private, &daemon())
}

pub(super) fn hello(name: &str) -> Bytes {
    let name = Some(PrivateName::new(name.as_bytes()).expect("legal"));
    Hello { version: Version::REPORTED, wants_membership: true, priority: 0, name }.encode()
}

pub(super) fn choice(methods: &[&str]) -> Bytes {
    AuthChoice::new(methods).encode()
}

/// A frame of a little-endian client; groups are padded, the body is as given.
pub(super) fn frame(name: &[u8], flags: u32, groups: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let mut header = Header {
        flags,
        name: [0; 32],
        group_count: groups.len() as u32,
        hint: Hint::ZERO,
        body_bytes: body.len() as u32,
        little_endian: true,
    };
    header.name[..name.len()].copy_from_slice(name);
    let mut frame = header.encode().to_vec();
    for group in groups {
        let mut field = [0; 32];
        field[..group.len()].copy_from_slice(group);
        frame.extend_from_slice(&field);
    }
    frame.extend_from_slice(body);
    assert!(frame.len() >= HEADER_BYTES);
    frame
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let daemons = vec![Daemon { name: daemon(), address: Ipv4Addr::LOCALHOST }];
        let mut config = Config::new(Cluster { daemons, hash: ClusterHash(1) }, DaemonId(0));
        change(&mut config);
        let mut queue = SendQueue::default();
        queue.set_clients_open(true);
        Self {
            sessions: Sessions::new(&config, 5, NameHash::fixed()),
            config,
            stats: Stats::default(),
            out: Outputs::default(),
            now: Instant(0),
            timers: Timers::default(),
            queue,
            next_session: 0,
        }
    }

    pub(super) fn run<T>(&mut self, run: impl FnOnce(&mut Sessions, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx {
            now: self.now,
            config: &self.config,
            timers: &mut self.timers,
            patience: &mut Patience::default(),
            queue: &mut self.queue,
            stats: &mut self.stats,
            out: &mut self.out,
        };
        run(&mut self.sessions, &mut cx)
    }

    pub(super) fn open(&mut self, origin: Origin) -> SessionId {
        self.next_session += 1;
        let id = SessionId(self.next_session);
        self.run(|sessions, cx| sessions.on_opened(id, origin, cx));
        id
    }

    pub(super) fn feed(&mut self, id: SessionId, bytes: &[u8]) {
        self.run(|sessions, cx| sessions.on_bytes(id, Bytes::copy_from_slice(bytes), cx));
    }

    /// An established session that has read its accept.
    pub(super) fn connect(&mut self, name: &str) -> SessionId {
        let id = self.open(LOOPBACK);
        self.feed(id, &hello(name));
        self.feed(id, &choice(&["NULL"]));
        assert_eq!(self.read(id).get(6), Some(&1), "accepted");
        self.out.clear();
        id
    }

    /// Everything owed to a session.
    pub(super) fn read(&mut self, id: SessionId) -> Vec<u8> {
        let Some(outbox) = self.sessions.outbox(id) else { return Vec::new() };
        outbox.copy_to_bytes(outbox.remaining()).to_vec()
    }

    /// A frame for a session.
    pub(super) fn deliver(&mut self, id: SessionId, frame: &[u8]) {
        let frame = Bytes::copy_from_slice(frame);
        self.run(|sessions, cx| sessions.deliver(id, &SharedFrame::whole(&frame), cx));
    }

    /// Its socket takes nothing more for now.
    pub(super) fn refuse(&mut self, id: SessionId) {
        self.sessions.outbox(id).expect("open").set_refused(true);
    }

    /// Everything queued for the ring.
    pub(super) fn queued(&mut self) -> Vec<Queued> {
        let space = Space { left: 1 << 20, capacity: 1 << 20 };
        std::iter::from_fn(|| self.queue.take(space, &mut Said::default(), 1 << 20))
            .inspect(|piece| assert!(piece.head.ends_message(), "whole"))
            .map(|piece| Queued::from(piece.message))
            .collect()
    }

    pub(super) fn closed(&self, id: SessionId) -> Option<CloseReason> {
        self.out.closed.iter().find(|(other, _)| *other == id).map(|(_, reason)| *reason)
    }

    /// Lets time pass and fires what is due.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        while let Some(timer) = self.timers.expire(self.now) {
            assert_eq!(timer, Timer::Handshake);
            self.run(|sessions, cx| sessions.on_handshake_timeout(cx));
        }
    }

    pub(super) fn timer_is_set(&self) -> bool {
        self.timers.is_set(Timer::Handshake)
    }

    /// Whether the ring waits for readers, and whether it is going to be looked at again by itself.
    pub(super) fn waits_for_readers(&mut self) -> (bool, bool) {
        self.timers.stop(Timer::Pressure);
        let waits = self.run(|sessions, cx| sessions.holds_back(cx));
        (waits, self.timers.is_set(Timer::Pressure))
    }

    pub(super) fn depart(&mut self, name: &str) {
        self.run(|sessions, cx| sessions.on_departed(&member(name), cx));
    }
}
