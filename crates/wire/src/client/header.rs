//! The 48-byte header of every frame, and its hint word.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | flags with endian mark |
//! | 4 | 32 | name: the sender's private group, or the group of a membership message |
//! | 36 | 4 | number of 32-byte group fields that follow |
//! | 40 | 4 | hint: 16-bit message type in bits 8 to 23, with the endian mark of the original sender |
//! | 44 | 4 | bytes of body |
//!
//! The mark in the flags gives the byte order of flags, group count and body length.

use bytes::BufMut;
use thiserror::Error;

use super::flags::{ENDIAN_MARK, HEADER_BYTES};
use crate::names::NAME_FIELD_BYTES;

/// One of the two endian bits is set without the other, so the word has no byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the endian mark of the flag word must be all set or all clear, it is half set")]
pub struct HalfEndianMark;

/// The hint word, kept as the four bytes that its sender wrote.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Hint(pub [u8; 4]);

impl Hint {
    /// Bits that neither the mark nor the message type uses; the same in both byte orders.
    const FOREIGN_BITS: u32 = !(ENDIAN_MARK | 0x00ff_ff00);

    /// Little-endian, message type 0; what membership messages and requests carry.
    pub const ZERO: Self = Self(ENDIAN_MARK.to_le_bytes());

    /// A little-endian hint with a message type.
    #[must_use]
    pub fn new(message_type: i16) -> Self {
        let [low, high] = message_type.to_le_bytes();
        Self([0x80, low, high, 0x80])
    }

    /// Whether the original sender is a little-endian host.
    #[must_use]
    pub fn is_little_endian(self) -> bool {
        u32::from_le_bytes(self.0) & ENDIAN_MARK == ENDIAN_MARK
    }

    /// The application's message type.
    #[must_use]
    pub fn message_type(self) -> i16 {
        let [_, first, second, _] = self.0;
        if self.is_little_endian() {
            i16::from_le_bytes([first, second])
        } else {
            i16::from_be_bytes([first, second])
        }
    }

    /// Whether bits are set that mean nothing. A daemon drops a client that sends them.
    #[must_use]
    pub fn has_foreign_bits(self) -> bool {
        u32::from_le_bytes(self.0) & Self::FOREIGN_BITS != 0
    }
}

/// A decoded header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The flag word without the endian mark.
    pub flags: u32,
    /// Name field, as it was written: bytes after its first NUL may be anything.
    pub name: [u8; NAME_FIELD_BYTES],
    /// Number of group fields that follow. Not checked here.
    pub group_count: u32,
    /// The hint word of the original sender.
    pub hint: Hint,
    /// Bytes of body. Not checked here.
    pub body_bytes: u32,
    /// Byte order in which the header, and the numbers in a membership body, were written.
    pub little_endian: bool,
}

impl Header {
    /// Reads a header in either byte order.
    ///
    /// # Errors
    /// [`HalfEndianMark`] when the byte order cannot be told. Counts and lengths are not checked.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HalfEndianMark> {
        let [f0, f1, f2, f3, name @ .., g0, g1, g2, g3, h0, h1, h2, h3, b0, b1, b2, b3] = *bytes;
        let little_endian = match u32::from_le_bytes([f0, f1, f2, f3]) & ENDIAN_MARK {
            ENDIAN_MARK => true,
            0 => false,
            _ => return Err(HalfEndianMark),
        };
        Ok(Self {
            flags: word([f0, f1, f2, f3], little_endian) & !ENDIAN_MARK,
            name,
            group_count: word([g0, g1, g2, g3], little_endian),
            hint: Hint([h0, h1, h2, h3]),
            body_bytes: word([b0, b1, b2, b3], little_endian),
            little_endian,
        })
    }

    /// The name as a daemon reads and passes it on: its last byte is its terminator, whatever it was.
    #[must_use]
    pub fn ended_name(&self) -> [u8; NAME_FIELD_BYTES] {
        let mut name = self.name;
        if let Some(last) = name.last_mut() {
            *last = 0;
        }
        name
    }

    /// Writes the header little-endian with the mark set, whatever [`Header::little_endian`] says.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut out = bytes.as_mut_slice();
        out.put_u32_le(self.flags | ENDIAN_MARK);
        out.put_slice(&self.name);
        out.put_u32_le(self.group_count);
        out.put_slice(&self.hint.0);
        out.put_u32_le(self.body_bytes);
        bytes
    }
}

/// A 32-bit word in the byte order of its frame.
pub(super) fn word(bytes: [u8; 4], little_endian: bool) -> u32 {
    if little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
}

#[cfg(test)]
mod tests {
    use super::super::flags::JOIN;
    use super::super::golden::{BIG_ENDIAN_DATA, JOIN_REQUEST, bytes};
    use super::*;

    fn header_of(hex: &str) -> Header {
        Header::decode(bytes(hex).first_chunk().expect("a whole header")).expect("a whole mark")
    }

    #[test]
    fn a_little_endian_header_round_trips() {
        let header = header_of(JOIN_REQUEST);
        assert_eq!((header.flags, header.group_count, header.body_bytes), (JOIN, 1, 0));
        assert!(header.little_endian && header.name.starts_with(b"#alice#localhost\0"));
        assert_eq!(header.encode().as_slice(), &bytes(JOIN_REQUEST)[..HEADER_BYTES]);
    }

    #[test]
    fn a_big_endian_header_reads_the_same_and_keeps_its_hint() {
        let header = header_of(BIG_ENDIAN_DATA);
        assert_eq!((header.flags, header.group_count, header.body_bytes), (0x10, 1, 7));
        assert!(!header.little_endian && !header.hint.is_little_endian());
        assert_eq!(header.hint.message_type(), 0x1234);
        let again = Header::decode(&header.encode()).expect("a whole mark");
        assert_eq!(again, Header { little_endian: true, ..header });
    }

    #[test]
    fn half_a_mark_is_refused() {
        for half in [0x80_u32, 0x8000_0000] {
            let mut raw = [0; HEADER_BYTES];
            raw[..4].copy_from_slice(&(half | 2).to_le_bytes());
            assert_eq!(Header::decode(&raw), Err(HalfEndianMark));
        }
    }

    #[test]
    fn hints_carry_signed_16_bit_types_and_nothing_else() {
        for message_type in [0, 1, -1, i16::MIN, i16::MAX, 0x1234] {
            let hint = Hint::new(message_type);
            assert_eq!(hint.message_type(), message_type);
            assert!(hint.is_little_endian() && !hint.has_foreign_bits());
        }
        assert_eq!(Hint::new(0), Hint::ZERO);
        assert_eq!(Hint::new(-1).0, [0x80, 0xff, 0xff, 0x80]);
        assert!(Hint([0x81, 0, 0, 0x80]).has_foreign_bits());
        assert!(Hint([0, 0, 0, 1]).has_foreign_bits());
    }
}
