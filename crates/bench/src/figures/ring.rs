//! Daemons on the hosts of a bed, one each, and how clients reach them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Lab;
use super::bed::{Bed, Cable, address};
use crate::address::Reach;
use crate::crowd::Crowd;
use crate::error::BenchError;
use crate::load::Load;

/// The port of all daemons; their hosts are not those of this machine's other daemons.
const PORT: u16 = 4803;

/// How long daemons may take to become one ring.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a daemon that starts is tried.
const RETRY: Duration = Duration::from_millis(5);

/// Running daemons; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Ring<'a> {
    lab: &'a Lab<'a>,
    pub(crate) bed: Bed,
    daemons: Vec<Daemon>,
    /// From the start of the first process to the view of all at the last client.
    pub(crate) forming: Duration,
}

#[derive(Debug)]
struct Daemon {
    pid: u32,
    home: PathBuf,
}

impl<'a> Ring<'a> {
    /// Starts `count` daemons and waits until they are one ring. They reach each other by multicast.
    pub(crate) fn start(lab: &'a Lab<'a>, count: usize, cable: Cable) -> Result<Self, BenchError> {
        Self::start_with(lab, count, cable, "")
    }

    /// As [`Ring::start`], with these lines in the configuration.
    pub(crate) fn start_with(
        lab: &'a Lab<'a>,
        count: usize,
        cable: Cable,
        directives: &str,
    ) -> Result<Self, BenchError> {
        let bed = Bed::new(count, cable, &lab.janitor)?;
        let on_error = |error| BenchError::system(lab.directory.display().to_string())(error);
        fs::write(lab.directory.join("spread.conf"), configuration(count, directives)).map_err(on_error)?;
        let mut ring = Self { lab, bed, daemons: Vec::new(), forming: Duration::ZERO };
        let begun = Instant::now();
        for host in 0..count {
            let daemon = ring.spawn(host).map_err(BenchError::system(format!("daemon {host}")))?;
            ring.daemons.push(daemon);
        }
        let mut crowd = ring.crowd(0..count)?;
        ring.forming = crowd.await_views(count, PATIENCE)? - begun;
        Ok(ring)
    }

    fn spawn(&self, host: usize) -> std::io::Result<Daemon> {
        let home = self.lab.directory.join(format!("d{host}"));
        fs::create_dir_all(&home)?;
        // A socket that the last ring left would be taken for the daemon's.
        let _ = fs::remove_file(home.join(PORT.to_string()));
        let log = File::create(self.lab.directory.join(format!("d{host}.log")))?;
        // `ip` becomes the daemon, so that its id is that of the child.
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.bed.host(host)])
            .arg(&self.lab.program)
            .args(["daemon", "-n", &format!("d{host}"), "-c"])
            .arg(self.lab.directory.join("spread.conf"))
            .arg("--unix-dir")
            .arg(&home)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Daemon { pid: self.lab.janitor.spawn(&mut command)?, home })
    }

    /// One client on each of these daemons, all in one group. Their views tell who is there.
    pub(crate) fn crowd(&self, hosts: std::ops::Range<usize>) -> Result<Crowd, BenchError> {
        let mut crowd = Crowd::new()?;
        for host in hosts {
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = crowd.connect(&self.address(host), &Reach::default(), true) {
                if Instant::now() > deadline {
                    return Err(error);
                }
                thread::sleep(RETRY);
            }
            crowd.request(crowd.len() - 1, |outbox| outbox.join("watchers"))?;
        }
        Ok(crowd)
    }

    /// Where clients find a daemon: its Unix socket, as a namespace parts networks, not files.
    pub(crate) fn address(&self, host: usize) -> String {
        let home = self.daemons.get(host).map(|daemon| daemon.home.clone()).unwrap_or_default();
        home.join(PORT.to_string()).display().to_string()
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        (0..self.daemons.len()).map(|host| self.address(host)).collect()
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.daemons.iter().map(|daemon| daemon.pid).collect()
    }

    /// Kills a daemon without warning.
    pub(crate) fn kill(&self, host: usize) {
        if let Some(daemon) = self.daemons.get(host) {
            self.lab.janitor.kill(daemon.pid);
        }
    }

    /// The load of [`Load::new`] on all daemons, whose processes are looked at.
    pub(crate) fn load(&self) -> Load {
        Load { daemon_pids: self.pids(), ..Load::new(self.addresses()) }
    }
}

/// All daemons in one segment with a multicast address.
fn configuration(count: usize, directives: &str) -> String {
    let daemons: String = (0..count)
        .map(|host| format!("    d{host} {address} {{ {address} }}\n", address = address(host)))
        .collect();
    format!("{directives}Spread_Segment 239.78.0.1:{PORT} {{\n{daemons}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_daemon_is_in_the_segment() {
        let text = configuration(2, "BusyPoll = yes\n");
        assert_eq!(
            text,
            "BusyPoll = yes\nSpread_Segment 239.78.0.1:4803 {\n    d0 10.78.0.1 { 10.78.0.1 }\n    d1 10.78.0.2 { 10.78.0.2 }\n}\n"
        );
    }
}
