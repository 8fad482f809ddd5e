//! Requests of established sessions, well-formed and not.

use antiphon_wire::client::flags::HEADER_BYTES;
use antiphon_wire::ids::SessionId;
use antiphon_wire::names::NAME_FIELD_BYTES;
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;

use super::super::SharedFrame;
use super::bench::{Bench, bytes, frame, member};
use crate::delivery::Kind;
use crate::groups::codec::{encode_disconnect, encode_operation};
use crate::io::{CloseReason, Event};

const ALICE: &[u8] = b"#alice#localhost";
const FIFO: u32 = 0x04;
const JOIN: u32 = 0x0001_0000;
const LEAVE: u32 = 0x0002_0000;
const KILL: u32 = 0x0004_0000;

fn alice() -> (Bench, SessionId) {
    let mut bench = Bench::new();
    let id = bench.connect("alice");
    (bench, id)
}

/// A message to `grp` with some bytes of its header replaced.
fn with_header(at: usize, replaced: &[u8]) -> Vec<u8> {
    let mut bytes = frame(ALICE, FIFO, &[b"grp"], b"body");
    bytes[at..at + replaced.len()].copy_from_slice(replaced);
    bytes
}

#[test]
fn what_breaks_the_protocol_ends_the_session_behind_what_it_sent_before() {
    let many: Vec<&[u8]> = vec![b"g"; 101];
    for (what, bad) in [
        ("42", frame(b"#bob#localhost", FIFO, &[b"grp"], b"")),
        ("other daemon", frame(b"#alice#elsewhere", FIFO, &[b"grp"], b"")),
        ("no private name", frame(b"alice", FIFO, &[b"grp"], b"")),
        ("43", frame(ALICE, 0x24, &[b"grp"], b"")),
        ("44", frame(ALICE, 0, &[b"grp"], b"")),
        ("45", frame(ALICE, JOIN | 0x10, &[b"grp"], b"")),
        ("two requests", frame(ALICE, JOIN | LEAVE, &[b"grp"], b"")),
        ("46", frame(ALICE, FIFO, &many, b"")),
        ("negative groups", with_header(36, &[0xff; 4])),
        ("48", with_header(44, &[0xff; 4])),
        ("49", with_header(44, &143_953_u32.to_le_bytes())),
        ("50", with_header(40, &[0x81, 0, 0, 0x80])),
        ("half a mark", with_header(0, &[4, 0, 0, 0x80])),
        ("exchange bit", frame(ALICE, FIFO | 0x0008_0000, &[b"grp"], b"")),
        ("exchange bit alone", frame(ALICE, 0x0008_0000, &[b"grp"], b"")),
        ("reject bit", frame(ALICE, FIFO | 0x0040_0000, &[b"grp"], b"")),
    ] {
        let (mut bench, id) = alice();
        let good = frame(ALICE, FIFO, &[b"grp"], b"before");
        bench.feed(id, &[good.clone(), bad, good.clone()].concat());
        let reason = bench.closed(id);
        assert!(matches!(reason, Some(CloseReason::ProtocolError(_))), "{what}: {reason:?}");
        let queued = bench.queued();
        assert_eq!(queued.len(), 2, "{what}");
        assert_eq!((queued[0].kind, &queued[0].frame[..]), (Kind::Client, &good[..]), "{what}");
        assert_eq!(
            (queued[1].kind, &queued[1].frame),
            (Kind::Disconnect, &encode_disconnect(&member("alice")))
        );
        assert_eq!(bench.stats.sessions_errored, 1);
        bench.feed(id, &good);
        assert!(bench.queued().is_empty(), "{what}: nothing after the end");
    }
}

#[test]
fn what_differs_from_the_message_before_is_packed_as_it_is() {
    let (mut bench, id) = alice();
    let bob = bench.connect("bob");
    let sent = [
        frame(ALICE, FIFO, &[b"grp"], b"body"),
        frame(ALICE, FIFO, &[b"grp"], b"another body"),
        frame(ALICE, 0x10, &[b"grp"], b"body"),
        frame(ALICE, 0x10, &[b"grp2"], b"body"),
        frame(ALICE, 0x10, &[b"grp2", b"grp"], b""),
        frame(ALICE, 0x10, &[b"grp2", b"grp3"], b""),
        with_header(40, &[0x80, 1, 2, 0x80]),
    ];
    let of_bob = frame(b"#bob#localhost", FIFO, &[b"grp"], b"body");
    let mut packed = |id, frames: &[Vec<u8>]| {
        bench.feed(id, &frames.concat());
        let queued = bench.queued();
        assert!(queued.iter().map(|queued| &queued.frame[..]).eq(frames));
    };
    packed(id, &sent);
    packed(bob, &[of_bob]);
    packed(id, &sent);
    bench.feed(bob, &sent[6]);
    assert!(bench.closed(bob).is_some(), "somebody else's name, which was good a moment ago");
}

#[test]
fn odd_requests_do_what_little_they_ask_for() {
    let join = |group: &[u8]| {
        let mut field = [0; 32];
        field[..group.len()].copy_from_slice(group);
        encode_operation(&member("alice"), &antiphon_wire::names::GroupName::from_field(&field))
    };
    for (what, sent, queued) in [
        ("38", frame(ALICE, FIFO, &[], b"nobody"), None),
        ("join of nothing", frame(ALICE, JOIN, &[], b""), None),
        ("leave of nothing", frame(ALICE, LEAVE, &[], b""), None),
        ("54", frame(ALICE, JOIN, &[b"a b#\xff"], b""), Some((Kind::Join, join(b"a b#\xff")))),
        ("empty group", frame(ALICE, JOIN, &[b""], b""), Some((Kind::Join, join(b"")))),
        ("55", frame(ALICE, JOIN, &[b"#bob#localhost"], b""), Some((Kind::Join, join(b"#bob#localhost")))),
        ("56", frame(ALICE, JOIN, &[b"one", b"two"], b""), Some((Kind::Join, join(b"one")))),
        ("57", frame(ALICE, JOIN, &[b"one"], b"ignored"), Some((Kind::Join, join(b"one")))),
        ("58", frame(ALICE, JOIN | 0x40, &[b"one"], b""), Some((Kind::Join, join(b"one")))),
        ("32 bytes", frame(ALICE, LEAVE, &[&[b'x'; 32]], b""), Some((Kind::Leave, join(&[b'x'; 31])))),
    ] {
        let (mut bench, id) = alice();
        bench.feed(id, &sent);
        let found: Vec<_> = bench.queued().into_iter().map(|message| (message.kind, message.frame)).collect();
        assert_eq!(found, queued.into_iter().collect::<Vec<_>>(), "{what}");
        assert_eq!(bench.closed(id), None, "{what}");
    }
}

#[test]
fn messages_pass_as_they_were_sent() {
    let hundred: Vec<&[u8]> = vec![b"g"; 100];
    for (what, sent) in [
        ("39", frame(ALICE, FIFO, &[b"grp"], b"")),
        ("47b", frame(ALICE, FIFO, &hundred, b"wide")),
        ("63", frame(ALICE, FIFO | 0x70a0_ff40 & !0x80, &[b"grp"], b"bits")),
        ("64", frame(ALICE, FIFO, &[b"grp\0JUNK"], b"x")),
        ("65", frame(b"#alice#localhost\0JUNKJUNKJUNK", FIFO, &[b"grp"], b"x")),
        ("largest", frame(ALICE, FIFO, &[b"grp"], &vec![7; 143_952 - 32])),
    ] {
        let (mut bench, id) = alice();
        for piece in sent.chunks(1000) {
            bench.feed(id, piece);
        }
        let queued = bench.queued();
        assert_eq!(queued.len(), 1, "{what}");
        assert_eq!((queued[0].kind, queued[0].service), (Kind::Client, ServiceLevel::Fifo), "{what}");
        assert_eq!(&queued[0].frame[..], &sent[..], "{what}");
    }
}

#[test]
fn the_last_byte_of_a_sender_or_of_an_endless_group_is_its_terminator() {
    let (mut bench, id) = alice();
    let mut sent = frame(ALICE, FIFO, &[&[b'g'; 32]], b"x");
    sent[35] = b'!';
    bench.feed(id, &sent);
    (sent[35], sent[HEADER_BYTES + 31]) = (0, 0);
    assert_eq!(&bench.queued()[0].frame[..], &sent[..]);
}

/// docs/protocol.md, P6.
#[test]
fn what_is_longer_than_a_packet_of_the_reference_does_not_overtake() {
    let (mut bench, id) = alice();
    for (flags, bytes, service) in [
        (1, 1432, ServiceLevel::Unreliable),
        (1, 1433, ServiceLevel::Fifo),
        (2, 1432, ServiceLevel::Reliable),
        (2, 1433, ServiceLevel::Fifo),
        (0x20, 1433, ServiceLevel::Safe),
    ] {
        let sent = frame(ALICE, flags, &[b"grp"], &vec![7; bytes - HEADER_BYTES - NAME_FIELD_BYTES]);
        bench.feed(id, &sent);
        let queued = bench.queued();
        assert_eq!((queued[0].service, &queued[0].frame[..]), (service, &sent[..]), "{flags} {bytes}");
    }
}

#[test]
fn big_endian_messages_get_a_little_endian_header_and_keep_their_hint() {
    // Recording 51: agreed message of type 0x1234 from a big-endian client.
    let sent = "0000001023626967656e64236c6f63616c686f7374000000000000000000000000000000000000010012340000000007\
                677270000000000000000000000000000000000000000000000000000000000066726f6d204245";
    let delivered = "9000008023626967656e64236c6f63616c686f7374000000000000000000000000000000010000000012340007000000\
                     677270000000000000000000000000000000000000000000000000000000000066726f6d204245";
    let mut bench = Bench::new();
    let id = bench.connect("bigend");
    bench.feed(id, &bytes(&sent.replace([' ', '\n'], "")));
    let queued = bench.queued();
    assert_eq!(queued[0].service, ServiceLevel::Agreed);
    assert_eq!(&queued[0].frame[..], &bytes(&delivered.replace([' ', '\n'], ""))[..]);
}

#[test]
fn requests_are_the_same_wherever_their_bytes_are_cut() {
    let stream = [
        frame(ALICE, JOIN, &[b"grp"], b""),
        frame(ALICE, 0x20, &[b"grp", b"other"], b"safe"),
        frame(ALICE, LEAVE, &[b"grp"], b""),
        frame(ALICE, KILL, &[ALICE], b""),
        frame(ALICE, FIFO, &[b"grp"], b"after the end"),
    ]
    .concat();
    let read = |cuts: &[&[u8]]| {
        let (mut bench, id) = alice();
        cuts.iter().for_each(|cut| bench.feed(id, cut));
        assert_eq!(bench.closed(id), Some(CloseReason::Disconnected));
        bench.queued().into_iter().map(|message| (message.kind, message.frame)).collect::<Vec<_>>()
    };
    let whole = read(&[&stream]);
    let kinds: Vec<Kind> = whole.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::Join, Kind::Client, Kind::Leave, Kind::Disconnect]);
    for cut in 1..stream.len() {
        let (before, after) = stream.split_at(cut);
        assert_eq!(read(&[before, after]), whole, "cut at {cut}");
    }
    assert_eq!(read(&stream.chunks(1).collect::<Vec<_>>()), whole);
}

#[test]
fn a_broken_connection_ends_the_session_and_drops_half_a_message() {
    let (mut bench, id) = alice();
    let sent = frame(ALICE, FIFO, &[b"grp"], b"whole");
    bench.feed(id, &[&sent[..], &sent[..60]].concat());
    bench.run(|sessions, cx| sessions.on_closed(id, cx));
    let kinds: Vec<Kind> = bench.queued().iter().map(|message| message.kind).collect();
    assert_eq!(kinds, [Kind::Client, Kind::Disconnect]);
    assert!(bench.out.closed.is_empty(), "the host knows");
    let told = Event::SessionClosed(id, Some(member("alice")), CloseReason::HungUp);
    assert_eq!(bench.out.events, [told]);
    bench.run(|sessions, cx| sessions.on_closed(id, cx));
    assert!(bench.queued().is_empty() && bench.out.events.len() == 1);
}

#[test]
fn whatever_is_owed_to_a_session_that_disconnects_is_discarded() {
    let (mut bench, id) = alice();
    bench.run(|sessions, cx| sessions.deliver(id, &SharedFrame::whole(&Bytes::from_static(b"owed")), cx));
    bench.feed(id, &frame(ALICE, KILL, &[], b""));
    assert!(bench.read(id).is_empty());
    assert!(bench.sessions.receiver(&member("alice")).is_none());
}
