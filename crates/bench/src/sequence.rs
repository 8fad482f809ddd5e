//! Gaps, duplicates and order differences.
//!
//! Every receiver keeps one [`Sequence`]: the next number expected of each sender, and a running hash
//! of all that it received, noted every thousand messages or so. Receivers that are there before the first
//! message and after the last one have the same notes exactly if they saw the same order.

use std::fmt::{self, Display};
use std::ops::AddAssign;

use serde::Serialize;

/// Messages between two notes of the running hash.
const BLOCK: u64 = 1024;

/// What one receiver got, in its order.
#[derive(Clone, Debug)]
pub struct Sequence {
    next: Vec<u64>,
    received: u64,
    gaps: u64,
    duplicates: u64,
    hash: u64,
    notes: Vec<u64>,
    ended: Vec<bool>,
}

/// What went wrong in a run. All are 0 unless a daemon broke its promise.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Faults {
    /// Messages that a receiver did not get, over all receivers.
    pub gaps: u64,
    /// Messages that a receiver got again or behind a later one of the same sender.
    pub duplicates: u64,
    /// Receivers whose order is not that of the first receiver.
    pub order_differences: u64,
    /// Views and transitions that the network caused though it was whole, over one watching session on each
    /// daemon.
    pub false_views: u64,
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.gaps += other.gaps;
        self.duplicates += other.duplicates;
        self.order_differences += other.order_differences;
        self.false_views += other.false_views;
    }
}

impl Faults {
    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// All of them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.gaps + self.duplicates + self.order_differences + self.false_views
    }
}

impl Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gaps, duplicates, order_differences, false_views } = self;
        write!(f, "{gaps} gaps, {duplicates} duplicates, {order_differences} order differences, ")?;
        write!(f, "{false_views} false views")
    }
}

impl Sequence {
    /// The sequence of a receiver that has nothing yet, of this many senders.
    #[must_use]
    pub fn new(senders: usize) -> Self {
        Self {
            next: vec![0; senders],
            received: 0,
            gaps: 0,
            duplicates: 0,
            hash: 0,
            notes: Vec::new(),
            ended: vec![false; senders],
        }
    }

    /// Takes in one message; false if there is no such sender.
    #[must_use]
    pub fn on_message(&mut self, sender: u32, number: u64) -> bool {
        let Some(next) = self.next.get_mut(sender as usize) else { return false };
        if number < *next {
            self.duplicates += 1;
        } else {
            self.gaps += number - *next;
            *next = number + 1;
        }
        self.received += 1;
        self.hash = mix(self.hash ^ mix(number ^ (u64::from(sender) << 40)));
        if self.received.is_multiple_of(BLOCK) {
            self.notes.push(self.hash);
        }
        true
    }

    /// Takes in that a sender has sent `total` messages and sends no more; false if there is no such
    /// sender.
    #[must_use]
    pub fn on_end(&mut self, sender: u32, total: u64) -> bool {
        let place = sender as usize;
        let (Some(next), Some(ended)) = (self.next.get_mut(place), self.ended.get_mut(place)) else {
            return false;
        };
        self.duplicates += u64::from(std::mem::replace(ended, true));
        self.gaps += total.saturating_sub(*next);
        *next = (*next).max(total);
        true
    }

    /// Whether all senders have sent their last.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.ended.iter().all(|ended| *ended)
    }
}

/// What went wrong between and in the sequences of all receivers of a run. With `total_order`, they
/// must be the same.
#[must_use]
pub fn compare(sequences: &[Sequence], total_order: bool) -> Faults {
    let mut faults = Faults::default();
    for sequence in sequences {
        faults.gaps += sequence.gaps;
        faults.duplicates += sequence.duplicates;
    }
    if let (true, Some((first, others))) = (total_order, sequences.split_first()) {
        faults.order_differences = others.iter().map(|other| u64::from(differs(first, other))).sum();
    }
    faults
}

/// Whether two receivers saw different orders. One that ends earlier than the other is judged by the
/// whole blocks that both have; what it lacks are gaps.
fn differs(one: &Sequence, other: &Sequence) -> bool {
    if one.received == other.received {
        return one.hash != other.hash;
    }
    one.notes.iter().zip(&other.notes).any(|(one, other)| one != other)
}

/// Spreads every bit over all bits (the finalizer of SplitMix64).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (value ^ (value >> 31)).wrapping_add(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(messages: impl IntoIterator<Item = (u32, u64)>) -> Sequence {
        let mut sequence = Sequence::new(2);
        for (sender, number) in messages {
            assert!(sequence.on_message(sender, number));
        }
        sequence
    }

    /// Two senders in turn, 3000 messages each.
    fn in_turn() -> Vec<(u32, u64)> {
        (0..3000).flat_map(|number| [(0, number), (1, number)]).collect()
    }

    #[test]
    fn the_same_order_everywhere_has_no_faults() {
        let same = [sequence(in_turn()), sequence(in_turn())];
        assert!(compare(&same, true).is_empty());
    }

    #[test]
    fn two_messages_of_different_senders_exchanged_is_an_order_difference() {
        let mut other = in_turn();
        other.swap(500, 501);
        let pair = [sequence(in_turn()), sequence(other)];
        let expected = Faults { order_differences: 1, ..Faults::default() };
        assert_eq!(compare(&pair, true), expected);
        assert!(compare(&pair, false).is_empty(), "fifo promises no order between senders");
    }

    #[test]
    fn an_exchange_is_seen_although_the_tail_is_missing() {
        let mut other = in_turn();
        other.swap(500, 501);
        other.truncate(5000);
        assert_eq!(compare(&[sequence(in_turn()), sequence(other)], true).order_differences, 1);
    }

    #[test]
    fn a_missing_message_is_a_gap_and_a_repeated_one_a_duplicate() {
        let gap = sequence([(0, 0), (0, 3)]);
        assert_eq!(compare(&[gap], true), Faults { gaps: 2, ..Faults::default() });
        let twice = sequence([(0, 0), (0, 1), (0, 0)]);
        assert_eq!(compare(&[twice], true), Faults { duplicates: 1, ..Faults::default() });
    }

    #[test]
    fn what_was_sent_last_and_never_came_is_a_gap() {
        let mut sequence = sequence([(0, 0), (1, 0)]);
        assert!(sequence.on_end(0, 1) && sequence.on_end(1, 4));
        assert_eq!(compare(&[sequence], true).gaps, 3);
    }

    #[test]
    fn a_sequence_is_complete_when_each_sender_has_ended_however_often_one_does() {
        let mut sequence = sequence([(0, 0), (1, 0)]);
        assert!(sequence.on_end(0, 1) && sequence.on_end(0, 1));
        assert!(!sequence.is_complete());
        assert!(sequence.on_end(1, 1));
        assert!(sequence.is_complete());
        assert_eq!(compare(&[sequence], true), Faults { duplicates: 1, ..Faults::default() });
    }

    #[test]
    fn a_message_of_nobody_is_told() {
        assert!(!Sequence::new(2).on_message(2, 0));
        assert!(!Sequence::new(2).on_end(2, 0));
    }
}
