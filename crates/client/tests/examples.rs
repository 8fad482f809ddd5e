//! What the examples say when there is no daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::process::{Command, Stdio};

/// Runs an example as its head says to. Cargo builds it before if its source has changed; when it builds this test
/// alone, it leaves the examples as they are.
fn example(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--locked", "--package", "antiphon", "--features", "tokio"]);
    command.args(["--example", name, "--"]);
    command
}

#[test]
fn what_went_wrong_is_said_in_words() {
    for name in ["chat", "election", "kv", "lock", "queue"] {
        // Nobody listens at port 1.
        let ran = example(name).args(["1@127.0.0.1", "alice"]).stdin(Stdio::null()).output();
        let ran = ran.expect("cargo");
        let said = String::from_utf8(ran.stderr).expect("text");
        assert_eq!(ran.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with(&format!("{name}: could not connect to a daemon at 1@127.0.0.1: ")),
            "{said}"
        );
        assert!(!said.contains('{') && said.lines().count() == 1, "{said}");
    }
}
