//! Child processes that end with their guard.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::port::try_or_start;
use super::{PROGRAM, poll};

/// Starts a program while no thread tries a port.
pub(crate) fn spawn(command: &mut Command) -> Child {
    let _alone = try_or_start();
    command.spawn().expect("the program starts")
}

/// A running program; dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the program under test. Its output is appended to the file `log`.
    pub(crate) fn start(
        directory: &Path,
        log: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        Self::spawn(Command::new(PROGRAM), directory, log, args)
    }

    /// As [`Process::start`], in a network namespace.
    pub(crate) fn start_in(
        namespace: &str,
        directory: &Path,
        log: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        // `ip` becomes the program, so that signals to the child reach it.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, PROGRAM]);
        Self::spawn(command, directory, log, args)
    }

    /// As [`Process::start`], by another user. `program` is a copy that this user may run.
    pub(crate) fn start_as(
        user: u32,
        program: &Path,
        directory: &Path,
        log: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let mut command = Command::new(program);
        command.uid(user);
        Self::spawn(command, directory, log, args)
    }

    fn spawn(
        mut command: Command,
        directory: &Path,
        log: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("a log file");
        let errors = output.try_clone().expect("a second handle");
        command.args(args).current_dir(directory).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = spawn(&mut command);
        Self { child, log: log.to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process exists");
    }

    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        poll(limit, || self.exited())
            .unwrap_or_else(|| panic!("still running after {limit:?}; its log:\n{}", self.log()))
    }

    /// Sends SIGKILL and takes the exit status, so that nothing of the process is left.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// How many file descriptors are open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("alive").count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
