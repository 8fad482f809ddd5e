//! Ranges of sequence numbers.

use bytes::BufMut;

use crate::ids::Seq;
use crate::reader::{DecodeError, Reader, put_number};

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

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let first = Seq(reader.u64()?);
        let packets = u64::from(reader.u32()?);
        Self::new(first, packets, reader)
    }

    /// Reads the next of a list.
    fn behind(before: Seq, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let between = u64::from(reader.number()?);
        let packets = u64::from(reader.number()?);
        Self::new(Seq(before.0.saturating_add(between).saturating_add(1)), packets, reader)
    }

    fn new(first: Seq, packets: u64, reader: &Reader<'_>) -> Result<Self, DecodeError> {
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

/// What a list of ranges takes beside its ranges.
pub(crate) const LIST_BYTES: usize = 2 + 8;
/// What each of them takes at least.
const LISTED_MIN_BYTES: usize = 2;

/// Writes ascending ranges: a 16-bit count, what precedes the first, and for each how many packets lie between
/// it and the one before, and how many are in it. What is over 65,535 is left out.
pub(crate) fn put_ranges(ranges: &[SeqRange], to: &mut impl BufMut) {
    let count = u16::try_from(ranges.len()).unwrap_or(u16::MAX);
    to.put_u16_le(count);
    let Some(first) = ranges.first() else { return };
    let mut before = Seq(first.first.0.saturating_sub(1));
    to.put_u64_le(before.0);
    for range in ranges.iter().take(usize::from(count)) {
        put_number(packets_between(before, range.first), to);
        put_number(usize::try_from(range.packets()).unwrap_or(usize::MAX), to);
        before = range.last;
    }
}

fn packets_between(before: Seq, seq: Seq) -> usize {
    usize::try_from(seq.ahead_of(before.next())).unwrap_or(usize::MAX)
}

/// Reads what [`put_ranges`] writes. The ranges are ascending and apart, because nothing else can be said.
pub(crate) fn ranges(reader: &mut Reader<'_>) -> Result<Vec<SeqRange>, DecodeError> {
    let count = reader.count(LISTED_MIN_BYTES)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut before = Seq(reader.u64()?);
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        let range = SeqRange::behind(before, reader)?;
        before = range.last;
        list.push(range);
    }
    Ok(list)
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

    #[test]
    fn lists_take_two_bytes_for_a_range_between_small_gaps() {
        let list = |bytes: &[u8]| ranges(&mut Reader::new(bytes, "list"));
        let every_second = collect((0..1000).map(|step| Seq((1 << 40) + 2 * step)));
        let far_apart = vec![
            SeqRange { first: Seq(1), last: Seq(MAX_RANGE_PACKETS) },
            SeqRange { first: Seq(MAX_RANGE_PACKETS + 1), last: Seq(MAX_RANGE_PACKETS + 1) },
            SeqRange { first: Seq(1 << 31), last: Seq(1 << 31) },
        ];
        for (ranges, bytes) in
            [(Vec::new(), 2), (every_second, LIST_BYTES + 2000), (far_apart, LIST_BYTES + 12)]
        {
            let mut written = Vec::new();
            put_ranges(&ranges, &mut written);
            assert_eq!(written.len(), bytes);
            assert_eq!(list(&written), Ok(ranges));
        }
        let one = |before: u64, between_and_packets: &[u8]| {
            list(&[&[1, 0], before.to_le_bytes().as_slice(), between_and_packets].concat())
        };
        assert!(one(6, &[0, 1]).is_ok());
        assert!(one(6, &[0, 0]).is_err(), "an empty range");
        assert!(one(u64::MAX - 1, &[9, 1]).is_err(), "a number that no ring gives out");
        assert!(one(6, &[0, 0xff, 0xff, 0xff, 0x7f]).is_err(), "a range of too many packets");
        assert!(list(&[9, 0, 1]).is_err(), "more ranges than can follow");
    }
}
