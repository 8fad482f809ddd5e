//! Tests that need what a machine may lack.

use std::io::Write;

/// The environment variable that lets nothing be skipped for want of a program or a right.
const REQUIRE_ALL: &str = "ANTIPHON_REQUIRE_ALL";

/// Says that a test, or a part of it, does not run for want of a program or a right; fails it where these are
/// required.
pub(crate) fn lacking(why: &str) {
    let required = std::env::var_os(REQUIRE_ALL).is_some_and(|value| value == "1");
    assert!(!required, "not to be skipped, for {REQUIRE_ALL} is set: {why}");
    skipped(why);
}

/// Says that a test does not run on a machine like this one.
pub(crate) fn skipped(why: &str) {
    let thread = std::thread::current();
    // What is printed with `eprintln!` is only seen of tests that fail.
    let _ = writeln!(std::io::stderr(), "skipped {}: {why}", thread.name().unwrap_or_default());
}
