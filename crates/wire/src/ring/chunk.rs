//! Chunks: the pieces of messages that a packet is made of.
//!
//! A packet carries chunks one after the other. A message that fits is one chunk; a larger one is
//! cut into fragments in consecutive packets of its sender, between which chunks of other messages
//! may stand. One mechanism packs small messages and cuts large ones.
//!
//! ```text
//! byte 0      bits 0..2 kind + 1 (0: padding up to the end of the packet)
//!             bits 3..5 service level
//!             bits 6..7 0 whole message, 1 first fragment, 2 one between, 3 last fragment
//! bytes 1..2  length of the piece
//! fragments:  number u16 (of the message, chosen by its sender)
//!             first: v bytes of the whole message; others: v offset of the piece
//! then        the piece
//! ```
//!
//! A `v` number is that of [`Reader::number`].

use bytes::{BufMut, Bytes};

use crate::reader::{DecodeError, Reader, number_bytes, put_number};
use crate::service::ServiceLevel;

const WHOLE_HEAD_BYTES: usize = 3;

/// What precedes each piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageHead {
    /// What sort of message, 0 to 6; the core gives the numbers their meaning.
    pub kind: u8,
    /// Its service level.
    pub service: ServiceLevel,
    /// Which part of the message this is; `None` for a whole one.
    pub fragment: Option<Fragment>,
}

/// Which part of a message a piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// The same in all fragments of a message and different in those sent at the same time.
    pub number: u16,
    /// Where in the message the piece stands.
    pub position: Position,
}

/// Where in its message a fragment stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Position {
    /// At its beginning.
    First {
        /// Bytes of the whole message.
        total: u32,
    },
    /// Neither at its beginning nor at its end.
    Middle {
        /// Where the piece begins.
        offset: u32,
    },
    /// At its end.
    Last {
        /// Where the piece begins.
        offset: u32,
    },
}

impl Position {
    /// The value of bits 6 and 7.
    fn bits(self) -> u8 {
        match self {
            Self::First { .. } => 1,
            Self::Middle { .. } => 2,
            Self::Last { .. } => 3,
        }
    }

    /// The number that the head ends with.
    fn number(self) -> u32 {
        match self {
            Self::First { total: number }
            | Self::Middle { offset: number }
            | Self::Last { offset: number } => number,
        }
    }
}

/// One chunk of a received packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// What it is.
    pub head: MessageHead,
    /// The piece of the message.
    pub bytes: Bytes,
}

impl MessageHead {
    /// Bytes that this head takes in a packet.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        let of_fragment = |fragment: &Fragment| 2 + number_bytes(fragment.position.number() as usize);
        WHOLE_HEAD_BYTES + self.fragment.as_ref().map_or(0, of_fragment)
    }

    /// Whether the message ends with this piece.
    #[must_use]
    pub fn ends_message(&self) -> bool {
        !matches!(
            self.fragment,
            Some(Fragment { position: Position::First { .. } | Position::Middle { .. }, .. })
        )
    }

    /// Writes the head for a piece of `length` bytes.
    pub fn encode(&self, length: u16, to: &mut impl BufMut) {
        let part = self.fragment.map_or(0, |fragment| fragment.position.bits());
        to.put_u8(((self.kind + 1) & 7) | (self.service.rank() << 3) | part << 6);
        to.put_u16_le(length);
        if let Some(fragment) = &self.fragment {
            to.put_u16_le(fragment.number);
            put_number(fragment.position.number() as usize, to);
        }
    }
}

/// Takes the next chunk of a packet; `None` at its end or at padding.
///
/// # Errors
/// When the chunk is cut short, names no service level, or lies outside its message.
pub fn next(reader: &mut Reader) -> Result<Option<Chunk>, DecodeError> {
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
    let length = reader.u16()?;
    let fragment = fragment(first >> 6, length, reader)?;
    let bytes = reader.take(usize::from(length))?;
    Ok(Some(Chunk { head: MessageHead { kind, service, fragment }, bytes }))
}

fn fragment(part: u8, length: u16, reader: &mut Reader) -> Result<Option<Fragment>, DecodeError> {
    if part == 0 {
        return Ok(None);
    }
    let (number, value) = (reader.u16()?, reader.number()?);
    let position = match part {
        1 => Position::First { total: value },
        2 => Position::Middle { offset: value },
        _ => Position::Last { offset: value },
    };
    // The rest, whether its pieces follow each other and end where it ends, is seen by who joins them.
    let is_part = match position {
        Position::First { total } => u32::from(length) < total,
        Position::Middle { offset } | Position::Last { offset } => offset > 0,
    };
    if length == 0 || !is_part {
        return Err(reader.bad_value("fragment", u64::from(value)));
    }
    Ok(Some(Fragment { number, position }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_as_they_were_written() {
        let whole = MessageHead { kind: 0, service: ServiceLevel::Safe, fragment: None };
        let part = Fragment { number: 9, position: Position::Last { offset: 4 } };
        let end = MessageHead { kind: 4, service: ServiceLevel::Agreed, fragment: Some(part) };
        let mut packet = Vec::new();
        whole.encode(2, &mut packet);
        packet.put_slice(b"ab");
        end.encode(3, &mut packet);
        packet.put_slice(b"cde");
        packet.put_bytes(0, 5);
        let mut reader = Reader::new(Bytes::from(packet), "packet");
        let first = next(&mut reader).expect("legal").expect("there");
        assert_eq!((first.head, &first.bytes[..]), (whole, b"ab".as_slice()));
        let second = next(&mut reader).expect("legal").expect("there");
        assert_eq!((second.head, &second.bytes[..]), (end, b"cde".as_slice()));
        assert_eq!(next(&mut reader), Ok(None));
    }

    #[test]
    fn a_head_takes_as_many_bytes_as_it_says() {
        for value in [1, 127, 128, 16_383, 16_384, 100_000, u32::MAX] {
            let fragment = Some(Fragment { number: 0, position: Position::Middle { offset: value } });
            let head = MessageHead { kind: 0, service: ServiceLevel::Agreed, fragment };
            let mut packet = Vec::new();
            head.encode(1, &mut packet);
            assert_eq!(packet.len(), head.encoded_bytes());
            packet.put_u8(7);
            let chunk = next(&mut Reader::new(Bytes::from(packet), "packet")).expect("legal").expect("there");
            assert_eq!(chunk.head, head);
        }
    }

    #[test]
    fn a_fragment_that_is_no_part_of_its_message_is_refused() {
        let positions =
            [Position::First { total: 2 }, Position::Middle { offset: 0 }, Position::Last { offset: 0 }];
        for position in positions {
            let fragment = Some(Fragment { number: 1, position });
            let head = MessageHead { kind: 0, service: ServiceLevel::Fifo, fragment };
            let mut packet = Vec::new();
            head.encode(2, &mut packet);
            packet.put_slice(b"xy");
            assert!(next(&mut Reader::new(Bytes::from(packet), "packet")).is_err(), "{position:?}");
        }
    }
}
