//! Bytes from outside, fed to every part of Antiphon that reads some.
//!
//! Each function takes any bytes and must return: no panic, no endless loop, no memory without bound.
//! The fuzzers in `fuzz/` call them with what a coverage-guided search makes up, and this crate's test
//! with seeded mutations of real exchanges, on a stable toolchain. Not part of the daemon.

mod links;
pub mod samples;

use std::net::Ipv4Addr;

use antiphon::session::{Handshake, Options, Step};
use antiphon_daemon::conf::{self, Source};
use antiphon_proto::config::{Cluster, Config, Daemon};
use antiphon_proto::time::Instant;
use antiphon_proto::{Boot, Input, NameHash, Node, Origin, Outputs, Stats};
use antiphon_wire::ids::{ClusterHash, DaemonId, RingId, Seq, SessionId};
use antiphon_wire::monitor::{self, Command};
use antiphon_wire::names::DaemonName;
use antiphon_wire::ring::packet::PacketHeader;
use antiphon_wire::ring::{CLUSTER_HASH, HEADER_BYTES, VERSION};
use bytes::{Buf, Bytes, BytesMut};

pub use self::links::{Alteration, Change, Reached, links};

/// Hash of the configuration of the daemons that are fed.
pub const CLUSTER: ClusterHash = ClusterHash(0x0bad_cafe);

/// Incarnation and first epoch of the daemon that is fed: those of the samples are in its reach.
const BOOT: u64 = 1_795_000_000_000;

/// The time at which daemons start.
const BEGINNING: Instant = Instant(1_000_000_000);

/// Exchanges of all that was sent, or deadlines, after which two daemons are surely a ring that rests.
const FORMING: usize = 100;

/// Daemons of a cluster in which one may be fed datagrams.
const TRIO: [&str; 3] = ["d0", "d1", "d2"];

/// The daemon that a client is fed to: its name is in the requests of the recorded exchanges, for they give
/// the name of their session.
const RECORDED: &str = "localhost";

/// A daemon, and what it has sent.
#[derive(Debug)]
pub struct Fed {
    /// The daemon.
    pub node: Node,
    /// Its time.
    pub now: Instant,
    out: Outputs,
    sent: Vec<Bytes>,
    /// The ring that packets are made for, and the number of the last.
    numbered: (RingId, Seq),
}

impl Fed {
    /// Number `me` of the daemons of these names, alone.
    fn new(me: u16, names: &[&str]) -> Self {
        let mut out = Outputs::default();
        let node = node(me, names, &mut out);
        Self { node, now: BEGINNING, out, sent: Vec::new(), numbered: Default::default() }
    }

    fn input(&mut self, input: Input) {
        self.node.handle(self.now, input, &mut self.out);
        let bursts = self.out.transmits.drain(..).map(|transmit| transmit.burst);
        self.sent.extend(bursts);
        let superfluous = self.sent.len().saturating_sub(16);
        self.sent.drain(..superfluous);
        self.out = Outputs::default();
    }

    /// The first of three daemons, in a ring with the second.
    #[must_use]
    pub fn in_ring() -> Self {
        let mut pair = [0, 1].map(|me| Self::new(me, &TRIO));
        for _ in 0..FORMING {
            let sent = pair.each_mut().map(|fed| std::mem::take(&mut fed.sent));
            if sent.iter().all(Vec::is_empty) {
                if pair.iter().all(|fed| fed.node.status().settled && fed.node.status().members.len() == 2) {
                    break;
                }
                pair.iter_mut().for_each(Self::wait);
            }
            for (to, bursts) in pair.iter_mut().rev().zip(sent) {
                bursts.into_iter().for_each(|burst| to.input(Input::Datagram(burst)));
            }
        }
        let [mut fed, _] = pair;
        let (ring, stats) = (fed.node.status().ring, fed.node.stats());
        fed.numbered = (ring, Seq(stats.packets_sent + stats.packets_received));
        fed
    }

    /// Makes a packet of these chunks the next one of the other's in the ring of [`Fed::in_ring`].
    fn packet(&mut self, chunks: &[u8]) {
        let (ring, before) = self.numbered;
        self.numbered.1 = before.next();
        let header = PacketHeader {
            ring: ring.tag(),
            sender: DaemonId(1),
            seq: before.next(),
            visit: 1,
            after_token: false,
            has_unordered: true,
            wants_ack: false,
            ack: before,
        };
        let mut packet = BytesMut::new();
        header.encode(CLUSTER, &mut packet);
        packet.extend_from_slice(chunks);
        self.input(Input::Datagram(packet.freeze()));
    }

    /// Lets the next deadline come.
    fn wait(&mut self) {
        if let Some((at, _)) = self.node.next_timeout() {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.input(Input::OutboxesOffered);
    }
}

/// Number `me` of the daemons of these names, which starts at the [`BEGINNING`].
fn node(me: u16, names: &[&str], out: &mut Outputs) -> Node {
    let daemon = |(name, last): (&&str, u8)| {
        let name = DaemonName::new(name.as_bytes()).ok()?;
        Some(Daemon { name, address: Ipv4Addr::new(10, 0, 0, last) })
    };
    let daemons = names.iter().zip(1..).filter_map(daemon).collect();
    let config = Config::new(Cluster { daemons, hash: CLUSTER }, DaemonId(me));
    let boot = Boot { incarnation: BOOT, epoch: BOOT, seed: 1, name_hash: NameHash::fixed() };
    Node::new(config, boot, BEGINNING, out)
}

/// Datagrams from somebody who knows the configuration's hash. `data` is a list of steps: a byte that
/// says what to do and, for datagrams and the chunks of packets, two bytes of length and those. Before
/// them a byte says whether the daemon is alone or in a ring. Returns what the daemon has counted.
pub fn datagrams(data: &[u8]) -> Stats {
    let (first, mut rest) = data.split_first().unwrap_or((&0, &[]));
    let mut fed = if first % 2 == 0 { Fed::in_ring() } else { Fed::new(0, &TRIO) };
    while let Some((step, more)) = rest.split_first() {
        rest = more;
        match step % 4 {
            0 => fed.wait(),
            // What the daemon sent comes back in the name of another.
            1 => {
                let echo = fed.sent.get(usize::from(step / 4) % 16).cloned();
                let echo = echo.map(|sent| in_the_name_of(u16::from(step / 64) % 2 + 1, &sent));
                echo.into_iter().for_each(|datagram| fed.input(Input::Datagram(datagram)));
            }
            kind => {
                let length = usize::from(rest.try_get_u16_le().unwrap_or_default()).min(rest.len());
                let (bytes, more) = rest.split_at(length);
                rest = more;
                match kind {
                    2 => fed.input(Input::Datagram(of_the_cluster(bytes))),
                    _ => fed.packet(bytes),
                }
            }
        }
    }
    fed.wait();
    fed.node.stats()
}

/// One datagram as a step of [`datagrams`].
#[must_use]
pub fn datagram_step(datagram: &[u8]) -> Vec<u8> {
    step(2, datagram)
}

/// The chunks of a packet as a step of [`datagrams`].
#[must_use]
pub fn packet_step(chunks: &[u8]) -> Vec<u8> {
    step(3, chunks)
}

fn step(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut step = vec![kind];
    step.extend(length.to_le_bytes());
    step.extend(&bytes[..usize::from(length)]);
    step
}

fn of_the_cluster(datagram: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(datagram);
    if let Some(version) = bytes.first_mut() {
        *version = VERSION;
    }
    if let Some(hash) = bytes.get_mut(CLUSTER_HASH) {
        hash.copy_from_slice(&CLUSTER.0.to_le_bytes());
    }
    bytes.freeze()
}

fn in_the_name_of(daemon: u16, datagram: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(datagram.as_ref());
    if let Some(name) = bytes.get_mut(HEADER_BYTES - 2..HEADER_BYTES) {
        name.copy_from_slice(&daemon.to_le_bytes());
    }
    bytes.freeze()
}

/// A client of a daemon. The first byte of `data` says how the rest is cut, as do the bytes of the
/// streams of real clients anywhere. Returns what the daemon has counted when all is said.
pub fn client(data: &[u8]) -> Stats {
    let mut fed = Fed::new(0, &[RECORDED]);
    let Some((cut, stream)) = data.split_first() else { return fed.node.stats() };
    let session = SessionId(1);
    fed.input(Input::SessionOpened(session, Origin::Unix));
    for piece in stream.chunks(usize::from(*cut).max(1)) {
        fed.input(Input::SessionBytes(session, Bytes::copy_from_slice(piece)));
        if let Some(outbox) = fed.node.outbox(session) {
            outbox.advance(outbox.remaining());
        }
        // No time passes before the session is open: that of its handshake would run out.
        if fed.node.stats().sessions_accepted > 0 {
            fed.wait();
        }
    }
    let stats = fed.node.stats();
    fed.input(Input::SessionClosed(session));
    fed.wait();
    stats
}

/// A daemon of the client library, cut as in [`client`]. Returns how many events the library took from it,
/// or `None` if the session was not opened.
pub fn library(data: &[u8]) -> Option<usize> {
    let (cut, stream) = data.split_first()?;
    let (mut handshake, _) = Handshake::begin(&Options::default());
    let mut pieces = stream.chunks(usize::from(*cut).max(1));
    let mut next: &[u8] = &[];
    let mut session = loop {
        match handshake.on_bytes(next) {
            Ok(Step::Write(_)) => next = &[],
            Ok(Step::Read) => match pieces.next() {
                Some(piece) => next = piece,
                None => return None,
            },
            Ok(Step::Open(session)) => break session,
            Err(_) => return None,
        }
    };
    let mut events = 0;
    loop {
        match session.inbox.next_event() {
            Ok(Some(_)) => events += 1,
            Ok(None) => match pieces.next() {
                Some(piece) => session.inbox.push(Bytes::copy_from_slice(piece)),
                None => return Some(events),
            },
            Err(_) => return Some(events),
        }
    }
}

/// A request of a monitor. Returns whether it is one.
pub fn monitor(data: &[u8]) -> bool {
    let Ok(request) = monitor::decode(data) else { return false };
    for daemon in [0, 1, monitor::DAEMONS_MAX, usize::MAX] {
        match &request.command {
            Command::Part(components) => _ = (components.ends(daemon), components.are_joined(daemon, 0)),
            Command::SetWindows(changes) => _ = changes.of(daemon, daemon),
            Command::Report | Command::Reload => {}
        }
    }
    true
}

/// A configuration file. Returns whether a daemon would start with it.
pub fn configuration(data: &[u8]) -> bool {
    let loaded = conf::load_source(Source::new("spread.conf".to_owned(), data), Some("d0"));
    if let Err(error) = &loaded {
        // What is printed about a bad file points into it.
        let _ = error.to_string();
    }
    loaded.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_a_ring_are_read() {
        let mut fed = Fed::in_ring();
        assert!(fed.node.status().settled && fed.node.status().members.len() == 2);
        let before = fed.node.stats();
        let mut random = fastrand::Rng::with_seed(1);
        (0..200).for_each(|_| fed.packet(&samples::chunks(&mut random)));
        let after = fed.node.stats();
        assert!(after.messages_delivered > before.messages_delivered + 100, "{after:?}");
        assert!(after.groups_messages_rejected > before.groups_messages_rejected, "{after:?}");
    }
}
