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
                if self.views.len() == MAX_VIEWS {
                    self.views.pop_front();
                }
                self.views.push_back(json!({
                    "at": Timestamp::now().to_string(),
                    "ring": ring.to_string(),
                    "members": self.list(members),
                    "reasons": reasons,
                }));
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

    /// The whole report.
    pub(crate) fn report(
        &self,
        uptime_ms: u64,
        status: &Status,
        stats: &Stats,
        transport: &TransportStats,
    ) -> Value {
        let behind = status.behind.iter().map(|session| {
            let (messages, bytes) = (session.messages, session.bytes);
            json!({"session": session.member.to_string(), "messages": messages, "bytes": bytes})
        });
        let mut counters = counters(stats, transport);
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
        "datagram_send_errors": transport.send_errors,
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
