//! What happens in the core, as log lines.

use antiphon_proto::config::Config;
use antiphon_proto::{CloseReason, Event};
use antiphon_wire::ids::{ProcessId, SessionId};
use antiphon_wire::names::{DaemonName, MemberName};
use tracing::{debug, error, info, warn};

/// Turns events into log lines, with the names that the configuration gives.
#[derive(Debug)]
pub(crate) struct EventLog {
    names: Vec<DaemonName>,
    foreign: Vec<u32>,
}

/// Foreign clusters that are told apart in the log; one line each is enough.
const FOREIGN_MAX: usize = 16;

impl EventLog {
    pub(crate) fn new(config: &Config) -> Self {
        Self { names: config.daemons.iter().map(|daemon| daemon.name).collect(), foreign: Vec::new() }
    }

    /// Logs one event.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::MembershipState { from, to, reason } => debug!("membership: {from} -> {to}: {reason}"),
            Event::Installed { ring, members, reasons } => {
                info!(
                    "configuration {ring} with {} of {} daemons: {} ({})",
                    members.len(),
                    self.names.len(),
                    self.list(members),
                    reasons.join("; ")
                );
            }
            Event::Settled { ring } => debug!("groups of configuration {ring} are settled"),
            Event::SessionAccepted(id, name) => info!("{name} connected as {id}"),
            Event::SessionClosed(id, name, reason) => closed(*id, name.as_ref(), *reason),
            Event::DuplicateDaemon(process) => error!(
                "another process, {process}, says that it is {}; give each daemon a name and an address of its own",
                self.name(*process)
            ),
            Event::ForeignCluster { cluster } => self.foreign_cluster(*cluster),
            Event::Stopped => debug!("goodbye said"),
        }
    }

    fn foreign_cluster(&mut self, cluster: u32) {
        if self.foreign.contains(&cluster) || self.foreign.len() == FOREIGN_MAX {
            return;
        }
        self.foreign.push(cluster);
        warn!(
            "a daemon with another configuration (hash {cluster:08x}) is heard and ignored; \
             segments, names, addresses and their order must be the same everywhere"
        );
    }

    fn list(&self, members: &[ProcessId]) -> String {
        let names: Vec<String> = members.iter().map(|member| self.name(*member)).collect();
        names.join(", ")
    }

    fn name(&self, process: ProcessId) -> String {
        self.names.get(process.daemon.index()).map_or_else(|| process.to_string(), ToString::to_string)
    }
}

fn closed(id: SessionId, name: Option<&MemberName>, reason: CloseReason) {
    let who = name.map_or_else(|| format!("client {id}"), |name| format!("{name} ({id})"));
    match reason {
        CloseReason::Disconnected => info!("{who} disconnected"),
        CloseReason::Refused(code) => info!("{who} refused with code {code}"),
        CloseReason::HandshakeTimeout => info!("{who} closed: it did not finish the handshake in time"),
        CloseReason::ProtocolError(how) => warn!("{who} closed: it broke the protocol: {how}"),
        CloseReason::SlowReader => warn!("{who} closed: it reads too slowly, and too much waits for it"),
        CloseReason::Shutdown => debug!("{who} closed: the daemon is leaving"),
    }
}
