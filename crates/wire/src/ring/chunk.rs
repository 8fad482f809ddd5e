//! Chunks: the pieces of messages that a packet is made of.
//!
//! A packet carries chunks one after the other. A message that fits is one chunk; a larger one is
//! cut into fragments in consecutive packets of its sender, between which chunks of other messages
//! may stand. One mechanism packs small messages and cuts large ones.
//!
//! ```text
//! byte 0      bits 0..2 kind + 1 (0: padding up to the end of the packet)
//!             bits 3..5 service level
//!             bit 6     is a fragment
//!             bit 7     is the last fragment
//! bytes 1..2  length of the piece
//! fragments:  number u32 · offset u32 · total u32     (of the message, chosen by its sender)
//! then        the piece
//! ```

use bytes::{BufMut, Bytes};

use crate::reader::{DecodeError, Reader};
use crate::service::ServiceLevel;

const FRAGMENT: u8 = 0x40;
const LAST: u8 = 0x80;
const WHOLE_HEAD_BYTES: usize = 3;
const FRAGMENT_HEAD_BYTES: usize = WHOLE_HEAD_BYTES + 12;

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
    pub number: u32,
    /// Where in the message the piece begins.
    pub offset: u32,
    /// Bytes of the whole message.
    pub total: u32,
    /// Whether the message ends here.
    pub last: bool,
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
        if self.fragment.is_some() { FRAGMENT_HEAD_BYTES } else { WHOLE_HEAD_BYTES }
    }

    /// Writes the head for a piece of `length` bytes.
    pub fn encode(&self, length: u16, to: &mut impl BufMut) {
        let mut first = ((self.kind + 1) & 7) | (self.service.rank() << 3);
        if let Some(fragment) = &self.fragment {
            first |= FRAGMENT | if fragment.last { LAST } else { 0 };
        }
        to.put_u8(first);
        to.put_u16_le(length);
        if let Some(fragment) = &self.fragment {
            to.put_u32_le(fragment.number);
            to.put_u32_le(fragment.offset);
            to.put_u32_le(fragment.total);
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
    let fragment = match first & FRAGMENT {
        0 => None,
        _ => Some(Fragment {
            number: reader.u32()?,
            offset: reader.u32()?,
            total: reader.u32()?,
            last: first & LAST != 0,
        }),
    };
    if let Some(fragment) = &fragment {
        let end = u64::from(fragment.offset) + u64::from(length);
        if length == 0
            || end > u64::from(fragment.total)
            || fragment.last != (end == u64::from(fragment.total))
        {
            return Err(reader.bad_value("fragment offset", u64::from(fragment.offset)));
        }
    }
    let bytes = reader.take(usize::from(length))?;
    Ok(Some(Chunk { head: MessageHead { kind, service, fragment }, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_as_they_were_written() {
        let whole = MessageHead { kind: 0, service: ServiceLevel::Safe, fragment: None };
        let part = Fragment { number: 9, offset: 4, total: 7, last: true };
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
    fn a_fragment_outside_its_message_is_refused() {
        let part = Fragment { number: 1, offset: 6, total: 7, last: true };
        let head = MessageHead { kind: 0, service: ServiceLevel::Fifo, fragment: Some(part) };
        let mut packet = Vec::new();
        head.encode(2, &mut packet);
        packet.put_slice(b"xy");
        assert!(next(&mut Reader::new(Bytes::from(packet), "packet")).is_err());
    }
}
