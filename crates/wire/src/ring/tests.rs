use std::collections::BTreeSet;

use super::*;
use crate::ids::{RingId, RingTag, Seq};
use crate::ring::attempt::Holdings;
use crate::ring::gossip::HearsRow;
use crate::ring::packet::{PACKET_HEADER_BYTES, PacketHeader};
use crate::ring::ranges::SeqRange;
use crate::ring::token::Request;

const CLUSTER: ClusterHash = ClusterHash(7);

fn process(daemon: u16) -> ProcessId {
    ProcessId { daemon: DaemonId(daemon), incarnation: 1000 + u64::from(daemon) }
}

fn ring_id() -> RingId {
    RingId { epoch: 44, leader: process(0) }
}

fn range(first: u64, last: u64) -> SeqRange {
    SeqRange { first: Seq(first), last: Seq(last) }
}

fn samples() -> Vec<Datagram> {
    let from = process(1);
    let ring = ring_id();
    let members: Vec<ProcessId> = (0..3).map(process).collect();
    let hears: BTreeSet<ProcessId> = members.iter().copied().collect();
    let holdings = Holdings {
        old: ring,
        ack: Seq(10),
        beyond: vec![range(12, 14), range(17, 17)],
        stable: Seq(8),
        obligations: hears.clone(),
    };
    let row = HearsRow { of: from, version: 5, hears: hears.clone() };
    let request = Request { range: range(4, 6), member: 2, age: 1 };
    let mut packet = BytesMut::new();
    let header = PacketHeader {
        ring: ring.tag(),
        sender: from.daemon,
        seq: Seq(9),
        visit: 3,
        after_token: true,
        has_unordered: false,
        wants_ack: true,
        ack: Seq(7),
    };
    header.encode(CLUSTER, &mut packet);
    vec![
        Datagram::Packet(Packet { header, bytes: packet.freeze() }),
        Datagram::Token(Token {
            from,
            ring,
            hop: 77,
            seq: Seq(20),
            fcc: 5,
            backlog: 8,
            window: 160,
            acks: vec![Seq(20), Seq(18), Seq(3)],
            requests: vec![request],
        }),
        Datagram::Join(Join {
            from,
            epoch: 3,
            version: 5,
            wanted: members.clone(),
            cause: "no token from alpha for 200 ms".to_owned(),
            rows: vec![row],
        }),
        Datagram::Hello(Hello { from, ring, members: members.clone(), hears }),
        Datagram::Leave(Leave { from }),
        Datagram::MergeRequest(MergeRequest { from }),
        Datagram::Probe(Probe { from }),
        Datagram::Wake(Wake { from, ring, hop: 7 }),
        Datagram::Ack(Ack { from, ring, ack: Seq(9), stable: Seq(8) }),
        Datagram::Propose(Propose { from, ring, members: members.clone() }),
        Datagram::Accept(Accept { from, ring, holdings: holdings.clone() }),
        Datagram::Commit(Commit {
            from,
            ring,
            reports: members.iter().map(|of| (*of, holdings.clone())).collect(),
        }),
        Datagram::RecoveryRequest(RecoveryRequest { from, ring, missing: vec![range(1, 2)] }),
        Datagram::Done(Done { from, ring }),
        Datagram::Install(Install { from, ring }),
        Datagram::Piece(Piece { from, number: 1, index: 0, count: 2, bytes: Bytes::from_static(b"ab") }),
    ]
}

#[test]
fn every_datagram_comes_back_as_it_was_written() {
    for datagram in samples() {
        let bytes = datagram.encode(CLUSTER);
        assert_eq!(DatagramKind::of(&bytes), Some(datagram.kind()));
        let (envelope, decoded) = decode(bytes).expect("legal");
        assert_eq!((envelope.cluster, &decoded), (CLUSTER, &datagram));
    }
}

#[test]
fn padding_shows_that_long_datagrams_arrive_and_means_nothing() {
    for datagram in samples() {
        let plain = datagram.encode(CLUSTER);
        let padded = datagram.encode_padded(CLUSTER, plain.len() + 100);
        assert_eq!(datagram.encode_padded(CLUSTER, plain.len()), plain, "it is long enough");
        if !matches!(datagram, Datagram::Packet(_) | Datagram::Piece(_)) {
            assert_eq!(padded.len(), plain.len() + 100);
            assert_eq!(decode(padded).map(|(_, decoded)| decoded), Ok(datagram));
        }
    }
}

/// A packet with these numbers and nothing in it.
fn packet(seq: u64, ack: u64) -> Bytes {
    let header = PacketHeader {
        ring: ring_id().tag(),
        sender: DaemonId(1),
        seq: Seq(seq),
        visit: u16::MAX,
        after_token: false,
        has_unordered: true,
        wants_ack: false,
        ack: Seq(ack),
    };
    let mut bytes = BytesMut::new();
    header.encode(CLUSTER, &mut bytes);
    bytes.freeze()
}

#[test]
fn an_acknowledgement_that_is_far_behind_says_nothing() {
    for (seq, ack, read) in [(9, 9, 9), (70_000, 4466, 4466), (70_000, 4465, 0), (1 << 40, 3, 0), (1, 0, 0)] {
        let bytes = packet(seq, ack);
        assert_eq!(bytes.len(), PACKET_HEADER_BYTES);
        let Ok((_, Datagram::Packet(packet))) = decode(bytes) else { panic!("{seq} and {ack} are legal") };
        assert_eq!((packet.header.seq, packet.header.ack), (Seq(seq), Seq(read)));
    }
}

#[test]
fn an_acknowledgement_of_less_than_nothing_is_refused() {
    let mut bytes = packet(5, 0).to_vec();
    bytes[PACKET_HEADER_BYTES - 2] = 6;
    assert!(decode(bytes.into()).is_err());
}

#[test]
fn counters_of_a_token_that_could_come_to_their_end_are_refused() {
    let token = samples().into_iter().find_map(|datagram| match datagram {
        Datagram::Token(token) => Some(token),
        _ => None,
    });
    let token = token.expect("a sample");
    let is_taken = |token| decode(Datagram::Token(token).encode(CLUSTER)).is_ok();
    let most = u64::MAX / 2;
    assert!(is_taken(Token { hop: most, seq: Seq(most), ..token.clone() }));
    assert!(!is_taken(Token { hop: most + 1, ..token.clone() }));
    assert!(!is_taken(Token { seq: Seq(most + 1), ..token }));
}

#[test]
fn tags_tell_rings_apart_and_stay_what_they_are() {
    let ring = |epoch, daemon, incarnation| {
        let leader = ProcessId { daemon: DaemonId(daemon), incarnation };
        RingId { epoch, leader }.tag()
    };
    let values = [0, 1, 2, 3, 4, 1_764_000_000_000, u64::MAX];
    let tags: BTreeSet<u64> = values
        .into_iter()
        .flat_map(|epoch| values.map(|incarnation| (epoch, incarnation)))
        .flat_map(|(epoch, incarnation)| [0, 1, 19].map(|daemon| ring(epoch, daemon, incarnation).0))
        .collect();
    assert_eq!(tags.len(), 7 * 7 * 3);
    // Another build must call the ring the same.
    assert_eq!(ring(1_764_000_000_000, 1, 77), RingTag(0xea3c_566e_60e6_e52c));
}

#[test]
fn prefixes_and_mutations_never_panic() {
    let mut random = fastrand::Rng::with_seed(1);
    for datagram in samples() {
        let bytes = datagram.encode(CLUSTER);
        for length in 0..bytes.len() {
            let _ = decode(bytes.slice(..length));
        }
        for _ in 0..3000 {
            let mut mutated = bytes.to_vec();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..mutated.len());
                mutated[at] = random.u8(..);
            }
            let _ = decode(Bytes::from(mutated));
        }
    }
}

#[test]
fn holdings_know_what_they_hold() {
    let holdings = Holdings {
        old: ring_id(),
        ack: Seq(10),
        beyond: vec![range(12, 14), range(17, 17)],
        stable: Seq(8),
        obligations: BTreeSet::new(),
    };
    let held: Vec<u64> = (1..=18).filter(|seq| holdings.holds(Seq(*seq))).collect();
    assert_eq!(held, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 17]);
    assert_eq!(holdings.highest(), Seq(17));
}

fn commit_of_holes(daemons: u16, holes: u64) -> Commit {
    let members: Vec<ProcessId> =
        (0..daemons).map(|daemon| ProcessId { daemon: DaemonId(daemon), incarnation: 1 }).collect();
    let holdings = Holdings {
        old: ring_id(),
        ack: Seq(10),
        beyond: (0..holes).map(|hole| range(12 + 2 * hole, 12 + 2 * hole)).collect(),
        stable: Seq(8),
        obligations: members.iter().copied().collect(),
    };
    let reports = members.iter().map(|member| (*member, holdings.clone())).collect();
    Commit { from: members[0], ring: ring_id(), reports }
}

#[test]
fn a_commit_is_as_long_as_is_said() {
    for daemons in [1, 3, 128] {
        let longest = Commit::longest_bytes(daemons.into());
        assert_eq!(Datagram::Commit(commit_of_holes(daemons, 188)).encode(CLUSTER).len(), longest);
    }
}

#[test]
fn twenty_daemons_that_lack_every_second_packet_of_the_largest_round_can_be_told() {
    let commit = Datagram::Commit(commit_of_holes(20, 8192)).encode(CLUSTER);
    assert!(commit.len() <= piece::longest(1472), "{} bytes", commit.len());
}
