//! `antiphon bench` against real daemons: that it measures and judges, never how fast they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::process::{Command, Output};

use serde_json::Value;
use support::PROGRAM;
use support::cluster::{Cluster, Layout};

fn bench(cluster: &Cluster, args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("bench").args(args).args(["--duration", "0.5", "--warm-up", "0.1"]);
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
    for fault in ["gaps", "duplicates", "order_differences"] {
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
fn people_get_a_table_and_mistakes_get_words() {
    let cluster = Cluster::single("");
    let output = bench(&cluster, &["throughput"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("delivered") && text.contains("0 order differences"), "{text}");
    let output = bench(&cluster, &["throughput", "--bytes", "3"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("too short"));
}
