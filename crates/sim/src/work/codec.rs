//! Frames, packets and tokens, written and read.

use antiphon_wire::client::frame::{FrameLimits, FrameReader, put_frame};
use antiphon_wire::client::header::Hint;
use antiphon_wire::ids::{ClusterHash, DaemonId, ProcessId, RingId, Seq};
use antiphon_wire::names::{MemberName, NAME_FIELD_BYTES, PrivateName};
use antiphon_wire::ring::chunk::{self, MessageHead};
use antiphon_wire::ring::multicast::{Unpacker, put_packed_head};
use antiphon_wire::ring::packet::PacketHeader;
use antiphon_wire::ring::token::{Request, Token};
use antiphon_wire::ring::{Datagram, decode, ranges};
use antiphon_wire::service::ServiceLevel;
use bytes::{Bytes, BytesMut};

use crate::world::daemon_name;

const CLUSTER: ClusterHash = ClusterHash(7);

/// Frames that one read of a client's socket brings.
const FRAMES: usize = 32;

/// Messages in a packet, and their length.
const CHUNKS: u16 = 10;
const CHUNK_BYTES: usize = 130;

/// For each message a frame and a chunk, and now and then a token. Returns the bytes that were read.
pub(super) fn run(messages: u64) -> u64 {
    let leader = ProcessId { daemon: DaemonId(0), incarnation: 1 };
    let ring = RingId { epoch: 5, leader };
    let mut bytes = 0;
    for round in 0..messages.div_ceil(FRAMES as u64) {
        bytes += frames();
        for packet in 0..FRAMES as u64 / u64::from(CHUNKS) {
            bytes += packets(ring, round * FRAMES as u64 + packet + 1);
        }
        bytes += token(ring, round);
    }
    bytes
}

fn frames() -> u64 {
    let (mut group, body) = ([b'g'; NAME_FIELD_BYTES], [7; 100]);
    group[NAME_FIELD_BYTES - 1] = 0;
    let daemon = daemon_name(0);
    let Ok(private) = PrivateName::new(b"sender") else { return 0 };
    let member = MemberName::new(&private, &daemon);
    let mut written = BytesMut::new();
    for _ in 0..FRAMES {
        let groups = [&group, &group].into_iter();
        put_frame(&mut written, ServiceLevel::Agreed.flag(), member.as_field(), Hint::new(3), groups, &body);
    }
    let mut reader = FrameReader::new(FrameLimits::FROM_CLIENT);
    reader.push(written.freeze());
    let (mut packed, mut unpacker, mut bytes) = (BytesMut::new(), Unpacker::default(), 0);
    while let Ok(Some(frame)) = reader.next_frame() {
        let preamble_bytes = put_packed_head(&frame, &member, &mut packed);
        packed.extend_from_slice(frame.body());
        let preamble = packed.split_to(preamble_bytes).freeze();
        if let Ok(unpacked) = unpacker.unpack(&preamble, &packed.split(), &daemon) {
            bytes += unpacker.head().len() + unpacked.body.len();
        }
    }
    bytes as u64
}

fn packets(ring: RingId, seq: u64) -> u64 {
    let header = PacketHeader {
        ring: ring.tag(),
        sender: DaemonId(3),
        seq: Seq(seq),
        visit: 9,
        after_token: true,
        has_unordered: false,
        wants_ack: false,
        ack: Seq(seq - 1),
    };
    let mut written = BytesMut::new();
    header.encode(CLUSTER, &mut written);
    let head = MessageHead { kind: 0, service: ServiceLevel::Safe, fragment: None, preamble: None };
    for _ in 0..CHUNKS {
        head.encode(CHUNK_BYTES, &mut written);
        written.extend_from_slice(&[1; CHUNK_BYTES]);
    }
    let Ok((_, Datagram::Packet(packet))) = decode(written.freeze()) else { return 0 };
    let (mut reader, mut bytes) = (packet.chunks(), 0);
    while let Ok(Some(chunk)) = chunk::next(&mut reader) {
        bytes += chunk.bytes.len() as u64;
    }
    bytes
}

fn token(ring: RingId, hop: u64) -> u64 {
    let seq = Seq(hop * 40 + 1000);
    let missing = ranges::collect([3, 4, 5, 9].map(|behind| Seq(seq.0 - behind)));
    let token = Token {
        from: ring.leader,
        ring,
        hop,
        seq,
        fcc: 40,
        backlog: 100,
        window: 160,
        acks: (0..20).map(|member| Seq(seq.0 - member)).collect(),
        requests: missing.into_iter().map(|range| Request { range, member: 2, age: 1 }).collect(),
    };
    let written: Bytes = Datagram::Token(token).encode(CLUSTER);
    let length = written.len() as u64;
    if decode(written).is_ok() { length } else { 0 }
}
