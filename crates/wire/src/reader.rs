//! The cursor that every decoder of this crate reads through.

use bytes::{Buf, Bytes};
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

/// A cursor over shared bytes. All integers are little-endian.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    what: &'static str,
}

impl Reader {
    /// Starts reading `bytes`, which hold a `what` (named in errors).
    #[must_use]
    pub fn new(bytes: Bytes, what: &'static str) -> Self {
        Self { bytes, what }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the next `count` bytes without copying them.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn take(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        if count > self.bytes.len() {
            return Err(DecodeError::Truncated { what: self.what, missing: count - self.bytes.len() });
        }
        Ok(self.bytes.split_to(count))
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        // Not by `take`, which counts a reference: there are several numbers in every message.
        let Some(array) = self.bytes.first_chunk::<N>().copied() else {
            return Err(DecodeError::Truncated { what: self.what, missing: N - self.bytes.len() });
        };
        self.bytes.advance(N);
        Ok(array)
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

    /// Takes a 16-bit count of items that have at least `item_bytes` each, and checks that so many
    /// can still follow: a count is never believed before memory is reserved for it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when the items can not all be there.
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
        let mut reader = Reader::new(Bytes::from_static(&[3, 0, 1, 2]), "list");
        assert_eq!(reader.count(1), Err(DecodeError::Truncated { what: "list", missing: 1 }));
    }

    #[test]
    fn what_is_left_over_is_an_error() {
        let mut reader = Reader::new(Bytes::from_static(&[1, 2, 3]), "pair");
        assert_eq!(reader.u16(), Ok(0x0201));
        assert_eq!(reader.finish(), Err(DecodeError::Trailing { what: "pair", extra: 1 }));
    }
}
