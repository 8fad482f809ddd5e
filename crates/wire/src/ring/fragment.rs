//! Control datagrams that are larger than a packet travel in pieces.
//!
//! There is no protocol to it: every step of membership is repeated until it is answered, so a lost
//! piece is made good by the next repetition of the whole.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Datagram, HEADER_BYTES};
use crate::ids::ProcessId;
use crate::reader::{DecodeError, Reader};

/// Most pieces of one datagram.
pub const MAX_FRAGMENTS: usize = 255;

const FRAGMENT_HEADER_BYTES: usize = HEADER_BYTES + 8 + 6;

/// A piece of a larger datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fragment {
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

impl Fragment {
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        to.put_u32_le(self.number);
        to.put_u8(self.index);
        to.put_u8(self.count);
        to.put_slice(&self.bytes);
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader) -> Result<Self, DecodeError> {
        let number = reader.u32()?;
        let index = reader.u8()?;
        let count = reader.u8()?;
        if index >= count {
            return Err(reader.bad_value("fragment index", u64::from(index)));
        }
        let bytes = reader.take(reader.remaining())?;
        Ok(Self { from, number, index, count, bytes })
    }
}

/// Cuts an encoded datagram so that each piece is at most `datagram_bytes` long. Returns it whole
/// when it fits, and nothing when it would need more than [`MAX_FRAGMENTS`].
#[must_use]
pub fn split(whole: &Bytes, from: ProcessId, number: u32, datagram_bytes: usize, cluster: u32) -> Vec<Bytes> {
    if whole.len() <= datagram_bytes {
        return vec![whole.clone()];
    }
    let piece = datagram_bytes.saturating_sub(FRAGMENT_HEADER_BYTES).max(1);
    let Ok(count) = u8::try_from(whole.len().div_ceil(piece)) else {
        return Vec::new();
    };
    let cut = |index: u8| {
        let start = usize::from(index) * piece;
        let bytes = whole.slice(start..(start + piece).min(whole.len()));
        Datagram::Fragment(Fragment { from, number, index, count, bytes }).encode(cluster)
    };
    (0..count).map(cut).collect()
}

/// Puts datagrams together again. Holds one unfinished datagram for each sender, so a peer can not
/// make it grow: a piece of another datagram takes the place of the unfinished one.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    unfinished: BTreeMap<ProcessId, Unfinished>,
}

#[derive(Clone, Debug)]
struct Unfinished {
    number: u32,
    pieces: Vec<Option<Bytes>>,
    missing: usize,
}

/// Senders that an [`Assembler`] keeps pieces of; the one with the lowest identity goes first.
const MAX_SENDERS: usize = 256;

impl Assembler {
    /// Adds a piece; returns the datagram when it is complete.
    pub fn add(&mut self, fragment: Fragment) -> Option<Bytes> {
        let fresh = || Unfinished {
            number: fragment.number,
            pieces: vec![None; usize::from(fragment.count)],
            missing: usize::from(fragment.count),
        };
        if !self.unfinished.contains_key(&fragment.from) && self.unfinished.len() >= MAX_SENDERS {
            self.unfinished.pop_first();
        }
        let unfinished = self.unfinished.entry(fragment.from).or_insert_with(fresh);
        if unfinished.number != fragment.number || unfinished.pieces.len() != usize::from(fragment.count) {
            *unfinished = fresh();
        }
        let place = unfinished.pieces.get_mut(usize::from(fragment.index))?;
        if place.is_some() {
            return None;
        }
        *place = Some(fragment.bytes);
        unfinished.missing -= 1;
        if unfinished.missing > 0 {
            return None;
        }
        let whole = self.unfinished.remove(&fragment.from)?;
        let mut bytes = BytesMut::new();
        for piece in whole.pieces.into_iter().flatten() {
            bytes.put_slice(&piece);
        }
        Some(bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DaemonId;

    #[test]
    fn pieces_in_any_order_make_the_datagram_again() {
        let whole = Bytes::from((0..=255).cycle().take(3000).collect::<Vec<u8>>());
        let from = ProcessId { daemon: DaemonId(3), incarnation: 9 };
        let mut pieces = split(&whole, from, 1, 500, 7);
        assert!(pieces.len() > 6 && pieces.iter().all(|piece| piece.len() <= 500));
        pieces.reverse();
        let mut assembler = Assembler::default();
        let mut complete = None;
        for piece in pieces {
            let (_, datagram) = crate::ring::decode(piece).expect("legal");
            let Datagram::Fragment(fragment) = datagram else { panic!("not a fragment") };
            assert!(complete.is_none());
            complete = assembler.add(fragment);
        }
        assert_eq!(complete, Some(whole));
    }
}
