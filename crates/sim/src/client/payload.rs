//! Bodies of simulated multicasts: a known pattern, different for each multicast.

use std::sync::LazyLock;

/// Longest body that a message to one group may have (docs/client-protocol.md, Limits).
pub const MAX_BODY_BYTES: usize = 143_920;

const STARTS: usize = 65_521;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = fastrand::Rng::with_seed(0x5eed);
    (0..MAX_BODY_BYTES + STARTS).map(|_| rng.u8(..)).collect()
});

/// The body of the multicast of that number; at most [`MAX_BODY_BYTES`] long.
#[must_use]
pub fn body(submission: usize, bytes: usize) -> &'static [u8] {
    let start = submission.wrapping_mul(40_503) % STARTS;
    PATTERN.get(start..start + bytes.min(MAX_BODY_BYTES)).unwrap_or_default()
}

/// Cuts bytes into pieces of random length, so that a reader meets every sort of boundary.
#[must_use]
pub fn chopped(mut bytes: bytes::Bytes, rng: &mut fastrand::Rng) -> Vec<bytes::Bytes> {
    let longest = match rng.u32(..8) {
        0 if bytes.len() < 400 => rng.usize(1..8),
        1 => rng.usize(40..2000),
        2 => rng.usize(1000..40_000),
        _ => return vec![bytes],
    };
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let length = rng.usize(1..=longest).min(bytes.len());
        pieces.push(bytes.split_to(length));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_differ_and_have_the_length_asked_for() {
        assert_eq!(body(3, 1000).len(), 1000);
        assert_eq!(body(3, 0).len(), 0);
        assert_ne!(body(3, 100), body(4, 100));
        assert_eq!(body(usize::MAX, MAX_BODY_BYTES).len(), MAX_BODY_BYTES);
    }

    #[test]
    fn chopping_loses_nothing() {
        let mut rng = fastrand::Rng::with_seed(2);
        for _ in 0..50 {
            let whole = bytes::Bytes::from_static(body(9, 300));
            assert_eq!(chopped(whole.clone(), &mut rng).concat(), whole);
        }
    }
}
