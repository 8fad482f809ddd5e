//! What clients send right before they go, to a real daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::thread;
use std::time::Duration;

use antiphon::{Connection, Connector, Event, ServiceLevel};
use support::cluster::Cluster;
use tokio::runtime::Builder;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);
const MESSAGES: usize = 20_000;

/// Alice, over the daemon's Unix socket.
fn unix(cluster: &Cluster) -> Connector {
    Connector::new(cluster.port().to_string()).name("alice").unix_directory(cluster.home(0))
}

/// A member of the group.
fn listener(cluster: &Cluster) -> Connection {
    let mut listener = cluster.client(0, "listener");
    listener.join("g").expect("sent");
    listener.receive_timeout(LIMIT).expect("connected").expect("a view");
    listener
}

/// How many messages come before alice has left the group.
fn heard(mut listener: Connection) -> usize {
    let mut messages = 0;
    loop {
        match listener.receive_timeout(LIMIT).expect("connected").expect("in time") {
            Event::Message(_) => messages += 1,
            Event::View(view) if view.members.len() == 1 => return messages,
            _ => {}
        }
    }
}

/// Alice joins and sends, and receives nothing of what comes back.
fn talk(connector: &Connector) -> Connection {
    let mut alice = connector.connect().expect("accepted");
    alice.join("g").expect("sent");
    for _ in 0..MESSAGES {
        alice.multicast(ServiceLevel::Agreed, "g", [7; 100]).expect("sent");
    }
    alice.flush().expect("written");
    alice
}

#[test]
fn what_was_flushed_arrives_although_its_sender_hangs_up_without_receiving() {
    let cluster = Cluster::single("");
    for _ in 0..3 {
        let listener = listener(&cluster);
        let hearing = thread::spawn(move || heard(listener));
        drop(talk(&unix(&cluster)));
        assert_eq!(hearing.join().expect("no panic"), MESSAGES);
    }
}

#[test]
fn what_was_sent_before_a_disconnect_arrives_although_its_sender_receives_nothing() {
    let cluster = Cluster::single("");
    for connector in [unix(&cluster), cluster.connector(0, "alice")] {
        let listener = listener(&cluster);
        let hearing = thread::spawn(move || heard(listener));
        talk(&connector).disconnect().expect("said goodbye");
        assert_eq!(hearing.join().expect("no panic"), MESSAGES);
    }
}

#[test]
fn what_was_sent_right_before_a_runtime_ends_arrives() {
    let cluster = Cluster::single("");
    for connector in [unix(&cluster), cluster.connector(0, "alice")] {
        let listener = listener(&cluster);
        let hearing = thread::spawn(move || heard(listener));
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut alice = connector.connect_tokio().await.expect("accepted");
            alice.join("g").await.expect("sent");
            for _ in 0..100 {
                alice.multicast(ServiceLevel::Agreed, "g", "x").await.expect("sent");
            }
        });
        drop(runtime);
        assert_eq!(hearing.join().expect("no panic"), 100);
    }
}
