//! Packets of one ring, from the first that someone may still need to the highest received.

use std::collections::VecDeque;

use antiphon_wire::ids::Seq;
use antiphon_wire::ring::packet::Packet;
use antiphon_wire::ring::ranges::{self, SeqRange};

/// Packets that are held at most; what lies further ahead is refused. No more than half of that is
/// ever outstanding.
pub(crate) const CAPACITY_PACKETS: u64 = 1 << 16;

/// A stored packet.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) packet: Packet,
    /// Whether its whole unordered messages were delivered on arrival.
    pub(crate) delivered_early: bool,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct PacketStore {
    /// Everything up to here was discarded.
    discarded: Seq,
    /// Position `i` holds the packet `discarded + 1 + i`.
    slots: VecDeque<Option<Stored>>,
    /// Everything up to here was received, discarded packets included.
    contiguous: Seq,
}

impl PacketStore {
    /// No packets. What is not after `before` counts as received and discarded.
    pub(crate) fn after(before: Seq) -> Self {
        Self { discarded: before, slots: VecDeque::new(), contiguous: before }
    }

    fn slot(&self, seq: Seq) -> Option<usize> {
        let ahead = seq.0.checked_sub(self.discarded.0 + 1)?;
        usize::try_from(ahead).ok()
    }

    /// Whether a packet of that number is not too far ahead to be stored. No member sends one that is.
    pub(crate) fn reaches(&self, seq: Seq) -> bool {
        seq.ahead_of(self.discarded) <= CAPACITY_PACKETS
    }

    /// Stores a packet; false when it is there already, was discarded, or is too far ahead.
    pub(crate) fn insert(&mut self, packet: Packet) -> bool {
        let seq = packet.header.seq;
        let Some(slot) = self.slot(seq).filter(|_| self.reaches(seq)) else {
            return false;
        };
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        let Some(place) = self.slots.get_mut(slot).filter(|place| place.is_none()) else {
            return false;
        };
        *place = Some(Stored { packet, delivered_early: false });
        while self.contains(self.contiguous.next()) {
            self.contiguous = self.contiguous.next();
        }
        true
    }

    /// How many packets behind `seq` can be stored before some are discarded.
    pub(crate) fn room_behind(&self, seq: Seq) -> usize {
        usize::try_from(CAPACITY_PACKETS.saturating_sub(seq.ahead_of(self.discarded))).unwrap_or(usize::MAX)
    }

    /// The stored packet of that number.
    pub(crate) fn get(&self, seq: Seq) -> Option<&Stored> {
        self.slots.get(self.slot(seq)?)?.as_ref()
    }

    /// Notes that the unordered messages of a packet were delivered.
    pub(crate) fn note_delivered_early(&mut self, seq: Seq) {
        if let Some(stored) = self.slot(seq).and_then(|slot| self.slots.get_mut(slot)?.as_mut()) {
            stored.delivered_early = true;
        }
    }

    /// Whether the packet is stored.
    pub(crate) fn contains(&self, seq: Seq) -> bool {
        self.get(seq).is_some()
    }

    /// Everything up to here was received.
    pub(crate) fn contiguous(&self) -> Seq {
        self.contiguous
    }

    /// The highest number received.
    pub(crate) fn highest(&self) -> Seq {
        self.discarded.advanced(self.slots.len() as u64).max(self.contiguous)
    }

    /// The packets of a range that are held. Clipped first, so that a forged range costs no more than there are
    /// packets.
    pub(crate) fn held_of(&self, range: SeqRange) -> impl Iterator<Item = Seq> + '_ {
        let (first, last) = (range.first.max(self.discarded.next()), range.last.min(self.highest()));
        (first.0..=last.0).map(Seq).filter(|seq| self.contains(*seq))
    }

    /// Packets held.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What is stored beyond the contiguous part.
    pub(crate) fn beyond(&self) -> Vec<SeqRange> {
        let above = (self.contiguous.0 + 1..=self.highest().0).map(Seq);
        ranges::collect(above.filter(|seq| self.contains(*seq)))
    }

    /// What is missing up to and including `last`.
    pub(crate) fn missing(&self, last: Seq) -> impl Iterator<Item = Seq> + '_ {
        (self.contiguous.0 + 1..=last.0).map(Seq).filter(|seq| !self.contains(*seq))
    }

    /// Drops everything up to and including `last`, which must have been received.
    pub(crate) fn discard(&mut self, last: Seq) {
        let last = last.min(self.contiguous);
        while self.discarded < last {
            self.slots.pop_front();
            self.discarded = self.discarded.next();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use antiphon_wire::ids::{DaemonId, RingTag};
    use antiphon_wire::ring::packet::PacketHeader;
    use bytes::Bytes;

    use super::*;

    /// An empty packet of that number.
    pub(crate) fn packet(seq: u64) -> Packet {
        let header = PacketHeader {
            ring: RingTag::default(),
            sender: DaemonId(0),
            seq: Seq(seq),
            visit: 0,
            after_token: false,
            has_unordered: false,
            wants_ack: false,
            ack: Seq::ZERO,
        };
        Packet { header, bytes: Bytes::new() }
    }

    #[test]
    fn the_contiguous_part_grows_when_a_hole_is_filled() {
        let mut packets = PacketStore::default();
        for seq in [1, 2, 5, 4] {
            assert!(packets.insert(packet(seq)));
        }
        assert!(!packets.insert(packet(2)), "a duplicate");
        assert_eq!((packets.contiguous(), packets.highest()), (Seq(2), Seq(5)));
        assert_eq!(packets.missing(Seq(6)).collect::<Vec<_>>(), [Seq(3), Seq(6)]);
        assert_eq!(packets.beyond().len(), 1);
        assert!(packets.insert(packet(3)));
        assert_eq!(packets.contiguous(), Seq(5));
    }

    #[test]
    fn discarded_packets_stay_received_and_are_not_stored_again() {
        let mut packets = PacketStore::default();
        for seq in 1..=4 {
            packets.insert(packet(seq));
        }
        packets.discard(Seq(3));
        assert_eq!((packets.len(), packets.contiguous()), (1, Seq(4)));
        assert!(!packets.insert(packet(2)));
        assert!(!packets.contains(Seq(2)) && packets.contains(Seq(4)));
    }

    #[test]
    fn a_forged_range_costs_no_more_than_is_held() {
        let mut packets = PacketStore::default();
        assert!([1, 2, 4].into_iter().all(|seq| packets.insert(packet(seq))));
        packets.discard(Seq(1));
        let range = |first, last| SeqRange { first: Seq(first), last: Seq(last) };
        let held = |range| packets.held_of(range).collect::<Vec<_>>();
        assert_eq!(held(range(0, u64::MAX / 2)), [Seq(2), Seq(4)]);
        assert!(held(range(1 << 40, u64::MAX / 2)).is_empty());
    }

    #[test]
    fn what_is_absurdly_far_ahead_is_refused() {
        let mut packets = PacketStore::default();
        assert!(!packets.insert(packet(1 << 40)));
        assert_eq!(packets.len(), 0);
    }
}
