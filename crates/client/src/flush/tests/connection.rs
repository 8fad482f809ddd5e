//! The layer on a connection, against a stand-in for a daemon.

use std::io::{Read, Write};

use super::*;
use crate::blocking::tests::{JOIN, JOIN_VIEW, SELF_LEAVE, accept_alice, bytes, daemon, expect, say};

/// A flush acknowledgement: a header, the group and the id of the view.
const ANSWER_BYTES: usize = 48 + 32 + 12;
/// More than systems keep of what nobody reads.
const VIEWS: usize = 100_000;

#[test]
fn a_daemon_that_takes_no_answers_before_its_views_are_received_is_not_waited_for() {
    let (address, playing) = daemon(|mut stream| {
        stream.set_write_timeout(Some(Duration::from_secs(10))).expect("set");
        accept_alice(&mut stream);
        expect(&mut stream, &bytes(JOIN));
        let view = bytes(JOIN_VIEW);
        stream.write_all(&view.repeat(VIEWS)).expect("the client receives while its answers wait");
        say(&mut stream, SELF_LEAVE);
        let mut answers = vec![0; VIEWS * ANSWER_BYTES];
        stream.read_exact(&mut answers).expect("all answers, later");
        let (first, rest) = answers.split_at(ANSWER_BYTES);
        assert_eq!(first[80..92], view[80..92], "the id of the view");
        assert!(rest.chunks(ANSWER_BYTES).all(|answer| answer == first));
    });
    let connection = crate::Connection::connect(&address, "alice").expect("accepted");
    let mut connection = Connection::new(connection);
    connection.join("grp").expect("sent");
    assert!(matches!(connection.receive(), Ok(Event::SelfLeave(_))));
    assert!(matches!(connection.receive(), Err(FlushError::Connection(Error::Closed))));
    playing.join().expect("played");
}

#[test]
fn answers_that_are_never_taken_have_a_limit() {
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        expect(&mut stream, &bytes(JOIN));
        let view = bytes(JOIN_VIEW).repeat(1000);
        // Until the client gives up.
        while stream.write_all(&view).is_ok() {}
    });
    let connection = crate::Connection::connect(&address, "alice").expect("accepted");
    let mut connection = Connection::new(connection);
    connection.join("grp").expect("sent");
    assert!(matches!(connection.receive(), Err(FlushError::TooManyAnswers)));
    drop(connection);
    playing.join().expect("played");
}

#[test]
fn who_does_not_flush_in_time_leaves_the_group_while_it_receives() {
    let (address, playing) = daemon(|mut stream| {
        accept_alice(&mut stream);
        expect(&mut stream, &bytes(JOIN));
        say(&mut stream, JOIN_VIEW);
        let mut answer = [0; ANSWER_BYTES];
        stream.read_exact(&mut answer).expect("the acknowledgement");
        stream.write_all(&answer).expect("it comes back");
        stream.read_exact(&mut answer).expect("the receipt");
        let mut next_view = bytes(JOIN_VIEW);
        next_view[88] += 1;
        stream.write_all(&next_view).expect("a change");
        let mut leave = [0; 48 + 32];
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        stream.read_exact(&mut leave).expect("a request to leave");
        assert!(leave[48..].starts_with(b"grp\0"));
        say(&mut stream, SELF_LEAVE);
        let _ = stream.read(&mut [0]);
    });
    let connection = crate::Connection::connect(&address, "alice").expect("accepted");
    let mut connection = Connection::new(connection);
    connection.set_flush_limit(Some(Duration::from_millis(50)));
    connection.join("grp").expect("sent");
    assert!(matches!(connection.receive(), Ok(Event::View(_))));
    assert!(matches!(connection.receive(), Ok(Event::FlushRequest(_))));
    let overdue = connection.receive_timeout(Duration::from_secs(20));
    assert!(matches!(overdue, Ok(Some(Event::Overdue(_)))), "{overdue:?}");
    assert!(matches!(connection.receive(), Ok(Event::SelfLeave(_))));
    drop(connection);
    playing.join().expect("played");
}
