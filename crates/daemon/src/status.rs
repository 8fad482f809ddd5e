//! Where a daemon stands, for the person who runs it.
//!
//! ```text
//! {
//!   "daemon": name, "version", "configuration": hash, "daemons": [names], "uptime_ms",
//!   "state": of the membership, "settled": whether clients may send,
//!   "ring": identity, "members": [names], "reasons": [why it came about, or why it is being left],
//!   "views": [the last configurations, the latest last: {"at", "ring", "members", "reasons"}],
//!   "behind": [the slowest readers: {"session", "messages", "bytes"}],
//!   "gauges": {name: number}, "counters": {name: number since the start}
//! }
//! ```

use std::collections::VecDeque;

use antiphon_proto::config::Config;
use antiphon_proto::{Event, Stats, Status};
use antiphon_wire::ids::ProcessId;
use antiphon_wire::names::DaemonName;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::transport::TransportStats;

/// Configurations that are remembered.
const MAX_VIEWS: usize = 16;
/// What they may take of a report all together, so that the buffer of a fresh socket takes it whole.
const MAX_VIEWS_BYTES: usize = 64 << 10;

/// What the status tells beside the core's own.
#[derive(Debug)]
pub(crate) struct StatusBoard {
    me: Option<DaemonName>,
    names: Vec<DaemonName>,
    cluster: u32,
    views: VecDeque<Value>,
    duplicates_heard: u64,
    foreign_clusters: u64,
    foreign_versions: u64,
}

impl StatusBoard {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            me: config.daemon(config.me).map(|daemon| daemon.name),
            names: config.daemons.iter().map(|daemon| daemon.name).collect(),
            cluster: config.cluster,
            views: VecDeque::new(),
            duplicates_heard: 0,
            foreign_clusters: 0,
            foreign_versions: 0,
        }
    }

    /// Takes note of what happened in the core.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Installed { ring, members, reasons } => {
                self.views.push_back(json!({
                    "at": Timestamp::now().to_string(),
                    "ring": ring.to_string(),
                    "members": self.list(members),
                    "reasons": reasons,
                }));
                self.forget_old_views();
            }
            Event::DuplicateDaemon(_) => self.duplicates_heard += 1,
            Event::ForeignCluster { .. } => self.foreign_clusters += 1,
            Event::ForeignVersion { .. } => self.foreign_versions += 1,
            Event::MembershipState { .. }
            | Event::Settled { .. }
            | Event::SessionAccepted(..)
            | Event::SessionClosed(..)
            | Event::Stopped => {}
        }
    }

    /// Keeps the latest configurations, and the very last however long it is.
    fn forget_old_views(&mut self) {
        let mut bytes = 0;
        let kept = self.views.iter().rev().take(MAX_VIEWS).take_while(|view| {
            bytes += view.to_string().len();
            bytes <= MAX_VIEWS_BYTES
        });
        let kept = kept.count().max(1);
        self.views.drain(..self.views.len().saturating_sub(kept));
    }

    /// The whole report.
    pub(crate) fn report(
        &self,
        uptime_ms: u64,
        status: &Status,
        stats: &Stats,
        transport: &TransportStats,
        accepts_refused: u64,
    ) -> Value {
        let behind = status.behind.iter().map(|session| {
            let (messages, bytes) = (session.messages, session.bytes);
            json!({"session": session.member.to_string(), "messages": messages, "bytes": bytes})
        });
        let mut counters = counters(stats, transport);
        counters["accepts_refused"] = json!(accepts_refused);
        counters["duplicate_daemons_heard"] = json!(self.duplicates_heard);
        counters["foreign_clusters_heard"] = json!(self.foreign_clusters);
        counters["foreign_versions_heard"] = json!(self.foreign_versions);
        json!({
            "daemon": self.me.map(|name| name.to_string()),
            "version": env!("CARGO_PKG_VERSION"),
            "configuration": format!("{:08x}", self.cluster),
            "daemons": self.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "uptime_ms": uptime_ms,
            "state": status.state,
            "settled": status.settled,
            "ring": status.ring.to_string(),
            "members": self.list(&status.members),
            "reasons": status.reasons,
            "views": self.views,
            "behind": behind.collect::<Vec<_>>(),
            "gauges": {
                "daemons_configured": self.names.len(),
                "daemons_in_ring": status.members.len(),
                "sessions": status.sessions,
                "groups": status.groups,
                "packets_held": status.packets_held,
                "messages_waiting": status.messages_waiting,
                "bytes_waiting": status.bytes_waiting,
            },
            "counters": counters,
        })
    }

    fn list(&self, members: &[ProcessId]) -> Vec<String> {
        let name = |member: &ProcessId| match self.names.get(member.daemon.index()) {
            Some(name) => name.to_string(),
            None => member.to_string(),
        };
        members.iter().map(name).collect()
    }
}

fn counters(stats: &Stats, transport: &TransportStats) -> Value {
    json!({
        "datagrams_received": transport.datagrams_received,
        "datagram_bytes_received": transport.bytes_received,
        "datagram_receive_calls": transport.receive_calls,
        "datagram_looks_moderated": transport.moderated_looks,
        "datagrams_sent": transport.datagrams_sent,
        "datagrams_dropped": transport.datagrams_dropped,
        "datagram_send_calls": transport.send_calls,
        "datagram_send_errors": transport.send_errors,
        "datagrams_cut": transport.datagrams_cut,
        "datagrams_rejected": stats.datagrams_rejected,
        "datagrams_stale": stats.datagrams_stale,
        "packets_received": stats.packets_received,
        "packets_duplicate": stats.packets_duplicate,
        "packets_sent": stats.packets_sent,
        "packets_retransmitted": stats.packets_retransmitted,
        "token_visits": stats.token_visits,
        "tokens_retransmitted": stats.tokens_retransmitted,
        "messages_sent": stats.messages_sent,
        "messages_delivered": stats.messages_delivered,
        "messages_unroutable": stats.messages_unroutable,
        "fragments_dropped": stats.fragments_dropped,
        "rings_installed": stats.rings_installed,
        "attempts_failed": stats.attempts_failed,
        "sessions_accepted": stats.sessions_accepted,
        "sessions_refused": stats.sessions_refused,
        "sessions_errored": stats.sessions_errored,
        "sessions_slow": stats.sessions_slow,
        "groups_messages_rejected": stats.groups_messages_rejected,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::Ipv4Addr;
    use std::os::unix::net::UnixStream;

    use antiphon_proto::config::Daemon;
    use antiphon_proto::time::Instant;
    use antiphon_proto::{Node, Outputs};
    use antiphon_wire::ids::DaemonId;

    use super::*;

    /// A configuration of the largest cluster, as it comes about after many attempts that others did not answer.
    fn installed(config: &Config, status: &Status) -> Event {
        let names: Vec<String> = config.daemons.iter().map(|daemon| daemon.name.to_string()).collect();
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
        let config = Config::new((0..128).map(daemon).collect(), DaemonId(0), 1);
        let mut board = StatusBoard::new(&config);
        let node = Node::new(config.clone(), 1, 1, 1, Instant(0), &mut Outputs::default());
        let mut status = node.status();
        let event = installed(&config, &status);
        (0..MAX_VIEWS).for_each(|_| board.event(&event));
        if let Event::Installed { reasons, .. } = event {
            status.reasons = reasons;
        }
        let report = board.report(1, &status, &node.stats(), &TransportStats::default(), 0);
        assert_eq!(report["views"].as_array().map(Vec::len), Some(1));
        assert_eq!(report["views"][0]["reasons"], report["reasons"]);
        let (mut near, _far) = UnixStream::pair().expect("a pair");
        near.set_nonblocking(true).expect("non-blocking");
        near.write_all(report.to_string().as_bytes()).expect("taken whole");
    }

    #[test]
    fn the_latest_configurations_are_remembered() {
        let daemon = Daemon { name: DaemonName::new(b"a").expect("legal"), address: Ipv4Addr::LOCALHOST };
        let config = Config::new(vec![daemon], DaemonId(0), 1);
        let mut board = StatusBoard::new(&config);
        let status = Node::new(config, 1, 1, 1, Instant(0), &mut Outputs::default()).status();
        for number in 0..20 {
            let (ring, members) = (status.ring, Vec::new());
            board.event(&Event::Installed { ring, members, reasons: vec![number.to_string()] });
        }
        let reasons: Vec<&Value> = board.views.iter().map(|view| &view["reasons"][0]).collect();
        assert_eq!(reasons.len(), MAX_VIEWS);
        assert_eq!((reasons[0], reasons[15]), (&json!("4"), &json!("19")));
    }
}
