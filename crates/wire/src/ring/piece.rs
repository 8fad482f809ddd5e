//! Control datagrams that are larger than a packet travel in pieces.
//!
//! There is no protocol to it: every step of membership is repeated until it is answered, so a lost
//! piece is made good by the next repetition of the whole. The same bytes are sent under the same number
//! again, so that repetitions add up at their receiver: of a datagram of a hundred pieces hardly any
//! repetition arrives whole.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes};

use super::{CONTROL_HEADER_BYTES, Datagram};
use crate::ids::{ClusterHash, ProcessId};
use crate::reader::{DecodeError, Reader};

/// Most pieces of one datagram.
pub const MAX_PIECES: usize = 255;

const PIECE_HEADER_BYTES: usize = CONTROL_HEADER_BYTES + 6;

/// A piece of a larger datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The sender.
    pub from: ProcessId,
    /// The same in all pieces, different in each datagram of the sender.
    pub number: u32,
    /// Which piece this is, from 0.
    pub index: u8,
    /// How many there are.
    pub count: u8,
    /// The piece.
    pub bytes: Bytes,
}

impl Piece {
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        to.put_u32_le(self.number);
        to.put_u8(self.index);
        to.put_u8(self.count);
        to.put_slice(&self.bytes);
    }

    /// Out of `datagram`, which `reader` reads.
    pub(super) fn decode(
        from: ProcessId,
        datagram: &Bytes,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let number = reader.u32()?;
        let index = reader.u8()?;
        let count = reader.u8()?;
        if index >= count {
            return Err(reader.bad_value("index of a piece", u64::from(index)));
        }
        let bytes = datagram.slice_ref(reader.take_rest());
        Ok(Self { from, number, index, count, bytes })
    }
}

/// The longest datagram that pieces of `datagram_bytes` can carry.
#[must_use]
pub fn longest(datagram_bytes: usize) -> usize {
    (piece_bytes(datagram_bytes) * MAX_PIECES).max(datagram_bytes)
}

/// The smallest pieces that can carry a datagram of so many bytes.
#[must_use]
pub fn smallest_pieces(bytes: usize) -> usize {
    bytes.div_ceil(MAX_PIECES) + PIECE_HEADER_BYTES
}

/// What a piece has room for.
fn piece_bytes(datagram_bytes: usize) -> usize {
    datagram_bytes.saturating_sub(PIECE_HEADER_BYTES).max(1)
}

/// Datagrams that a [`Splitter`] knows the numbers of.
const MAX_REMEMBERED: usize = 16;

/// Cuts the datagrams of one process.
#[derive(Debug)]
pub struct Splitter {
    from: ProcessId,
    next_number: u32,
    /// The last datagrams that were cut, with their numbers; the one that was cut last comes last.
    remembered: VecDeque<(Bytes, u32)>,
}

impl Splitter {
    /// For the datagrams of that process.
    #[must_use]
    pub fn new(from: ProcessId) -> Self {
        Self { from, next_number: 0, remembered: VecDeque::new() }
    }

    /// Cuts an encoded datagram so that each piece is at most `datagram_bytes` long. Returns it whole
    /// when it fits, and `None` when it would need more than [`MAX_PIECES`].
    pub fn split(
        &mut self,
        whole: &Bytes,
        datagram_bytes: usize,
        cluster: ClusterHash,
    ) -> Option<Vec<Bytes>> {
        if whole.len() <= datagram_bytes {
            return Some(vec![whole.clone()]);
        }
        let piece = piece_bytes(datagram_bytes);
        let count = u8::try_from(whole.len().div_ceil(piece)).ok()?;
        let (from, number) = (self.from, self.number_of(whole));
        let cut = |index: u8| {
            let start = usize::from(index) * piece;
            let bytes = whole.slice(start..(start + piece).min(whole.len()));
            Datagram::Piece(Piece { from, number, index, count, bytes }).encode(cluster)
        };
        Some((0..count).map(cut).collect())
    }

    /// The number that these bytes had last, or a new one.
    fn number_of(&mut self, whole: &Bytes) -> u32 {
        let known = self.remembered.iter().position(|(bytes, _)| bytes == whole);
        let entry = known.and_then(|at| self.remembered.remove(at)).unwrap_or_else(|| {
            let number = self.next_number;
            self.next_number = number.wrapping_add(1);
            (whole.clone(), number)
        });
        let number = entry.1;
        if self.remembered.len() == MAX_REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(entry);
        number
    }
}

/// Unfinished datagrams that an [`Assembler`] keeps; of one sender, so that what it says to everyone does
/// not end what it says to one; and of all, so that peers cannot make it grow.
const MAX_UNFINISHED_OF_ONE: usize = 4;
const MAX_UNFINISHED: usize = 256;

/// Puts datagrams together again.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    /// The one that a piece came of last comes last.
    unfinished: VecDeque<Unfinished>,
    dropped: u64,
}

#[derive(Clone, Debug)]
struct Unfinished {
    from: ProcessId,
    number: u32,
    pieces: Vec<Option<Bytes>>,
}

impl Unfinished {
    fn is_of(&self, piece: &Piece) -> bool {
        self.from == piece.from
            && self.number == piece.number
            && self.pieces.len() == usize::from(piece.count)
    }

    /// The datagram, if no piece is missing.
    fn whole(&self) -> Option<Bytes> {
        let pieces: Vec<&[u8]> = self.pieces.iter().map(Option::as_deref).collect::<Option<_>>()?;
        Some(pieces.concat().into())
    }
}

impl Assembler {
    /// Adds a piece; returns the datagram when it is complete.
    pub fn add(&mut self, piece: Piece) -> Option<Bytes> {
        let known = self.unfinished.iter().position(|unfinished| unfinished.is_of(&piece));
        let known = known.and_then(|at| self.unfinished.remove(at));
        let mut unfinished = known.unwrap_or_else(|| {
            self.make_room_for(piece.from);
            let pieces = vec![None; usize::from(piece.count)];
            Unfinished { from: piece.from, number: piece.number, pieces }
        });
        if let Some(place) = unfinished.pieces.get_mut(usize::from(piece.index)) {
            // A slice would keep all that was received with it in memory until the others come.
            *place = Some(Bytes::copy_from_slice(&piece.bytes));
        }
        let whole = unfinished.whole();
        if whole.is_none() {
            self.unfinished.push_back(unfinished);
        }
        whole
    }

    /// Drops the datagram that waited longest, of the sender if it has too many itself.
    fn make_room_for(&mut self, from: ProcessId) {
        let of_one = |unfinished: &Unfinished| unfinished.from == from;
        let oldest = if self.unfinished.iter().filter(|it| of_one(it)).count() >= MAX_UNFINISHED_OF_ONE {
            self.unfinished.iter().position(of_one)
        } else {
            (self.unfinished.len() >= MAX_UNFINISHED).then_some(0)
        };
        if oldest.and_then(|at| self.unfinished.remove(at)).is_some() {
            self.dropped += 1;
        }
    }

    /// Datagrams of which pieces were missing until others took their place.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DaemonId;

    const CLUSTER: ClusterHash = ClusterHash(7);

    fn process(daemon: u16, incarnation: u64) -> ProcessId {
        ProcessId { daemon: DaemonId(daemon), incarnation }
    }

    fn bytes(seed: u8, length: usize) -> Bytes {
        (0..length).map(|at| seed ^ at.to_le_bytes()[0]).collect()
    }

    fn split(splitter: &mut Splitter, whole: &Bytes) -> Vec<Piece> {
        let pieces = splitter.split(whole, 500, CLUSTER).expect("not too long");
        assert!(pieces.iter().all(|piece| piece.len() <= 500));
        let piece = |piece| match crate::ring::decode(piece) {
            Ok((_, Datagram::Piece(piece))) => piece,
            other => panic!("not a piece: {other:?}"),
        };
        pieces.into_iter().map(piece).collect()
    }

    #[test]
    fn pieces_in_any_order_make_the_datagram_again() {
        let whole = bytes(3, 3000);
        let mut pieces = split(&mut Splitter::new(process(3, 9)), &whole);
        pieces.reverse();
        let last = pieces.pop().expect("several");
        let mut assembler = Assembler::default();
        assert!(pieces.into_iter().all(|piece| assembler.add(piece).is_none()));
        assert_eq!(assembler.add(last), Some(whole));
    }

    #[test]
    fn repetitions_add_up_whatever_was_said_between_them() {
        let (whole, said_between) = (bytes(1, 30_000), bytes(2, 3000));
        let (mut splitter, mut assembler) = (Splitter::new(process(0, 1)), Assembler::default());
        let add = |assembler: &mut Assembler, pieces: Vec<Piece>| {
            pieces.into_iter().filter_map(|piece| assembler.add(piece)).collect::<Vec<_>>()
        };
        for repetition in 0..4 {
            // A quarter of the pieces arrives of each repetition.
            let arrived = split(&mut splitter, &whole).into_iter().skip(repetition).step_by(4).collect();
            let expected = if repetition == 3 { vec![whole.clone()] } else { vec![] };
            assert_eq!(add(&mut assembler, arrived), expected, "repetition {repetition}");
            let arrived = split(&mut splitter, &said_between);
            assert_eq!(add(&mut assembler, arrived), std::slice::from_ref(&said_between));
        }
    }

    #[test]
    fn datagrams_of_one_length_do_not_mix_nor_do_those_of_two_runs() {
        let (mut splitter, mut after_restart) = (Splitter::new(process(0, 1)), Splitter::new(process(0, 2)));
        let datagrams = [1, 2, 3].map(|seed| bytes(seed, 3000));
        let (mut assembler, mut arrived) = (Assembler::default(), Vec::new());
        for (whole, missing) in datagrams.iter().zip(0..) {
            let splitter = if missing == 2 { &mut after_restart } else { &mut splitter };
            let mut pieces = split(splitter, whole);
            pieces.remove(missing);
            arrived.extend(pieces);
        }
        assert!(arrived.into_iter().all(|piece| assembler.add(piece).is_none()));
    }

    #[test]
    fn a_splitter_forgets_what_was_not_said_for_long() {
        let mut splitter = Splitter::new(process(0, 1));
        let mut number = |seed| split(&mut splitter, &bytes(seed, 3000))[0].number;
        let first = number(0);
        let others: Vec<u32> = (1..=16).map(&mut number).collect();
        assert!(!others.contains(&first));
        assert_ne!(number(0), first, "forgotten");
        assert_eq!(number(16), others[15]);
        assert_eq!(splitter.remembered.len(), MAX_REMEMBERED);
    }

    #[test]
    fn unfinished_datagrams_of_one_sender_and_of_all_are_few_and_the_stalest_makes_way() {
        let mut assembler = Assembler::default();
        let piece = |from, number| Piece { from, number, index: 0, count: 2, bytes: bytes(0, 9) };
        let mut add = |from, number| {
            assert!(assembler.add(piece(from, number)).is_none());
            (assembler.unfinished.len() as u64, assembler.dropped())
        };
        (0..4).for_each(|number| assert_eq!(add(process(0, 1), number), (u64::from(number) + 1, 0)));
        assert_eq!(add(process(0, 1), 0), (4, 0), "a repetition");
        assert_eq!(add(process(0, 1), 4), (4, 1));
        (1..=252).for_each(|n| assert_eq!(add(process(0, 1 + n), 0), (4 + n, 1)));
        assert_eq!(add(process(1, 1), 0), (256, 2));
        assert_eq!(add(process(1, 1), 0), (256, 2), "a repetition");
        let first = assembler.unfinished.front().map(|it| (it.from, it.number));
        assert_eq!(first, Some((process(0, 1), 3)), "1 and 2 were stale, 0 was repeated");
    }

    #[test]
    fn what_needs_too_many_pieces_is_not_cut() {
        let mut splitter = Splitter::new(process(0, 1));
        for size in [256, 508, 1472] {
            let most = longest(size);
            assert_eq!(smallest_pieces(most), size);
            assert_eq!(splitter.split(&bytes(1, most), size, CLUSTER).map(|pieces| pieces.len()), Some(255));
            assert_eq!(splitter.split(&bytes(1, most + 1), size, CLUSTER), None);
        }
    }
}
