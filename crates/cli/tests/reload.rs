//! A configuration file that lists more daemons, or fewer, while daemons run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::process::Command;
use std::time::Duration;

use antiphon::{Connection, Event, ServiceLevel};
use rustix::process::Signal;
use serde_json::Value;
use support::cluster::{Cluster, Layout};
use support::{PROGRAM, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Of how many members each view is that has come.
fn views(client: &mut Connection) -> Vec<usize> {
    let mut views = Vec::new();
    while let Some(event) = client.receive_timeout(Duration::from_millis(200)).expect("connected") {
        match event {
            Event::View(view) => views.push(view.members.len()),
            Event::Message(_) => {}
            other => panic!("{other:?}"),
        }
    }
    views
}

/// The new daemon joins a ring that goes on: no client hears of it, and none is cut off. Two daemons are told by a signal
/// while the third has not been told, so that they wait for it; then all are told by a monitor.
fn a_daemon_is_added(layout: Layout) {
    let mut cluster = Cluster::running(layout, 3, "");
    let mut clients = [0, 1, 2].map(|host| cluster.client(host, "member"));
    clients.iter_mut().for_each(|client| client.join("g").expect("joined"));
    wait_until("a group of three", PATIENCE, || views(&mut clients[0]).last() == Some(&3));
    clients.iter_mut().for_each(|client| drop(views(client)));

    let added = cluster.add("d4", 5);
    cluster.list(4);
    (0..2).for_each(|host| cluster.signal(host, Signal::HUP));
    wait_until("the third to be waited for", PATIENCE, || {
        (0..2).all(|host| cluster.status(host)["next"]["lacking"] == serde_json::json!(["d3"]))
    });
    cluster.start(added);
    assert_eq!(cluster.status(added)["members"], serde_json::json!(["d4"]));
    let file = cluster.directory().file("spread.conf");
    let told = Command::new(PROGRAM).args(["monitor", "reload", "-n", "d1", "-c"]).arg(file).status();
    assert!(told.expect("the program runs").success());
    wait_until("all four to be one ring", PATIENCE, || {
        (0..4).all(|host| cluster.status(host)["members"].as_array().is_some_and(|all| all.len() == 4))
    });
    assert_eq!(cluster.status(2)["next"], Value::Null);
    clients.iter_mut().for_each(|client| assert!(views(client).is_empty(), "it is noticed"));

    let mut fourth = cluster.client(added, "member");
    fourth.join("g").expect("joined");
    fourth.multicast(ServiceLevel::Safe, "g", "from the new one").expect("sent");
    for client in &mut clients {
        wait_until("its view", PATIENCE, || views(client).last() == Some(&4));
    }
    cluster.assert_running();
}

#[test]
fn a_daemon_is_added_where_all_are_sent_to_one_by_one() {
    a_daemon_is_added(Layout::OwnSegments);
}

#[test]
fn a_daemon_is_added_to_a_segment_with_multicast() {
    a_daemon_is_added(Layout::SharedSegment);
}

/// A daemon that was alone in its segment opens the multicast group when it gets neighbours.
#[test]
fn two_daemons_are_added_to_one_that_was_alone() {
    let mut cluster = Cluster::running(Layout::SharedSegment, 1, "");
    let mut first = cluster.client(0, "member");
    first.join("g").expect("joined");
    let added = [("d2", 3), ("d3", 4)].map(|(name, last)| cluster.add(name, last));
    cluster.list(3);
    cluster.signal(0, Signal::HUP);
    added.iter().for_each(|host| cluster.start(*host));
    cluster.settle(&[0, 1, 2]);
    let mut last = cluster.client(2, "member");
    last.multicast(ServiceLevel::Safe, "g", vec![7; 50_000]).expect("sent");
    wait_until("the message", PATIENCE, || {
        let event = first.receive_timeout(Duration::from_millis(200)).expect("connected");
        matches!(event, Some(Event::Message(message)) if message.body.len() == 50_000)
    });
    cluster.assert_running();
}

/// Daemons that are not in the file any more leave as if they had been asked to, and the others forget them.
#[test]
fn daemons_at_the_end_are_left_out() {
    let mut cluster = Cluster::running(Layout::SharedSegment, 4, "");
    cluster.list(2);
    (0..4).for_each(|host| cluster.signal(host, Signal::HUP));
    cluster.settle(&[0, 1]);
    for host in [2, 3] {
        let exited = || cluster.process_mut(host).exited();
        let exited = support::poll(PATIENCE, exited).expect("it ends");
        assert!(exited.success(), "{exited}");
    }
    wait_until("the file to take effect", PATIENCE, || {
        (0..2).all(|host| cluster.status(host)["daemons"] == serde_json::json!(["d1", "d2"]))
    });
}

/// As what cleans `/tmp` removes them. Sessions go on, and new ones begin once the daemon is told.
#[test]
fn sockets_that_were_removed_are_made_again() {
    let mut cluster = Cluster::running(Layout::OwnSegments, 1, "");
    let (home, port) = (cluster.home(0), cluster.port());
    let sockets = [home.join(port.to_string()), home.join(format!("{port}.status"))];
    let mut before = cluster.client(0, "before");
    before.join("g").expect("joined");
    for socket in &sockets {
        std::fs::remove_file(socket).expect("it is there");
    }
    cluster.signal(0, Signal::HUP);
    wait_until("the sockets", PATIENCE, || sockets.iter().all(|socket| socket.exists()));
    assert_eq!(cluster.status(0)["members"], serde_json::json!(["d1"]));
    cluster.raw_unix(0);
    before.multicast(ServiceLevel::Agreed, "g", "still there").expect("sent");
    wait_until("the message", PATIENCE, || {
        matches!(before.receive_timeout(Duration::from_millis(200)), Ok(Some(Event::Message(_))))
    });
    cluster.assert_running();
}

/// What cannot take effect changes nothing, and is told.
#[test]
fn a_file_that_is_wrong_changes_nothing() {
    let mut cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let before = cluster.status(0);
    let (one, other, port) = (cluster.ip(0), cluster.ip(1), cluster.port());
    for (segments, complaint) in [
        ("Spread_Segment {", "spread.conf:1:16: unexpected `{`: expected the address of the segment"),
        (
            &*format!(
                "Spread_Segment {other}:{port} {{ d2 {other} }}\nSpread_Segment {one}:{port} {{ d1 {one} }}\n"
            ),
            "a segment is another",
        ),
        (&*format!("Spread_Segment {one}:{port} {{ d1 {one} d2 {other} }}\n"), "d2 has another address"),
    ] {
        cluster.write(segments);
        cluster.signal(0, Signal::HUP);
        wait_until(complaint, PATIENCE, || cluster.process(0).log().contains(complaint));
    }
    let after = cluster.status(0);
    for field in ["file_hash", "daemons", "next", "ring"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    cluster.list(2);
    cluster.signal(0, Signal::HUP);
    wait_until("the same file", PATIENCE, || cluster.process(0).log().contains("are the same"));
    cluster.assert_running();
}
