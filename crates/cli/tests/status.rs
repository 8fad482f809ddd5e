//! What a daemon says about itself: the ring, and why the last configurations came about.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::io::Read as _;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::Duration;

use antiphon_wire::ring::{CLUSTER_HASH, DatagramKind, HEADER_BYTES, VERSION};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::Value;
use support::cluster::{Cluster, Layout};
use support::golden::{Exchange, Step};
use support::process::Process;
use support::raw::Raw;
use support::{PROGRAM, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon that has opened all its sockets: it listens for clients before it listens for questions.
fn serving() -> Cluster {
    let cluster = Cluster::single("");
    drop(cluster.client(0, "first"));
    cluster
}

fn text(output: Output) -> String {
    String::from_utf8(output.stdout).expect("text")
}

/// Each survivor says what it missed, of whom and for how long, or who told it so, and who proposed
/// the ring that followed; in its status and in its log.
#[test]
fn why_the_membership_changed_has_an_answer() {
    let mut cluster = Cluster::running(Layout::OwnSegments, 3, "");
    cluster.kill(1);
    cluster.settle(&[0, 2]);
    for host in [0, 2] {
        let status = cluster.status(host);
        assert_eq!(status["daemon"], cluster.name(host));
        assert_eq!(status["members"], serde_json::json!(["d1", "d3"]));
        let last = status["configurations"].as_array().and_then(|all| all.last()).expect("one");
        assert_eq!(last["reasons"], status["reasons"]);
        let reasons: Vec<&str> =
            last["reasons"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        let why = reasons.join("; ");
        let (first, rest) = why.split_once("; ").expect("several steps");
        assert!(first.contains("no token from d") && first.ends_with(" ms"), "{why}");
        assert!(rest.contains("proposes a ring of 2"), "{why}");
        let log = cluster.process(host).log();
        assert!(log.contains(&why), "{why} is not in the log:\n{log}");
    }
    cluster.assert_running();
}

#[test]
fn numbers_are_told_to_people_and_to_prometheus() {
    let cluster = Cluster::single("");
    let mut client = cluster.client(0, "c");
    client.join("g").expect("joined");
    client.receive().expect("a view");
    let people = text(cluster.ask(0, &[]));
    assert!(people.contains("state          operational\n"), "{people}");
    assert!(people.contains("now            sessions 1\n"), "{people}");
    let metrics = text(cluster.ask(0, &["--metrics"]));
    assert!(metrics.contains("# TYPE antiphon_groups gauge\n"), "{metrics}");
    assert!(metrics.contains("antiphon_groups{daemon=\"localhost\"} 1\n"), "{metrics}");
    assert!(metrics.contains("antiphon_messages_unfinished{daemon=\"localhost\"} 0\n"), "{metrics}");
    for gauge in ["bytes_behind", "bytes_kept"] {
        assert!(metrics.contains(&format!("antiphon_{gauge}{{daemon=\"localhost\"}} 0\n")), "{metrics}");
    }
    for counter in ["datagram_send_calls", "datagrams_cut"] {
        assert!(
            metrics.contains(&format!("antiphon_{counter}_total{{daemon=\"localhost\"}} 0\n")),
            "{metrics}"
        );
    }
    assert!(metrics.contains("antiphon_sessions_accepted_total{daemon=\"localhost\"} 1\n"), "{metrics}");
}

#[test]
fn every_number_of_a_status_is_explained() {
    let (_, tables) = include_str!("../../../docs/operations.md")
        .split_once("### All counters and gauges")
        .expect("a section for them");
    let names: Vec<&str> = tables.lines().filter_map(|line| line.split('|').nth(1)).collect();
    let status = Cluster::single("").status(0);
    for kind in ["counters", "gauges"] {
        for name in status[kind].as_object().expect("numbers by name").keys() {
            let name = format!("`{name}`");
            assert_eq!(
                names.iter().filter(|row| row.contains(&name)).count(),
                1,
                "{name} in docs/operations.md"
            );
        }
    }
}

#[test]
fn who_connects_and_says_nothing_is_told() {
    let cluster = Cluster::single("EventPriority = DEBUG\n");
    drop(cluster.client(0, "first"));
    let before = cluster.process(0).log().matches("hung up before the handshake was finished").count();
    drop(cluster.raw(0));
    wait_until("who hung up is told", PATIENCE, || {
        cluster.process(0).log().matches("hung up before the handshake was finished").count() > before
    });
    let counters = || cluster.status(0)["counters"].clone();
    assert_eq!(counters()["handshakes_timed_out"], 0);
    let _silent = cluster.raw(0);
    wait_until("who is silent is counted", PATIENCE, || counters()["handshakes_timed_out"] == 1);
    assert_eq!(counters()["sessions_accepted"], 1);
}

#[test]
fn a_monitor_ends_no_daemon_unless_the_file_lets_it() {
    let mut cluster = serving();
    let socket = UdpSocket::bind((cluster.ip(0), 0)).expect("a free port");
    for line in Exchange::named("M7").lines {
        let Step::Send(request) = line.step else { continue };
        socket.send_to(&request, (cluster.ip(0), cluster.port())).expect("sent");
    }
    let refused = || cluster.status(0)["counters"]["monitor_requests_refused"] == 2;
    wait_until("both requests are refused", PATIENCE, refused);
    let log = cluster.process(0).log();
    assert!(log.contains("a monitor asks to end this daemon, which only DangerousMonitor"), "{log}");
    cluster.assert_running();
}

#[test]
fn a_daemon_that_is_not_there_is_no_status() {
    let mut cluster = Cluster::single("");
    cluster.kill(0);
    let output = cluster.ask(0, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Is a daemon running there"));
}

#[test]
fn a_daemon_that_is_stopped_is_called_so() {
    let cluster = serving();
    cluster.process(0).signal(Signal::STOP);
    let output = cluster.ask(0, &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("within 5 seconds") && error.contains("SIGSTOP"), "{error}");
}

fn limit_files(process: &Process, files: u64) {
    let files = Rlimit { current: Some(files), ..getrlimit(Resource::Nofile) };
    prlimit(Pid::from_raw(process.pid().cast_signed()), Resource::Nofile, files).expect("the limit is set");
}

/// A client that has said all that makes it a session, and stays one once it is accepted.
fn greeting_client(cluster: &Cluster, number: u8) -> Raw {
    let (mut raw, mut choice) = (cluster.raw(0), [0; 90]);
    choice[..4].copy_from_slice(b"NULL");
    let name = format!("c{number:02}");
    raw.send(&[&[4, 4, 0, 1, 3], name.as_bytes(), &choice].concat()).expect("written");
    raw
}

/// Who alone knows what is the matter can be asked, and do what is asked of it, whatever clients take.
#[test]
fn a_daemon_that_clients_have_filled_is_asked_and_reads_its_file_again() {
    let cluster = serving();
    let process = cluster.process(0);
    limit_files(process, 40);
    let mut clients: Vec<Raw> = (0..60).map(|number| greeting_client(&cluster, number)).collect();
    // Where the first is refused, a client that has left may still make room.
    let is_full = || process.log().contains("cannot accept clients (4 times so far)");
    wait_until("clients are not accepted", PATIENCE, is_full);
    assert!(process.log().contains("raise the daemon's limit of open files"), "{}", process.log());
    assert!(cluster.status(0)["counters"]["accepts_refused"].as_u64().is_some_and(|times| times > 0));
    process.signal(Signal::HUP);
    wait_until("the file is read again", PATIENCE, || process.log().contains("are the same"));
    limit_files(process, 256);
    assert_eq!(clients[59].read(6, PATIENCE), b"\x05NULL ");
}

/// Nobody else asks meanwhile, so that the poller tells of the one who does only once.
#[test]
fn who_asks_while_the_daemon_is_out_of_descriptors_is_told_later() {
    let cluster = serving();
    let (process, socket) = (cluster.process(0), cluster.home(0).join(format!("{}.status", cluster.port())));
    limit_files(process, 0);
    let mut asker = UnixStream::connect(socket).expect("a socket");
    let _client = cluster.raw(0);
    wait_until("a client is not accepted", PATIENCE, || process.log().contains("cannot accept clients"));
    limit_files(process, 256);
    asker.set_read_timeout(Some(PATIENCE)).expect("settable");
    let mut answer = String::new();
    asker.read_to_string(&mut answer).expect("an answer");
    let status: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(status["state"], "operational");
    assert!(status["counters"]["accepts_refused"].as_u64().is_some_and(|times| times > 0), "{status}");
}

/// As long as an upgrade lasts, daemons of two builds hear each other.
#[test]
fn a_version_that_is_not_understood_is_counted_once() {
    let cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let before = cluster.status(0);
    assert_eq!(before["counters"]["foreign_versions_heard"], 0);
    let hash = before["file_hash"].as_str().and_then(|hash| u32::from_str_radix(hash, 16).ok());
    let mut datagram = [0; HEADER_BYTES];
    (datagram[0], datagram[1]) = (VERSION + 1, DatagramKind::Token as u8);
    datagram[CLUSTER_HASH].copy_from_slice(&hash.expect("a hash").to_le_bytes());
    let socket = UdpSocket::bind((cluster.ip(1), 0)).expect("a socket");
    let rejected = || cluster.status(0)["counters"]["datagrams_rejected"].as_u64().expect("a number");
    let rejected_before = rejected();
    wait_until("several are rejected", PATIENCE, || {
        socket.send_to(&datagram, (cluster.ip(0), cluster.port())).expect("sent");
        rejected() > rejected_before + 1
    });
    let after = cluster.status(0);
    assert_eq!(after["counters"]["foreign_versions_heard"], 1);
    assert_eq!(after["ring"], before["ring"]);
}

/// SC-33: a daemon is started a second time. The second one says why it ends; the ring goes on.
#[test]
fn a_second_process_with_the_name_of_a_daemon_ends_and_disturbs_nobody() {
    let mut cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let ring = cluster.status(0)["ring"].clone();
    let output = Command::new(PROGRAM).args(cluster.daemon_args(1)).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("is in use; is another daemon running?"), "{error}");
    assert_eq!(cluster.status(0)["ring"], ring);
    assert_eq!(cluster.status(1)["ring"], ring);
    assert_eq!(cluster.status(1)["counters"]["duplicate_daemons_heard"], 0);
    cluster.assert_running();
}
