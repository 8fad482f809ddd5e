//! Clients that are opened anew, when real daemons die.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::time::{Duration, Instant};

use antiphon::reconnect::{Backoff, Event, Gap, Reconnecting};
use antiphon::{Connector, ServiceLevel};
use support::cluster::{Cluster, Layout};
use tokio::runtime::Builder;
use tokio::time::timeout;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);
const QUICK: Backoff =
    Backoff { first: Duration::from_millis(10), longest: Duration::from_millis(100), attempts: None };

fn connector(cluster: &Cluster) -> Connector {
    Connector::new(cluster.address(0)).or(cluster.address(1)).name("alice").timeout(LIMIT)
}

/// Alice was alone in the group at the first daemon, and is now at the second.
fn check(gap: &Gap) {
    assert_eq!((gap.before.to_string(), gap.now.to_string()), ("#alice#d1".into(), "#alice#d2".into()));
    assert_eq!(gap.groups.len(), 1);
    assert_eq!(gap.groups[0].last_view.as_ref().map(|view| view.members.clone()), Some(vec![gap.before]));
}

/// Whether this is a message that was sent after the gap.
fn is_message(event: &Event) -> bool {
    matches!(event, Event::Delivered(antiphon::Event::Message(message)) if message.body == "after")
}

#[test]
fn a_client_of_a_killed_daemon_goes_on_at_another_one() {
    let mut cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let mut connection = Reconnecting::open(connector(&cluster), QUICK).expect("accepted");
    connection.join("news").expect("sent");
    let deadline = Instant::now() + LIMIT;
    let receive = |connection: &mut Reconnecting| {
        let left = deadline.saturating_duration_since(Instant::now());
        connection.receive_timeout(left).expect("goes on").expect("in time")
    };
    receive(&mut connection);
    cluster.kill(0);
    loop {
        match receive(&mut connection) {
            Event::Gap(gap) => {
                check(&gap);
                connection.multicast(ServiceLevel::Agreed, "news", "after").expect("sent");
            }
            event if is_message(&event) => break,
            Event::Delivered(_) => {}
        }
    }
    connection.disconnect().expect("said goodbye");
}

#[test]
fn a_tokio_client_of_a_killed_daemon_goes_on_at_another_one() {
    let mut cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let story = async {
        let mut connection =
            antiphon::tokio::Reconnecting::open(connector(&cluster), QUICK).await.expect("accepted");
        connection.join("news").await.expect("sent");
        connection.receive().await.expect("a view");
        cluster.kill(0);
        loop {
            match connection.receive().await.expect("goes on") {
                Event::Gap(gap) => {
                    check(&gap);
                    connection.multicast(ServiceLevel::Agreed, "news", "after").await.expect("sent");
                }
                event if is_message(&event) => break,
                Event::Delivered(_) => {}
            }
        }
        connection.disconnect().await.expect("said goodbye");
    };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { timeout(LIMIT, story).await }).expect("in time");
}
