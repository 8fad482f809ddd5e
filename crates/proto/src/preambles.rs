//! Preambles of multicasts that need not be sent again.
//!
//! Most messages of a client have the preamble of the one before: flags, sender and groups. So a daemon says
//! a preamble once, with a slot, and from then on only the slot, until it gives that to another preamble.
//!
//! Sender and receivers change the slots at the same places of the ring's order, which is that of the first
//! pieces, and forget all of them with the ring. That is enough because the messages of a daemon are
//! delivered in a ring without gap from the first on, or from some place on not at all. Messages without
//! order may arrive early or stand behind a gap, so they always bring their preamble.

use std::collections::HashMap;

use antiphon_wire::ids::DaemonId;
use antiphon_wire::ring::chunk::Preamble;
use bytes::Bytes;

const SLOTS: usize = 1 << u8::BITS;

/// Longer ones are not remembered, so that every packet has room for one.
const MAX_PREAMBLE_BYTES: usize = 128;

/// What I have said in a ring.
#[derive(Debug, Default)]
pub(crate) struct Said {
    slots: Vec<Bytes>,
    slot_of: HashMap<Bytes, u8, foldhash::fast::FixedState>,
    /// The slot that the next new preamble gets: the one that has its preamble for longest.
    next: u8,
    /// The slot of the last piece that had one.
    last: u8,
}

impl Said {
    /// How to say a preamble of an ordered message; `None` when it is to be a part of the message.
    pub(crate) fn find(&self, preamble: &[u8]) -> Option<Preamble> {
        let bytes = u8::try_from(preamble.len()).ok().filter(|bytes| *bytes > 0)?;
        if preamble.len() > MAX_PREAMBLE_BYTES {
            return None;
        }
        if self.slots.get(usize::from(self.last)).is_some_and(|said| said == preamble) {
            return Some(Preamble::Known { slot: self.last });
        }
        Some(match self.slot_of.get(preamble) {
            Some(slot) => Preamble::Known { slot: *slot },
            None => Preamble::New { slot: self.next, bytes },
        })
    }

    /// Notes that a piece with that preamble got its place in the order, said in that way.
    pub(crate) fn note(&mut self, said: Option<Preamble>, preamble: &[u8]) {
        match said {
            None => {}
            Some(Preamble::Known { slot }) => self.last = slot,
            Some(Preamble::New { slot, .. }) => self.give(slot, Bytes::copy_from_slice(preamble)),
        }
    }

    fn give(&mut self, slot: u8, preamble: Bytes) {
        self.slots.resize_with(SLOTS, Bytes::new);
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            self.slot_of.remove(place);
            place.clone_from(&preamble);
        }
        self.slot_of.insert(preamble, slot);
        self.next = slot.wrapping_add(1);
        self.last = slot;
    }
}

/// What each member has said in a ring.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// By daemon, then by slot; nothing of those that have said nothing.
    senders: Vec<Vec<Bytes>>,
}

/// The first piece of a message, once it is known what its preamble is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolved<'a> {
    /// With which slot its sender has said the preamble; `None` when that is a part of the message like any other.
    pub(crate) slot: Option<u8>,
    /// What the piece has besides a preamble that has a slot.
    pub(crate) rest: &'a [u8],
}

impl Heard {
    /// Finds the preamble of the message whose first piece that is; a new one is remembered. `None` when the sender has
    /// not said it.
    pub(crate) fn resolve<'a>(
        &mut self,
        sender: DaemonId,
        preamble: Option<Preamble>,
        piece: &'a [u8],
    ) -> Option<Resolved<'a>> {
        match preamble {
            None => Some(Resolved { slot: None, rest: piece }),
            Some(Preamble::Known { slot }) => {
                self.said(sender, slot).map(|_| Resolved { slot: Some(slot), rest: piece })
            }
            Some(Preamble::New { slot, bytes }) => {
                let (said, rest) = piece.split_at(usize::from(bytes).min(piece.len()));
                // A part of the packet would keep the whole burst that it came in.
                self.remember(sender, slot, Bytes::copy_from_slice(said));
                (!said.is_empty()).then_some(Resolved { slot: Some(slot), rest })
            }
        }
    }

    /// What a sender has said with that slot.
    pub(crate) fn said(&self, sender: DaemonId, slot: u8) -> Option<&Bytes> {
        let said = self.senders.get(sender.index())?.get(usize::from(slot))?;
        Some(said).filter(|said| !said.is_empty())
    }

    fn remember(&mut self, sender: DaemonId, slot: u8, said: Bytes) {
        if self.senders.len() <= sender.index() {
            self.senders.resize_with(sender.index() + 1, Vec::new);
        }
        let Some(slots) = self.senders.get_mut(sender.index()) else { return };
        slots.resize(SLOTS, Bytes::new());
        if let Some(place) = slots.get_mut(usize::from(slot)) {
            *place = said;
        }
    }

    /// Forgets what senders have said that do not pass `keep`.
    pub(crate) fn retain(&mut self, keep: impl Fn(DaemonId) -> bool) {
        for (sender, slots) in (0..=u16::MAX).zip(&mut self.senders) {
            if !keep(DaemonId(sender)) {
                slots.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: DaemonId = DaemonId(3);

    /// Whether the sender says the preamble by its slot; receivers get the same in any case.
    fn is_known(preamble: &[u8], said: &mut Said, heard: &mut Heard) -> bool {
        let way = said.find(preamble);
        said.note(way, preamble);
        let is_known = matches!(way, Some(Preamble::Known { .. }));
        let piece = [if is_known { b"" } else { preamble }, b"rest"].concat();
        let Resolved { slot, rest } = heard.resolve(SENDER, way, &piece).expect("said before");
        let said = slot.and_then(|slot| heard.said(SENDER, slot)).expect("with its slot");
        assert_eq!((&said[..], rest), (preamble, b"rest".as_slice()));
        is_known
    }

    #[test]
    fn as_many_preambles_as_there_are_slots_are_said_once_each() {
        let (mut said, mut heard) = (Said::default(), Heard::default());
        let mut known = |numbers: std::ops::Range<usize>| {
            let preambles = numbers.map(|number| format!("preamble {number}").into_bytes());
            preambles.filter(|preamble| is_known(preamble, &mut said, &mut heard)).count()
        };
        assert_eq!((known(0..SLOTS), known(0..SLOTS)), (0, SLOTS));
        assert_eq!((known(256..266), known(10..266), known(0..10)), (0, SLOTS, 0), "the oldest made way");
        assert_eq!(known(0..300) + known(300..600), 10, "more than there are slots, in turns");
        assert_eq!(said.slot_of.len(), SLOTS);
    }

    #[test]
    fn neither_nothing_nor_a_long_preamble_has_a_slot() {
        let said = Said::default();
        assert_eq!((said.find(b""), said.find(&[1; MAX_PREAMBLE_BYTES + 1])), (None, None));
        assert_eq!(said.find(&[1; MAX_PREAMBLE_BYTES]), Some(Preamble::New { slot: 0, bytes: 128 }));
    }

    #[test]
    fn what_a_sender_has_not_said_or_what_was_forgotten_is_not_known() {
        let mut heard = Heard::default();
        let is_resolved = |heard: &mut Heard, sender, preamble| {
            heard.resolve(sender, Some(preamble), b"preamble").is_some()
        };
        let (new, known) = (Preamble::New { slot: 9, bytes: 3 }, Preamble::Known { slot: 9 });
        assert!(!is_resolved(&mut heard, SENDER, known));
        assert!(is_resolved(&mut heard, SENDER, new));
        assert!(is_resolved(&mut heard, SENDER, known));
        assert!(!is_resolved(&mut heard, SENDER, Preamble::Known { slot: 8 }));
        assert!(!is_resolved(&mut heard, DaemonId(4), known));
        heard.retain(|sender| sender != SENDER);
        assert!(!is_resolved(&mut heard, SENDER, known));
    }
}
