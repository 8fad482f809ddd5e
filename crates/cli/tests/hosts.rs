//! Daemons on hosts that are not as usual: systems that let any address be taken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::time::Duration;

use support::directory::Directory;
use support::namespaces::{self, Namespaces};
use support::process::Process;

/// How long a program that ends by itself may take.
const END_LIMIT: Duration = Duration::from_secs(20);

/// As beside keepalived or haproxy, which bind to addresses that another host has for now.
#[test]
fn a_daemon_finds_itself_where_it_could_bind_to_any_address() {
    if !Namespaces::are_possible() {
        return;
    }
    let (bed, directory) = (Namespaces::new(2), Directory::new());
    bed.bind_anywhere(1);
    let [first, second] = [0, 1].map(namespaces::address);
    let text = format!("Spread_Segment {first}:4803 {{\n  d1 {first}\n  d2 {second}\n}}\n");
    std::fs::write(directory.file("spread.conf"), text).expect("writable");
    let args = ["daemon", "--check", "-c", "spread.conf"];
    let mut process = Process::start_in(&bed.name(1), directory.path(), &directory.file("log"), args);
    assert_eq!(process.wait(END_LIMIT).code(), Some(0));
    let told = process.log();
    assert!(told.contains(&format!("d2 {second}  (this daemon)")), "{told}");
}
