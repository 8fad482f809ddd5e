//! What is the operator's to mend: it is reported once, and only so much of it, however often it comes.

use std::collections::BTreeSet;

use antiphon_wire::ids::{ClusterHash, ProcessId};
use antiphon_wire::ring::DatagramKind;
use bytes::Bytes;

use super::Membership;
use crate::cx::Cx;
use crate::io::Event;

/// Of each sort so many are reported.
const MAX_REPORTED: usize = 16;

/// What was reported.
#[derive(Debug, Default)]
pub(super) struct Oddities {
    clusters: BTreeSet<ClusterHash>,
    versions: BTreeSet<u8>,
    /// Other processes that claim to be this daemon.
    duplicates: BTreeSet<ProcessId>,
    /// What could not be sent because it was too long.
    too_long: BTreeSet<DatagramKind>,
}

impl Membership {
    /// A datagram is of daemons with another list of daemons.
    pub(super) fn report_cluster(&mut self, cluster: ClusterHash, cx: &mut Cx<'_>) {
        if !cx.config.understands(cluster) && report_once(&mut self.oddities.clusters, cluster) {
            cx.out.events.push(Event::ForeignCluster { cluster });
        }
    }

    /// A datagram is in another version of the format.
    pub(super) fn report_version(&mut self, version: u8, cx: &mut Cx<'_>) {
        if report_once(&mut self.oddities.versions, version) {
            cx.out.events.push(Event::ForeignVersion { version });
        }
    }

    /// Processes were named. A later run of this daemon than this one can only be another process that
    /// uses its place, for this one is still here. The others take it for a restart of this one, and
    /// what this one says for late words of the dead; so it is for this one to report it.
    pub(super) fn notice_double(&mut self, named: &[ProcessId], cx: &mut Cx<'_>) {
        let is_double = |it: &&ProcessId| it.daemon == self.me.daemon && it.incarnation > self.me.incarnation;
        for process in named.iter().filter(is_double) {
            if report_once(&mut self.oddities.duplicates, *process) {
                cx.out.events.push(Event::DuplicateDaemon(*process));
            }
        }
    }

    /// A step that cannot be sent is repeated in vain; only another configuration helps.
    pub(super) fn report_too_long(&mut self, whole: &Bytes, cx: &mut Cx<'_>) {
        cx.stats.datagrams_too_long += 1;
        if let Some(kind) = DatagramKind::of(whole)
            && report_once(&mut self.oddities.too_long, kind)
        {
            cx.out.events.push(Event::DatagramTooLong { kind, bytes: whole.len() });
        }
    }
}

/// Whether this is to be reported, which then counts as done.
fn report_once<T: Ord>(reported: &mut BTreeSet<T>, what: T) -> bool {
    reported.len() < MAX_REPORTED && reported.insert(what)
}
