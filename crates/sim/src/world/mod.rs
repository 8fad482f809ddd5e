//! The world: virtual time, hosts, links, clients, and the order in which things happen.
//!
//! One generator decides everything that is left to chance, events happen in the order of their time
//! and, at one time, in the order in which they were planned. So a seed is a run.

mod clients;
mod fault;
mod host;
mod settings;
mod streams;
mod strike;
mod trigger;
mod turn;
mod writes;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::Ipv4Addr;
use std::time::Duration;

use antiphon_proto::config::{Cluster, Config, Daemon};
use antiphon_proto::time::Instant;
use antiphon_proto::{Boot, Channel, NameHash, Node, StateName};
use antiphon_wire::ids::{ClusterHash, DaemonId, ProcessId, RingId};
use antiphon_wire::names::DaemonName;
use bytes::Bytes;

use crate::client::Client;
use crate::network::Network;
use crate::record::Recorder;
use crate::trace::Leftover;

pub use clients::ClientId;
pub use fault::Fault;
use fault::Flapping;
use host::{Clock, Host};
pub use settings::{DAEMON_NAMES, HostSettings, Settings};
pub use strike::{Blow, Strike};
pub use trigger::{Point, Triggers};

/// Wall clock at the start of every run, in milliseconds since 1970.
const WALL_START_MS: u64 = 1_700_000_000_000;

/// Hash of the configuration of no daemons at all; those of more are the next ones.
const CLUSTER: ClusterHash = ClusterHash(0x00c0_ff00);

/// Hash of another configuration, of others on the same network.
const OTHER_CLUSTER: ClusterHash = ClusterHash(0x00c0_ffee);

/// Something that will happen.
#[derive(Debug)]
enum Happening {
    /// A datagram arrives at a host; it was sent by that process.
    Arrival { to: usize, channel: Channel, bytes: Bytes, process: usize },
    /// The event loop of a host turns.
    Turn(usize),
    /// A deadline of a host may have come.
    Wake(usize),
    /// A pause of a host ends.
    Resume(usize),
    /// A host boots.
    Boot(usize),
    /// A flapping link changes.
    Flap(Flapping),
    /// A client reads again.
    Reads(ClientId),
    /// A client with the flush layer may have taken too long to flush.
    Overdue(ClientId),
    /// A fault that was planned.
    Fault(Box<Fault>),
}

#[derive(Debug)]
struct Planned {
    at: Instant,
    number: u64,
    happening: Happening,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// See the module documentation.
pub struct World {
    now: Instant,
    planned: BinaryHeap<Reverse<Planned>>,
    plans: u64,
    happened: u64,
    /// The only source of chance.
    pub rng: fastrand::Rng,
    settings: Settings,
    /// The links.
    pub network: Network,
    hosts: Vec<Host>,
    clients: Vec<Client>,
    /// Which client opened each session, by session number.
    owners: Vec<ClientId>,
    /// Processes whose datagrams still on their way are lost.
    silenced: BTreeSet<usize>,
    triggers: Option<Triggers>,
    /// What happens at a chosen datagram.
    pub strike: Option<Strike>,
    /// How often all links were healed.
    heals: u64,
    /// The trace in the making.
    pub recorder: Recorder,
    /// How often each fault was applied.
    pub faults: BTreeMap<&'static str, u64>,
    /// Datagrams lost in full receive buffers.
    pub overflows: u64,
    /// How often membership went from one state to another, over all daemons.
    pub transitions: BTreeMap<(StateName, StateName), u64>,
    /// Which host's daemon reported which other process that uses its place.
    pub duplicates_reported: Vec<(usize, ProcessId)>,
}

impl World {
    /// A world in which every host is about to boot.
    #[must_use]
    pub fn new(seed: u64, settings: Settings) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let clock = |at: usize, rng: &mut fastrand::Rng| Clock {
            offset: rng.u64(..1_000_000_000_000),
            ppm: settings.clock_ppm.get(at).or(settings.clock_ppm.last()).copied().unwrap_or(0),
        };
        let listed = settings.daemons - settings.newcomers;
        let host = |at| Host::new(clock(at, &mut rng), WALL_START_MS, listed);
        let hosts = (0..settings.daemons).map(host).collect();
        let mut world = Self {
            now: Instant(0),
            planned: BinaryHeap::new(),
            plans: 0,
            happened: 0,
            network: Network::new(settings.daemons, settings.quality),
            rng,
            hosts,
            clients: Vec::new(),
            owners: Vec::new(),
            silenced: BTreeSet::new(),
            triggers: None,
            strike: None,
            heals: 0,
            recorder: Recorder::default(),
            faults: BTreeMap::new(),
            overflows: 0,
            transitions: BTreeMap::new(),
            duplicates_reported: Vec::new(),
            settings,
        };
        world.boot_all();
        world
    }

    fn boot_all(&mut self) {
        let double = self.settings.double.map(|(_, second)| second);
        for host in (0..self.hosts.len()).filter(|host| Some(*host) != double) {
            let late = if self.settings.staggered_start { self.rng.u64(..200_000_000) } else { 0 };
            self.plan(Duration::from_nanos(late), Happening::Boot(host));
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// How many events have happened.
    #[must_use]
    pub fn happened(&self) -> u64 {
        self.happened
    }

    /// How the world was set up.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the daemon of a host runs.
    #[must_use]
    pub fn is_up(&self, host: usize) -> bool {
        self.hosts[host].is_up()
    }

    /// Faults that follow the protocol's own steps; `None` for none.
    pub fn set_triggers(&mut self, triggers: Option<Triggers>) {
        self.triggers = triggers;
    }

    /// The regular configuration that a host's daemon delivered last.
    #[must_use]
    pub fn ring_of_host(&self, host: usize) -> Option<(RingId, Vec<ProcessId>)> {
        use crate::trace::ProcessEvent::Configured;
        use antiphon_proto::delivery::Configuration::Regular;
        if !self.is_up(host) {
            return None;
        }
        let process = &self.recorder.trace.processes[self.hosts[host].process];
        process.records.iter().rev().find_map(|(_, event)| match event {
            Configured(Regular { ring, members, .. }) => Some((*ring, members.clone())),
            _ => None,
        })
    }

    /// The daemon of a host, if it runs.
    #[must_use]
    pub fn node(&self, host: usize) -> Option<&Node> {
        self.hosts[host].node.as_ref()
    }

    /// What every daemon keeps now.
    #[must_use]
    pub fn leftovers(&self) -> Vec<Leftover> {
        let leftover = |host: &Host| {
            let node = host.node.as_ref()?;
            let status = node.status();
            Some(Leftover {
                process: host.process,
                packets: status.packets_held,
                messages: status.messages_waiting,
                unfinished: status.messages_unfinished,
                behind: node.readers().furthest.len(),
            })
        };
        self.hosts.iter().filter_map(leftover).collect()
    }

    /// The position in the trace of the process that runs on a host, or ran there last.
    #[must_use]
    pub fn process_of_host(&self, host: usize) -> usize {
        self.hosts[host].process
    }

    fn plan(&mut self, after: Duration, happening: Happening) {
        self.plan_at(self.now + after, happening);
    }

    fn plan_at(&mut self, at: Instant, happening: Happening) {
        self.plans += 1;
        let planned = Planned { at: at.max(self.now), number: self.plans, happening };
        self.planned.push(Reverse(planned));
    }

    /// Lets time pass up to `until`, and everything that falls into it happen.
    pub fn run_until(&mut self, until: Instant) {
        while self.planned.peek().is_some_and(|Reverse(next)| next.at <= until) {
            self.step();
        }
        self.now = self.now.max(until);
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Lets the next event happen. Nothing is left to happen when this returns false.
    pub fn step(&mut self) -> bool {
        let Some(Reverse(Planned { at, happening, .. })) = self.planned.pop() else { return false };
        self.now = at;
        self.happened += 1;
        match happening {
            Happening::Arrival { to, channel, bytes, process } => self.arrive(to, channel, bytes, process),
            Happening::Turn(host) => self.turn(host),
            Happening::Wake(host) => self.wake(host),
            Happening::Resume(host) => self.resume(host),
            Happening::Boot(host) => self.boot(host),
            Happening::Flap(flapping) => self.flap(flapping),
            Happening::Reads(client) => self.read_again(client),
            Happening::Overdue(client) => self.look_at_the_clock(client),
            Happening::Fault(fault) => self.apply(*fault),
        }
        true
    }

    fn arrive(&mut self, to: usize, channel: Channel, bytes: Bytes, process: usize) {
        if self.silenced.contains(&process) || !self.hosts[to].is_up() {
            return;
        }
        let limits = self.settings.host;
        let host = &mut self.hosts[to];
        let fits = match channel {
            Channel::Data => host.data.push(bytes, limits.data_buffer_bytes),
            Channel::Control => host.control.push(bytes, limits.control_buffer_bytes),
        };
        self.overflows += u64::from(!fits);
        self.plan_turn(to);
    }

    fn boot(&mut self, host: usize) {
        if self.hosts[host].is_up() || self.hosts[host].listed <= host {
            return;
        }
        let incarnation = self.incarnation(host);
        // Milliseconds instead of seconds: rings follow each other a thousand times faster here than
        // where ids of groups were meant for.
        let epoch = (WALL_START_MS / 1000).saturating_add_signed(
            i64::try_from(incarnation).unwrap_or(i64::MAX).saturating_sub_unsigned(WALL_START_MS),
        );
        let seed = self.rng.u64(..);
        let me = match self.settings.double {
            Some((first, second)) if host == second => daemon_id(first),
            _ => daemon_id(host),
        };
        let process = self.recorder.boot(ProcessId { daemon: me, incarnation });
        let config = self.config(me, self.hosts[host].listed);
        let booted = &mut self.hosts[host];
        booted.incarnation = incarnation;
        booted.process = process;
        let now = booted.clock.local(self.now);
        let boot = Boot { incarnation, epoch, seed, name_hash: NameHash::secret(seed) };
        booted.node = Some(Node::new(config, boot, now, &mut booted.out));
        self.absorb(host);
        self.plan_turn(host);
    }

    /// The calendar's time in milliseconds; no two runs of a daemon begin in the same one.
    fn incarnation(&self, host: usize) -> u64 {
        let booting = &self.hosts[host];
        let late = u64::try_from(booting.calendar_late.as_millis()).unwrap_or(u64::MAX);
        let shown = (WALL_START_MS + self.now.0 / 1_000_000).saturating_sub(late);
        let wanted = if late == 0 { shown.max(booting.incarnation + 1) } else { shown };
        let runs = self.recorder.trace.processes.iter().map(|process| process.process);
        let used: BTreeSet<u64> =
            runs.filter(|run| run.daemon == daemon_id(host)).map(|run| run.incarnation).collect();
        (wanted..).find(|incarnation| !used.contains(incarnation)).unwrap_or(wanted)
    }

    fn config(&self, me: DaemonId, listed: usize) -> Config {
        let mut cluster = cluster(listed);
        if me.index() + self.settings.strangers >= self.settings.daemons {
            cluster.hash = OTHER_CLUSTER;
        }
        Config {
            ring: self.settings.ring.clone(),
            membership: self.settings.membership.clone(),
            sessions: self.settings.sessions.clone(),
            #[cfg(feature = "mutants")]
            mutant: self.settings.mutant,
            ..Config::new(cluster, me)
        }
    }
}

/// The daemon of a host.
#[must_use]
pub fn daemon_id(host: usize) -> DaemonId {
    DaemonId(u16::try_from(host).unwrap_or(u16::MAX))
}

/// The first so many daemons.
fn cluster(listed: usize) -> Cluster {
    let daemon = |at: usize| Daemon { name: daemon_name(at), address: address(at) };
    Cluster { daemons: (0..listed).map(daemon).collect(), hash: ClusterHash(CLUSTER.0 + listed as u32) }
}

/// The name of a host's daemon.
#[must_use]
pub fn daemon_name(host: usize) -> DaemonName {
    let beyond = format!("s{host}");
    let name = DAEMON_NAMES.get(host).copied().unwrap_or(&beyond);
    let Ok(name) = DaemonName::new(name.as_bytes()) else { unreachable!("{name} is a legal name") };
    name
}

/// The address of a host. The last one is negative as a signed number.
fn address(host: usize) -> Ipv4Addr {
    let last = u8::try_from(host + 1).unwrap_or(u8::MAX);
    if host % 3 == 2 { Ipv4Addr::new(192, 168, 0, last) } else { Ipv4Addr::new(10, 0, 0, last) }
}
