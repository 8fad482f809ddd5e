//! Which messages were sent and have not come back.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use antiphon_wire::names::GroupName;
use antiphon_wire::service::ServiceLevel;

/// Most messages that are kept apart. Of more, the oldest are only counted.
const KEPT: usize = 1 << 16;
/// Bytes of a body that are looked at. Messages that are alike so far are told apart by their order.
const BODY_BYTES: usize = 64;

/// The messages of a session that have not come back to it.
///
/// An ordered message that comes back confirms every ordered one that was sent before it. One without
/// order confirms only itself.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed {
    /// Fingerprints of ordered messages, oldest first.
    ordered: VecDeque<u64>,
    /// Ordered messages before those.
    forgotten: u64,
    /// Parts of their fingerprints: what comes back and has none of them is not one of those.
    forgotten_marks: BTreeSet<u16>,
    unordered: u64,
}

impl Unconfirmed {
    pub(crate) fn on_send(&mut self, service: ServiceLevel, fingerprint: u64) {
        if !service.is_ordered() {
            self.unordered += 1;
            return;
        }
        if self.ordered.len() == KEPT
            && let Some(oldest) = self.ordered.pop_front()
        {
            self.forgotten += 1;
            self.forgotten_marks.insert(mark(oldest));
        }
        self.ordered.push_back(fingerprint);
    }

    /// A message of this session came back.
    pub(crate) fn on_return(&mut self, service: ServiceLevel, fingerprint: u64) {
        if !service.is_ordered() {
            self.unordered = self.unordered.saturating_sub(1);
            return;
        }
        if self.forgotten > 0 && self.forgotten_marks.contains(&mark(fingerprint)) {
            // It may be one of these, of which nobody knows any more which came before it: it confirms itself alone.
            self.forgotten -= 1;
        } else if let Some(index) = self.ordered.iter().position(|kept| *kept == fingerprint) {
            self.ordered.drain(..=index);
            self.forgotten = 0;
        }
        if self.forgotten == 0 {
            self.forgotten_marks.clear();
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.ordered.len() as u64 + self.forgotten + self.unordered
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a part is wanted")]
fn mark(fingerprint: u64) -> u16 {
    fingerprint as u16
}

/// What tells messages of one sender apart, as it is sent and as it comes back.
pub(crate) fn fingerprint(groups: &[GroupName], message_type: i16, body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (groups, message_type, body.len(), body.get(..BODY_BYTES).unwrap_or(body)).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_confirms_all_that_was_ordered_before_it() {
        let mut sent = Unconfirmed::default();
        for number in 0..10 {
            sent.on_send(ServiceLevel::Agreed, number);
        }
        sent.on_send(ServiceLevel::Reliable, 0);
        sent.on_return(ServiceLevel::Fifo, 6);
        assert_eq!(sent.count(), 4);
        sent.on_return(ServiceLevel::Agreed, 77);
        assert_eq!(sent.count(), 4, "it was never sent");
        sent.on_return(ServiceLevel::Reliable, 0);
        assert_eq!(sent.count(), 3);
    }

    #[test]
    fn messages_that_are_alike_are_told_apart_by_their_order() {
        let mut sent = Unconfirmed::default();
        (0..3).for_each(|_| sent.on_send(ServiceLevel::Fifo, 1));
        sent.on_return(ServiceLevel::Fifo, 1);
        assert_eq!(sent.count(), 2);
    }

    #[test]
    fn more_than_are_kept_are_still_counted() {
        let mut sent = Unconfirmed::default();
        for number in 0..KEPT as u64 + 5 {
            sent.on_send(ServiceLevel::Safe, number);
        }
        assert_eq!(sent.count(), KEPT as u64 + 5);
        sent.on_return(ServiceLevel::Safe, 5);
        assert_eq!(sent.count(), KEPT as u64 - 1);
    }

    #[test]
    fn one_that_is_like_some_that_are_not_kept_does_not_confirm_them_all() {
        for kinds in [1, 2] {
            let mut sent = Unconfirmed::default();
            let count = KEPT as u64 + 5;
            (0..count).for_each(|number| sent.on_send(ServiceLevel::Fifo, number % kinds));
            for number in 0..count {
                assert_eq!(sent.count(), count - number);
                sent.on_return(ServiceLevel::Fifo, number % kinds);
            }
            assert_eq!(sent.count(), 0);
        }
    }
}
