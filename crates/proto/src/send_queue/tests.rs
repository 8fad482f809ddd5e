//! What is taken out of the queue, and in which order.

use bytes::Bytes;

use super::*;

fn message(bytes: usize, service: ServiceLevel) -> Outgoing {
    Outgoing { kind: Kind::Client, service, payload: Bytes::from(vec![7; bytes]).into() }
}

fn open_queue() -> SendQueue {
    let mut queue = SendQueue::default();
    queue.set_clients_open(true);
    queue
}

/// As if no preamble had been said before.
fn take(queue: &mut SendQueue, left: usize, capacity: usize, quantum: usize) -> Option<Piece> {
    queue.take(Space { left, capacity }, &mut Said::default(), quantum)
}

#[test]
fn a_large_message_is_cut_into_pieces_that_add_up() {
    let mut queue = open_queue();
    queue.push(SessionId(1), message(250, ServiceLevel::Agreed));
    let mut bytes = 0;
    let mut ended = false;
    while let Some(piece) = take(&mut queue, 100, 100, 1000) {
        assert!(piece.head.encoded_bytes(piece.range.len()) + piece.range.len() <= 100);
        bytes += piece.range.len();
        ended = piece.head.ends_message();
    }
    assert_eq!((bytes, ended), (250, true));
    assert_eq!((queue.messages(), queue.bytes()), (0, 0));
}

#[test]
fn an_unfinished_message_starts_again_after_rewind() {
    let mut queue = open_queue();
    queue.push(SessionId(1), message(250, ServiceLevel::Agreed));
    assert!(take(&mut queue, 100, 100, 1000).is_some());
    queue.rewind();
    let piece = take(&mut queue, 100, 100, 1000).expect("waits still");
    assert_eq!(piece.head.fragment.expect("cut").position, Position::First { total: 250 });
}

#[test]
fn rings_that_end_in_the_middle_of_a_message_use_up_no_number() {
    let mut queue = open_queue();
    queue.push(SessionId(1), message(250, ServiceLevel::Agreed));
    for _ in 0..=MAX_OPEN_MESSAGES {
        let piece = take(&mut queue, 100, 100, 1000).expect("there is a number");
        let first = Fragment { number: 0, position: Position::First { total: 250 } };
        assert_eq!(piece.head.fragment, Some(first));
        queue.rewind();
    }
}

#[test]
fn sessions_take_turns_by_bytes() {
    let mut queue = open_queue();
    for _ in 0..3 {
        queue.push(SessionId(1), message(40, ServiceLevel::Agreed));
    }
    queue.push(SessionId(2), message(1, ServiceLevel::Agreed));
    let sizes: Vec<usize> =
        std::iter::from_fn(|| take(&mut queue, 1000, 1000, 50)).map(|piece| piece.range.len()).collect();
    assert_eq!(sizes.iter().filter(|size| **size == 40).count(), 3);
    assert!(sizes.iter().position(|size| *size == 1).expect("sent") < 3, "{sizes:?}");
}

/// The ninth of sessions with large messages: a number of the eight must come free while it has its turn.
#[test]
fn who_waits_for_a_number_gets_one_whatever_the_lengths() {
    for first in [200, 400] {
        let mut queue = open_queue();
        for session in 0..=MAX_OPEN_MESSAGES as u64 {
            queue.push(SessionId(session), message(first, ServiceLevel::Agreed));
            (0..20).for_each(|_| queue.push(SessionId(session), message(370, ServiceLevel::Agreed)));
        }
        let pieces = std::iter::from_fn(|| take(&mut queue, 100, 100, 370));
        let pieces: Vec<Piece> = pieces.take(200).collect();
        let begun = pieces.iter().filter(|piece| {
            matches!(piece.head.fragment, Some(Fragment { position: Position::First { total }, .. }) if total == first as u32)
        });
        assert_eq!(begun.count(), MAX_OPEN_MESSAGES + 1, "first messages of {first} bytes");
    }
}

#[test]
fn a_message_without_order_waits_for_a_packet_of_its_own_rather_than_straddle() {
    let mut queue = open_queue();
    queue.push(SessionId(1), message(80, ServiceLevel::Reliable));
    assert!(take(&mut queue, 50, 100, 1000).is_none());
    assert!(take(&mut queue, 100, 100, 1000).expect("fits").head.fragment.is_none());
}

#[test]
fn a_session_has_no_more_waiting_than_a_few_visits_take_and_does_not_stop_the_others() {
    let (config, [flood, other]) = (RingConfig::default(), [SessionId(1), SessionId(2)]);
    let mut queue = open_queue();
    queue.push(flood, message(70_000, ServiceLevel::Agreed));
    assert_eq!(queue.room_for(flood, &config), usize::MAX, "no token comes and goes");
    queue.set_visit_bytes(Some(20 * 1472));
    assert_eq!((queue.room_for(flood, &config), queue.room_for(other, &config)), (0, LEAST_SHARE_BYTES));
    queue.set_visit_bytes(Some(60_000));
    assert_eq!(queue.room_for(flood, &config), 90_000 - queue.bytes());
    queue.set_visit_bytes(Some(50_000));
    assert_eq!(queue.room_for(flood, &config), 0, "too little to be read by itself");
    for _ in 0..20 {
        queue.push(flood, message(70_000, ServiceLevel::Agreed));
    }
    assert_eq!(queue.room_for(other, &config), 0, "all together have too much");
}

#[test]
fn clients_wait_while_their_lane_is_closed_and_control_goes() {
    let mut queue = SendQueue::default();
    queue.push(SessionId(1), message(10, ServiceLevel::Agreed));
    assert!(!queue.has_sendable());
    queue.push_control(message(20, ServiceLevel::Agreed));
    assert_eq!(take(&mut queue, 100, 100, 1000).expect("control").range.len(), 20);
    assert!(take(&mut queue, 100, 100, 1000).is_none());
}

#[test]
fn a_preamble_is_sent_once_unless_the_message_may_be_read_out_of_order_or_does_not_fit() {
    let (mut queue, mut said) = (open_queue(), Said::default());
    let preamble = Bytes::from_static(&[1; 20]);
    let mut take = |service, body: usize, left| {
        let payload = Payload::new(preamble.clone(), 20, Bytes::from(vec![7; body]));
        queue.push(SessionId(1), Outgoing { kind: Kind::Client, service, payload });
        std::iter::from_fn(|| queue.take(Space { left, capacity: 100 }, &mut said, 1000))
            .map(|piece| (piece.head.preamble, piece.range.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(take(ServiceLevel::Reliable, 10, 100), [(None, 30)]);
    assert_eq!(take(ServiceLevel::Agreed, 10, 24), [], "not cut within the preamble");
    let both = take(ServiceLevel::Agreed, 10, 100);
    let Some(Preamble::New { slot, bytes: 20 }) = both[0].0 else { panic!("{both:?}") };
    let known = Some(Preamble::Known { slot });
    assert_eq!(both[1..], [(known, 10)]);
    assert_eq!(take(ServiceLevel::Reliable, 10, 100), [(None, 30)]);
    assert_eq!(take(ServiceLevel::Safe, 150, 100), [(known, 95), (None, 55)]);
}

#[test]
fn pieces_of_every_size_fit_and_come_together_again() {
    for left in [10, 60, 131, 200, 259, 300] {
        for total in 1..400 {
            let mut queue = open_queue();
            queue.push(SessionId(1), message(total, ServiceLevel::Agreed));
            let (mut bytes, mut ended) = (0, false);
            while let Some(Piece { head, range, .. }) = take(&mut queue, left, left, 1000) {
                let length = range.len();
                assert!(length > 0 && head.encoded_bytes(length) + length <= left, "{total} in {left}");
                let is_filling = head.encoded_bytes(length) + length == left;
                let may_leave = head.ends_message() || is_filling;
                assert!(may_leave, "a piece without length ends with its packet: {total} in {left}");
                (bytes, ended) = (bytes + length, head.ends_message());
            }
            assert_eq!((bytes, ended), (total, true));
        }
    }
}
