//! What must not stay behind when a program ends, whether by itself or by a signal that asks it to.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{self, Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::process::is_ignored;

/// The exit status of a program that a signal ended is that of the signal and this, as shells show it.
const BY_SIGNAL: i32 = 128;

/// Processes, namespaces and files that go when they are no longer needed.
#[derive(Clone, Debug, Default)]
pub struct Janitor {
    belongings: Arc<Mutex<Belongings>>,
}

#[derive(Debug, Default)]
struct Belongings {
    children: Vec<Child>,
    namespaces: Vec<String>,
    directory: Option<PathBuf>,
}

impl Janitor {
    /// Cleans up and ends the process when SIGINT, SIGTERM, SIGQUIT or SIGHUP comes; SIGHUP not where it is
    /// ignored, as nohup does.
    ///
    /// # Errors
    /// When the system does not let the process watch signals.
    pub fn watch_signals(&self) -> io::Result<()> {
        let hangup = Some(SIGHUP).filter(|hangup| !is_ignored(*hangup));
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGQUIT].into_iter().chain(hangup))?;
        let janitor = self.clone();
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // Locked to the end: the others make nothing new, and report no failure of what goes away.
                let mut belongings = janitor.lock();
                belongings.clear();
                process::exit(BY_SIGNAL + signal);
            }
        });
        Ok(())
    }

    /// Starts a process; returns its id.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<u32> {
        let mut belongings = self.lock();
        let child = command.spawn()?;
        let pid = child.id();
        belongings.children.push(child);
        Ok(pid)
    }

    /// Starts a process whose standard output is read; returns its id and that.
    pub(crate) fn spawn_piped(&self, command: &mut Command) -> io::Result<(u32, ChildStdout)> {
        let mut belongings = self.lock();
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let (pid, output) = (child.id(), child.stdout.take());
        belongings.children.push(child);
        output.map(|output| (pid, output)).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Lets `make` make namespaces of these names.
    pub(crate) fn make_namespaces<T>(&self, names: &[String], make: impl FnOnce() -> T) -> T {
        let mut belongings = self.lock();
        belongings.namespaces.extend_from_slice(names);
        make()
    }

    /// Takes a directory, with what will be in it.
    pub fn keep_directory(&self, directory: PathBuf) {
        self.lock().directory = Some(directory);
    }

    /// Whether a process has ended by itself, or was never started here.
    #[must_use]
    pub fn has_ended(&self, pid: u32) -> bool {
        let mut belongings = self.lock();
        let mut child = belongings.children.iter_mut().find(|child| child.id() == pid);
        child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Kills a process without warning.
    pub fn kill(&self, pid: u32) {
        let mut belongings = self.lock();
        if let Some(position) = belongings.children.iter().position(|child| child.id() == pid) {
            end(belongings.children.swap_remove(position));
        }
    }

    /// Ends all processes and removes all namespaces.
    pub(crate) fn clear_bed(&self) {
        self.lock().clear_bed();
    }

    /// Leaves nothing.
    pub fn clean(&self) {
        self.lock().clear();
    }

    /// A panic of another thread takes nothing from what is to be cleaned up.
    fn lock(&self) -> MutexGuard<'_, Belongings> {
        self.belongings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Belongings {
    fn clear_bed(&mut self) {
        self.children.drain(..).for_each(end);
        for name in self.namespaces.drain(..) {
            // What cannot be removed is not there any more.
            let mut ip = Command::new("ip");
            let _ = ip.args(["netns", "del", &name]).stderr(Stdio::null()).status();
        }
    }

    fn clear(&mut self) {
        self.clear_bed();
        if let Some(directory) = self.directory.take() {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}
