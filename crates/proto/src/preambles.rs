//! Preambles of multicasts that need not be sent again.
//!
//! Most messages of a client have the preamble of the one before: flags, sender and groups. So a daemon says
//! a preamble once, with a slot, and from then on only the slot, until it gives that to another preamble.
//!
//! Sender and receivers change the slots at the same places of the ring's order, which is that of the first
//! pieces, and forget all of them with the ring. That is enough because the messages of a daemon are
//! delivered in a ring without gap from the first on, or from some place on not at all. Messages without
//! order may arrive early or stand behind a gap, so they always bring their preamble.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use antiphon_wire::ids::DaemonId;
use antiphon_wire::ring::chunk::Preamble;
use bytes::Bytes;

const SLOTS: usize = 1 << u8::BITS;

/// Longer ones are not remembered: with this every packet has room for one, and what a receiver keeps of a
/// sender is below 64 KiB.
const MAX_PREAMBLE_BYTES: usize = 128;

/// What I have said in a ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    slots: Vec<Vec<u8>>,
}

impl Said {
    /// How to say a preamble of an ordered message; `None` when it is to be a part of the message.
    pub(crate) fn find(&self, preamble: &[u8]) -> Option<Preamble> {
        let bytes = u8::try_from(preamble.len()).ok().filter(|bytes| *bytes > 0)?;
        if preamble.len() > MAX_PREAMBLE_BYTES {
            return None;
        }
        // Two preambles of one slot are said again and again, which costs what it would without slots.
        let slot = foldhash::fast::FixedState::default().hash_one(preamble) as u8;
        let is_known = self.slots.get(usize::from(slot)).is_some_and(|said| said == preamble);
        Some(if is_known { Preamble::Known { slot } } else { Preamble::New { slot, bytes } })
    }

    /// Notes that a piece with that preamble got its place in the order.
    pub(crate) fn note(&mut self, said: Option<Preamble>, preamble: &[u8]) {
        let Some(Preamble::New { slot, .. }) = said else { return };
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, Vec::new);
        }
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            place.clear();
            place.extend_from_slice(preamble);
        }
    }
}

/// What each member has said in a ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    senders: BTreeMap<DaemonId, Vec<Bytes>>,
}

impl Heard {
    /// The preamble of a message, and what its first piece has besides. The preamble is empty when it is a
    /// part of the message like any other; `None` when the sender has not said it.
    pub(crate) fn take(
        &mut self,
        sender: DaemonId,
        preamble: Option<Preamble>,
        mut piece: Bytes,
    ) -> Option<(Bytes, Bytes)> {
        match preamble {
            None => Some((Bytes::new(), piece)),
            Some(Preamble::Known { slot }) => {
                let said = self.senders.get(&sender)?.get(usize::from(slot))?;
                Some((said.clone(), piece)).filter(|(said, _)| !said.is_empty())
            }
            Some(Preamble::New { slot, bytes }) => {
                // A part of the packet would keep the whole burst that it came in.
                let said = Bytes::copy_from_slice(&piece.split_to(usize::from(bytes).min(piece.len())));
                let slots = self.senders.entry(sender).or_insert_with(|| vec![Bytes::new(); SLOTS]);
                if let Some(place) = slots.get_mut(usize::from(slot)) {
                    place.clone_from(&said);
                }
                Some((said, piece))
            }
        }
    }

    /// Forgets what senders have said that do not pass `keep`.
    pub(crate) fn retain(&mut self, keep: impl Fn(DaemonId) -> bool) {
        self.senders.retain(|sender, _| keep(*sender));
    }
}
