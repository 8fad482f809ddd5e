//! A small sample of seeds, always the same.

use antiphon_sim::report;
use antiphon_sim::runner::{self, Job};

/// Every promise holds on these seeds, and the same seed leaves the same trace.
#[test]
fn fixed_seeds_break_no_promise() {
    runner::catch_panics();
    let summary = runner::run(Job { first: 1, seeds: 150, limit: None, threads: 2, keep_going: false });
    let failures: Vec<String> =
        summary.failures.iter().map(|failure| report::failure(failure, &[])).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(summary.unstable.is_empty(), "two runs of these seeds differ: {:?}", summary.unstable);
    assert_eq!(summary.totals.seeds, 150);
}
