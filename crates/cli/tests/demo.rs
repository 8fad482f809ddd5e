//! `antiphon demo`: that it shows what it promises, and leaves nothing behind however it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use antiphon_bench::process::is_ignored;
use rustix::process::{Pid, Signal, kill_process};
use support::port::Port;
use support::process::spawn;
use support::{PROGRAM, wait_until};

/// Where the demo of that process keeps its files.
fn directory_of(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("antiphon-demo-{pid}"))
}

/// Processes whose command line names the directory.
fn processes_in(directory: &Path) -> Vec<String> {
    let name = directory.display().to_string();
    let lines =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .filter(|line| line.contains(&name))
        .collect()
}

fn demo(port: &Port) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["demo", "--port", &port.number().to_string()]).stdin(Stdio::null());
    command
}

#[test]
fn the_demo_finds_all_guarantees_held() {
    let port = Port::lease();
    let output = spawn(demo(&port).stdout(Stdio::piped())).wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("All guarantees held."), "{output:?}");
    assert_eq!(told.matches("[held]").count(), 5, "{told}");
}

#[test]
fn a_demo_that_is_ended_takes_its_daemons_with_it() {
    let signals = [Signal::INT, Signal::TERM, Signal::QUIT, Signal::HUP];
    // What this process ignores, as under nohup, the demo ignores too.
    for signal in signals.into_iter().filter(|signal| !is_ignored(signal.as_raw())) {
        let port = Port::lease();
        let mut child = spawn(demo(&port).stdout(Stdio::piped()));
        let directory = directory_of(child.id());
        let mut told = BufReader::new(child.stdout.take().unwrap());
        told.read_line(&mut String::new()).unwrap();
        // It may have killed one by now.
        assert!(processes_in(&directory).len() >= 2);
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(128 + signal.as_raw()));
        told.read_to_string(&mut String::new()).unwrap();
        assert_eq!(processes_in(&directory), [""; 0]);
        assert!(!directory.exists());
    }
}

#[test]
fn a_demo_whose_reader_has_gone_still_tells_by_its_status_what_it_found() {
    let port = Port::lease();
    let mut child = spawn(demo(&port).stdout(Stdio::piped()));
    let directory = directory_of(child.id());
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    // It goes on to the crash, of which it could tell nobody.
    wait_until("gamma is killed", Duration::from_secs(30), || processes_in(&directory).len() == 2);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
