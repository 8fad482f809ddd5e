//! What sessions are owed, and what happens when they do not take it.

use std::time::Duration;

use antiphon_wire::ids::SessionId;
use antiphon_wire::service::ServiceLevel;
use bytes::{Buf, Bytes};

use super::super::SharedFrame;
use super::bench::{Bench, LOOPBACK, choice, frame, hello, member};
use crate::delivery::Kind;
use crate::io::CloseReason;

/// From one turn of the host to the next.
const MOMENT: Duration = Duration::from_micros(1);

#[test]
fn a_session_is_dirty_once_until_it_is_written() {
    let mut bench = Bench::new();
    let id = bench.connect("a");
    for _ in 0..3 {
        bench.deliver(id, b"frame");
    }
    assert_eq!(bench.out.dirty, [id]);
    assert_eq!(bench.read(id), b"frameframeframe");
    bench.deliver(id, b"frame");
    assert_eq!(bench.out.dirty, [id, id]);
}

#[test]
fn a_reader_that_is_too_many_messages_behind_is_cut_off() {
    let mut bench = Bench::with(|config| config.sessions.max_outbox_messages = 5);
    let id = bench.connect("slow");
    bench.refuse(id);
    for _ in 0..5 {
        bench.pass(MOMENT);
        bench.deliver(id, b"x");
        assert_eq!(bench.closed(id), None);
    }
    bench.pass(MOMENT);
    bench.deliver(id, b"x");
    assert_eq!(bench.closed(id), Some(CloseReason::SlowReader));
    assert_eq!(bench.queued().iter().map(|message| message.kind).collect::<Vec<_>>(), [Kind::Disconnect]);
    assert_eq!(bench.stats.sessions_slow, 1);
    bench.deliver(id, b"x");
    assert!(bench.queued().is_empty(), "a session ends once");
}

#[test]
fn a_burst_cuts_nobody_off_but_what_the_socket_has_left_of_it_does() {
    let mut bench = Bench::with(|config| config.sessions.max_outbox_messages = 5);
    let (quick, slow) = (bench.connect("quick"), bench.connect("slow"));
    for _ in 0..2 {
        bench.pass(MOMENT);
        for _ in 0..100 {
            bench.deliver(quick, b"x");
        }
        assert_eq!((bench.read(quick).len(), bench.closed(quick)), (100, None));
    }
    for _ in 0..100 {
        bench.deliver(slow, b"x");
    }
    bench.sessions.outbox(slow).expect("open").advance(95);
    bench.refuse(slow);
    bench.deliver(slow, b"x");
    assert_eq!(bench.closed(slow), None, "the burst goes on");
    bench.pass(MOMENT);
    bench.deliver(slow, b"x");
    assert_eq!(bench.closed(slow), Some(CloseReason::SlowReader));
}

#[test]
fn who_was_not_offered_anything_is_not_behind() {
    let mut bench = Bench::with(|config| config.sessions.max_outbox_messages = 5);
    let id = bench.connect("waiting");
    for _ in 0..10 {
        bench.pass(MOMENT);
        bench.deliver(id, b"x");
    }
    assert_eq!(bench.closed(id), None);
    bench.refuse(id);
    bench.deliver(id, b"x");
    assert_eq!(bench.closed(id), Some(CloseReason::SlowReader));
}

#[test]
fn who_sends_ahead_of_the_accept_is_not_behind() {
    let mut bench = Bench::with(|config| config.sessions.max_outbox_messages = 1);
    let id = bench.open(LOOPBACK);
    bench.feed(id, &[hello("a"), choice(&["NULL"])].concat());
    bench.deliver(id, b"x");
    assert_eq!(bench.closed(id), None);
}

#[test]
fn a_reader_that_is_too_many_bytes_behind_is_cut_off() {
    let mut bench = Bench::with(|config| config.sessions.max_outbox_bytes = 10_000);
    let id = bench.connect("slow");
    for _ in 0..3 {
        bench.deliver(id, &[1; 3000]);
    }
    assert_eq!(bench.closed(id), None);
    bench.sessions.outbox(id).expect("open").advance(3000);
    bench.deliver(id, &[1; 3000]);
    assert_eq!(bench.closed(id), None);
    bench.deliver(id, &[1; 3000]);
    assert_eq!(bench.closed(id), Some(CloseReason::SlowReader));
}

#[test]
fn who_is_furthest_behind_is_cut_off_when_all_together_are_owed_too_much() {
    let mut bench = Bench::with(|config| config.sessions.max_kept_bytes = 10_000);
    let sessions = ["one", "two", "three", "four"].map(|name| bench.connect(name));
    for (id, bytes) in sessions.into_iter().zip([2000, 5000, 1500, 1000]) {
        bench.deliver(id, &vec![1; bytes]);
    }
    bench.deliver(sessions[3], &[1; 500]);
    assert!(bench.out.closed.is_empty(), "as much as may be");
    bench.deliver(sessions[3], b"x");
    assert_eq!(bench.out.closed, [(sessions[1], CloseReason::OutboxesFull)]);
    bench.deliver(sessions[0], &[1; 4900]);
    assert_eq!(bench.out.closed.len(), 1, "its bytes count no more");
    bench.deliver(sessions[2], &[1; 1000]);
    assert_eq!(bench.closed(sessions[0]), Some(CloseReason::OutboxesFull));
    assert_eq!(bench.stats.sessions_slow, 2);
}

#[test]
fn what_is_written_or_goes_with_its_session_is_owed_no_more() {
    let mut bench = Bench::with(|config| config.sessions.max_kept_bytes = 10_000);
    let (reader, other) = (bench.connect("reader"), bench.connect("other"));
    bench.deliver(other, &[1; 4000]);
    for _ in 0..10 {
        bench.deliver(reader, &[1; 5000]);
        assert_eq!(bench.read(reader).len(), 5000);
        assert_eq!(bench.sessions.kept_bytes(), 4000);
    }
    bench.run(|sessions, cx| sessions.on_closed(other, cx));
    assert_eq!(bench.sessions.kept_bytes(), 0);
    bench.deliver(reader, &[1; 100]);
    bench.run(|sessions, cx| sessions.on_shutdown(cx));
    assert_eq!(bench.sessions.kept_bytes(), 100, "the host may write it before it closes");
    assert_eq!(bench.stats.sessions_slow, 0);
}

#[test]
fn what_many_share_takes_its_memory_once() {
    let mut bench = Bench::with(|config| config.sessions.max_kept_bytes = 10_000);
    let sessions: Vec<SessionId> = (0..100).map(|number| bench.connect(&format!("s{number}"))).collect();
    assert_eq!(bench.sessions.kept_bytes(), 0, "all have read their answers");
    let body = Bytes::from(vec![1; 5000]);
    bench.run(|all, cx| {
        let frame = SharedFrame::whole(&body);
        sessions.iter().for_each(|id| all.deliver(*id, &frame, cx));
    });
    assert_eq!((bench.sessions.kept_bytes(), bench.sessions.bytes_behind()), (5000, 500_000));
    for id in &sessions[1..] {
        bench.sessions.outbox(*id).expect("open").advance(5000);
        assert_eq!(bench.sessions.kept_bytes(), 5000, "one has not read it yet");
    }
    bench.deliver(sessions[1], &[1; 1000]);
    assert_eq!(bench.sessions.kept_bytes(), 6000, "small ones are copied");
    bench.sessions.outbox(sessions[0]).expect("open").advance(4999);
    assert_eq!(bench.sessions.kept_bytes(), 6000);
    bench.sessions.outbox(sessions[0]).expect("open").advance(1);
    assert_eq!(bench.sessions.kept_bytes(), 1000);
}

/// It stays in the memory for the one who has not read it, however many others have.
#[test]
fn who_alone_has_not_read_what_many_share_is_cut_off_for_all_of_it() {
    let mut bench = Bench::with(|config| config.sessions.max_kept_bytes = 10_000);
    let (slow, fast) = (bench.connect("slow"), bench.connect("fast"));
    for kept in [5000, 10_000, 0] {
        let body = Bytes::from(vec![1; 5000]);
        bench.run(|all, cx| {
            let frame = SharedFrame::whole(&body);
            [slow, fast].iter().for_each(|id| all.deliver(*id, &frame, cx));
        });
        drop(body);
        bench.read(fast);
        assert_eq!(bench.sessions.kept_bytes(), kept);
    }
    assert_eq!(bench.out.closed, [(slow, CloseReason::OutboxesFull)]);
}

#[test]
fn requests_that_are_not_whole_are_kept_within_the_same_limit() {
    let mut bench = Bench::with(|config| config.sessions.max_kept_bytes = 10_000);
    let (slow, other) = (bench.connect("slow"), bench.connect("other"));
    let request = frame(b"#slow#localhost", ServiceLevel::Agreed.flag(), &[b"grp"], &[1; 6000]);
    bench.feed(slow, &request[..6000]);
    assert_eq!(bench.sessions.kept_bytes(), 6000);
    bench.feed(slow, &request[6000..]);
    assert_eq!(bench.sessions.kept_bytes(), 0, "it is whole");
    bench.feed(slow, &request[..6000]);
    bench.deliver(other, &[1; 4000]);
    assert!(bench.out.closed.is_empty(), "as much as may be");
    bench.feed(slow, &request[6000..6001]);
    assert_eq!(bench.out.closed, [(slow, CloseReason::OutboxesFull)]);
    assert_eq!(bench.sessions.kept_bytes(), 4000);
    bench
        .feed(other, &frame(b"#other#localhost", ServiceLevel::Agreed.flag(), &[b"grp"], &[1; 6000])[..1000]);
    assert_eq!(bench.sessions.kept_bytes(), 5000);
    bench.run(|sessions, cx| sessions.on_shutdown(cx));
    assert_eq!(bench.sessions.kept_bytes(), 4000, "what the host may still write");
}

#[test]
fn nobody_looks_again_and_again_for_a_reader_that_was_given_up() {
    let mut bench = Bench::with(|config| config.sessions.pressure_bytes = 1000);
    let id = bench.connect("stopped");
    bench.deliver(id, &[1; 2000]);
    assert_eq!(bench.waits_for_readers(), (true, true));
    bench.now = bench.now + bench.config.sessions.pressure_patience + MOMENT;
    assert_eq!(bench.waits_for_readers(), (false, false));
    bench.deliver(id, &[1; 2000]);
    assert_eq!(bench.waits_for_readers(), (false, false));
    bench.read(id);
    bench.deliver(id, &[1; 2000]);
    assert_eq!(bench.waits_for_readers(), (true, true), "it had caught up");
}

#[test]
fn one_message_is_delivered_once_and_not_to_who_discards_it() {
    let mut bench = Bench::new();
    let (one, other) = (bench.connect("one"), bench.connect("other"));
    bench.run(|sessions, cx| {
        sessions.begin_message(Some(&member("one")));
        for id in [one, other, one, other] {
            sessions.deliver_once(id, &SharedFrame::whole(&Bytes::from_static(b"x")), cx);
        }
    });
    assert_eq!((bench.read(one), bench.read(other)), (Vec::new(), b"x".to_vec()));
    bench.run(|sessions, cx| {
        sessions.begin_message(None);
        sessions.deliver_once(one, &SharedFrame::whole(&Bytes::from_static(b"y")), cx);
    });
    assert_eq!(bench.read(one), b"y");
}

#[test]
fn shutdown_closes_everyone_and_lets_them_read_the_rest() {
    let mut bench = Bench::new();
    let (open, shaking) = (bench.connect("a"), bench.open(LOOPBACK));
    bench.feed(shaking, &hello("b"));
    bench.deliver(open, b"last");
    bench.run(|sessions, cx| sessions.on_shutdown(cx));
    for id in [open, shaking] {
        assert_eq!(bench.closed(id), Some(CloseReason::Shutdown));
    }
    assert_eq!(bench.read(open), b"last");
    assert!(bench.queued().is_empty() && !bench.timer_is_set());
}
