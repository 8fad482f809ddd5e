//! Where a daemon stands, for the person who runs it.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon_proto::config::{Cluster, Config};
use antiphon_proto::{Event, Readers, Stats, Status};
use antiphon_wire::ids::ProcessId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::monitor::MonitorStats;
use crate::transport::TransportStats;

/// Configurations that are remembered.
const MAX_CONFIGURATIONS: usize = 16;
/// What they may take of a report all together, so that the buffer of a fresh socket takes it whole.
const MAX_CONFIGURATIONS_BYTES: usize = 64 << 10;

/// What the name of the status socket has behind that of the clients'.
pub(crate) const SOCKET_SUFFIX: &str = ".status";

/// Where the status socket of a daemon lies, by the directory and the port of its socket for clients.
#[must_use]
pub fn socket_path(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!("{port}{SOCKET_SUFFIX}"))
}

/// What the status socket tells, as JSON. What a daemon of another version does not tell is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusReport {
    /// Its name.
    pub daemon: String,
    /// Its version.
    pub version: String,
    /// Of what daemons must agree on in the configuration file, in hexadecimal.
    pub file_hash: String,
    /// Names of all daemons of the file.
    pub daemons: Vec<String>,
    /// The file that is to take effect, or that has, while other members of the ring have not read it.
    pub next: Option<NextFile>,
    /// Milliseconds since it was started.
    pub uptime_ms: u64,
    /// State of the membership.
    pub state: String,
    /// Whether the groups of the ring are known, so that clients may send.
    pub settled: bool,
    /// The ring.
    pub ring: String,
    /// Names of its members.
    pub members: Vec<String>,
    /// Why it came about, or why it is being left.
    pub reasons: Vec<String>,
    /// The last configurations, the latest last.
    pub configurations: Vec<Installed>,
    /// The slowest readers.
    pub behind: Vec<SlowReader>,
    /// Numbers that go up and down, by name.
    pub gauges: BTreeMap<String, u64>,
    /// Numbers since the start, by name.
    pub counters: BTreeMap<String, u64>,
}

/// A configuration file that not all members of the ring have read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NextFile {
    /// Of what daemons must agree on in it, in hexadecimal.
    pub file_hash: String,
    /// Names of those that have not, or have taken it back.
    pub lacking: Vec<String>,
}

/// A configuration that was installed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Installed {
    /// When, in UTC.
    pub at: String,
    /// Its ring.
    pub ring: String,
    /// Names of its members.
    pub members: Vec<String>,
    /// Why the ring before was left, and each step since.
    pub reasons: Vec<String>,
}

/// A session that has not read everything.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SlowReader {
    /// Its private group.
    pub session: String,
    /// Messages that it has not read whole.
    pub messages: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// What the status tells beside the core's own.
#[derive(Debug)]
pub(crate) struct StatusBoard {
    config: Config,
    configurations: VecDeque<Installed>,
    duplicates_heard: u64,
    only_heard: u64,
    only_told: u64,
    foreign_clusters: u64,
    foreign_versions: u64,
}

/// What the status tells of the rest of the daemon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    pub(crate) core: Stats,
    pub(crate) transport: TransportStats,
    pub(crate) monitor: MonitorStats,
    /// How often a client that waited could not be accepted for want of a descriptor or memory.
    pub(crate) accepts_refused: u64,
}

impl StatusBoard {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            configurations: VecDeque::new(),
            duplicates_heard: 0,
            only_heard: 0,
            only_told: 0,
            foreign_clusters: 0,
            foreign_versions: 0,
        }
    }

    /// Goes over to another list of daemons.
    pub(crate) fn adopt(&mut self, cluster: &Cluster) {
        self.config.cluster.clone_from(cluster);
    }

    /// Takes note of what happened in the core.
    pub(crate) fn on_event(&mut self, event: &Event) {
        match event {
            Event::Installed { ring, members, reasons } => {
                self.configurations.push_back(Installed {
                    at: Timestamp::now().to_string(),
                    ring: ring.to_string(),
                    members: self.list(members),
                    reasons: reasons.clone(),
                });
                self.forget_old_configurations();
            }
            Event::DuplicateDaemon(_) => self.duplicates_heard += 1,
            Event::OnlyHeard(_) => self.only_heard += 1,
            Event::OnlyTold(_) => self.only_told += 1,
            Event::ForeignCluster { .. } => self.foreign_clusters += 1,
            Event::ForeignVersion { .. } => self.foreign_versions += 1,
            Event::MembershipState { .. }
            | Event::Reloaded { .. }
            | Event::Settled { .. }
            | Event::DatagramTooLong { .. }
            | Event::SessionAccepted(..)
            | Event::SessionClosed(..)
            | Event::Stopped => {}
        }
    }

    /// Keeps the latest configurations, and the very last however long it is.
    fn forget_old_configurations(&mut self) {
        let mut bytes = 0;
        let latest = self.configurations.iter().rev().take(MAX_CONFIGURATIONS);
        let kept = latest.take_while(|installed| {
            bytes += serde_json::to_string(installed).map_or(0, |text| text.len());
            bytes <= MAX_CONFIGURATIONS_BYTES
        });
        let kept = kept.count().max(1);
        self.configurations.drain(..self.configurations.len().saturating_sub(kept));
    }

    /// The whole report.
    pub(crate) fn report(
        &self,
        uptime: Duration,
        status: &Status,
        readers: &Readers,
        counted: &Counters,
    ) -> StatusReport {
        let config = &self.config;
        let slow = readers.furthest.iter().map(|session| SlowReader {
            session: session.member.to_string(),
            messages: session.messages as u64,
            bytes: session.bytes as u64,
        });
        StatusReport {
            daemon: config.daemon(config.me).map(|daemon| daemon.name.to_string()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            file_hash: config.cluster.hash.to_string(),
            daemons: config.cluster.daemons.iter().map(|daemon| daemon.name.to_string()).collect(),
            next: status
                .next_cluster
                .as_ref()
                .map(|next| NextFile { file_hash: next.hash.to_string(), lacking: self.list(&next.lacking) }),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            state: status.state.to_string(),
            settled: status.settled,
            ring: status.ring.to_string(),
            members: self.list(&status.members),
            reasons: status.reasons.clone(),
            configurations: self.configurations.iter().cloned().collect(),
            behind: slow.collect(),
            gauges: by_name(self.gauges(status, readers)),
            counters: by_name(
                of_core(&counted.core)
                    .into_iter()
                    .chain(of_transport(&counted.transport))
                    .chain(of_monitors(counted.monitor))
                    .chain(self.heard())
                    .chain([("accepts_refused", counted.accepts_refused)]),
            ),
        }
    }

    fn gauges(&self, status: &Status, readers: &Readers) -> impl IntoIterator<Item = Number> {
        let to_reload = status.next_cluster.as_ref().map_or(0, |next| next.lacking.len());
        [
            ("daemons_configured", self.config.cluster.daemons.len() as u64),
            ("daemons_in_ring", status.members.len() as u64),
            ("daemons_to_reload", to_reload as u64),
            ("sessions", status.sessions as u64),
            ("groups", status.groups as u64),
            ("packets_held", status.packets_held as u64),
            ("messages_unfinished", status.messages_unfinished as u64),
            ("messages_waiting", status.messages_waiting as u64),
            ("bytes_waiting", status.bytes_waiting as u64),
            ("bytes_behind", readers.bytes_behind as u64),
            ("bytes_kept", readers.bytes_kept as u64),
            ("window_packets", status.windows.all.into()),
        ]
    }

    fn heard(&self) -> impl IntoIterator<Item = Number> {
        [
            ("daemons_only_heard", self.only_heard),
            ("daemons_only_told", self.only_told),
            ("duplicate_daemons_heard", self.duplicates_heard),
            ("foreign_clusters_heard", self.foreign_clusters),
            ("foreign_versions_heard", self.foreign_versions),
        ]
    }

    fn list(&self, members: &[ProcessId]) -> Vec<String> {
        members.iter().map(|member| self.config.name_of(*member)).collect()
    }
}

/// A gauge or counter, by its name.
type Number = (&'static str, u64);

fn by_name(numbers: impl IntoIterator<Item = Number>) -> BTreeMap<String, u64> {
    numbers.into_iter().map(|(name, number)| (name.to_owned(), number)).collect()
}

fn of_transport(transport: &TransportStats) -> impl IntoIterator<Item = Number> {
    [
        ("datagrams_received", transport.datagrams_received),
        ("datagram_bytes_received", transport.bytes_received),
        ("datagram_receive_calls", transport.receive_calls),
        ("datagram_looks_moderated", transport.moderated_looks),
        ("datagrams_sent", transport.datagrams_sent),
        ("datagrams_dropped", transport.datagrams_dropped),
        ("datagram_send_calls", transport.send_calls),
        ("datagram_send_errors", transport.send_errors),
        ("datagrams_cut", transport.datagrams_cut),
        ("datagrams_not_opened", transport.datagrams_not_opened),
        ("datagrams_repeated", transport.datagrams_repeated),
    ]
}

fn of_monitors(monitor: MonitorStats) -> impl IntoIterator<Item = Number> {
    [
        ("monitor_requests_served", monitor.served),
        ("monitor_requests_refused", monitor.refused),
        ("monitor_requests_rejected", monitor.rejected),
        ("monitor_requests_dropped", monitor.dropped),
        ("monitor_reports_unsent", monitor.unsent),
    ]
}

fn of_core(stats: &Stats) -> impl IntoIterator<Item = Number> {
    [
        ("datagrams_rejected", stats.datagrams_rejected),
        ("datagrams_stale", stats.datagrams_stale),
        ("datagrams_too_long", stats.datagrams_too_long),
        ("gossip_withheld", stats.gossip_withheld),
        ("datagrams_unfinished", stats.datagrams_unfinished),
        ("packets_received", stats.packets_received),
        ("packets_duplicate", stats.packets_duplicate),
        ("packets_sent", stats.packets_sent),
        ("packets_retransmitted", stats.packets_retransmitted),
        ("token_visits", stats.token_visits),
        ("tokens_retransmitted", stats.tokens_retransmitted),
        ("messages_sent", stats.messages_sent),
        ("messages_delivered", stats.messages_delivered),
        ("deliveries_put_off", stats.deliveries_put_off),
        ("messages_unroutable", stats.messages_unroutable),
        ("fragments_dropped", stats.fragments_dropped),
        ("rings_installed", stats.rings_installed),
        ("attempts_failed", stats.attempts_failed),
        ("sessions_accepted", stats.sessions_accepted),
        ("sessions_refused", stats.sessions_refused),
        ("handshakes_timed_out", stats.handshakes_timed_out),
        ("sessions_errored", stats.sessions_errored),
        ("sessions_slow", stats.sessions_slow),
        ("readers_given_up", stats.readers_given_up),
        ("groups_messages_rejected", stats.groups_messages_rejected),
    ]
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::Ipv4Addr;
    use std::os::unix::net::UnixStream;

    use antiphon_proto::config::Daemon;
    use antiphon_proto::time::Instant;
    use antiphon_proto::{Boot, NameHash, Node, Outputs};
    use antiphon_wire::ids::{ClusterHash, DaemonId};
    use antiphon_wire::names::DaemonName;

    use super::*;

    fn config(daemons: Vec<Daemon>) -> Config {
        Config::new(Cluster { daemons, hash: ClusterHash(1) }, DaemonId(0))
    }

    fn node(config: Config) -> Node {
        let boot = Boot { incarnation: 1, epoch: 1, seed: 1, name_hash: NameHash::fixed() };
        Node::new(config, boot, Instant(0), &mut Outputs::default())
    }

    /// A configuration of the largest cluster, as it comes about after many attempts that others did not answer.
    fn installed(config: &Config, status: &Status) -> Event {
        let names: Vec<String> =
            config.cluster.daemons.iter().map(|daemon| daemon.name.to_string()).collect();
        let member = |id| ProcessId { daemon: DaemonId(id), incarnation: 1 };
        let reasons = vec![format!("no answer from {}", names.join(", ")); 32];
        Event::Installed { ring: status.ring, members: (0..128).map(member).collect(), reasons }
    }

    #[test]
    fn the_longest_report_fits_a_fresh_socket_and_has_the_last_configuration() {
        let daemon = |id: u8| {
            let name = DaemonName::new(format!("daemons-of-many-{id:03}").as_bytes()).expect("legal");
            Daemon { name, address: Ipv4Addr::new(127, 0, 0, id) }
        };
        let config = config((0..128).map(daemon).collect());
        let mut board = StatusBoard::new(&config);
        let node = node(config.clone());
        let mut status = node.status();
        let event = installed(&config, &status);
        (0..MAX_CONFIGURATIONS).for_each(|_| board.on_event(&event));
        if let Event::Installed { reasons, .. } = event {
            status.reasons = reasons;
        }
        let (core, transport, monitor) = (node.stats(), TransportStats::default(), MonitorStats::default());
        let counted = Counters { core, transport, monitor, accepts_refused: 0 };
        let report = board.report(Duration::from_millis(1), &status, &node.readers(), &counted);
        assert_eq!(report.configurations.len(), 1);
        assert_eq!(report.configurations[0].reasons, report.reasons);
        let (mut near, _far) = UnixStream::pair().expect("a pair");
        near.set_nonblocking(true).expect("non-blocking");
        let text = serde_json::to_string(&report).expect("JSON");
        near.write_all(text.as_bytes()).expect("taken whole");
        assert_eq!(serde_json::from_str::<StatusReport>(&text).expect("readable"), report);
    }

    #[test]
    fn the_latest_configurations_are_remembered() {
        let daemon = Daemon { name: DaemonName::new(b"a").expect("legal"), address: Ipv4Addr::LOCALHOST };
        let config = config(vec![daemon]);
        let mut board = StatusBoard::new(&config);
        let status = node(config).status();
        for number in 0..20 {
            let (ring, members) = (status.ring, Vec::new());
            board.on_event(&Event::Installed { ring, members, reasons: vec![number.to_string()] });
        }
        let reasons: Vec<&str> =
            board.configurations.iter().map(|installed| &*installed.reasons[0]).collect();
        assert_eq!(reasons.len(), MAX_CONFIGURATIONS);
        assert_eq!((reasons[0], reasons[15]), ("4", "19"));
    }
}
