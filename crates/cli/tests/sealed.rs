//! Daemons that seal what they send to each other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::time::Duration;

use antiphon::{Connection, Event, ServiceLevel};
use rustix::process::Signal;
use support::cluster::{Cluster, Layout};
use support::directory::Directory;
use support::{poll, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// A file with the keys that are made of these bytes.
fn write_keys(directory: &Directory, bytes: &[u8]) -> String {
    let path = directory.file("keys");
    let lines: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}").repeat(32)).collect();
    std::fs::write(&path, lines.join("\n")).expect("writable");
    format!("KeyFile = {}\n", path.display())
}

/// The next message's length.
fn next_length(client: &mut Connection) -> usize {
    let next = || match client.receive_timeout(Duration::from_millis(100)).expect("connected") {
        Some(Event::Message(message)) => Some(message.body.len()),
        _ => None,
    };
    poll(PATIENCE, next).expect("a message")
}

/// Messages of all sizes, with each layout: packed, alone, in pieces, in bursts.
#[test]
fn daemons_with_the_same_key_are_a_ring_and_order_messages() {
    let directory = Directory::new();
    let directives = write_keys(&directory, &[7]);
    for layout in [Layout::OwnSegments, Layout::SharedSegment] {
        let mut cluster = Cluster::running(layout, 3, &directives);
        let mut sender = cluster.client(0, "sender");
        let mut readers = [1, 2].map(|host| cluster.client(host, "reader"));
        readers.iter_mut().for_each(|reader| reader.join("g").expect("joined"));
        for reader in &mut readers {
            wait_until("the view of both", PATIENCE, || {
                let event = reader.receive_timeout(Duration::from_millis(100)).expect("connected");
                matches!(event, Some(Event::View(view)) if view.members.len() == 2)
            });
        }
        let lengths: Vec<usize> =
            (0..200).map(|index| [0, 10, 1400, 1440, 5000, 100_000][index % 6]).collect();
        for (index, length) in lengths.iter().enumerate() {
            let service = if index % 5 == 0 { ServiceLevel::Safe } else { ServiceLevel::Agreed };
            sender.multicast(service, "g", vec![7; *length]).expect("sent");
        }
        for reader in &mut readers {
            let received: Vec<usize> = lengths.iter().map(|_| next_length(reader)).collect();
            assert_eq!(received, lengths);
        }
        cluster.assert_running();
        let are_all_opened = |host| !cluster.process(host).log().contains("is not sealed");
        assert!((0..3).all(are_all_opened));
    }
}

#[test]
fn a_daemon_with_another_key_is_a_stranger() {
    let directory = Directory::new();
    let directives = write_keys(&directory, &[1]);
    let mut cluster = Cluster::new(Layout::OwnSegments, &[("d1", 2), ("d2", 3), ("d3", 4)], &directives);
    (0..2).for_each(|host| cluster.launch(host));
    cluster.settle(&[0, 1]);
    write_keys(&directory, &[2]);
    cluster.launch(2);
    cluster.settle(&[2]);
    let tells = |host| cluster.process(host).log().contains("is not sealed with a key of KeyFile");
    wait_until("each side says so", PATIENCE, || tells(0) && tells(2));
    cluster.settle(&[0, 1]);
    cluster.assert_running();
}

/// The new key behind the old one, before it, alone: daemons are restarted one after the other, and there is one ring
/// after each.
#[test]
fn a_key_is_changed_without_parting_the_ring() {
    let directory = Directory::new();
    let directives = write_keys(&directory, &[1]);
    let mut cluster = Cluster::running(Layout::SharedSegment, 3, &directives);
    for keys in [[1, 2].as_slice(), &[2, 1], &[2]] {
        write_keys(&directory, keys);
        for host in 0..3 {
            cluster.signal(host, Signal::TERM);
            assert!(cluster.process_mut(host).wait(PATIENCE).success());
            cluster.launch(host);
            cluster.settle(&[0, 1, 2]);
        }
    }
}

/// The same while daemons run: they read the file again, at different times, and the ring goes on. A file without keys
/// changes nothing.
#[test]
fn a_key_is_changed_without_a_restart() {
    let directory = Directory::new();
    let directives = write_keys(&directory, &[1]);
    let mut cluster = Cluster::running(Layout::SharedSegment, 3, &directives);
    let mut clients = [0, 1, 2].map(|host| cluster.client(host, "member"));
    clients.iter_mut().for_each(|client| client.join("g").expect("joined"));
    wait_until("a group of three", PATIENCE, || {
        match clients[0].receive_timeout(PATIENCE).expect("connected") {
            Some(Event::View(view)) => view.members.len() == 3,
            _ => false,
        }
    });
    let rings = |cluster: &Cluster| -> usize {
        (0..3).map(|host| cluster.process(host).log().matches(" of 3 daemons: ").count()).sum()
    };
    let before = rings(&cluster);
    for (keys, reads) in [([1, 2].as_slice(), 2), (&[2, 1], 3), (&[2], 4)] {
        write_keys(&directory, keys);
        for host in 0..3 {
            cluster.signal(host, Signal::HUP);
            let count = || cluster.process(host).log().matches("are sealed with the key").count();
            wait_until("it has read them", PATIENCE, || count() == reads);
            clients[host].multicast(ServiceLevel::Safe, "g", vec![0; 100 * reads + host]).expect("sent");
            clients.iter_mut().for_each(|client| assert_eq!(next_length(client), 100 * reads + host));
        }
    }
    write_keys(&directory, &[]);
    cluster.signal(0, Signal::HUP);
    wait_until("it says so", PATIENCE, || cluster.process(0).log().contains("the keys stay as they were"));
    clients[0].multicast(ServiceLevel::Safe, "g", "at last").expect("sent");
    clients.iter_mut().for_each(|client| assert_eq!(next_length(client), 7));
    assert_eq!(rings(&cluster), before, "the ring goes on");
    cluster.assert_running();
}

/// A daemon that is added to the file of a running cluster is heard and understood as the others are.
#[test]
fn a_daemon_with_the_key_is_added_to_a_ring() {
    let directory = Directory::new();
    let mut cluster = Cluster::running(Layout::SharedSegment, 2, &write_keys(&directory, &[1]));
    let added = cluster.add("d3", 4);
    cluster.list(3);
    (0..2).for_each(|host| cluster.signal(host, Signal::HUP));
    cluster.start(added);
    cluster.settle(&[0, 1, added]);
    cluster.assert_running();
}
