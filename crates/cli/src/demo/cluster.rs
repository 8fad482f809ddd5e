//! Daemons as processes of their own, with a configuration in a temporary directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use antiphon_bench::janitor::Janitor;

use crate::error::CliError;

/// How long a daemon may take to accept connections.
const START_PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// A running cluster. Its processes end and its files go when it is dropped, or when the program is ended.
pub(super) struct Cluster {
    directory: PathBuf,
    port: u16,
    names: Vec<&'static str>,
    /// The ids of the processes.
    running: BTreeMap<&'static str, u32>,
    janitor: Janitor,
}

impl Cluster {
    /// Starts a daemon for each name and waits until all of them accept clients.
    pub(super) fn start(names: &[&'static str], port: Option<u16>) -> Result<Self, CliError> {
        let port = match port {
            Some(port) if is_free(port, names.len()) => port,
            Some(port) => return Err(CliError::DemoPortTaken(port)),
            None => free_port(names.len()).ok_or(CliError::DemoNoPort)?,
        };
        let directory = std::env::temp_dir().join(format!("antiphon-demo-{}", std::process::id()));
        let janitor = Janitor::default();
        janitor.watch_signals().map_err(CliError::Demo)?;
        janitor.keep_directory(directory.clone());
        let mut cluster = Self { directory, port, names: names.to_vec(), running: BTreeMap::new(), janitor };
        cluster.write_configuration().map_err(CliError::Demo)?;
        for name in names {
            cluster.spawn(name)?;
        }
        names.iter().try_for_each(|name| cluster.wait_for(name))?;
        Ok(cluster)
    }

    /// Where clients reach a daemon, as clients write it.
    pub(super) fn address(&self, name: &str) -> String {
        format!("{}@{}", self.port, self.ip(name))
    }

    /// Kills a daemon without a chance to say anything.
    pub(super) fn kill(&mut self, name: &str) {
        if let Some(pid) = self.running.remove(name) {
            self.janitor.kill(pid);
        }
    }

    /// Starts a killed daemon again.
    pub(super) fn restart(&mut self, name: &'static str) -> Result<(), CliError> {
        self.spawn(name)?;
        self.wait_for(name)
    }

    /// Cuts the links between the sides.
    pub(super) fn part(&self, sides: &[&[&str]]) -> Result<(), CliError> {
        for name in &self.names {
            let mine = sides.iter().find(|side| side.contains(name));
            let cut = self.names.iter().filter(|other| !mine.is_some_and(|side| side.contains(other)));
            let text: String = cut.map(|other| format!("{other}\n")).collect();
            self.write_links(name, &text)?;
        }
        Ok(())
    }

    /// Makes all links whole.
    pub(super) fn heal(&self) -> Result<(), CliError> {
        self.names.iter().try_for_each(|name| self.write_links(name, ""))
    }

    fn ip(&self, name: &str) -> Ipv4Addr {
        let position = self.names.iter().position(|other| *other == name).unwrap_or_default();
        address_at(position)
    }

    fn write_configuration(&self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let mut text = String::new();
        for name in &self.names {
            let ip = self.ip(name);
            // Without interfaces a daemon would take the port on all addresses of the machine.
            text.push_str(&format!(
                "Spread_Segment {ip}:{} {{\n    {name} {ip} {{\n        D {ip}\n        C {ip}\n    }}\n}}\n",
                self.port
            ));
            fs::write(self.links_file(name), "")?;
        }
        fs::write(self.directory.join("spread.conf"), text)
    }

    fn links_file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.links"))
    }

    /// Written beside and moved into place, so that a daemon never reads half of it.
    fn write_links(&self, name: &str, text: &str) -> Result<(), CliError> {
        let fresh = self.directory.join(format!("{name}.links.new"));
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(fresh, self.links_file(name)))
            .map_err(CliError::Demo)
    }

    fn spawn(&mut self, name: &'static str) -> Result<(), CliError> {
        let start = || {
            let log = File::create(self.directory.join(format!("{name}.log")))?;
            let mut command = Command::new(std::env::current_exe()?);
            command
                .args(["daemon", "-n", name, "-c"])
                .arg(self.directory.join("spread.conf"))
                .arg("--unix-dir")
                .arg(self.directory.join(name))
                .arg("--test-links")
                .arg(self.links_file(name))
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log);
            self.janitor.spawn(&mut command)
        };
        fs::create_dir_all(self.directory.join(name)).map_err(CliError::Demo)?;
        self.running.insert(name, start().map_err(CliError::Demo)?);
        Ok(())
    }

    fn wait_for(&mut self, name: &'static str) -> Result<(), CliError> {
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect((self.ip(name), self.port)).is_err() {
            let ended = self.running.get(name).is_none_or(|pid| self.janitor.has_ended(*pid));
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(self.directory.join(format!("{name}.log"))).unwrap_or_default();
                return Err(CliError::DemoDaemon { name, log });
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.janitor.clean();
    }
}

/// 127.0.0.2 for the first daemon, and so on.
fn address_at(position: usize) -> Ipv4Addr {
    let last = u8::try_from(position + 2).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, 0, 0, last)
}

/// A port that is free, with the next one, at the addresses of all daemons.
fn free_port(daemons: usize) -> Option<u16> {
    // Ports below the range from which the system gives out its own.
    let first = 20_000 + u16::try_from(std::process::id() % 5_000).unwrap_or_default() * 2;
    (0..200).map(|step| first + step * 2).find(|port| is_free(*port, daemons))
}

/// Whether the port and the next one are free at the addresses of all daemons.
fn is_free(port: u16, daemons: usize) -> bool {
    let Some(next) = port.checked_add(1) else { return false };
    (0..daemons).map(address_at).all(|ip| {
        TcpListener::bind((ip, port)).is_ok()
            && UdpSocket::bind((ip, port)).is_ok()
            && UdpSocket::bind((ip, next)).is_ok()
    })
}
