//! From what a socket received to what it is for: requests of monitors, and datagrams for the core, opened if they are
//! sealed, and cut apart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use antiphon_wire::ids::DaemonId;
use antiphon_wire::monitor;
use antiphon_wire::ring::{KEY_ID, VERSION};
use bytes::Bytes;

use super::links::LinkFilter;
use super::routes::Routes;
use super::seal::{Refused, Seal};
use super::socket::Filled;
use super::{Request, TransportStats};

/// Takes in what one call received.
pub(crate) struct Intake<'a> {
    pub(crate) me: SocketAddr,
    pub(crate) routes: &'a Routes,
    pub(crate) filter: &'a LinkFilter,
    pub(crate) seal: Option<&'a mut Seal>,
    pub(crate) inbound: &'a mut Inbound,
    /// Where requests of monitors go, if they are heard here.
    pub(crate) requests: Option<&'a mut Vec<Request>>,
    /// Where datagrams for the core go.
    pub(crate) datagrams: &'a mut Vec<Bytes>,
    pub(crate) stats: &'a mut TransportStats,
}

impl Intake<'_> {
    /// Hands on the datagrams of one buffer, all of one source, unless it is this daemon or one that is cut off.
    pub(crate) fn take(&mut self, source: SocketAddr, filled: Filled<'_>) {
        if source == self.me {
            return;
        }
        if self.is_cut(source) {
            self.stats.datagrams_cut += filled.count() as u64;
            return;
        }
        self.stats.bytes_received += filled.len() as u64;
        match &mut self.requests {
            Some(requests) if monitor::is_request(filled.first()) => {
                let mut cut_apart = Vec::new();
                cut(filled, &mut cut_apart);
                requests.extend(cut_apart.into_iter().map(|request| (source.ip(), request)));
            }
            _ => self.take_for_core(source, filled),
        }
    }

    fn is_cut(&self, source: SocketAddr) -> bool {
        !self.filter.is_whole()
            && self.routes.daemon_at(source).is_some_and(|daemon| self.filter.is_cut(daemon))
    }

    fn take_for_core(&mut self, source: SocketAddr, filled: Filled<'_>) {
        let refused = match &mut self.seal {
            Some(seal) => self.inbound.open(seal, filled, self.datagrams),
            None if is_sealed(filled.first()) => Refusals { not_opened: filled.count() as u64, repeated: 0 },
            None => return cut(filled, self.datagrams),
        };
        self.stats.datagrams_repeated += refused.repeated;
        if refused.not_opened > 0 {
            self.stats.datagrams_not_opened += refused.not_opened;
            let daemon = self.routes.daemon_at(source);
            self.inbound.complain(source, daemon, refused.not_opened, self.seal.is_some());
        }
    }
}

/// How many datagrams of a buffer were not handed on.
#[derive(Clone, Copy, Debug, Default)]
struct Refusals {
    /// They are not sealed with a key of this daemon, or are although it has none.
    not_opened: u64,
    /// They came before.
    repeated: u64,
}

/// Opens datagrams, and says which it cannot.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// Where datagrams lie once they are opened.
    parts: Vec<Range<usize>>,
    /// Of each daemon from which some came, and of strangers, how many could not be opened.
    not_opened: BTreeMap<Option<DaemonId>, u64>,
}

impl Inbound {
    /// Opens datagrams where they lie, appends them, and returns how many it refused. Those of another version
    /// of the protocol are handed on as they are: they are sealed in their own way, and refused by the core.
    fn open(&mut self, seal: &mut Seal, mut filled: Filled<'_>, datagrams: &mut Vec<Bytes>) -> Refusals {
        let (mut begin, mut refused) = (0, Refusals::default());
        for datagram in filled.datagrams() {
            let is_foreign = datagram.first() != Some(&VERSION);
            let part = if is_foreign { Ok(0..datagram.len()) } else { seal.open(datagram) };
            match part {
                Ok(part) => self.parts.push(begin + part.start..begin + part.end),
                Err(Refused::NotOpened) => refused.not_opened += 1,
                Err(Refused::Repeated) => refused.repeated += 1,
            }
            begin += datagram.len();
        }
        if !self.parts.is_empty() {
            let bytes = filled.take();
            datagrams.extend(self.parts.drain(..).map(|part| bytes.slice(part)));
        }
        refused
    }

    /// Says, ever more rarely, whose datagrams cannot be opened.
    fn complain(&mut self, source: SocketAddr, daemon: Option<DaemonId>, count: u64, has_key: bool) {
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

/// Cuts coalesced datagrams apart.
fn cut(filled: Filled<'_>, datagrams: &mut Vec<Bytes>) {
    let stride = filled.stride;
    let mut bytes = filled.take();
    while bytes.len() > stride {
        datagrams.push(bytes.split_to(stride));
    }
    datagrams.push(bytes);
}

/// Whether a daemon without a key can do nothing with a datagram.
fn is_sealed(datagram: &[u8]) -> bool {
    datagram.first() == Some(&VERSION) && datagram.get(KEY_ID).is_some_and(|key_id| *key_id != 0)
}
