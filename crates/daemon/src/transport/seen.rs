//! Which numbers of a sender have come, so that nothing comes twice (RFC 6479).
//!
//! One bit a number, in words that move on with the greatest number that came. A number before the first word counts as one
//! that came.

use std::collections::VecDeque;

/// Words that are kept, so that of 8128 numbers at least it is known. A daemon has fewer datagrams on their way: no more
/// packets than a window holds are without acknowledgement, and little else waits in sockets.
const WORDS: usize = 128;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Seen {
    words: VecDeque<u64>,
    /// Which word of all, from 0, is the last of these.
    last: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self { words: VecDeque::from([0; WORDS]), last: 0 }
    }
}

impl Seen {
    /// Notes a number; false if it came before, or may have.
    pub(super) fn note(&mut self, number: u64) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        for _ in (self.last..word).take(WORDS) {
            self.words.pop_front();
            self.words.push_back(0);
        }
        self.last = self.last.max(word);
        let behind = usize::try_from(self.last - word).unwrap_or(usize::MAX);
        let Some(bits) = self.words.iter_mut().nth_back(behind) else { return false };
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const REMEMBERED: u64 = 64 * (WORDS as u64 - 1);

    #[test]
    fn each_number_comes_once() {
        let mut seen = Seen::default();
        for number in [0, 1, 63, 64, 5, 8000, 8000 + REMEMBERED, 8001, 1 << 32, (1 << 32) - REMEMBERED] {
            assert!(seen.note(number), "{number}");
            assert!(!seen.note(number), "{number} again");
        }
        assert!(!seen.note(2), "too old to know");
    }

    #[test]
    fn in_any_order_no_number_comes_twice_and_none_is_lost_that_is_not_too_old() {
        let random = &mut fastrand::Rng::with_seed(6479);
        let (mut seen, mut came, mut highest) = (Seen::default(), BTreeSet::new(), 0);
        for _ in 0..200_000 {
            let ahead = if random.u8(..) == 0 { 20_000 } else { 8 };
            let number = (highest + random.u64(..ahead)).saturating_sub(random.u64(..9000));
            let is_new = came.insert(number);
            let is_remembered = number / 64 + WORDS as u64 > highest / 64;
            assert!(is_remembered || number + REMEMBERED < highest);
            assert_eq!(seen.note(number), is_new && is_remembered, "{number} after {highest}");
            highest = highest.max(number);
        }
    }
}
