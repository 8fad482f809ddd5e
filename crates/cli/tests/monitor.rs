//! `antiphon monitor`, which looks at daemons, parts and ends them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use support::cluster::{Cluster, Layout};
use support::process::Process;
use support::{PROGRAM, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);
const ALLOWED: &str = "DangerousMonitor = yes\n";

/// The arguments of a monitor in the place of the first daemon.
fn arguments(cluster: &Cluster, args: &[&str]) -> Vec<String> {
    let file = cluster.directory().file("spread.conf").display().to_string();
    let before = ["monitor", "-n", "d1", "-c", &file];
    before.iter().chain(args).map(|argument| (*argument).to_owned()).collect()
}

fn monitor(cluster: &Cluster, args: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments(cluster, args)).output().expect("the program runs")
}

/// Whether the exit code is that for one ring, and what is known of each daemon.
fn status(cluster: &Cluster) -> (bool, Value) {
    let output = monitor(cluster, &["status", "--json"]);
    (output.status.success(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn all_daemons_are_seen_from_one_host_and_one_that_is_gone_is_named() {
    let mut cluster = Cluster::running(Layout::OwnSegments, 3, "");
    wait_until("all in one ring", PATIENCE, || status(&cluster).0);
    let (_, rows) = status(&cluster);
    for (host, row) in rows.as_array().expect("an array").iter().enumerate() {
        assert_eq!(row["daemon"], cluster.name(host));
        let report = &row["report"];
        let expected = [(&report["members"], 3.into()), (&report["leader"], Value::from("d1"))];
        assert!(expected.iter().all(|(found, expected)| *found == expected), "{report}");
    }
    cluster.kill(1);
    cluster.settle(&[0, 2]);
    wait_until("a table of two", PATIENCE, || {
        let output = monitor(&cluster, &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().take(4).collect()).collect();
        assert_eq!((lines.len(), lines[0][0]), (4, "daemon"), "{text}");
        assert_eq!(lines[2], ["d2", "no", "answer", "from"], "{text}");
        [1, 3].iter().all(|line| lines[*line][1..] == ["operational", "d1", "2"])
    });
}

#[test]
fn daemons_are_parted_for_as_long_as_the_monitor_says() {
    let cluster = Cluster::running(Layout::SharedSegment, 3, ALLOWED);
    let directory = cluster.directory();
    let mut parting = Process::start(
        directory.path(),
        &directory.file("part.log"),
        arguments(&cluster, &["part", "d1,d3"]),
    );
    cluster.settle(&[0, 2]);
    cluster.settle(&[1]);
    assert!(parting.exited().is_none(), "it runs on: {}", parting.log());
    parting.kill();
    assert!(monitor(&cluster, &["heal"]).status.success());
    cluster.settle(&[0, 1, 2]);
    let moment = monitor(&cluster, &["part", "d1", "d2", "--seconds", "2"]);
    assert!(moment.status.success(), "{moment:?}");
    cluster.settle(&[0, 1, 2]);
    assert!(cluster.process(0).log().contains("a monitor cuts the links to d2, d3"));
}

#[test]
fn a_daemon_is_ended_by_its_name_if_there_is_one() {
    let mut cluster = Cluster::running(Layout::OwnSegments, 2, ALLOWED);
    let wrong = monitor(&cluster, &["end", "d7"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&wrong.stderr).contains("no daemon named d7; it has d1, d2"),
        "{wrong:?}"
    );
    let twice = monitor(&cluster, &["part", "d1,d2", "d2"]);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("d2 is named twice"), "{twice:?}");
    let ended = monitor(&cluster, &["end", "d2"]);
    assert!(ended.status.success() && ended.stdout == b"d2 has ended\n", "{ended:?}");
    assert!(cluster.process_mut(1).wait(PATIENCE).success());
    cluster.settle(&[0]);
    wait_until("the other one alone", PATIENCE, || {
        let (_, rows) = status(&cluster);
        rows[0]["report"]["members"] == 1 && rows[1]["report"].is_null()
    });
    let gone = monitor(&cluster, &["end", "d2"]);
    assert_eq!((gone.status.code(), &gone.stdout[..]), (Some(1), &b"d2 does not answer\n"[..]));
}

#[test]
fn a_daemon_that_does_not_obey_is_named() {
    let mut cluster = Cluster::running(Layout::OwnSegments, 1, "");
    let refused = monitor(&cluster, &["end", "d1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("d1 still answers"), "{refused:?}");
    let alone = monitor(&cluster, &["part", "d1"]);
    assert_eq!((alone.status.code(), &alone.stdout[..]), (Some(1), &b""[..]));
    let error = String::from_utf8_lossy(&alone.stderr);
    assert!(error.contains("nothing to part: all configured daemons (d1) would be together"), "{error}");
    cluster.assert_running();
}

#[test]
fn daemons_that_do_not_part_are_named_and_so_is_what_they_lack() {
    let cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let refused = monitor(&cluster, &["part", "d1", "d2", "--seconds", "3"]);
    assert_eq!((refused.status.code(), &refused.stdout[..]), (Some(1), &b""[..]));
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(error.contains("d1, d2 do not part: set DangerousMonitor = yes"), "{error}");
}

#[test]
fn a_cluster_that_does_not_run_is_neither_parted_nor_healed() {
    let cluster = Cluster::new(Layout::OwnSegments, &[("d1", 1), ("d2", 2)], ALLOWED);
    let parted = monitor(&cluster, &["part", "d1", "d2"]);
    let error = String::from_utf8_lossy(&parted.stderr);
    assert!(parted.status.code() == Some(1) && error.contains("no answer from d1, d2"), "{parted:?}");
    let healed = monitor(&cluster, &["heal"]);
    assert_eq!((healed.status.code(), &healed.stdout[..]), (Some(1), &b"no answer from d1, d2\n"[..]));
}
