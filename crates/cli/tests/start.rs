//! What keeps a daemon from starting, what it says then, and what `--check` says of it before.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::time::Duration;

use support::directory::Directory;
use support::port::Port;
use support::process::Process;

const PATIENCE: Duration = Duration::from_secs(20);

/// A configuration of one daemon.
struct Bed {
    directory: Directory,
    port: Port,
}

impl Bed {
    fn new(directives: &str) -> Self {
        let bed = Self { directory: Directory::new(), port: Port::lease() };
        let port = bed.port.number();
        let text = format!("Spread_Segment 127.0.0.255:{port} {{ localhost 127.0.0.1 }}\n{directives}\n");
        std::fs::write(bed.directory.file("spread.conf"), text).expect("writable");
        bed
    }

    fn launch(&self, log: &str, options: &[&str]) -> Process {
        let args = ["daemon", "-c", "spread.conf"].into_iter().chain(options.iter().copied());
        Process::start(self.directory.path(), &self.directory.file(log), args)
    }

    /// The exit code and all that is said by one that ends by itself.
    fn end_of(&self, options: &[&str]) -> (Option<i32>, String) {
        let log = format!("log{}", fastrand::u64(..));
        let mut process = self.launch(&log, options);
        (process.wait(PATIENCE).code(), process.log())
    }

    /// Neither starts with these options nor is passed by `--check`, and both say so.
    fn assert_refused(&self, options: &[&str], complaints: &[&str]) {
        for check in [&[][..], &["--check"]] {
            let (code, log) = self.end_of(&[options, check].concat());
            assert_eq!(code, Some(1), "{log}");
            for complaint in complaints {
                assert!(log.contains(complaint), "no {complaint} in: {log}");
            }
        }
    }
}

/// The socket for the status has a longer name than that for clients.
#[test]
fn a_directory_that_is_too_long_for_sockets_is_told_with_how_long_it_may_be() {
    let bed = Bed::new("");
    let digits = bed.port.number().to_string().len();
    let directory = |bytes: usize| {
        let long = bed.directory.file(&"d".repeat(bytes - bed.directory.path().as_os_str().len() - 1));
        std::fs::create_dir_all(&long).expect("a new directory");
        long.display().to_string()
    };
    let most = 107 - 1 - digits;
    let limit = format!("expected a directory of at most {} bytes", most - ".status".len());
    bed.assert_refused(
        &["--unix-dir", &directory(most + 1)],
        &[&limit, "name one with UnixSocketDirectory or --unix-dir"],
    );
    let (code, said) = bed.end_of(&["--check", "--unix-dir", &directory(most)]);
    assert!(said.contains("warning: nobody can ask for the status: ") && said.contains(&limit), "{said}");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = bed.end_of(&["--check", "--unix-dir", &directory(most - ".status".len())]);
    assert!(code == Some(0) && !said.contains("nobody can ask"), "{said}");
}

#[test]
fn a_key_that_is_missing_is_told_with_how_to_make_it() {
    let bed = Bed::new("KeyFile = missing.key");
    bed.assert_refused(&[], &["cannot read missing.key", "KeyFile", "`openssl rand -hex 32` makes one"]);
}

#[test]
fn a_directory_that_is_missing_is_told_and_not_made() {
    let bed = Bed::new("");
    let missing = bed.directory.file("missing").display().to_string();
    bed.assert_refused(&["--unix-dir", &missing], &["No such file or directory", "or --unix-dir"]);
    let file = bed.directory.file("spread.conf").display().to_string();
    bed.assert_refused(&["--unix-dir", &file], &["expected a directory to which"]);
    let long = "x".repeat(300);
    for path in ["missing/log", "spread.conf/log", ".", "", &long] {
        let bed = Bed::new(&format!("EventLogFile = \"{path}\""));
        let complaint = format!("cannot write the log {path}: ");
        bed.assert_refused(&[], &[&complaint, "set EventLogFile to a file that can be written"]);
    }
    assert!(!bed.directory.file("missing").exists());
}

#[test]
fn a_check_makes_no_log_and_leaves_one_alone() {
    let bed = Bed::new("EventLogFile = events");
    let events = bed.directory.file("events");
    let (code, said) = bed.end_of(&["--check"]);
    assert!(code == Some(0) && !events.exists(), "{said}");
    std::fs::write(&events, "precious").expect("writable");
    assert_eq!(bed.end_of(&["--check"]).0, Some(0));
    assert_eq!(std::fs::read(&events).expect("readable"), b"precious");
}

/// To open a pipe for writing waits for who reads it, which may be never.
#[test]
fn a_log_that_is_a_pipe_needs_somebody_who_reads_it() {
    let bed = Bed::new("EventLogFile = pipe");
    let pipe = bed.directory.file("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    let (code, said) = bed.end_of(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot write the log pipe: it is a pipe that nobody reads"), "{said}");
    // Open for writing too, so that to open it waits for nobody.
    let reader = File::options().read(true).write(true).open(&pipe).expect("a pipe");
    let home = bed.directory.path().display().to_string();
    let _daemon = bed.launch("log", &["--unix-dir", &home]);
    let mut lines = BufReader::new(reader).lines();
    let found = lines.by_ref().map_while(Result::ok).find(|line| line.contains("connect with"));
    assert!(found.is_some());
}
