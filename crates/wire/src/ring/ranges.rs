//! Ranges of sequence numbers.

use bytes::BufMut;

use crate::ids::Seq;
use crate::reader::{DecodeError, Reader};

/// Most packets that one range may name; a longer run is given as several.
const MAX_RANGE_PACKETS: u64 = 1 << 20;

/// Packets `first` to `last`, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeqRange {
    /// The first.
    pub first: Seq,
    /// The last.
    pub last: Seq,
}

pub(crate) const RANGE_BYTES: usize = 12;

impl SeqRange {
    /// The numbers of the range.
    pub fn iter(self) -> impl Iterator<Item = Seq> {
        (self.first.0..=self.last.0).map(Seq)
    }

    /// Whether `seq` is one of them.
    #[must_use]
    pub fn contains(self, seq: Seq) -> bool {
        self.first <= seq && seq <= self.last
    }

    /// How many numbers.
    #[must_use]
    pub fn packets(self) -> u64 {
        self.last.ahead_of(self.first) + 1
    }

    pub(super) fn encode(self, to: &mut impl BufMut) {
        to.put_u64_le(self.first.0);
        to.put_u32_le(u32::try_from(self.packets()).unwrap_or(u32::MAX));
    }

    pub(super) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let first = Seq(reader.u64()?);
        let packets = u64::from(reader.u32()?);
        if packets == 0 || packets > MAX_RANGE_PACKETS || first.0 > u64::MAX / 2 {
            return Err(reader.bad_value("range length", packets));
        }
        Ok(Self { first, last: first.advanced(packets - 1) })
    }
}

/// Joins ascending numbers into ranges.
pub fn collect(seqs: impl IntoIterator<Item = Seq>) -> Vec<SeqRange> {
    let mut ranges: Vec<SeqRange> = Vec::new();
    for seq in seqs {
        match ranges.last_mut() {
            Some(range) if range.last.next() == seq && range.packets() < MAX_RANGE_PACKETS => {
                range.last = seq
            }
            _ => ranges.push(SeqRange { first: seq, last: seq }),
        }
    }
    ranges
}

/// Writes ranges behind their 16-bit count; what is over 65,535 is left out.
pub(crate) fn put_ranges(ranges: &[SeqRange], to: &mut impl BufMut) {
    let count = u16::try_from(ranges.len()).unwrap_or(u16::MAX);
    to.put_u16_le(count);
    for range in ranges.iter().take(usize::from(count)) {
        range.encode(to);
    }
}

/// Reads ranges, which must be ascending and apart.
pub(crate) fn ranges(reader: &mut Reader) -> Result<Vec<SeqRange>, DecodeError> {
    let count = reader.count(RANGE_BYTES)?;
    let list = (0..count).map(|_| SeqRange::decode(reader)).collect::<Result<Vec<_>, _>>()?;
    if list.is_sorted_by(|a, b| a.last < b.first) {
        Ok(list)
    } else {
        Err(reader.bad_value("range order", 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascending_numbers_become_ranges() {
        let ranges = collect([1, 2, 3, 7, 9, 10].map(Seq));
        let bounds: Vec<_> = ranges.iter().map(|range| (range.first.0, range.last.0)).collect();
        assert_eq!(bounds, [(1, 3), (7, 7), (9, 10)]);
    }
}
