//! What the commands for clients say to people: of mistakes on their command lines, and of what was typed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;

use support::PROGRAM;
use support::cluster::Cluster;
use support::process::spawn;

/// Runs the program to its end.
fn run(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(&mut command);
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("its output")
}

#[test]
fn mistakes_on_the_command_line_are_told_with_what_was_expected() {
    // No daemon is there: what is wrong with the arguments comes first.
    let nowhere = "1@127.0.0.1";
    for (args, hint) in [
        (&["send", "-c", "spread.conf", "-g", "g", "-b", "x"][..], "-c is --connect here"),
        (&["receive", "-c", nowhere, "--timeout", "-1"], "expected seconds from 0 to 31536000"),
        (&["receive", "-c", nowhere, "--connect-timeout", "-1"], "expected seconds from 0 to 31536000"),
        (&["receive", "-c", nowhere, "--group", ""], "a group name must not be empty"),
        // Nothing would ever come: what is sent to that name goes to the member.
        (&["receive", "-c", nowhere, "--group", "#ann#db1"], "found byte 0x23"),
        (
            &["bench", "latency", "--daemon", nowhere],
            "PORT (with --unix-dir), PORT@HOST or its socket's path.",
        ),
        (
            &["bench", "latency", "--daemon", "x.conf"],
            "PORT (with --unix-dir), PORT@HOST or its socket's path.",
        ),
    ] {
        let output = run(args, "");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(hint), "{args:?}: {error}");
    }
}

#[test]
fn who_quits_right_after_sending_has_seen_it_arrive() {
    let cluster = Cluster::single("");
    let typed = "leave chat\njoin chat\nsend chat hi\nleave other\nquit\n";
    let output = run(&["user", "-c", &cluster.address(0), "-n", "ann"], typed);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("#ann#localhost to chat (agreed): hi\n"), "{said}");
    assert!(said.contains("you are not in chat\n") && said.contains("you are not in other\n"), "{said}");
    assert!(!said.contains("antiphon user leaves"), "{said}");
}

/// Only the daemon closes a session, and one that is stopped never does.
#[test]
fn who_quits_is_not_held_by_a_stopped_daemon() {
    let cluster = Cluster::single("");
    let address = cluster.address(0);
    let mut command = Command::new(PROGRAM);
    command.args(["user", "-c", &address]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut user = spawn(command.stderr(Stdio::piped()));
    let mut said = BufReader::new(user.stdout.as_mut().expect("a pipe"));
    said.read_line(&mut String::new()).expect("that it is connected");
    cluster.signal(0, Signal::STOP);
    user.stdin.take().expect("a pipe").write_all(b"quit\n").expect("it reads");
    let output = user.wait_with_output().expect("its output");
    cluster.signal(0, Signal::CONT);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("timed out"), "{error}");
}
