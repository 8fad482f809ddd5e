//! The cursor that every decoder of this crate reads through.

use bytes::BufMut;
use thiserror::Error;

/// Why bytes were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DecodeError {
    /// The input ends before the value does.
    #[error("{what} is cut short: {missing} more bytes expected")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// Bytes are left after the value.
    #[error("{what} is followed by {extra} unexpected bytes")]
    Trailing {
        /// What was read.
        what: &'static str,
        /// How many bytes are left.
        extra: usize,
    },
    /// A field holds a value that the format does not allow.
    #[error("{what} has the illegal value {value}")]
    BadValue {
        /// Which field.
        what: &'static str,
        /// What it holds.
        value: u64,
    },
}

/// Most bytes of a `v` number.
const NUMBER_MAX_BYTES: usize = 5;

/// Writes what [`Reader::number`] takes.
pub fn put_number(mut number: usize, to: &mut impl BufMut) {
    while number > 0x7f {
        to.put_u8(0x80 | number.to_le_bytes()[0]);
        number >>= 7;
    }
    to.put_u8(number.to_le_bytes()[0]);
}

/// How many bytes [`put_number`] writes.
#[must_use]
pub fn number_bytes(number: usize) -> usize {
    (usize::BITS - number.max(1).leading_zeros()).div_ceil(7) as usize
}

/// A cursor over bytes. All integers are little-endian.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Starts reading `bytes`, which hold a `what` (named in errors).
    #[must_use]
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            return Err(DecodeError::Truncated { what: self.what, missing: count - self.bytes.len() });
        };
        self.bytes = rest;
        Ok(taken)
    }

    /// Takes all bytes that are left.
    #[must_use]
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((array, rest)) = self.bytes.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated { what: self.what, missing: N - self.bytes.len() });
        };
        self.bytes = rest;
        Ok(*array)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    /// Takes a 16-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer bytes are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes a 32-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer bytes are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes a 64-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer bytes are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a `v` number: seven bits to a byte, lowest first, bit 7 where another byte follows; five
    /// bytes at most.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when its end is missing, [`DecodeError::BadValue`] when it is longer or
    /// does not fit 32 bits.
    #[inline]
    pub fn number(&mut self) -> Result<u32, DecodeError> {
        // Nearly all are lengths of small messages.
        match self.bytes {
            [first @ ..0x80, rest @ ..] => {
                self.bytes = rest;
                Ok(u32::from(*first))
            }
            [first, second @ ..0x80, rest @ ..] => {
                self.bytes = rest;
                Ok(u32::from(first & 0x7f) | u32::from(*second) << 7)
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u32, DecodeError> {
        let mut number: u64 = 0;
        for shift in (0..7 * NUMBER_MAX_BYTES).step_by(7) {
            let byte = u64::from(self.u8()?);
            number |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(number).map_err(|_| self.bad_value("number", number));
            }
        }
        Err(self.bad_value("number", number))
    }

    /// Takes a 16-bit count of items that have at least `item_bytes` each, and checks that so many
    /// can still follow: a count is never believed before memory is reserved for it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when the items cannot all be there.
    pub fn count(&mut self, item_bytes: usize) -> Result<usize, DecodeError> {
        let count = usize::from(self.u16()?);
        let needed = count.saturating_mul(item_bytes);
        if needed > self.remaining() {
            return Err(DecodeError::Truncated { what: self.what, missing: needed - self.remaining() });
        }
        Ok(count)
    }

    /// An error about a field of what is being read.
    #[must_use]
    pub fn bad_value(&self, field: &'static str, value: u64) -> DecodeError {
        DecodeError::BadValue { what: field, value }
    }

    /// Ends reading.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] when bytes are left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.bytes.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { what: self.what, extra }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_checked_against_what_is_left() {
        let mut reader = Reader::new(&[3, 0, 1, 2], "list");
        assert_eq!(reader.count(1), Err(DecodeError::Truncated { what: "list", missing: 1 }));
    }

    #[test]
    fn numbers_take_a_byte_for_every_seven_bits() {
        for (number, length) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u32::MAX, 5)] {
            let mut written = Vec::new();
            put_number(number as usize, &mut written);
            assert_eq!((written.len(), number_bytes(number as usize)), (length, length));
            assert_eq!(Reader::new(&written, "number").number(), Ok(number));
        }
        assert!(Reader::new(&[0xff; 6], "number").number().is_err());
        assert!(Reader::new(b"\x81\x80\x80\x80\x10", "number").number().is_err());
        assert!(Reader::new(&[0x80], "number").number().is_err());
    }

    #[test]
    fn what_is_left_over_is_an_error() {
        let mut reader = Reader::new(&[1, 2, 3], "pair");
        assert_eq!(reader.u16(), Ok(0x0201));
        assert_eq!(reader.finish(), Err(DecodeError::Trailing { what: "pair", extra: 1 }));
    }
}
