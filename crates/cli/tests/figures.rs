//! `antiphon bench figures` and `soak` on hosts of their own: that they measure, write and clean up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::PROGRAM;
use support::directory::Directory;
use support::namespaces::Namespaces;
use support::wait_until;

fn figures(out: &Path, only: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["bench", "figures", "--glimpse", "--only", only, "--out"]).arg(out);
    command
}

/// Namespaces of figures that a process has made.
fn namespaces_of(pid: u32) -> Vec<String> {
    let listed = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    text.lines().filter(|line| line.starts_with(&format!("figures{pid}n"))).map(str::to_owned).collect()
}

#[test]
fn figures_are_tables_pictures_and_a_page_and_leave_nothing_behind() {
    if !Namespaces::are_possible() {
        return;
    }
    let out = Directory::new();
    let mut command = figures(out.path(), "limits,network,membership");
    let child = command.args(["--rounds", "2"]).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    // The exit status also tells of views that changed because this machine was too busy for its daemons.
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("failed"), "{errors}");
    let read = |name: &str| {
        std::fs::read_to_string(out.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let network = read("network.csv");
    assert!(network.starts_with("cable,daemons,bytes,"), "{network}");
    assert!(network.contains(",faults,lowest,highest\n"), "{network}");
    assert_eq!(network.lines().count(), 2);
    assert!(read("network.svg").contains("<polyline"));
    assert!(read("limits.csv").lines().count() > 6, "{}", read("limits.csv"));
    let page = read("index.html");
    for text in ["network.svg", "membership.csv", "kernel", "--only", "of 2 rounds"] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    assert_eq!(namespaces_of(pid), [""; 0]);
}

#[test]
fn an_interrupted_run_cleans_up() {
    if !Namespaces::are_possible() {
        return;
    }
    let out = Directory::new();
    let mut child = figures(out.path(), "groups").stderr(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    wait_until("hosts are made", Duration::from_secs(30), || !namespaces_of(pid).is_empty());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(namespaces_of(pid), [""; 0]);
    assert!(!std::env::temp_dir().join(format!("antiphon-figures-{pid}")).exists());
}

#[test]
fn a_soak_judges_memory_order_and_views() {
    if !Namespaces::are_possible() {
        return;
    }
    let args = ["bench", "soak", "--ring", "2", "--minutes", "0.05", "--share", "0.2", "--json"];
    let output = Command::new(PROGRAM).args(args).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert!(report["saturation_per_second"].as_f64().unwrap() > 0.0, "{report}");
    assert!(report["joins_and_leaves"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["memory"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(report["report"]["faults"]["gaps"], 0, "{report}");
}

#[test]
fn what_there_is_not_is_told() {
    let out = Directory::new();
    let output = figures(out.path(), "speed").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("there is no experiment 'speed'") && errors.contains("fairness"), "{errors}");
}
