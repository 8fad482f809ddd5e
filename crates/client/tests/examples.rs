//! What the examples say when there is no daemon. Cargo builds them when all tests of the crate are run, and not
//! when this one alone is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where cargo puts examples: beside the directory of this program.
fn example(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("this program");
    here.ancestors().nth(2).expect("two levels up").join("examples").join(name)
}

#[test]
fn what_went_wrong_is_said_in_words() {
    for name in ["chat", "election", "kv", "lock"] {
        // Nobody listens at port 1.
        let ran = Command::new(example(name)).args(["1@127.0.0.1", "alice"]).stdin(Stdio::null()).output();
        let ran = ran.expect("built together with this test");
        assert_eq!(ran.status.code(), Some(1));
        let said = String::from_utf8(ran.stderr).expect("text");
        assert!(
            said.starts_with(&format!("{name}: could not connect to a daemon at 1@127.0.0.1: ")),
            "{said}"
        );
        assert!(!said.contains('{') && said.lines().count() == 1, "{said}");
    }
}
