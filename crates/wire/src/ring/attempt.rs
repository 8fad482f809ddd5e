//! The steps of a membership attempt: a star around the proposing leader (docs/protocol.md, M6).
//!
//! PROPOSE → ACCEPT → COMMIT → recovery → DONE → INSTALL. Every step names the ring that the attempt
//! is for; what names another ring is ignored.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BufMut;

use super::CONTROL_HEADER_BYTES;
use super::codec::{PROCESS_BYTES, RING_BYTES, put_processes, put_ring, ring, sorted_processes};
use super::ranges::{LIST_BYTES, SeqRange, put_ranges, ranges};
use crate::ids::{ProcessId, RingId, Seq};
use crate::reader::{DecodeError, Reader};

/// The leader proposes a ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Propose {
    /// The leader.
    pub from: ProcessId,
    /// The ring.
    pub ring: RingId,
    /// Its members, ascending.
    pub members: Vec<ProcessId>,
}

/// A member accepts, and reports what it holds of its old ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accept {
    /// The member.
    pub from: ProcessId,
    /// The proposed ring.
    pub ring: RingId,
    /// What it holds.
    pub holdings: Holdings,
}

/// What a process holds of the ring that it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holdings {
    /// The ring that it comes from.
    pub old: RingId,
    /// Everything up to here.
    pub ack: Seq,
    /// What it holds beyond, ascending.
    pub beyond: Vec<SeqRange>,
    /// Up to where it knows that every member of the old ring holds everything.
    pub stable: Seq,
    /// Processes whose messages it must deliver even behind holes (Totem's obligation set).
    pub obligations: BTreeSet<ProcessId>,
}

impl Holdings {
    /// Whether the packet is held.
    #[must_use]
    pub fn holds(&self, seq: Seq) -> bool {
        if seq <= self.ack {
            return true;
        }
        let after = self.beyond.partition_point(|range| range.last < seq);
        self.beyond.get(after).is_some_and(|range| range.contains(seq))
    }

    /// The highest packet held.
    #[must_use]
    pub fn highest(&self) -> Seq {
        self.beyond.last().map_or(self.ack, |range| range.last)
    }
}

/// All members accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The leader.
    pub from: ProcessId,
    /// The ring.
    pub ring: RingId,
    /// Its members, and what each of them holds.
    pub reports: BTreeMap<ProcessId, Holdings>,
}

/// A member lacks packets of the old ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveryRequest {
    /// The member.
    pub from: ProcessId,
    /// The ring of the attempt.
    pub ring: RingId,
    /// The packets, ascending.
    pub missing: Vec<SeqRange>,
}

/// A member holds everything that its old ring's members hold together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// The member.
    pub from: ProcessId,
    /// The ring of the attempt.
    pub ring: RingId,
}

/// Every member is done: install the ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Install {
    /// The leader.
    pub from: ProcessId,
    /// The ring.
    pub ring: RingId,
}

impl Propose {
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        put_ring(self.ring, to);
        put_processes(self.members.iter(), to);
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { from, ring: ring(reader)?, members: sorted_processes(reader)? })
    }
}

impl Accept {
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        put_ring(self.ring, to);
        self.holdings.encode(to);
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { from, ring: ring(reader)?, holdings: Holdings::decode(reader)? })
    }
}

impl Holdings {
    fn encode(&self, to: &mut impl BufMut) {
        put_ring(self.old, to);
        to.put_u64_le(self.ack.0);
        to.put_u64_le(self.stable.0);
        put_ranges(&self.beyond, to);
        put_processes(self.obligations.iter(), to);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let old = ring(reader)?;
        let ack = Seq(reader.u64()?);
        let stable = Seq(reader.u64()?);
        let beyond = ranges(reader)?;
        let obligations = sorted_processes(reader)?.into_iter().collect();
        if stable > ack || ack.0 > u64::MAX / 2 || beyond.first().is_some_and(|range| range.first <= ack) {
            return Err(reader.bad_value("reported ack", ack.0));
        }
        Ok(Self { old, ack, beyond, stable, obligations })
    }
}

/// What a report has room for when it is said how long a commit may be: 188 ranges with small gaps. More are
/// rare.
const RANGES_BYTES: usize = LIST_BYTES + 376;

impl Commit {
    /// How long the commit of a ring of so many members may be: each promised to deliver the messages of
    /// all, and lacks packets here and there.
    #[must_use]
    pub fn longest_bytes(members: usize) -> usize {
        let holdings = RING_BYTES + 8 + 8 + RANGES_BYTES + 2 + members * PROCESS_BYTES;
        CONTROL_HEADER_BYTES + RING_BYTES + 2 + members * (PROCESS_BYTES + holdings)
    }

    pub(super) fn encode(&self, to: &mut impl BufMut) {
        put_ring(self.ring, to);
        put_processes(self.reports.keys(), to);
        for holdings in self.reports.values() {
            holdings.encode(to);
        }
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let ring = ring(reader)?;
        let members = sorted_processes(reader)?;
        let reports = members.into_iter().map(|member| Ok((member, Holdings::decode(reader)?)));
        Ok(Self { from, ring, reports: reports.collect::<Result<_, _>>()? })
    }
}

impl RecoveryRequest {
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        put_ring(self.ring, to);
        put_ranges(&self.missing, to);
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { from, ring: ring(reader)?, missing: ranges(reader)? })
    }
}

impl Done {
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        put_ring(self.ring, to);
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { from, ring: ring(reader)? })
    }
}

impl Install {
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        put_ring(self.ring, to);
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { from, ring: ring(reader)? })
    }
}
