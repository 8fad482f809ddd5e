//! What happens in the core, as log lines.

use std::time::Duration;

use antiphon_proto::config::{Cluster, Config};
use antiphon_proto::time::Instant;
use antiphon_proto::{CloseReason, Event};
use antiphon_wire::ids::{ProcessId, SessionId};
use antiphon_wire::ring::VERSION;
use antiphon_wire::ring::piece::MAX_PIECES;
use tracing::{debug, error, info, warn};

/// Targets of lines on what the core does, which `DebugFlags` can choose from.
pub(crate) mod target {
    pub(crate) const MEMBERSHIP: &str = "antiphon_daemon::membership";
    pub(crate) const GROUPS: &str = "antiphon_daemon::groups";
    pub(crate) const SESSIONS: &str = "antiphon_daemon::sessions";
}

/// Lines in a second on clients that never had a session: whoever reaches the port can cause any number of them.
const STRANGERS_TOLD: u32 = 10;

/// Turns events into log lines, with the names that the configuration gives.
#[derive(Debug)]
pub(crate) struct EventLog {
    config: Config,
    strangers: Strangers,
}

/// Clients that were closed before they had a session.
#[derive(Default, Debug)]
struct Strangers {
    /// When the present second began.
    since: Instant,
    /// How many were told of in this second.
    told: u32,
    /// How many were not, since one was told of.
    untold: u64,
}

impl Strangers {
    /// How many were left out before the next one; `None` if that one is left out too.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if now.since(self.since) >= Duration::from_secs(1) {
            (self.since, self.told) = (now, 0);
        }
        if self.told == STRANGERS_TOLD {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

impl EventLog {
    pub(crate) fn new(config: &Config) -> Self {
        Self { config: config.clone(), strangers: Strangers::default() }
    }

    /// Goes over to another list of daemons.
    pub(crate) fn adopt(&mut self, cluster: &Cluster) {
        self.config.cluster.clone_from(cluster);
    }

    /// Logs one event.
    pub(crate) fn on_event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::MembershipState { from, to, reason } => {
                debug!(target: target::MEMBERSHIP, "membership: {from} -> {to}: {reason}");
            }
            Event::Installed { ring, members, reasons } => {
                info!(
                    target: target::MEMBERSHIP,
                    "configuration {ring} with {} of {} daemons: {} ({})",
                    members.len(),
                    self.config.cluster.daemons.len(),
                    self.list(members),
                    reasons.join("; ")
                );
            }
            Event::Settled { ring } => {
                debug!(target: target::GROUPS, "groups of configuration {ring} are settled");
            }
            Event::SessionAccepted(id, name) => info!(target: target::SESSIONS, "{name} connected as {id}"),
            Event::SessionClosed(id, Some(name), reason) => self.closed(&format!("{name} ({id})"), *reason),
            Event::SessionClosed(id, None, reason) => self.closed_early(*id, *reason, now),
            Event::DuplicateDaemon(process) => error!(
                target: target::MEMBERSHIP,
                "another process, {process}, says that it is {}; give each daemon a name and an address of its own",
                self.config.name_of(*process)
            ),
            Event::OnlyHeard(process) => warn!(
                target: target::MEMBERSHIP,
                "gossip of {} arrives, but nothing that it tells to this daemon alone, so that no ring can be formed with it; \
                 let UDP through between the two in both directions, to the segment's port and to the one after it",
                self.config.name_of(*process)
            ),
            Event::OnlyTold(process) => warn!(
                target: target::MEMBERSHIP,
                "what {} tells to this daemon alone arrives, but not its gossip, so that no ring can be formed with it; \
                 see that UDP to the segment's port gets through, in datagrams of DatagramBytes too, which a narrower link \
                 swallows, and if its address is of multicast or broadcast, that the network brings this to the interface \
                 that has this daemon's address",
                self.config.name_of(*process)
            ),
            Event::ForeignCluster { cluster } => warn!(
                target: target::MEMBERSHIP,
                "a daemon with another configuration (hash {cluster}) is heard and ignored; \
                 segments, names, addresses and their order must be the same everywhere"
            ),
            Event::ForeignVersion { version } => warn!(
                target: target::MEMBERSHIP,
                "a daemon that speaks version {version} of the protocol between daemons is heard and ignored; \
                 this one speaks {VERSION}; run the same build everywhere"
            ),
            Event::DatagramTooLong { kind, bytes } => error!(
                target: target::MEMBERSHIP,
                "a {kind:?} of {bytes} bytes needs more than {MAX_PIECES} datagrams, so that no ring can form; \
                 raise DatagramBytes everywhere"
            ),
            Event::Reloaded { .. } => {}
            Event::Stopped => debug!(target: target::MEMBERSHIP, "goodbye said"),
        }
    }

    fn list(&self, members: &[ProcessId]) -> String {
        let names: Vec<String> = members.iter().map(|member| self.config.name_of(*member)).collect();
        names.join(", ")
    }

    fn closed_early(&mut self, id: SessionId, reason: CloseReason, now: Instant) {
        // What is only told for debugging leaves the others their lines.
        if !matches!(reason, CloseReason::HungUpEarly | CloseReason::Shutdown) {
            let Some(untold) = self.strangers.next(now) else { return };
            if untold > 0 {
                info!(target: target::SESSIONS, "{untold} more were closed before they had a session");
            }
        }
        self.closed(&format!("client {id}"), reason);
    }

    fn closed(&self, who: &str, reason: CloseReason) {
        match reason {
            CloseReason::Disconnected => info!(target: target::SESSIONS, "{who} disconnected"),
            CloseReason::Refused(code) => info!(target: target::SESSIONS, "{who} refused: {code}"),
            CloseReason::HandshakeTimeout => {
                info!(target: target::SESSIONS, "{who} closed: it did not finish the handshake in time")
            }
            CloseReason::ProtocolError(how) => {
                warn!(target: target::SESSIONS, "{who} closed: it broke the protocol: {how}")
            }
            CloseReason::SlowReader => {
                let limits = &self.config.sessions;
                warn!(
                    target: target::SESSIONS,
                    "{who} closed: it reads too slowly, and {} MiB, or {} messages (MaxSessionMessages), waited for it; \
                     see \"Slow clients\" in docs/operations.md",
                    limits.max_outbox_bytes >> 20,
                    limits.max_outbox_messages
                );
            }
            CloseReason::OutboxesFull => warn!(
                target: target::SESSIONS,
                "{who} closed: what all clients have not read, or have sent of requests that are not whole, took more than \
                 {} MiB (OutboxLimit), and this one had the most of it; see \"Slow clients\" in docs/operations.md",
                self.config.sessions.max_kept_bytes >> 20
            ),
            CloseReason::Shutdown => debug!(target: target::SESSIONS, "{who} closed: the daemon is leaving"),
            CloseReason::HungUp => info!(target: target::SESSIONS, "{who} hung up without a goodbye"),
            CloseReason::HungUpEarly => {
                debug!(target: target::SESSIONS, "{who} hung up before the handshake was finished")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::ids::{ClusterHash, DaemonId};

    use super::*;

    #[test]
    fn those_that_hang_up_early_do_not_hide_those_that_are_refused() {
        let cluster = Cluster { daemons: Vec::new(), hash: ClusterHash(1) };
        let (mut log, now) = (EventLog::new(&Config::new(cluster, DaemonId(0))), Instant(1 << 40));
        for _ in 0..=STRANGERS_TOLD {
            log.on_event(&Event::SessionClosed(SessionId(1), None, CloseReason::HungUpEarly), now);
        }
        assert_eq!(log.strangers.next(now), Some(0));
    }

    #[test]
    fn of_many_strangers_in_a_second_some_are_told_and_the_others_counted() {
        let (mut strangers, begin) = (Strangers::default(), Instant(1 << 40));
        let mut next = |milliseconds| strangers.next(begin + Duration::from_millis(milliseconds));
        for _ in 0..STRANGERS_TOLD {
            assert_eq!(next(0), Some(0));
        }
        assert_eq!([next(500), next(999)], [None, None]);
        assert_eq!([next(1000), next(1000)], [Some(2), Some(0)]);
    }
}
