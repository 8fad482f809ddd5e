//! `antiphon bench` against real daemons: that it measures and judges, never how fast they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use antiphon::{Change, Event};
use rustix::process::Signal;
use serde_json::Value;
use support::PROGRAM;
use support::cluster::{Cluster, Layout};

fn bench(cluster: &Cluster, args: &[&str]) -> Output {
    let times = ["--duration", "0.5", "--warm-up", "0.1"];
    drive(cluster, &[args, &times].concat())
}

fn drive(cluster: &Cluster, args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("bench").args(args);
    for host in 0..cluster.count() {
        command.args(["--daemon", &cluster.address(host)]);
    }
    command.output().unwrap()
}

fn report(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn throughput_counts_messages_cost_and_faults() {
    let cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let pid = cluster.process(0).pid().to_string();
    let args = ["throughput", "--json", "--everywhere", "--senders", "2", "--daemon-pids", &pid];
    let report = report(&bench(&cluster, &args));
    assert!(report["messages_per_second"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!((&report["senders"], &report["receivers"]), (&4.into(), &2.into()));
    assert!(report["processes"][0]["resident_bytes"].as_u64().unwrap() > 0, "{report}");
    for fault in ["gaps", "duplicates", "order_differences", "false_views"] {
        assert_eq!(report["faults"][fault], 0, "{report}");
    }
}

#[test]
fn latency_has_quantiles_in_order() {
    let cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let report = report(&bench(&cluster, &["latency", "--json", "--service", "safe"]));
    let latency = |name: &str| report["latency"][name].as_f64().unwrap();
    // No message crosses four sockets in less than a microsecond.
    assert!(latency("p50_us") > 1.0, "{report}");
    assert!(latency("p50_us") <= latency("p99_us") && latency("p99_us") <= latency("max_us"), "{report}");
}

#[test]
fn every_message_can_go_to_another_of_many_groups() {
    let cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let report = report(&bench(&cluster, &["groups", "--json", "--groups", "1,300"]));
    let groups: Vec<_> = report.as_array().unwrap().iter().map(|run| run["groups"].as_u64()).collect();
    assert_eq!(groups, [Some(1), Some(300)]);
    assert!(report[1]["messages_per_second"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(report[1]["faults"]["gaps"], 0, "{report}");
}

#[test]
fn joins_and_leaves_are_timed_at_their_author_and_at_the_last_member() {
    let cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let args = ["membership", "--json", "--members", "5,40", "--rounds", "3"];
    let rows = report(&drive(&cluster, &args));
    let sizes: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["members"].as_u64()).collect();
    assert_eq!(sizes, [Some(5), Some(40)]);
    let mean = |what: &str| rows[1][what]["mean_ms"].as_f64().unwrap();
    assert!(mean("join_here") > 0.0 && mean("join_here") <= mean("join_everywhere"), "{rows}");
    assert!(mean("leave_here") > 0.0 && mean("leave_everywhere") > 0.0, "{rows}");
}

#[test]
fn people_get_a_table_and_mistakes_get_words() {
    let cluster = Cluster::single("");
    let output = bench(&cluster, &["throughput"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("delivered") && text.contains("0 order differences"), "{text}");
    let output = bench(&cluster, &["throughput", "--bytes", "3"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("too short"));
}

fn complaint(cluster: &Cluster, args: &[&str]) -> String {
    let output = bench(cluster, args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn nothing_is_measured_by_nothing_nor_by_more_than_there_can_be() {
    let cluster = Cluster::single("");
    assert!(complaint(&cluster, &["throughput", "--rate", "0.1"]).contains("no message came"));
    let absurd = ["--bytes", "--senders", "--receivers", "--rate"];
    for option in absurd {
        let said = complaint(&cluster, &["throughput", option, "99999999999999"]);
        assert!(said.contains("are too many: expected"), "{option}: {said}");
    }
    let output = drive(&cluster, &["throughput", "--duration", "1e18"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

/// A run that goes on in the group `load` at that daemon, with its first message received.
fn running(cluster: &Cluster, host: usize, args: &[&str]) -> std::process::Child {
    let mut watcher = cluster.client(host, "watcher");
    watcher.join("load-0").unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["bench", "latency", "--json", "--group", "load", "--warm-up", "0.1"]).args(args);
    for host in 0..cluster.count() {
        command.args(["--daemon", &cluster.address(host)]);
    }
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let is_load = |event: &Event| matches!(event, Event::Message(message) if message.message_type == 0);
    while !is_load(&watcher.receive().unwrap()) {}
    child
}

#[test]
fn what_a_stall_holds_back_until_after_the_end_is_late_all_the_same() {
    let cluster = Cluster::single("");
    let child = running(&cluster, 0, &["--duration", "3"]);
    cluster.signal(0, Signal::STOP);
    std::thread::sleep(Duration::from_millis(3500));
    cluster.signal(0, Signal::CONT);
    let report = report(&child.wait_with_output().unwrap());
    // Most of three seconds was held back; how much of it depends on when the signal came.
    assert!(report["latency"]["p50_us"].as_f64().unwrap() > 100_000.0, "{report}");
    // All that was due in three seconds counts, whether or not the sender came to send it.
    assert!(report["latency"]["samples"].as_u64().unwrap().abs_diff(600) < 10, "{report}");
}

#[test]
fn a_ring_that_breaks_is_seen_although_no_receiver_loses_anything() {
    let cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let mut other = cluster.client(1, "other");
    other.join("others").unwrap();
    let mut here = cluster.client(0, "here");
    here.join("others").unwrap();
    let child = running(&cluster, 1, &["--duration", "4", "--rate", "1"]);
    cluster.signal(0, Signal::STOP);
    let is_alone = |event: &Event| matches!(event, Event::View(view) if view.change == Change::Network);
    while !is_alone(&other.receive().unwrap()) {}
    cluster.signal(0, Signal::CONT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["faults"]["false_views"].as_u64().unwrap() > 0, "{report}");
}
