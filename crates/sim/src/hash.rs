//! One small 64-bit hash for frames and for whole traces.
//!
//! Not for hash tables and not against attackers: it must only be fast, the same on every machine
//! and in every run, and unlikely to hide a difference.

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A running hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fold(u64);

impl Default for Fold {
    fn default() -> Self {
        Self(0x243f_6a88_85a3_08d3)
    }
}

impl Fold {
    /// Adds a number.
    pub fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(MULTIPLIER);
        self.0 = mixed ^ (mixed >> 29);
    }

    /// Adds bytes and their count.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        self.word(u64::from_le_bytes(last));
    }

    /// The hash of everything added.
    #[must_use]
    pub fn finish(self) -> u64 {
        (self.0 ^ (self.0 >> 32)).wrapping_mul(MULTIPLIER)
    }
}

/// The hash of one piece of bytes.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> u64 {
    let mut fold = Fold::default();
    fold.bytes(bytes);
    fold.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_changes_the_hash() {
        let bytes: Vec<u8> = (0..100).collect();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(of_bytes(&bytes), of_bytes(&other));
        }
        assert_ne!(of_bytes(b""), of_bytes(b"\0"));
    }
}
