//! Datagrams as daemons send them, from somebody who is none.

use antiphon_wire::ids::{ClusterHash, DaemonId, ProcessId, RingId, Seq};
use antiphon_wire::ring::Datagram;
use antiphon_wire::ring::attempt::{Accept, Commit, Done, Holdings, Install, Propose, RecoveryRequest};
use antiphon_wire::ring::chunk::{self, MessageHead, Position, Preamble};
use antiphon_wire::ring::gossip::{Ack, HearsRow, Hello, Join, Leave, MergeRequest, Probe, Wake};
use antiphon_wire::ring::packet::{Packet, PacketHeader};
use antiphon_wire::ring::piece::Piece;
use antiphon_wire::ring::ranges::SeqRange;
use antiphon_wire::ring::token::{Request, Token};
use antiphon_wire::service::ServiceLevel;
use bytes::{Bytes, BytesMut};

/// A datagram of each kind, with ids such as daemons have.
#[must_use]
pub fn datagrams(random: &mut fastrand::Rng, cluster: ClusterHash) -> Vec<Bytes> {
    let started = 1_795_000_000_000_000 + random.u64(..1_000_000_000);
    let process =
        |daemon: u16| ProcessId { daemon: DaemonId(daemon), incarnation: started + u64::from(daemon) };
    let members: Vec<ProcessId> = (0..3).map(process).collect();
    let from = members[random.usize(..3)];
    let ring = RingId { epoch: 2 * random.u64(..1_000_000_000), leader: members[0] };
    let hears = members.iter().copied().collect();
    let seq = Seq(random.u64(1..1_000_000));
    let range = SeqRange { first: seq, last: seq.advanced(random.u64(..1_000_000)) };
    let holdings = Holdings {
        old: ring,
        ack: seq.previous(),
        beyond: vec![range],
        stable: Seq(1),
        obligations: members.iter().copied().collect(),
    };
    let row = HearsRow { of: from, version: 5, hears: members.iter().copied().collect() };
    let request = Request { range, member: random.u16(..4), age: 1 };
    let token = Token {
        from,
        ring,
        hop: random.u64(..),
        seq,
        fcc: random.u32(..),
        backlog: random.u32(..),
        window: random.u32(..),
        acks: vec![seq; 3],
        requests: vec![request; random.usize(0..64)],
    };
    let piece = Piece {
        from,
        number: random.u32(..),
        index: random.u8(0..3),
        count: 255,
        bytes: Bytes::from(vec![7; 1000]),
    };
    let (epoch, version, cause) = (random.u64(..), random.u64(..), "no token for 200 ms".to_owned());
    let join = Join { from, epoch, version, wanted: members.clone(), cause, rows: vec![row] };
    let datagrams = [
        Datagram::Packet(packet(random, cluster, ring, from, seq)),
        Datagram::Token(token),
        Datagram::Join(join),
        Datagram::Hello(Hello { from, ring, members: members.clone(), hears }),
        Datagram::Leave(Leave { from }),
        Datagram::MergeRequest(MergeRequest { from }),
        Datagram::Probe(Probe { from }),
        Datagram::Wake(Wake { from, ring, hop: random.u64(..) }),
        Datagram::Ack(Ack { from, ring, ack: seq, stable: seq.previous() }),
        Datagram::Propose(Propose { from, ring, members: members.clone() }),
        Datagram::Accept(Accept { from, ring, holdings: holdings.clone() }),
        Datagram::Commit(Commit {
            from,
            ring,
            reports: members.iter().map(|of| (*of, holdings.clone())).collect(),
        }),
        Datagram::RecoveryRequest(RecoveryRequest { from, ring, missing: vec![range] }),
        Datagram::Done(Done { from, ring }),
        Datagram::Install(Install { from, ring }),
        Datagram::Piece(piece),
    ];
    datagrams.map(|datagram| datagram.encode(cluster)).to_vec()
}

/// A packet of that number, filled with anything.
fn packet(
    random: &mut fastrand::Rng,
    cluster: ClusterHash,
    ring: RingId,
    from: ProcessId,
    seq: Seq,
) -> Packet {
    let header = PacketHeader {
        ring: ring.tag(),
        sender: from.daemon,
        seq,
        visit: random.u16(..),
        after_token: random.bool(),
        has_unordered: random.bool(),
        wants_ack: random.bool(),
        ack: seq.previous(),
    };
    let mut bytes = BytesMut::new();
    header.encode(cluster, &mut bytes);
    bytes.extend((0..random.usize(0..600)).map(|_| random.u8(..)));
    Packet { header, bytes: bytes.freeze() }
}

/// The preamble of a multicast of alice to the group g.
const ALICE: &[u8] = b"\x10\x85alice\x01\x01g";

/// What a packet may carry: messages of all kinds and levels, whole ones and fragments, some of them
/// multicasts.
#[must_use]
pub fn chunks(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut chunks: Vec<(bool, Vec<u8>)> = (0..random.usize(1..6)).map(|_| chunk(random)).collect();
    // One that fills the packet would swallow what follows.
    chunks.sort_by_key(|(fills_packet, _)| *fills_packet);
    chunks.into_iter().flat_map(|(_, chunk)| chunk).collect()
}

/// A chunk, and whether it fills its packet.
fn chunk(random: &mut fastrand::Rng) -> (bool, Vec<u8>) {
    let position = match random.u32(..8) {
        0 => Some(Position::First { total: random.u32(40..80) }),
        1 => Some(Position::Middle),
        2 => Some(Position::Last { fills_packet: random.bool() }),
        _ => None,
    };
    let slot = random.u8(..2);
    let preamble = match random.u32(..3) {
        0 => Some(Preamble::Known { slot }),
        1 => Some(Preamble::New { slot, bytes: ALICE.len() as u8 }),
        _ => None,
    };
    let fragment = position.map(|position| chunk::Fragment { number: random.u8(..3), position });
    let service = ServiceLevel::from_rank(random.u8(..7)).unwrap_or(ServiceLevel::Agreed);
    let head = MessageHead { kind: random.u8(..5), service, fragment, preamble };
    let beginning = if matches!(preamble, Some(Preamble::Known { .. })) { b"" } else { ALICE };
    let multicast = [beginning, b"\x1fbody"].concat();
    let anything = (0..random.usize(1..40)).map(|_| random.u8(..)).collect();
    let piece = if random.bool() { multicast } else { anything };
    let mut chunk = Vec::new();
    head.encode(piece.len(), &mut chunk);
    chunk.extend(piece);
    (head.fills_packet(), chunk)
}
