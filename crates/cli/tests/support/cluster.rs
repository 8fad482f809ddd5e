//! Daemons on the loopback addresses 127.0.0.2, 127.0.0.3, …, with one configuration file.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use antiphon::{Connection, Connector, Error, Event};
use rustix::process::Signal;
use serde_json::Value;

use super::directory::Directory;
use super::namespaces::{self, Namespaces};
use super::port::Port;
use super::process::Process;
use super::raw::Raw;
use super::{PROGRAM, poll};

/// How long a daemon may take to accept clients, on a machine that is busy with other tests.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The group of [`Layout::SharedSegment`].
pub(crate) const MULTICAST: Ipv4Addr = Ipv4Addr::new(239, 77, 0, 1);

/// How the daemons reach each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// Every daemon is alone in its segment: they send to one another.
    OwnSegments,
    /// One segment with the address of a daemon: likewise.
    OneByOne,
    /// One segment with a multicast address.
    SharedSegment,
    /// One segment with the broadcast address of hosts of their own.
    Broadcast,
}

/// Configured daemons, each running or not.
#[derive(Debug)]
pub(crate) struct Cluster {
    layout: Layout,
    directives: String,
    hosts: Vec<Host>,
    port: Port,
    directory: Directory,
    /// Where the daemons run, if not all on this host.
    namespaces: Option<Namespaces>,
}

#[derive(Debug)]
struct Host {
    name: String,
    address: Ipv4Addr,
    process: Option<Process>,
}

impl Cluster {
    /// Writes the configuration; starts nothing. `hosts` are names and last bytes of addresses.
    pub(crate) fn new(layout: Layout, hosts: &[(&str, u8)], directives: &str) -> Self {
        let hosts: Vec<Host> = hosts
            .iter()
            .map(|(name, last)| Host {
                name: (*name).to_owned(),
                address: Ipv4Addr::new(127, 0, 0, *last),
                process: None,
            })
            .collect();
        Self::with_hosts(layout, hosts, directives)
    }

    fn with_hosts(layout: Layout, hosts: Vec<Host>, directives: &str) -> Self {
        let (port, directory) = (Port::lease(), Directory::new());
        for host in &hosts {
            std::fs::create_dir(directory.file(&host.name)).expect("a new directory");
        }
        let directives = directives.to_owned();
        let cluster = Self { layout, directives, hosts, port, directory, namespaces: None };
        cluster.list(cluster.count());
        cluster
    }

    /// Writes a configuration with so many of the daemons.
    pub(crate) fn list(&self, count: usize) {
        self.write(&segments(self.layout, &self.hosts[..count], self.port()));
    }

    /// Writes a configuration with these segments.
    pub(crate) fn write(&self, segments: &str) {
        let text = format!("{segments}{}", self.directives);
        std::fs::write(self.directory.file("spread.conf"), text).expect("writable");
    }

    /// One daemon named `localhost` on 127.0.0.1, running.
    pub(crate) fn single(directives: &str) -> Self {
        let mut cluster = Self::new(Layout::OwnSegments, &[("localhost", 1)], directives);
        cluster.start(0);
        cluster
    }

    /// `count` daemons named d1, d2, …, running as one ring.
    pub(crate) fn running(layout: Layout, count: u8, directives: &str) -> Self {
        let names: Vec<String> = (1..=count).map(|number| format!("d{number}")).collect();
        let hosts: Vec<(&str, u8)> = names.iter().map(String::as_str).zip(2..).collect();
        Self::new(layout, &hosts, directives).all_running()
    }

    /// `count` daemons named d1, d2, …, each on a host of its own, running as one ring. Clients reach
    /// them by their Unix sockets.
    pub(crate) fn in_namespaces(layout: Layout, count: u8, directives: &str) -> Self {
        Self::on(Namespaces::new(count), 0, layout, directives)
    }

    /// One daemon on each of these hosts, running as one ring; so many more are configured, on hosts that are not there.
    pub(crate) fn on(bed: Namespaces, missing: usize, layout: Layout, directives: &str) -> Self {
        let host = |number: usize| Host {
            name: format!("d{}", number + 1),
            address: namespaces::address(number),
            process: None,
        };
        let there = bed.count();
        let hosts = (0..there + missing).map(host).collect();
        let mut cluster = Self::with_hosts(layout, hosts, directives);
        cluster.namespaces = Some(bed);
        cluster.first_running(there)
    }

    fn all_running(self) -> Self {
        let all = self.count();
        self.first_running(all)
    }

    fn first_running(mut self, count: usize) -> Self {
        let first: Vec<usize> = (0..count).collect();
        for host in &first {
            self.launch(*host);
        }
        self.settle(&first);
        self
    }

    /// The hosts of a cluster made by [`Cluster::in_namespaces`].
    pub(crate) fn namespaces(&self) -> &Namespaces {
        self.namespaces.as_ref().expect("a cluster with hosts of its own")
    }

    /// One more daemon, for files that are written from now on.
    pub(crate) fn add(&mut self, name: &str, last: u8) -> usize {
        std::fs::create_dir(self.directory.file(name)).expect("a new directory");
        let address = Ipv4Addr::new(127, 0, 0, last);
        self.hosts.push(Host { name: name.to_owned(), address, process: None });
        self.count() - 1
    }

    /// What `antiphon status` says of a daemon.
    pub(crate) fn ask(&self, host: usize, options: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(["status", "--port", &self.port().to_string(), "--unix-dir"]).arg(self.home(host));
        command.args(options).output().expect("the program runs")
    }

    /// The same as an object.
    pub(crate) fn status(&self, host: usize) -> Value {
        let output = self.ask(host, &["--json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Starts a daemon and waits until clients are accepted.
    pub(crate) fn start(&mut self, host: usize) {
        self.launch(host);
        drop(self.raw(host));
    }

    /// Starts a daemon without waiting.
    pub(crate) fn launch(&mut self, host: usize) {
        let args = self.daemon_args(host);
        let here = &self.hosts[host];
        let directory = self.directory.file(&here.name);
        let log = self.directory.file(&format!("{}.log", here.name));
        let process = match &self.namespaces {
            Some(bed) => Process::start_in(&bed.name(host), &directory, &log, args),
            None => Process::start(&directory, &log, args),
        };
        self.hosts[host].process = Some(process);
    }

    /// The arguments with which a daemon is started.
    pub(crate) fn daemon_args(&self, host: usize) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        let name = &self.hosts[host].name;
        let mut args = vec!["daemon".to_owned(), "-n".to_owned(), name.clone()];
        args.extend(["-c".to_owned(), path(self.directory.file("spread.conf"))]);
        args.extend(["--unix-dir".to_owned(), path(self.directory.file(name))]);
        args.extend(["--test-links".to_owned(), path(self.links(host))]);
        args
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Where a daemon runs and has its Unix socket.
    pub(crate) fn home(&self, host: usize) -> PathBuf {
        self.directory.file(&self.hosts[host].name)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn count(&self) -> usize {
        self.hosts.len()
    }

    pub(crate) fn name(&self, host: usize) -> &str {
        &self.hosts[host].name
    }

    pub(crate) fn ip(&self, host: usize) -> Ipv4Addr {
        self.hosts[host].address
    }

    /// Where clients find a daemon.
    pub(crate) fn address(&self, host: usize) -> String {
        format!("{}@{}", self.port(), self.ip(host))
    }

    pub(crate) fn process(&self, host: usize) -> &Process {
        self.hosts[host].process.as_ref().expect("the daemon was started")
    }

    pub(crate) fn process_mut(&mut self, host: usize) -> &mut Process {
        self.hosts[host].process.as_mut().expect("the daemon was started")
    }

    pub(crate) fn signal(&self, host: usize, signal: Signal) {
        self.process(host).signal(signal);
    }

    /// Kills a daemon without warning.
    pub(crate) fn kill(&mut self, host: usize) {
        self.process_mut(host).kill();
        self.hosts[host].process = None;
    }

    /// Fails if a daemon that should run does not.
    pub(crate) fn assert_running(&mut self) {
        for host in &mut self.hosts {
            let Some(process) = &mut host.process else { continue };
            if let Some(status) = process.exited() {
                panic!("{} ended: {status}; its log:\n{}", host.name, process.log());
            }
            let log = process.log();
            assert!(!log.contains("panicked"), "{} panicked:\n{log}", host.name);
        }
    }

    /// Cuts the links between daemons of different parts; daemons in no part are cut off from all.
    pub(crate) fn partition(&self, parts: &[&[usize]]) {
        let part = |host: usize| parts.iter().position(|part| part.contains(&host));
        for here in 0..self.count() {
            let cut = (0..self.count())
                .filter(|there| *there != here && (part(here).is_none() || part(here) != part(*there)));
            let names: Vec<&str> = cut.map(|there| self.name(there)).collect();
            let fresh = self.directory.file("links.new");
            std::fs::write(&fresh, names.join("\n")).expect("writable");
            std::fs::rename(&fresh, self.links(here)).expect("replaceable");
        }
    }

    /// Makes all links whole.
    pub(crate) fn heal(&self) {
        let all: Vec<usize> = (0..self.count()).collect();
        self.partition(&[&all]);
    }

    fn links(&self, host: usize) -> PathBuf {
        self.directory.file(&format!("{}.links", self.hosts[host].name))
    }

    /// Opens a plain TCP connection, as soon as the daemon listens.
    pub(crate) fn raw(&self, host: usize) -> Raw {
        let address = (self.ip(host), self.port());
        poll(START_LIMIT, || Raw::tcp(address).ok())
            .unwrap_or_else(|| panic!("{} does not listen; its log:\n{}", self.name(host), self.log(host)))
    }

    /// Opens a plain connection to the Unix socket, which a daemon opens after the TCP socket.
    pub(crate) fn raw_unix(&self, host: usize) -> Raw {
        let path = self.home(host).join(self.port().to_string());
        poll(START_LIMIT, || Raw::unix(&path).ok())
            .unwrap_or_else(|| panic!("{} has no Unix socket; its log:\n{}", self.name(host), self.log(host)))
    }

    pub(crate) fn connector(&self, host: usize, name: &str) -> Connector {
        let connector = match self.namespaces {
            Some(_) => Connector::new(self.port().to_string()).unix_directory(self.home(host)),
            None => Connector::new(self.address(host)),
        };
        connector.name(name).timeout(START_LIMIT)
    }

    /// Connects a client, as soon as the daemon listens.
    pub(crate) fn client(&self, host: usize, name: &str) -> Connection {
        let connector = self.connector(host, name);
        let connect = || match connector.connect() {
            Ok(connection) => Some(connection),
            Err(Error::Connect { .. }) => None,
            Err(error) => panic!("{name} cannot connect to {}: {error}", self.name(host)),
        };
        poll(START_LIMIT, connect)
            .unwrap_or_else(|| panic!("{} does not listen; its log:\n{}", self.name(host), self.log(host)))
    }

    fn log(&self, host: usize) -> String {
        self.hosts[host].process.as_ref().map_or_else(String::new, Process::log)
    }

    /// Waits until these daemons, and no others, are on one ring.
    pub(crate) fn settle(&self, hosts: &[usize]) {
        self.settle_within(hosts, Duration::from_secs(30));
    }

    /// As [`Cluster::settle`]; returns how long it took.
    pub(crate) fn settle_within(&self, hosts: &[usize], limit: Duration) -> Duration {
        let begun = Instant::now();
        let mut probes: Vec<Probe> = hosts.iter().map(|host| Probe::new(self, *host)).collect();
        let agreed = poll(limit, || probes.iter_mut().all(|probe| probe.sees(hosts.len())).then_some(()));
        if agreed.is_none() {
            let seen: Vec<usize> = probes.iter().map(|probe| probe.members).collect();
            let logs: String = hosts.iter().map(|host| self.log(*host)).collect();
            panic!("no common ring of {hosts:?} within {limit:?}, views have {seen:?} members\n{logs}");
        }
        for probe in probes {
            let _ = probe.connection.disconnect();
        }
        begun.elapsed()
    }
}

/// A client that counts its likes.
struct Probe {
    connection: Connection,
    members: usize,
}

impl Probe {
    fn new(cluster: &Cluster, host: usize) -> Self {
        let mut connection = cluster.client(host, "");
        connection.join("settle-probe").expect("joined");
        Self { connection, members: 0 }
    }

    fn sees(&mut self, members: usize) -> bool {
        while let Some(event) = self.connection.receive_timeout(Duration::from_millis(1)).expect("connected")
        {
            if let Event::View(view) = event {
                self.members = view.members.len();
            }
        }
        self.members == members
    }
}

fn segments(layout: Layout, hosts: &[Host], port: u16) -> String {
    let mut text = String::new();
    let line = |host: &Host| format!("  {} {} {{ {} }}\n", host.name, host.address, host.address);
    match layout {
        Layout::OwnSegments => {
            for host in hosts {
                let _ = writeln!(text, "Spread_Segment {}:{port} {{\n{}}}", host.address, line(host));
            }
        }
        Layout::OneByOne | Layout::SharedSegment | Layout::Broadcast => {
            let all = match layout {
                Layout::SharedSegment => MULTICAST,
                Layout::Broadcast => namespaces::BROADCAST,
                _ => hosts[0].address,
            };
            let daemons: String = hosts.iter().map(line).collect();
            let _ = writeln!(text, "Spread_Segment {all}:{port} {{\n{daemons}}}");
        }
    }
    text
}
