//! From what a socket received to datagrams for the core: opened if they are sealed, and cut apart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use antiphon_wire::ids::DaemonId;
use antiphon_wire::ring::{KEY_ID, VERSION};
use bytes::Bytes;

use super::TransportStats;
use super::seal::{Refused, Seal};
use super::socket::Filled;

/// Opens datagrams, and says which it can not.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// Where datagrams lie once they are opened.
    parts: Vec<Range<usize>>,
    /// Of each daemon from which some came, and of strangers, how many could not be opened.
    not_opened: BTreeMap<Option<DaemonId>, u64>,
}

impl Inbound {
    /// Opens datagrams where they lie, appends them, and returns how many could not be opened. Those of another version
    /// of the protocol are handed on as they are: they are sealed in their own way, and refused by the core.
    pub(crate) fn open(
        &mut self,
        seal: &mut Seal,
        mut filled: Filled<'_>,
        datagrams: &mut Vec<Bytes>,
        stats: &mut TransportStats,
    ) -> u64 {
        let (mut begin, mut not_opened) = (0, 0);
        for datagram in filled.datagrams() {
            let is_foreign = datagram.first() != Some(&VERSION);
            let part = if is_foreign { Ok(0..datagram.len()) } else { seal.open(datagram) };
            match part {
                Ok(part) => self.parts.push(begin + part.start..begin + part.end),
                Err(Refused::NotOpened) => not_opened += 1,
                Err(Refused::Repeated) => stats.datagrams_repeated += 1,
            }
            begin += datagram.len();
        }
        if !self.parts.is_empty() {
            let bytes = filled.take();
            datagrams.extend(self.parts.drain(..).map(|part| bytes.slice(part)));
        }
        not_opened
    }

    /// Says, ever more rarely, whose datagrams can not be opened.
    pub(crate) fn complain(
        &mut self,
        source: SocketAddr,
        daemon: Option<DaemonId>,
        count: u64,
        has_key: bool,
    ) {
        let total = self.not_opened.entry(daemon).or_default();
        let before = std::mem::replace(total, *total + count);
        if before.checked_ilog2() == total.checked_ilog2() {
            return;
        }
        let why = if has_key {
            "is not sealed with a key of KeyFile"
        } else {
            "is sealed, and there is no KeyFile here"
        };
        tracing::warn!("what comes from {source} {why} ({total} datagrams so far)");
    }
}

/// Whether a daemon without a key can do nothing with a datagram.
pub(crate) fn is_sealed(datagram: &[u8]) -> bool {
    datagram.first() == Some(&VERSION) && datagram.get(KEY_ID).is_some_and(|key_id| *key_id != 0)
}
