//! One conversation, the same through every client library: see `tests/conversation/README.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "conversation/script.rs"]
mod script;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use antiphon::{Connector, Envelope, Error, Event};
use script::Client;
use support::c_program;
use support::cluster::Cluster;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_blocking_client() {
    converse(script::run::<Blocking>);
}

#[test]
fn the_tokio_client() {
    converse(script::run::<Tokio>);
}

#[test]
fn the_c_library() {
    let program = c_program::compile("conversation", c_program::Link::Shared("spread-core"));
    converse(|address| log_of(Command::new(program), address));
}

#[test]
fn the_static_c_library() {
    let program = c_program::compile("conversation", c_program::Link::Static("spread"));
    converse(|address| log_of(Command::new(program), address));
}

/// What every program of another language comes down to.
#[test]
fn a_program_that_prints_what_is_expected() {
    let mut program = Command::new("sh");
    program.args(["-c", "cat \"$0\""]).arg(expected_log());
    converse(|address| log_of(program, address));
}

#[test]
fn a_difference_is_told_by_its_line() {
    let expected = std::fs::read_to_string(expected_log()).expect("the expected log");
    assert_eq!(difference(&expected), None);
    let difference_of = |log: &str| difference(log).unwrap_or_default();
    assert!(difference_of(&expected.replacen("carol", "cathy", 1)).starts_with("line 3 "));
    assert!(difference_of(&format!("{expected}alice heard more\n")).starts_with("line 80 "));
    assert!(difference_of("").starts_with("line 1 "));
}

/// Starts a daemon, lets `run` go through the conversation at its address, and compares its log.
fn converse(run: impl FnOnce(&str) -> String) {
    let cluster = Cluster::single("");
    let log = run(&cluster.address(0));
    if let Some(difference) = difference(&log) {
        panic!("{difference}\nthe whole log:\n{log}");
    }
}

/// The first line in which a log is not the expected one.
fn difference(log: &str) -> Option<String> {
    let expected = std::fs::read_to_string(expected_log()).expect("the expected log");
    let (mut lines, mut expected) = (log.lines(), expected.lines());
    let end = "(the end)";
    for number in 1.. {
        match (lines.next(), expected.next()) {
            (None, None) => break,
            (line, expected) if line == expected => {}
            (line, expected) => {
                let (line, expected) = (line.unwrap_or(end), expected.unwrap_or(end));
                return Some(format!("line {number} is: {line}\nexpected: {expected}"));
            }
        }
    }
    None
}

fn expected_log() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversation/expected.log")
}

/// Runs `program ADDRESS`; its standard output is the log.
fn log_of(mut program: Command, address: &str) -> String {
    let output = program.arg(address).output().expect("the program starts");
    let (log, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {errors}\nits log:\n{log}", output.status);
    log.into_owned()
}

struct Blocking(antiphon::blocking::Connection);

impl Client for Blocking {
    fn connect(address: &str, name: &str, membership: bool) -> Result<Self, Error> {
        Connector::new(address).name(name).membership(membership).timeout(LIMIT).connect().map(Self)
    }

    fn member(&self) -> String {
        self.0.member().to_string()
    }

    fn join(&mut self, group: &str) -> Result<(), Error> {
        self.0.join(group)
    }

    fn leave(&mut self, group: &str) -> Result<(), Error> {
        self.0.leave(group)
    }

    fn send(&mut self, envelope: &Envelope, body: &[u8]) -> Result<(), Error> {
        self.0.send(envelope, body)
    }

    fn receive(&mut self) -> Event {
        self.0.receive_timeout(LIMIT).expect("connected").expect("an event in time")
    }

    fn disconnect(self) -> Result<(), Error> {
        self.0.disconnect()
    }
}

/// Flushes after each request, because the runtime does nothing between the calls of this test.
struct Tokio {
    runtime: Runtime,
    connection: antiphon::tokio::Connection,
}

impl Client for Tokio {
    fn connect(address: &str, name: &str, membership: bool) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connector = Connector::new(address).name(name).membership(membership).timeout(LIMIT);
        let connection = runtime.block_on(connector.connect_tokio())?;
        Ok(Self { runtime, connection })
    }

    fn member(&self) -> String {
        self.connection.member().to_string()
    }

    fn join(&mut self, group: &str) -> Result<(), Error> {
        self.runtime.block_on(async {
            self.connection.join(group).await?;
            self.connection.flush().await
        })
    }

    fn leave(&mut self, group: &str) -> Result<(), Error> {
        self.runtime.block_on(async {
            self.connection.leave(group).await?;
            self.connection.flush().await
        })
    }

    fn send(&mut self, envelope: &Envelope, body: &[u8]) -> Result<(), Error> {
        self.runtime.block_on(async {
            self.connection.send(envelope, body.to_vec()).await?;
            self.connection.flush().await
        })
    }

    fn receive(&mut self) -> Event {
        let receiving = async { timeout(LIMIT, self.connection.receive()).await };
        self.runtime.block_on(receiving).expect("an event in time").expect("connected")
    }

    fn disconnect(self) -> Result<(), Error> {
        self.runtime.block_on(self.connection.disconnect())
    }
}
