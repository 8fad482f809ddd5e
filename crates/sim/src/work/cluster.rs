//! Daemons that reach each other at once, driven by nothing but their own datagrams.

use std::collections::VecDeque;
use std::time::Duration;

use antiphon::session::{Handshake, Options, Outbox as Requests, Session, Step};
use antiphon::{Envelope, ServiceLevel};
use antiphon_proto::config::{self, Config, Daemon};
use antiphon_proto::time::Instant;
use antiphon_proto::{Boot, Channel, Input, NameHash, Node, Origin, Outputs};
use antiphon_wire::ids::{ClusterHash, SessionId};
use bytes::{Buf, Bytes};

use crate::world::{daemon_id, daemon_name};

/// Messages that one read of a sender's socket brings.
const READ_MESSAGES: u64 = 32;

/// How far the clock goes with each datagram.
const TICK: Duration = Duration::from_micros(1);

/// Steps in which joins are ordered everywhere, many times over.
const SETTLING_STEPS: usize = 500;

/// Steps after which a cluster that has not delivered everything never will.
const MAX_STEPS: u64 = 1 << 32;

/// What is to be done by how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) daemons: usize,
    /// On the first half of the daemons, each.
    pub(super) senders: usize,
    /// On the second half of the daemons, each.
    pub(super) receivers: usize,
    pub(super) body_bytes: usize,
    pub(super) service: ServiceLevel,
    /// Groups that all receivers are in.
    pub(super) groups: usize,
    /// Groups that each message names.
    pub(super) named: usize,
    /// Each of so many packets is lost on the way to one daemon.
    pub(super) lose_every: Option<u64>,
}

impl Load {
    pub(super) fn new(daemons: usize) -> Self {
        Self {
            daemons,
            senders: 1,
            receivers: 1,
            body_bytes: 1350,
            service: ServiceLevel::Agreed,
            groups: 1,
            named: 1,
            lose_every: None,
        }
    }
}

/// Nodes and what is on its way between them.
#[derive(Debug)]
pub(super) struct Cluster {
    now: Instant,
    nodes: Vec<Node>,
    flight: VecDeque<(usize, Bytes)>,
    clients: Vec<Client>,
    lose_every: Option<u64>,
    packets: u64,
    out: Outputs,
}

/// One session of a client that reads everything at once.
#[derive(Debug)]
struct Client {
    node: usize,
    id: SessionId,
    read: Vec<u8>,
    received_bytes: u64,
}

impl Cluster {
    /// Sends `messages` from each sender, and returns how many bytes the receivers got.
    pub(super) fn run(load: &Load, messages: u64) -> u64 {
        let mut cluster = Self::new(load.daemons);
        cluster.step_until(|cluster| cluster.is_one_ring());
        let half = load.daemons / 2;
        let receivers = cluster.receivers(half..load.daemons, load);
        let mut batches = Vec::new();
        for node in (0..half.max(1)).flat_map(|node| std::iter::repeat_n(node, load.senders)) {
            let (client, requests) = cluster.connect(node);
            batches.push((client, batch(load, requests)));
        }
        // After what was said before, so that only messages come while the work is done.
        cluster.settle();
        receivers.iter().for_each(|client| cluster.clients[*client].received_bytes = 0);
        cluster.lose_every = load.lose_every;
        let times = messages.div_ceil(READ_MESSAGES);
        let wanted = batches.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>() * times;
        cluster.send_all(&batches, times);
        let received = |cluster: &Self, client: &usize| cluster.clients[*client].received_bytes;
        cluster.step_until(|cluster| receivers.iter().all(|client| received(cluster, client) >= wanted));
        receivers.iter().map(|client| received(&cluster, client)).sum()
    }

    /// Sessions that are in all groups.
    fn receivers(&mut self, nodes: std::ops::Range<usize>, load: &Load) -> Vec<usize> {
        let mut receivers = Vec::new();
        for node in nodes.flat_map(|node| std::iter::repeat_n(node, load.receivers)) {
            let (client, mut requests) = self.connect(node);
            for group in 0..load.groups {
                assert!(requests.join(&*group_name(group)).is_ok(), "a legal name");
            }
            self.submit(client, requests.pending());
            receivers.push(client);
        }
        receivers
    }

    /// Lets everything that was asked for happen.
    fn settle(&mut self) {
        for _ in 0..SETTLING_STEPS {
            self.step();
        }
    }

    fn new(daemons: usize) -> Self {
        let place = |at: usize| Daemon {
            name: daemon_name(at),
            address: std::net::Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(at).unwrap_or_default()),
        };
        let listed = config::Cluster { daemons: (0..daemons).map(place).collect(), hash: ClusterHash(7) };
        let mut cluster = Self {
            now: Instant(1_000_000_000),
            nodes: Vec::new(),
            flight: VecDeque::new(),
            clients: Vec::new(),
            lose_every: None,
            packets: 0,
            out: Outputs::default(),
        };
        for at in 0..daemons {
            let config = Config::new(listed.clone(), daemon_id(at));
            let boot = Boot { incarnation: 1, epoch: 1, seed: at as u64, name_hash: NameHash::fixed() };
            let node = Node::new(config, boot, cluster.now, &mut cluster.out);
            cluster.nodes.push(node);
            cluster.act(at);
        }
        cluster
    }

    fn is_one_ring(&self) -> bool {
        self.nodes.iter().all(|node| {
            let status = node.status();
            status.settled && status.members.len() == self.nodes.len()
        })
    }

    /// Opens a session without membership; returns the client, and what it sends by.
    fn connect(&mut self, node: usize) -> (usize, Requests) {
        let client = self.clients.len();
        let id = SessionId(client as u64 + 1);
        self.clients.push(Client { node, id, read: Vec::new(), received_bytes: 0 });
        self.input(node, Input::SessionOpened(id, Origin::Unix));
        let options = Options { membership: false, ..Options::default() };
        let (mut handshake, hello) = Handshake::begin(&options);
        let mut to_send = hello;
        for _ in 0..1000 {
            if !to_send.is_empty() {
                self.input(node, Input::SessionBytes(id, std::mem::take(&mut to_send)));
            }
            let answer = std::mem::take(&mut self.clients[client].read);
            match handshake.on_bytes(&answer) {
                Ok(Step::Write(bytes)) => to_send = bytes,
                Ok(Step::Read) => self.step(),
                Ok(Step::Open(session)) => {
                    let Session { outbox, .. } = *session;
                    return (client, outbox);
                }
                Err(error) => unreachable!("the daemon refuses a client: {error}"),
            }
        }
        unreachable!("the daemon does not answer a client")
    }

    fn submit(&mut self, client: usize, bytes: &[u8]) {
        let Client { node, id, .. } = self.clients[client];
        self.input(node, Input::SessionBytes(id, Bytes::copy_from_slice(bytes)));
    }

    /// Every sender's batch again and again, as fast as its daemon takes them.
    fn send_all(&mut self, batches: &[(usize, Bytes)], times: u64) {
        let mut left: Vec<u64> = vec![times; batches.len()];
        while left.iter().any(|left| *left > 0) {
            for ((client, bytes), left) in batches.iter().zip(&mut left) {
                let Client { node, id, .. } = self.clients[*client];
                if *left > 0 && self.nodes[node].accepts_submissions() {
                    *left -= 1;
                    self.input(node, Input::SessionBytes(id, bytes.clone()));
                }
            }
            self.step();
        }
    }

    fn step_until(&mut self, is_done: impl Fn(&Self) -> bool) {
        let mut steps = 0;
        while !is_done(self) {
            self.step();
            steps += 1;
            assert!(steps < MAX_STEPS, "a cluster without faults delivers what was sent");
        }
    }

    /// Everything that is on its way arrives; or, if there is nothing, the next deadline comes.
    fn step(&mut self) {
        for _ in 0..self.flight.len() {
            let Some((to, bytes)) = self.flight.pop_front() else { break };
            self.now = self.now + TICK;
            self.input(to, Input::Datagram(bytes));
        }
        if self.flight.is_empty()
            && let Some(due) = self.nodes.iter().filter_map(|node| Some(node.next_timeout()?.0)).min()
        {
            self.now = self.now.max(due);
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].next_timeout().is_some_and(|(due, _)| due <= self.now) {
                self.input(node, Input::Timeout);
            }
            if self.nodes[node].awaits_offers() {
                self.now = self.now + TICK;
                self.input(node, Input::OutboxesOffered);
            }
        }
    }

    fn input(&mut self, node: usize, input: Input) {
        self.nodes[node].handle(self.now, input, &mut self.out);
        self.act(node);
    }

    /// Does what a daemon wants done.
    fn act(&mut self, from: usize) {
        for transmit in self.out.transmits.drain(..) {
            for datagram in transmit.datagrams() {
                self.packets += u64::from(transmit.channel == Channel::Data);
                let lost = transmit.channel == Channel::Data
                    && self.lose_every.is_some_and(|every| self.packets.is_multiple_of(every));
                // What is lost is lost on the way to one of them only.
                let reached = transmit.to.daemons().iter().skip(usize::from(lost));
                self.flight.extend(reached.map(|target| (target.index(), datagram.clone())));
            }
        }
        for session in self.out.dirty.drain(..) {
            let Some(client) = self.clients.get_mut(session.0 as usize - 1) else { continue };
            let Some(outbox) = self.nodes[from].outbox(session) else { continue };
            while outbox.has_remaining() {
                let piece = outbox.chunk();
                client.received_bytes += piece.len() as u64;
                if client.read.len() < 256 {
                    client.read.extend_from_slice(piece);
                }
                let length = piece.len();
                outbox.advance(length);
            }
        }
        self.out.clear();
    }
}

fn group_name(number: usize) -> String {
    format!("group-{number}")
}

/// Messages as a sender writes them, in one piece.
fn batch(load: &Load, mut requests: Requests) -> Bytes {
    let body = vec![7; load.body_bytes];
    for first in 0..READ_MESSAGES as usize {
        let mut names = (first..first + load.named).map(|number| group_name(number % load.groups));
        let envelope = names.try_fold(Envelope::new(load.service), |envelope, name| envelope.to(&*name));
        let added =
            envelope.map_err(antiphon::Error::from).and_then(|envelope| requests.send(&envelope, &body));
        assert!(added.is_ok(), "a message within the limits");
    }
    Bytes::copy_from_slice(requests.pending())
}
