//! Single visits of a ring of two, of which I am the leader.

use std::time::Duration;

use antiphon_wire::ids::{ClusterHash, RingTag, SessionId};
use antiphon_wire::names::DaemonName;
use antiphon_wire::ring::packet::PacketHeader;
use antiphon_wire::ring::{Datagram, chunk, decode};
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;

use super::pack::{self, Visit};
use super::packets::CAPACITY_PACKETS;
use super::*;
use crate::config::{Cluster, Config, Daemon};
use crate::delivery::Kind;
use crate::delivery::stream::{Complete, Limit, Stream, unordered};
use crate::io::{Outputs, Trace};
use crate::patience::Patience;
use crate::payload::Payload;
use crate::send_queue::{Outgoing, SendQueue};
use crate::stats::Stats;
use crate::time::{Timer, Timers};

const MS: Duration = Duration::from_millis(1);

struct Bench {
    ring: Ring,
    config: Config,
    queue: SendQueue,
    out: Outputs,
    timers: Timers,
    now: Instant,
    /// What the token that returns says.
    window_packets: u32,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let daemon = |name: &[u8], last| Daemon {
            name: DaemonName::new(name).expect("legal"),
            address: std::net::Ipv4Addr::new(10, 0, 0, last),
        };
        let daemons = vec![daemon(b"a", 1), daemon(b"b", 2)];
        let mut config = Config::new(Cluster { daemons, hash: ClusterHash(7) }, DaemonId(0));
        change(&mut config);
        let members: Vec<ProcessId> =
            (0..2).map(|daemon| ProcessId { daemon: DaemonId(daemon), incarnation: 1 }).collect();
        let id = RingId { epoch: 4, leader: members[0] };
        let ring = Ring::new(id, members.clone(), members[0], Seq::ZERO, Instant::default());
        let mut queue = SendQueue::default();
        queue.set_clients_open(true);
        let (out, timers, now) = (Outputs::default(), Timers::default(), Instant::default());
        let window_packets = config.ring.windows.all;
        Self { ring, config, queue, out, timers, now, window_packets }
    }

    fn run<T>(&mut self, run: impl FnOnce(&mut Ring, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx {
            now: self.now,
            config: &self.config,
            timers: &mut self.timers,
            patience: &mut Patience::default(),
            queue: &mut self.queue,
            stats: &mut Stats::default(),
            out: &mut self.out,
        };
        run(&mut self.ring, &mut cx)
    }

    /// The token comes back from the other, who has sent nothing and holds everything up to `ack`.
    fn token_returns(&mut self, seq: Seq, ack: Seq) {
        let token = Token {
            from: self.ring.members()[1],
            ring: self.ring.id,
            hop: self.ring.hop() + 1,
            seq,
            fcc: 0,
            backlog: 0,
            window: self.window_packets,
            acks: vec![ack; 2],
            requests: Vec::new(),
        };
        self.run(|ring, cx| ring.on_token(token, cx));
    }

    /// Of a packet of the other.
    fn header(&self, seq: Seq) -> PacketHeader {
        PacketHeader {
            ring: self.ring.tag(),
            sender: DaemonId(1),
            seq,
            visit: 1,
            after_token: false,
            has_unordered: false,
            wants_ack: false,
            ack: Seq::ZERO,
        }
    }

    fn push(&mut self, bytes: usize) {
        let payload = Bytes::from(vec![7; bytes]).into();
        self.queue
            .push(SessionId(1), Outgoing { kind: Kind::Client, service: ServiceLevel::Agreed, payload });
    }

    /// Which channels datagrams left by since the last call, in order.
    fn sent(&mut self) -> Vec<Channel> {
        self.out.transmits.drain(..).map(|transmit| transmit.channel).collect()
    }
}

#[test]
fn a_lone_message_leaves_before_the_token_that_rested() {
    let mut bench = Bench::new(|_| {});
    bench.run(Ring::start);
    bench.token_returns(Seq::ZERO, Seq::ZERO);
    assert!(bench.ring.has_resting_token());
    bench.sent();
    bench.push(100);
    bench.run(|ring, cx| ring.resume(cx));
    assert_eq!(bench.sent(), [Channel::Data, Channel::Control]);
}

#[test]
fn a_rest_lowers_a_raised_window() {
    let mut bench = Bench::new(|_| {});
    bench.window_packets = 320;
    bench.run(Ring::start);
    bench.token_returns(Seq::ZERO, Seq::ZERO);
    bench.out.clear();
    bench.now = bench.now + bench.config.ring.token_rest;
    bench.run(Ring::resume);
    let Ok((_, Datagram::Token(passed))) = decode(bench.out.transmits[0].burst.clone()) else {
        panic!("not a token")
    };
    assert_eq!(passed.window, 280);
}

#[test]
fn a_leader_repeats_even_a_quiet_token_soon() {
    let mut bench = Bench::new(|_| {});
    bench.run(Ring::start);
    bench.token_returns(Seq::ZERO, Seq::ZERO);
    bench.now = bench.now + bench.config.ring.token_rest;
    let asker = bench.ring.members()[1];
    bench.run(|ring, cx| ring.hand_to(asker, cx));
    assert_eq!(
        bench.timers.next(),
        Some((bench.now + bench.config.ring.token_retransmit, Timer::TokenRetransmit))
    );
}

#[test]
fn in_a_busy_ring_the_token_leaves_first() {
    let mut bench = Bench::new(|_| {});
    bench.push(100);
    bench.run(Ring::start);
    bench.sent();
    bench.push(100);
    bench.token_returns(Seq(1), Seq::ZERO);
    assert_eq!(bench.sent(), [Channel::Control, Channel::Data]);
}

#[test]
fn a_ring_is_saturated_while_more_waits_than_its_rounds_carry() {
    let mut bench = Bench::new(|_| {});
    bench.push(100);
    bench.run(Ring::start);
    assert!(!bench.ring.is_saturated(), "all that waited has left");
    (0..100).for_each(|_| bench.push(1000));
    for _ in 0..3 {
        let held = bench.ring.packets().highest();
        bench.token_returns(held, held);
        assert!(bench.ring.is_saturated(), "20 packets each, of about 70");
    }
    for _ in 0..2 {
        let held = bench.ring.packets().highest();
        bench.token_returns(held, held);
    }
    assert!(!bench.ring.is_saturated() && !bench.queue.has_sendable());
}

#[test]
fn a_ring_that_sends_all_that_it_has_is_not_saturated_although_preambles_were_counted_that_are_not_sent() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..50 {
        let payload = Payload::new(Bytes::from(vec![7; 110]), 100, Bytes::new());
        let message = Outgoing { kind: Kind::Client, service: ServiceLevel::Agreed, payload };
        bench.queue.push(SessionId(1), message);
    }
    bench.run(Ring::start);
    assert!(!bench.queue.has_sendable() && !bench.ring.is_saturated());
}

#[test]
fn who_puts_deliveries_off_acknowledges_no_more_and_lowers_the_window() {
    // For less than an eighth of the way round, and for more; and where daemons are near.
    expect_window_after_putting_off(80, &[71], 160);
    expect_window_after_putting_off(80, &[69], 120);
    expect_window_after_putting_off(80, &[10, 15, 76], 160);
    expect_window_after_putting_off(80, &[10, 17, 76], 120);
    expect_window_after_putting_off(10, &[10], 120);
}

/// The way round takes `way_ms`, after so many of which deliveries are put off, not any more, and so on.
fn expect_window_after_putting_off(way_ms: u32, changes_ms: &[u32], window: u32) {
    let mut bench = Bench::new(|_| {});
    bench.run(Ring::start);
    let ack_after = |bench: &mut Bench, last| {
        (1..=last).map(Seq).for_each(|seq| {
            bench.ring.store(Packet { header: bench.header(seq), bytes: Bytes::new() });
        });
        bench.ring.acks.mine()
    };
    assert_eq!(ack_after(&mut bench, 2), Seq(2));
    for (change, ms) in changes_ms.iter().enumerate() {
        let delivered = Some(Seq(2)).filter(|_| change % 2 == 0);
        bench.ring.limit_ack(delivered, bench.now + *ms * MS);
    }
    bench.now = bench.now + way_ms * MS;
    assert_eq!(ack_after(&mut bench, 5), Seq(3), "the next may have to be stable before it can be delivered");
    bench.sent();
    bench.token_returns(Seq(5), Seq(5));
    let passed = decode(bench.out.transmits[0].burst.clone());
    let Ok((_, Datagram::Token(token))) = passed else { panic!("no token: {passed:?}") };
    assert_eq!(token.window, window, "of 160");
    bench.ring.limit_ack(None, bench.now);
    assert_eq!(bench.ring.acks.mine(), Seq(5));
}

#[test]
fn no_packet_is_numbered_that_could_not_be_stored() {
    let mut bench = Bench::new(|config| {
        config.ring.windows.all = 1 << 16;
        config.ring.windows.personal = 1 << 16;
        config.ring.window_limit_packets = 1 << 16;
        config.ring.outstanding_packets = 1 << 17;
    });
    let last = Seq(CAPACITY_PACKETS - 3);
    for seq in (1..=last.0).map(Seq) {
        assert!(bench.ring.store(Packet { header: bench.header(seq), bytes: Bytes::new() }));
    }
    (0..10).for_each(|_| bench.push(1400));
    // All hold it, but nothing is discarded yet.
    bench.token_returns(last, last);
    assert_eq!(bench.ring.packets().highest(), Seq(CAPACITY_PACKETS));
    bench.token_returns(Seq(CAPACITY_PACKETS), last);
    assert_eq!(bench.ring.packets().highest(), Seq(CAPACITY_PACKETS));
    assert!(bench.queue.has_sendable(), "the rest waits");
}

#[test]
fn nothing_is_believed_of_a_packet_that_is_too_far_ahead() {
    let mut bench = Bench::new(|_| {});
    bench.run(Ring::start);
    let mut receive = |seq| {
        let header = PacketHeader { after_token: true, ack: seq, ..bench.header(seq) };
        let new = bench.run(|ring, cx| ring.on_packet(Packet { header, bytes: Bytes::new() }, cx));
        let passed = matches!(bench.ring.token, TokenPlace::Passed(..));
        (new, bench.ring.acks.entries()[1], passed, bench.ring.preference())
    };
    assert_eq!(receive(Seq(CAPACITY_PACKETS + 1)), (false, Seq::ZERO, true, Channel::Data));
    assert_eq!(receive(Seq(1 << 62)), (false, Seq::ZERO, true, Channel::Data));
    assert_eq!(receive(Seq(1)), (true, Seq(1), false, Channel::Data));
}

/// A message with its place, as its sender packed it or as a receiver read it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Read(Seq, u16, u8, Vec<u8>);

impl From<Complete> for Read {
    fn from(message: Complete) -> Self {
        let Complete { seq, index, service, preamble, bytes, .. } = message;
        Self(seq, index, service.rank(), [preamble, bytes].concat())
    }
}

/// A sender and a receiver between which nothing is lost.
struct Passage {
    bench: Bench,
    preambles: Vec<Vec<u8>>,
    seq: Seq,
    packets: PacketStore,
    stream: Stream,
    read: Vec<Read>,
    known: usize,
}

impl Passage {
    fn new(random: &mut fastrand::Rng) -> Self {
        let datagram_bytes = [256, random.usize(256..600), 1472, random.usize(1472..9000)][random.usize(..4)];
        let quantum = [1, 100, 1500, 20_000][random.usize(..4)];
        let mut bench = Bench::new(|config| {
            config.ring.datagram_bytes = datagram_bytes;
            config.ring.session_quantum_bytes = quantum;
        });
        bench.out.trace = Some(Vec::new());
        let lengths = 1..[20, 300][random.usize(..2)];
        let preamble =
            |random: &mut fastrand::Rng| (0..random.usize(lengths.clone())).map(|_| random.u8(..)).collect();
        Self {
            preambles: (0..random.usize(1..300)).map(|_| preamble(random)).collect(),
            bench,
            seq: Seq::ZERO,
            packets: PacketStore::after(Seq::ZERO),
            stream: Stream::after(Seq::ZERO),
            read: Vec::new(),
            known: 0,
        }
    }

    fn push(&mut self, random: &mut fastrand::Rng) {
        let size = self.bench.config.ring.datagram_bytes;
        let bytes =
            [random.usize(..40), size - random.usize(..60), random.usize(..4 * size)][random.usize(..3)];
        let body: Vec<u8> = (0..bytes).map(|_| random.u8(..)).collect();
        let preamble = &self.preambles[random.usize(..self.preambles.len())];
        let head = [preamble, b"\x1f".as_slice()].concat();
        let service = ServiceLevel::from_rank(random.u8(..6)).expect("a level");
        let payload = Payload::new(head.into(), preamble.len(), body.into());
        let message = Outgoing { kind: Kind::Client, service, payload };
        self.bench.queue.push(SessionId(random.u64(..12)), message);
    }

    /// A visit, whose datagrams arrive at once; some of their messages are read early.
    fn visit(&mut self, packets: usize, random: &mut fastrand::Rng) {
        let visit = Visit {
            ring: self.bench.ring.id(),
            tag: RingTag::default(),
            sender: DaemonId(0),
            seq: self.seq,
            ack: self.seq,
            hop: 1,
            packets,
            after_token: 1,
            after_quiet: false,
        };
        let burst = self.bench.run(|ring, cx| pack::fill(visit, &mut ring.said, cx));
        let datagrams = [burst.before_token, burst.after_token].concat();
        for datagram in datagrams.chunks(self.bench.config.ring.datagram_bytes) {
            self.seq = self.seq.next();
            let Ok((_, Datagram::Packet(packet))) = decode(Bytes::copy_from_slice(datagram)) else {
                panic!("no packet: {datagram:?}")
            };
            let mut chunks = packet.chunks();
            while let Some(chunk) = chunk::next(&mut chunks).expect("well formed") {
                self.known += usize::from(matches!(chunk.head.preamble, Some(chunk::Preamble::Known { .. })));
            }
            let early = if random.bool() { unordered(&packet) } else { Vec::new() };
            assert!(self.packets.insert(packet));
            if !early.is_empty() {
                self.packets.note_delivered_early(self.seq);
            }
            self.read.extend(early.into_iter().map(Read::from));
        }
        let limit = Limit { last: self.seq, safe: Seq(random.u64(..=self.seq.0)) };
        self.read.extend(std::iter::from_fn(|| self.stream.next(&self.packets, limit)).map(Read::from));
    }

    fn sent(&mut self) -> Vec<Read> {
        let of = |trace: Trace| match trace {
            Trace::Originated { seq, index, service, bytes, .. } => {
                Some(Read(seq, index, service.rank(), bytes.into()))
            }
            _ => None,
        };
        self.bench.out.trace.take().into_iter().flatten().filter_map(of).collect()
    }
}

#[test]
fn receivers_read_what_was_packed_whatever_the_sizes_and_preambles() {
    let mut known = 0;
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut passage = Passage::new(&mut random);
        for _ in 0..10 {
            (0..random.usize(..20)).for_each(|_| passage.push(&mut random));
            passage.visit(random.usize(1..5), &mut random);
        }
        while passage.bench.queue.has_sendable() {
            let before = passage.seq;
            passage.visit(10, &mut random);
            assert!(passage.seq > before, "seed {seed}: what waits can be sent");
        }
        let limit = Limit { last: passage.seq, safe: passage.seq };
        let rest = std::iter::from_fn(|| passage.stream.next(&passage.packets, limit)).map(Read::from);
        passage.read.extend(rest);
        passage.read.sort();
        let sent = passage.sent();
        assert_eq!(passage.read, sent, "seed {seed}");
        assert_eq!((passage.stream.dropped(), passage.bench.queue.bytes()), (0, 0), "seed {seed}");
        known += passage.known;
    }
    assert!(known > 1000, "{known}");
}
