//! Messages that come in fragments, until they are whole.

use antiphon_wire::ids::DaemonId;
use antiphon_wire::ring::chunk::{Fragment, Position};
use bytes::{BufMut, Bytes, BytesMut};

use super::SMALL_BYTES;

/// Messages of one sender that may be unfinished at once. Senders keep to
/// [`crate::send_queue::MAX_OPEN_MESSAGES`] client messages and one of their own.
const MAX_OF_ONE_SENDER: usize = crate::send_queue::MAX_OPEN_MESSAGES + 1;
/// Memory that small messages share.
const SHARED_BYTES: usize = 16 << 10;

/// A last fragment that fills its packet has no length where that would not fit, though it may be shorter
/// than what is left by less than the length would take.
const MAX_PADDING_BYTES: usize = 2;

/// Messages of which the last fragment has not been read.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    by_sender: Vec<Vec<Partial>>,
    /// Memory of which small messages get their parts.
    shared: BytesMut,
}

/// A message that was put together.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Assembled {
    /// The preamble, if it came as a slot or by itself; else empty, and `rest` begins with it.
    pub(super) preamble: Bytes,
    pub(super) rest: Bytes,
}

/// What a fragment makes.
pub(super) enum Added {
    /// The message that it ends.
    Whole(Assembled),
    /// A message that is still unfinished.
    Part,
    /// Nothing: there is no such message, or it does not end where it should. It is forgotten.
    NoUse,
}

#[derive(Debug)]
struct Partial {
    number: u8,
    preamble: Bytes,
    /// Bytes without the preamble.
    total: usize,
    bytes: BytesMut,
}

impl Unfinished {
    /// How many messages.
    pub(super) fn count(&self) -> usize {
        self.by_sender.iter().map(Vec::len).sum()
    }

    /// Forgets those of senders that do not pass `keep`.
    pub(super) fn retain(&mut self, keep: impl Fn(DaemonId) -> bool) {
        for (sender, messages) in (0..=u16::MAX).zip(&mut self.by_sender) {
            if !keep(DaemonId(sender)) {
                messages.clear();
            }
        }
    }

    /// Forgets the sender's message of that number.
    pub(super) fn forget(&mut self, sender: DaemonId, number: u8) {
        if let Some(messages) = self.by_sender.get_mut(sender.index()) {
            messages.retain(|message| message.number != number);
        }
    }

    /// Takes the first fragment of a message that has `total` bytes without its preamble; false if it is one too
    /// many. Whatever had the number before must be forgotten.
    pub(super) fn begin(
        &mut self,
        sender: DaemonId,
        number: u8,
        total: usize,
        preamble: Bytes,
        rest: &[u8],
    ) -> bool {
        if self.by_sender.len() <= sender.index() {
            self.by_sender.resize_with(sender.index() + 1, Vec::new);
        }
        let shared = &mut self.shared;
        let Some(messages) = self.by_sender.get_mut(sender.index()) else { return false };
        if messages.len() >= MAX_OF_ONE_SENDER {
            return false;
        }
        let mut bytes = memory(total, shared);
        bytes.put_slice(rest);
        messages.push(Partial { number, preamble, total, bytes });
        true
    }

    /// Adds a fragment that is not the first of its message.
    pub(super) fn add(&mut self, sender: DaemonId, fragment: Fragment, piece: &[u8]) -> Added {
        let Some(messages) = self.by_sender.get_mut(sender.index()) else { return Added::NoUse };
        let mut numbered = messages.iter_mut().enumerate();
        let found = numbered.find(|(_, message)| message.number == fragment.number);
        let Some((at, message)) = found else { return Added::NoUse };
        let fits = message.add(fragment.position, piece);
        if fits && fragment.position == Position::Middle {
            return Added::Part;
        }
        let Partial { preamble, bytes, .. } = messages.swap_remove(at);
        if fits { Added::Whole(Assembled { preamble, rest: bytes.freeze() }) } else { Added::NoUse }
    }
}

/// Memory for so many bytes, of the shared one if they are few.
fn memory(bytes: usize, shared: &mut BytesMut) -> BytesMut {
    if bytes >= SMALL_BYTES {
        return BytesMut::with_capacity(bytes);
    }
    if shared.capacity() < bytes {
        shared.reserve(SHARED_BYTES);
    }
    let rest = shared.split_off(bytes);
    std::mem::replace(shared, rest)
}

impl Partial {
    /// Adds a piece; false if the message does not end where it should with it.
    fn add(&mut self, position: Position, piece: &[u8]) -> bool {
        let lacking = self.total.saturating_sub(self.bytes.len());
        let fits = match position {
            Position::First { .. } => false,
            Position::Middle => piece.len() < lacking,
            Position::Last { fills_packet: false } => piece.len() == lacking,
            Position::Last { fills_packet: true } => {
                (lacking..=lacking + MAX_PADDING_BYTES).contains(&piece.len())
            }
        };
        if fits {
            self.bytes.put_slice(piece.get(..lacking).unwrap_or(piece));
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: DaemonId = DaemonId(1);

    fn begin(unfinished: &mut Unfinished, sender: DaemonId, number: u8, total: usize, half: &Bytes) -> bool {
        unfinished.begin(sender, number, total, Bytes::new(), half)
    }

    /// Puts a message of two halves together.
    fn whole(unfinished: &mut Unfinished, number: u8, half: &Bytes) -> Bytes {
        assert!(begin(unfinished, SENDER, number, 2 * half.len(), half));
        let fragment = Fragment { number, position: Position::Last { fills_packet: false } };
        match unfinished.add(SENDER, fragment, half) {
            Added::Whole(assembled) => assembled.rest,
            Added::Part | Added::NoUse => panic!("not whole"),
        }
    }

    #[test]
    fn a_sender_has_so_many_unfinished_messages_and_no_more() {
        let (mut unfinished, half) = (Unfinished::default(), Bytes::from_static(b"half"));
        let most = u8::try_from(MAX_OF_ONE_SENDER).expect("few");
        for number in 0..most {
            assert!(begin(&mut unfinished, SENDER, number, 8, &half));
        }
        assert!(!begin(&mut unfinished, SENDER, most, 8, &half));
        assert!(begin(&mut unfinished, DaemonId(0), most, 8, &half), "another's do not count");
        assert_eq!(unfinished.count(), MAX_OF_ONE_SENDER + 1);
        unfinished.forget(SENDER, 0);
        assert!(begin(&mut unfinished, SENDER, most, 8, &half));
        unfinished.retain(|sender| sender != SENDER);
        assert_eq!(unfinished.count(), 1);
    }

    #[test]
    fn small_messages_share_memory_that_is_used_again() {
        let (mut unfinished, half) = (Unfinished::default(), Bytes::from(vec![7; 500]));
        let kept: Vec<_> = (0..40).map(|number| whole(&mut unfinished, number, &half)).collect();
        assert!(kept.iter().all(|bytes| *bytes == [7; 1000].as_slice()));
        let apart = |pair: &[Bytes]| pair[0].as_ptr().addr() + 1000 != pair[1].as_ptr().addr();
        let pieces = 1 + kept.windows(2).filter(|pair| apart(pair)).count();
        assert!(pieces <= 40 / (SHARED_BYTES / 1000) + 1, "{pieces} pieces of memory");
        drop(kept);
        let mut places = std::collections::BTreeSet::new();
        for number in 0..200 {
            places.insert(whole(&mut unfinished, number, &half).as_ptr().addr());
        }
        assert!(places.len() <= 2 * SHARED_BYTES / 1000, "{} places", places.len());
    }
}
