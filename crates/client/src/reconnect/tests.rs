//! Daemons that die in bad moments, played by a script.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use antiphon_wire::service::ServiceLevel;

use super::*;
use crate::blocking::tests::{JOIN, JOIN_VIEW, SELF_LEAVE, accept_alice, bytes, expect, say};
use crate::connector::Connector;
use crate::message::Event as Delivered;

/// What the daemon does on one connection.
pub(crate) type Life = fn(&mut TcpStream);

/// Header, one group, and a body of one byte.
const MESSAGE_BYTES: usize = 48 + 32 + 1;
/// Attempts follow each other quickly.
pub(crate) const QUICK: Backoff =
    Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(5), attempts: None };

/// A daemon that has these lives, one a connection, and then listens no more.
pub(crate) fn daemon_with(lives: &'static [Life]) -> (Connector, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let playing = thread::spawn(move || {
        for live in lives {
            live(&mut listener.accept().expect("a client").0);
        }
    });
    (Connector::new(format!("{port}@127.0.0.1")).name("alice"), playing)
}

/// Reads the join, answers it with a view.
fn let_join(stream: &mut TcpStream) {
    expect(stream, &bytes(JOIN));
    say(stream, JOIN_VIEW);
}

/// Dies in the middle of a view.
pub(crate) fn die_in_a_frame(stream: &mut TcpStream) {
    accept_alice(stream);
    let_join(stream);
    stream.write_all(&bytes(JOIN_VIEW)[..100]).expect("written");
}

/// Dies in the middle of the accept.
pub(crate) fn die_in_the_handshake(stream: &mut TcpStream) {
    stream.read_exact(&mut [0; 10]).expect("a hello");
    say(stream, "054e554c4c20");
    stream.read_exact(&mut [0; 90]).expect("a choice");
    say(stream, "0104");
}

/// Takes three messages, gives the first back, and dies.
pub(crate) fn die_with_messages(stream: &mut TcpStream) {
    accept_alice(stream);
    let_join(stream);
    let mut messages = [0; 3 * MESSAGE_BYTES];
    stream.read_exact(&mut messages).expect("three messages");
    stream.write_all(&messages[..MESSAGE_BYTES]).expect("written");
}

/// Refuses the name, as a daemon does that has not noticed the end of the old session yet.
pub(crate) fn refuse(stream: &mut TcpStream) {
    stream.read_exact(&mut [0; 10]).expect("a hello");
    say(stream, "fa");
}

/// Lets join, and lives until the client goes.
pub(crate) fn live(stream: &mut TcpStream) {
    accept_alice(stream);
    let_join(stream);
    let _ = stream.read_to_end(&mut Vec::new());
}

fn open(lives: &'static [Life]) -> (Reconnecting, JoinHandle<()>) {
    let (connector, playing) = daemon_with(lives);
    let mut connection = Reconnecting::open(connector, QUICK).expect("accepted");
    connection.join("grp").expect("sent");
    assert_is_view(&connection.receive().expect("a view"));
    (connection, playing)
}

pub(crate) fn assert_is_view(event: &Event) {
    assert!(matches!(event, Event::Delivered(Delivered::View(_))), "{event:?}");
}

/// The gap of alice, who was in one group.
pub(crate) fn assert_is_gap(event: &Event, unconfirmed: u64) {
    let Event::Gap(gap) = event else { panic!("not a gap: {event:?}") };
    assert_eq!((gap.before, gap.now), (gap.now, gap.before), "the name is free again");
    assert_eq!((gap.unconfirmed, gap.may_have_lost_sends()), (unconfirmed, unconfirmed > 0));
    let [Rejoined { group, last_view: Some(view) }] = gap.groups.as_slice() else { panic!("{gap:?}") };
    assert_eq!((group.to_string(), view.members.len()), ("grp".to_owned(), 1));
    assert!(gap.left.is_empty() && matches!(gap.cause, Error::Closed), "{gap:?}");
}

#[test]
fn a_daemon_that_dies_in_the_middle_of_a_frame_leaves_a_gap() {
    let (mut connection, playing) = open(&[die_in_a_frame, live]);
    assert_is_gap(&connection.receive().expect("a gap"), 0);
    assert_is_view(&connection.receive().expect("it was joined again"));
    connection.disconnect().expect("said goodbye");
    playing.join().expect("played");
}

#[test]
fn a_daemon_that_dies_in_the_handshake_or_refuses_is_tried_again() {
    let (mut connection, playing) = open(&[die_in_a_frame, die_in_the_handshake, refuse, live]);
    assert_is_gap(&connection.receive().expect("a gap"), 0);
    assert_is_view(&connection.receive().expect("it was joined again"));
    connection.disconnect().expect("said goodbye");
    playing.join().expect("played");
}

#[test]
fn messages_that_did_not_come_back_are_counted_and_nothing_is_sent_before_the_gap_is_known() {
    let (mut connection, playing) = open(&[die_with_messages, live]);
    for text in ["1", "2", "3"] {
        connection.multicast(ServiceLevel::Agreed, "grp", text).expect("sent");
    }
    let event = connection.receive().expect("the first comes back");
    assert!(matches!(event, Event::Delivered(Delivered::Message(_))), "{event:?}");
    let mut sent = 2;
    while connection.multicast(ServiceLevel::Agreed, "grp", "x").is_ok() {
        sent += 1;
        thread::sleep(Duration::from_millis(1));
    }
    let again = connection.multicast(ServiceLevel::Agreed, "grp", "x");
    assert!(matches!(again, Err(Error::Interrupted)), "{again:?}");
    // The one with which the end was noticed may have gone out as well.
    assert_is_gap(&connection.receive().expect("a gap"), sent + 1);
    connection.multicast(ServiceLevel::Agreed, "grp", "y").expect("sent");
    connection.disconnect().expect("said goodbye");
    playing.join().expect("played");
}

#[test]
fn attempts_end_where_they_should_and_waiting_too() {
    let (connector, playing) = daemon_with(&[die_in_a_frame]);
    let backoff = Backoff { attempts: Some(3), first: Duration::from_millis(200), ..Backoff::default() };
    let mut connection = Reconnecting::open(connector, backoff).expect("accepted");
    connection.join("grp").expect("sent");
    assert_is_view(&connection.receive().expect("a view"));
    playing.join().expect("played");
    assert!(matches!(connection.receive_timeout(Duration::from_millis(20)), Ok(None)));
    let given_up = connection.receive();
    assert!(matches!(given_up, Err(Error::Connect { .. })), "{given_up:?}");
    assert!(matches!(connection.disconnect(), Err(Error::Closed)));
}

#[test]
fn a_group_that_was_to_be_left_is_not_joined_again() {
    let alice = MemberName::parse(b"#alice#d1").expect("legal");
    let [red, blue] = ["red", "blue"].map(|name| GroupName::new(name.as_bytes()).expect("legal"));
    let names = |gap: &Gap| gap.groups.iter().map(|rejoined| rejoined.group).collect::<Vec<_>>();
    let mut continuity = Continuity::new(alice, true);
    continuity.on_join(red);
    continuity.on_join(blue);
    continuity.on_leave(red);
    let gap = continuity.on_session(Error::Closed, alice);
    assert_eq!((names(&gap), gap.left), (vec![blue], vec![red]));
    // A leave that is overtaken by a join does not count.
    continuity.on_leave(blue);
    continuity.on_join(blue);
    continuity.on_event(&Delivered::SelfLeave(blue));
    let gap = continuity.on_session(Error::Closed, alice);
    assert_eq!((names(&gap), gap.left), (vec![blue], vec![]));
    let mut without_membership = Continuity::new(alice, false);
    without_membership.on_join(red);
    without_membership.on_leave(red);
    let gap = without_membership.on_session(Error::Closed, alice);
    assert!(gap.groups.is_empty() && gap.left.is_empty());
}

/// Lets join, says that it was left, and dies.
pub(crate) fn end_after_a_leave(stream: &mut TcpStream) {
    accept_alice(stream);
    let_join(stream);
    say(stream, SELF_LEAVE);
}

#[test]
fn what_came_before_a_request_failed_is_still_received() {
    let (mut connection, playing) = open(&[end_after_a_leave, live]);
    while connection.multicast(ServiceLevel::Agreed, "grp", "x").is_ok() {
        thread::sleep(Duration::from_millis(1));
    }
    let event = connection.receive().expect("what was sent before the end");
    assert!(matches!(event, Event::Delivered(Delivered::SelfLeave(_))), "{event:?}");
    assert!(matches!(connection.join("grp"), Err(Error::Interrupted)));
    assert!(matches!(connection.receive(), Ok(Event::Gap(_))));
    connection.disconnect().expect("said goodbye");
    playing.join().expect("played");
}

#[test]
fn the_end_is_told_by_what_comes_last() {
    let (mut connection, playing) = open(&[end_after_a_leave, live]);
    let event = connection.receive().expect("what was sent before the end");
    assert!(matches!(event, Event::Delivered(Delivered::SelfLeave(_))), "{event:?}");
    assert!(matches!(connection.receive(), Ok(Event::Gap(_))));
    connection.disconnect().expect("said goodbye");
    playing.join().expect("played");
}
