//! What the tests with real processes share: ports, processes, clusters, and clients without a library.

#![allow(dead_code, reason = "each test program uses its own part of this")]

pub(crate) mod c_program;
pub(crate) mod cluster;
pub(crate) mod directory;
pub(crate) mod golden;
pub(crate) mod namespaces;
pub(crate) mod orphan;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod replay;
pub(crate) mod skip;

use std::time::{Duration, Instant};

/// The path of the program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_antiphon");

/// Whether the long variants were asked for.
pub(crate) fn nightly() -> bool {
    std::env::var_os("ANTIPHON_NIGHTLY").is_some_and(|value| value == "1")
}

/// Asks every 5 ms until there is an answer, but no longer than `limit`.
pub(crate) fn poll<T>(limit: Duration, mut question: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = question() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As [`poll`], for something that has to become true.
pub(crate) fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    assert!(poll(limit, || holds().then_some(())).is_some(), "not within {limit:?}: {what}");
}

/// Bytes as hexadecimal text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
