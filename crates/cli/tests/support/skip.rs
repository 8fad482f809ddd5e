//! Tests that need what a machine may lack.

use std::io::Write;

/// The environment variable that lets nothing be skipped.
const REQUIRE_ALL: &str = "ANTIPHON_REQUIRE_ALL";

/// Says that a test, or a part of it, does not run; fails it where everything has to run.
pub(crate) fn skipped(why: &str) {
    let required = std::env::var_os(REQUIRE_ALL).is_some_and(|value| value == "1");
    assert!(!required, "not to be skipped, for {REQUIRE_ALL} is set: {why}");
    let thread = std::thread::current();
    // What is printed with `eprintln!` is only seen of tests that fail.
    let _ = writeln!(std::io::stderr(), "skipped {}: {why}", thread.name().unwrap_or_default());
}
