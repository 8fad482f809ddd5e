//! What daemons tell each other about whom they hear, and the small requests between them.

use std::collections::BTreeSet;

use bytes::BufMut;

use super::codec::{processes, put_processes, put_ring, ring, sorted_processes};
use crate::ids::{ProcessId, RingId, Seq};
use crate::reader::{DecodeError, Reader};

/// Longest cause in a join; the rest is cut off.
const MAX_CAUSE_BYTES: usize = 160;

/// Most processes that the rows of a join may name: four runs of each of the 128 daemons that there may be. A
/// row takes a bit for each of them on its way, but much more once it is read.
const MAX_NAMED: usize = 512;

/// Said by a daemon that looks for a ring: whom it hears, and what it was told about whom others hear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Join {
    /// The sender.
    pub from: ProcessId,
    /// The highest epoch that it has proposed, accepted or booted in: one that is not smaller than an attempt's shows
    /// that a member has given the attempt up.
    pub epoch: u64,
    /// Grows with every join of this process.
    pub version: u64,
    /// The processes that the sender wants to merge with, when a merge is why it gathers.
    pub wanted: Vec<ProcessId>,
    /// Why it left its ring, in words for the logs of those who follow it.
    pub cause: String,
    /// Whom the sender hears, and the freshest rows it knows of others.
    pub rows: Vec<HearsRow>,
}

/// Whom a process hears directly: one row of the matrix that the members of a ring are chosen from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HearsRow {
    /// Whose row.
    pub of: ProcessId,
    /// The version of the join it was said in.
    pub version: u64,
    /// Whom it hears.
    pub hears: BTreeSet<ProcessId>,
}

/// Said by every daemon while configured daemons are missing from its ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The sender.
    pub from: ProcessId,
    /// Its ring.
    pub ring: RingId,
    /// The members of that ring.
    pub members: Vec<ProcessId>,
    /// Whose hellos the sender has heard lately.
    pub hears: BTreeSet<ProcessId>,
}

/// The sender leaves now; nobody needs to wait for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leave {
    /// The sender.
    pub from: ProcessId,
}

/// The representative of one ring asks that of another to start a merge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergeRequest {
    /// The asking representative.
    pub from: ProcessId,
}

/// Said to a daemon whose gossip is heard, to show that what is told to it alone arrives as well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// The sender.
    pub from: ProcessId,
}

/// A member has messages while the token rests elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wake {
    /// The member.
    pub from: ProcessId,
    /// Its ring.
    pub ring: RingId,
    /// The last hop of the token that it has seen.
    pub hop: u64,
}

/// Tells without the token up to where packets are held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    /// The member.
    pub from: ProcessId,
    /// Its ring.
    pub ring: RingId,
    /// Up to where it holds everything.
    pub ack: Seq,
    /// Up to where it knows that every member does; not beyond `ack`.
    pub stable: Seq,
}

impl Join {
    /// Whether its sender hears that process.
    #[must_use]
    pub fn hears(&self, process: ProcessId) -> bool {
        self.rows.iter().any(|row| row.of == self.from && row.hears.contains(&process))
    }

    /// Rows are written as bitmaps over one table of all processes that they name.
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        let (table, rows) = self.table();
        to.put_u64_le(self.epoch);
        to.put_u64_le(self.version);
        put_processes(self.wanted.iter(), to);
        put_cause(&self.cause, to);
        put_processes(table.iter(), to);
        to.put_u16_le(u16::try_from(rows.len()).unwrap_or(u16::MAX));
        rows.iter().for_each(|row| put_row(row, &table, to));
    }

    /// The processes that the rows name, ascending, and the rows. The first that would name too many and
    /// those behind it are left out.
    fn table(&self) -> (Vec<ProcessId>, &[HearsRow]) {
        let mut table = BTreeSet::new();
        let fits = |row: &&HearsRow| {
            let named = row.hears.iter().chain([&row.of]).copied();
            let new: BTreeSet<ProcessId> = named.filter(|process| !table.contains(process)).collect();
            let fits = table.len() + new.len() <= MAX_NAMED;
            if fits {
                table.extend(new);
            }
            fits
        };
        let fitting = self.rows.iter().take(MAX_NAMED).take_while(fits).count();
        (table.into_iter().collect(), self.rows.get(..fitting).unwrap_or_default())
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch = reader.u64()?;
        let version = reader.u64()?;
        let wanted = processes(reader)?;
        let cause = cause(reader)?;
        let table = sorted_processes(reader)?;
        if table.len() > MAX_NAMED {
            return Err(reader.bad_value("number of processes in a join", table.len() as u64));
        }
        let rows = reader.count(10 + table.len().div_ceil(8))?;
        if rows > table.len() {
            return Err(reader.bad_value("number of rows in a join", rows as u64));
        }
        let rows = (0..rows).map(|_| row(&table, reader)).collect::<Result<_, _>>()?;
        Ok(Self { from, epoch, version, wanted, cause, rows })
    }
}

fn put_row(row: &HearsRow, table: &[ProcessId], to: &mut impl BufMut) {
    let position = |process: &ProcessId| table.binary_search(process).ok();
    to.put_u16_le(position(&row.of).and_then(|at| u16::try_from(at).ok()).unwrap_or(u16::MAX));
    to.put_u64_le(row.version);
    let mut bitmap = vec![0u8; table.len().div_ceil(8)];
    for at in row.hears.iter().filter_map(position) {
        if let Some(byte) = bitmap.get_mut(at / 8) {
            *byte |= 1 << (at % 8);
        }
    }
    to.put_slice(&bitmap);
}

fn put_cause(cause: &str, to: &mut impl BufMut) {
    let longest = cause.len().min(MAX_CAUSE_BYTES);
    let cut = (0..=longest).rev().find(|at| cause.is_char_boundary(*at)).unwrap_or_default();
    let bytes = cause.as_bytes().get(..cut).unwrap_or_default();
    to.put_u8(u8::try_from(bytes.len()).unwrap_or_default());
    to.put_slice(bytes);
}

/// A cause ends up in a log, so it must not be able to end a line there.
fn cause(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let length = usize::from(reader.u8()?);
    let bytes = reader.take(length)?;
    Ok(String::from_utf8_lossy(bytes).chars().map(|it| if it.is_control() { ' ' } else { it }).collect())
}

fn row(table: &[ProcessId], reader: &mut Reader<'_>) -> Result<HearsRow, DecodeError> {
    let at = reader.u16()?;
    let of = table.get(usize::from(at)).copied();
    let of = of.ok_or_else(|| reader.bad_value("row index", u64::from(at)))?;
    let version = reader.u64()?;
    let bitmap = reader.take(table.len().div_ceil(8))?;
    let is_set = |at: usize| bitmap.get(at / 8).is_some_and(|byte| byte & (1 << (at % 8)) != 0);
    let hears = table.iter().enumerate().filter(|(at, _)| is_set(*at)).map(|(_, process)| *process).collect();
    Ok(HearsRow { of, version, hears })
}

impl Hello {
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        put_ring(self.ring, to);
        put_processes(self.members.iter(), to);
        put_processes(self.hears.iter(), to);
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let ring = ring(reader)?;
        let members = sorted_processes(reader)?;
        let hears = sorted_processes(reader)?.into_iter().collect();
        Ok(Self { from, ring, members, hears })
    }
}

impl Leave {
    pub(super) fn encode(&self, _to: &mut impl BufMut) {}

    pub(super) fn decode(from: ProcessId, _reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { from })
    }
}

impl MergeRequest {
    pub(super) fn encode(&self, _to: &mut impl BufMut) {}

    pub(super) fn decode(from: ProcessId, _reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { from })
    }
}

impl Probe {
    pub(super) fn encode(&self, _to: &mut impl BufMut) {}

    pub(super) fn decode(from: ProcessId, _reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { from })
    }
}

impl Wake {
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        put_ring(self.ring, to);
        to.put_u64_le(self.hop);
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { from, ring: ring(reader)?, hop: reader.u64()? })
    }
}

impl Ack {
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        put_ring(self.ring, to);
        to.put_u64_le(self.ack.0);
        to.put_u64_le(self.stable.0);
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (ring, ack, stable) = (ring(reader)?, Seq(reader.u64()?), Seq(reader.u64()?));
        if stable > ack {
            return Err(reader.bad_value("stable seq", stable.0));
        }
        Ok(Self { from, ring, ack, stable })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::ids::DaemonId;

    fn process(daemon: u16, incarnation: u64) -> ProcessId {
        ProcessId { daemon: DaemonId(daemon), incarnation }
    }

    fn join(rows: Vec<HearsRow>) -> Join {
        let (from, cause) = (process(0, 1), String::new());
        Join { from, epoch: 1, version: 1, wanted: Vec::new(), cause, rows }
    }

    fn read(join: &Join) -> Join {
        let mut bytes = BytesMut::new();
        join.encode(&mut bytes);
        Join::decode(join.from, &mut Reader::new(&bytes, "join")).expect("legal")
    }

    #[test]
    fn rows_that_name_too_many_processes_together_are_left_out_from_the_last() {
        let row = |daemon| {
            let hears = (0..128).map(|run| process(daemon, run)).collect();
            HearsRow { of: process(daemon, 0), version: 1, hears }
        };
        for rows in [1, 4, 5] {
            let said = join((0..rows).map(row).collect());
            assert!(read(&said).rows == said.rows[..said.rows.len().min(4)], "of {rows} rows");
        }
    }

    #[test]
    fn a_join_with_a_longer_table_or_more_rows_than_processes_is_refused() {
        let bytes = |named: u16, rows: u16| {
            let mut bytes = BytesMut::zeroed(8 + 8 + 2 + 1);
            let table: Vec<ProcessId> = (0..named).map(|daemon| process(daemon, 1)).collect();
            put_processes(table.iter(), &mut bytes);
            bytes.put_u16_le(rows);
            (0..rows).for_each(|_| bytes.put_bytes(0, 10 + table.len().div_ceil(8)));
            bytes.freeze()
        };
        for (named, rows, legal) in [(512, 512, true), (513, 1, false), (3, 3, true), (3, 4, false)] {
            let read = Join::decode(process(0, 1), &mut Reader::new(&bytes(named, rows), "join"));
            assert_eq!(read.is_ok(), legal, "{named} processes and {rows} rows");
        }
    }

    fn heard(said: &str) -> String {
        let mut bytes = BytesMut::new();
        put_cause(said, &mut bytes);
        cause(&mut Reader::new(&bytes, "join")).expect("whole")
    }

    #[test]
    fn a_cause_is_cut_between_characters_and_stays_one_line() {
        assert_eq!(heard("no token from südwest for 208 ms"), "no token from südwest for 208 ms");
        assert_eq!(heard(&"ü".repeat(200)), "ü".repeat(80));
        assert_eq!(heard("gone\nERROR all is lost"), "gone ERROR all is lost");
    }
}
