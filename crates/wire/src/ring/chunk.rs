//! Chunks: the pieces of messages that a packet is made of.
//!
//! A packet carries chunks one after the other. A message that fits is one chunk; a larger one is
//! cut into fragments in consecutive packets of its sender, between which chunks of other messages
//! may stand. One mechanism packs small messages and cuts large ones.
//!
//! ```text
//! byte 0      bits 0..2 0: padding up to the end of the packet; 1 to 5: kind + 1
//!                       6, 7: kind 0, the preamble is known or new
//!             bits 3..5 service level
//!             bits 6..7 0 whole message, 1 first fragment, 2 one between, 3 last fragment
//! fragments:  number u8 (of the message, chosen by its sender, below 128)
//!             bit 7 of a last one: its piece fills the packet
//! first:      v bytes of all pieces
//! preamble:   slot u8; of a new one also its bytes u8
//! whole, last v length of the piece; a last one that fills the packet has none, and may be
//!             followed by padding
//! then        the piece: of a first fragment and one between all that is left of the packet
//! ```
//!
//! A `v` number is that of [`Reader::number`].
//!
//! The preamble of a multicast ([`super::multicast`]) that its sender has sent before need not be sent
//! again: a new one stands at the beginning of its piece, and receivers remember it for that sender and
//! slot; a known one is only named by its slot. Messages that need no order may have neither.

use bytes::BufMut;

use crate::reader::{DecodeError, Reader, number_bytes, put_number};
use crate::service::ServiceLevel;

/// In place of kind + 1: the message is of kind 0 and does not bring its preamble.
const KNOWN: u8 = 6;
/// In place of kind + 1: the message is of kind 0 and its preamble is to be remembered.
const NEW: u8 = 7;

const NUMBER: u8 = 0x7f;
const FILLS_PACKET: u8 = 0x80;

/// What precedes each piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageHead {
    /// What sort of message, 0 to 4; the core gives the numbers their meaning, but 0 is a multicast.
    pub kind: u8,
    /// Its service level.
    pub service: ServiceLevel,
    /// Which part of the message this is; `None` for a whole one.
    pub fragment: Option<Fragment>,
    /// Where the preamble of a multicast is, if it is not merely the beginning of the message. Only a
    /// whole message and a first fragment say it.
    pub preamble: Option<Preamble>,
}

/// Which part of a message a piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Below 128; the same in all fragments of a message and different in those sent at the same time.
    pub number: u8,
    /// Where in the message the piece stands.
    pub position: Position,
}

/// Where in its message a fragment stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Position {
    /// At its beginning.
    First {
        /// Bytes of all pieces.
        total: u32,
    },
    /// Neither at its beginning nor at its end.
    Middle,
    /// At its end.
    Last {
        /// Whether nothing but padding follows in the packet. It has no length then: what the message lacks is it.
        fills_packet: bool,
    },
}

/// Where the preamble of a multicast is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preamble {
    /// Receivers have it in that slot, and it is not sent.
    Known {
        /// Which of the sender's.
        slot: u8,
    },
    /// The piece begins with it, and receivers are to remember it.
    New {
        /// Where.
        slot: u8,
        /// Its length.
        bytes: u8,
    },
}

impl Position {
    /// The value of bits 6 and 7.
    fn bits(self) -> u8 {
        match self {
            Self::First { .. } => 1,
            Self::Middle => 2,
            Self::Last { .. } => 3,
        }
    }
}

/// One chunk of a received packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk<'a> {
    /// What it is.
    pub head: MessageHead,
    /// The piece of the message.
    pub bytes: &'a [u8],
}

impl MessageHead {
    /// Bytes that this head takes in a packet before a piece of that length, which is of no account if it
    /// fills the packet.
    #[must_use]
    pub fn encoded_bytes(&self, length: usize) -> usize {
        let of_fragment = |fragment: Fragment| match fragment.position {
            Position::First { total } => 1 + number_bytes(total as usize),
            Position::Middle | Position::Last { .. } => 1,
        };
        let of_preamble = |preamble| match preamble {
            Preamble::Known { .. } => 1,
            Preamble::New { .. } => 2,
        };
        let of_length = if self.fills_packet() { 0 } else { number_bytes(length) };
        1 + self.fragment.map_or(0, of_fragment) + self.preamble.map_or(0, of_preamble) + of_length
    }

    /// Whether the message ends with this piece.
    #[must_use]
    pub fn ends_message(&self) -> bool {
        !matches!(self.position(), Some(Position::First { .. } | Position::Middle))
    }

    /// Whether nothing can follow in the packet.
    #[must_use]
    pub fn fills_packet(&self) -> bool {
        !matches!(self.position(), None | Some(Position::Last { fills_packet: false }))
    }

    fn position(&self) -> Option<Position> {
        self.fragment.map(|fragment| fragment.position)
    }

    /// Writes the head for a piece of `length` bytes.
    pub fn encode(&self, length: usize, to: &mut impl BufMut) {
        let sort = match self.preamble {
            None => self.kind + 1,
            Some(Preamble::Known { .. }) => KNOWN,
            Some(Preamble::New { .. }) => NEW,
        };
        let part = self.position().map_or(0, Position::bits);
        to.put_u8((sort & 7) | (self.service.rank() << 3) | part << 6);
        if let Some(Fragment { number, position }) = self.fragment {
            let fills_packet = matches!(position, Position::Last { fills_packet: true });
            to.put_u8(number & NUMBER | if fills_packet { FILLS_PACKET } else { 0 });
            if let Position::First { total } = position {
                put_number(total as usize, to);
            }
        }
        match self.preamble {
            None => {}
            Some(Preamble::Known { slot }) => to.put_u8(slot),
            Some(Preamble::New { slot, bytes }) => to.put_slice(&[slot, bytes]),
        }
        if !self.fills_packet() {
            put_number(length, to);
        }
    }
}

/// Takes the next chunk of a packet; `None` at its end or at padding.
///
/// # Errors
/// When the chunk is cut short, names no service level, lies outside its message, or would change what is
/// replicated without an order.
pub fn next<'a>(reader: &mut Reader<'a>) -> Result<Option<Chunk<'a>>, DecodeError> {
    if reader.remaining() == 0 {
        return Ok(None);
    }
    let first = reader.u8()?;
    let Some(kind) = (first & 7).checked_sub(1) else {
        return Ok(None);
    };
    let rank = (first >> 3) & 7;
    let service =
        ServiceLevel::from_rank(rank).ok_or_else(|| reader.bad_value("service level", u64::from(rank)))?;
    let fragment = fragment(first >> 6, reader)?;
    let preamble = preamble(first & 7, reader)?;
    let kind = if preamble.is_some() { 0 } else { kind };
    let head = MessageHead { kind, service, fragment, preamble };
    let length = if head.fills_packet() { reader.remaining() } else { reader.number()? as usize };
    let bytes = reader.take(length)?;
    if kind != 0 && !service.is_ordered() {
        return Err(reader.bad_value("service level of what is no multicast", u64::from(rank)));
    }
    check(&head, length, reader)?;
    Ok(Some(Chunk { head, bytes }))
}

fn fragment(part: u8, reader: &mut Reader<'_>) -> Result<Option<Fragment>, DecodeError> {
    if part == 0 {
        return Ok(None);
    }
    let number = reader.u8()?;
    let fills_packet = number & FILLS_PACKET != 0;
    let position = match part {
        1 => Position::First { total: reader.number()? },
        2 => Position::Middle,
        _ => Position::Last { fills_packet },
    };
    Ok(Some(Fragment { number: number & NUMBER, position }))
}

fn preamble(sort: u8, reader: &mut Reader<'_>) -> Result<Option<Preamble>, DecodeError> {
    Ok(match sort {
        KNOWN => Some(Preamble::Known { slot: reader.u8()? }),
        NEW => Some(Preamble::New { slot: reader.u8()?, bytes: reader.u8()? }),
        _ => None,
    })
}

/// Whether a piece of that length can be what its head says. Whether the pieces end where their message
/// ends is seen by who joins them.
fn check(head: &MessageHead, length: usize, reader: &Reader<'_>) -> Result<(), DecodeError> {
    let is_part = match head.position() {
        None => true,
        Some(Position::First { total }) => length > 0 && length < total as usize,
        Some(Position::Middle | Position::Last { .. }) => length > 0 && head.preamble.is_none(),
    };
    // What may be read out of order neither says nor uses what others in the order do.
    let has_preamble = match head.preamble {
        None => true,
        Some(Preamble::New { bytes, .. }) => head.service.is_ordered() && usize::from(bytes) <= length,
        Some(Preamble::Known { .. }) => head.service.is_ordered(),
    };
    if is_part && has_preamble { Ok(()) } else { Err(reader.bad_value("length of a piece", length as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fragment: Option<(u8, Position)>, preamble: Option<Preamble>) -> MessageHead {
        let fragment = fragment.map(|(number, position)| Fragment { number, position });
        MessageHead { kind: 0, service: ServiceLevel::Agreed, fragment, preamble }
    }

    fn chunk(head: MessageHead, piece: &[u8]) -> Vec<u8> {
        let mut chunk = Vec::new();
        head.encode(piece.len(), &mut chunk);
        assert_eq!(chunk.len(), head.encoded_bytes(piece.len()), "{head:?}");
        chunk.extend_from_slice(piece);
        chunk
    }

    fn chunks(packet: &[u8]) -> Result<Vec<Chunk<'_>>, DecodeError> {
        let mut reader = Reader::new(packet, "packet");
        std::iter::from_fn(|| next(&mut reader).transpose()).collect()
    }

    #[test]
    fn chunks_come_back_as_they_were_written() {
        let long = [b'x'; 300];
        let (known, new) = (Preamble::Known { slot: 255 }, Preamble::New { slot: 0, bytes: 2 });
        let last = |fills_packet| Some((127, Position::Last { fills_packet }));
        let operation = MessageHead { kind: 4, service: ServiceLevel::Safe, fragment: None, preamble: None };
        let before: [(MessageHead, &[u8]); 6] = [
            (head(None, None), b"ab"),
            (head(None, Some(known)), b""),
            (head(None, Some(new)), b"pr"),
            (head(None, Some(new)), &long),
            (head(last(false), None), &long),
            (operation, b"join"),
        ];
        let at_end: [(MessageHead, &[u8]); 4] = [
            (head(Some((0, Position::First { total: 301 })), Some(new)), &long),
            (head(Some((1, Position::First { total: u32::MAX })), Some(known)), b"a"),
            (head(Some((2, Position::Middle)), None), &long),
            (head(last(true), None), b"end and padding\0\0"),
        ];
        for end in at_end {
            let all: Vec<_> = before.into_iter().chain([end]).collect();
            let packet: Vec<u8> = all.iter().flat_map(|(head, piece)| chunk(*head, piece)).collect();
            let expected = all.iter().map(|(head, piece)| Chunk { head: *head, bytes: piece });
            assert_eq!(chunks(&packet), Ok(expected.collect()));
        }
        let mut padded = chunk(head(None, None), b"ab");
        padded.put_bytes(0, 5);
        assert_eq!(chunks(&padded).map(|chunks| chunks.len()), Ok(1));
    }

    #[test]
    fn a_small_message_with_a_known_preamble_has_a_head_of_three_bytes() {
        let known = head(None, Some(Preamble::Known { slot: 9 }));
        assert_eq!((known.encoded_bytes(101), known.encoded_bytes(128)), (3, 4));
    }

    #[test]
    fn what_is_no_part_of_its_message_is_refused() {
        let (first, last) = (
            |total| Some((1, Position::First { total })),
            |fills_packet| Some((1, Position::Last { fills_packet })),
        );
        let known = Some(Preamble::Known { slot: 1 });
        let bad: [(MessageHead, &[u8]); 8] = [
            (head(first(2), None), b"xy"),
            (head(first(2), None), b""),
            (head(Some((1, Position::Middle)), None), b""),
            (head(last(true), None), b""),
            (head(last(false), None), b""),
            (head(Some((1, Position::Middle)), known), b"x"),
            (head(last(false), known), b"x"),
            (head(None, Some(Preamble::New { slot: 1, bytes: 3 })), b"xy"),
        ];
        for (head, piece) in bad {
            assert!(chunks(&chunk(head, piece)).is_err(), "{head:?}");
        }
        for kind in 1..5 {
            let head = MessageHead { kind, service: ServiceLevel::Reliable, ..head(None, None) };
            assert!(chunks(&chunk(head, b"xy")).is_err(), "tables must not change out of order: {head:?}");
        }
        for preamble in [Preamble::Known { slot: 1 }, Preamble::New { slot: 1, bytes: 1 }] {
            let head = MessageHead { service: ServiceLevel::Reliable, ..head(None, Some(preamble)) };
            assert!(chunks(&chunk(head, b"xy")).is_err(), "may be read out of order: {head:?}");
        }
    }
}
