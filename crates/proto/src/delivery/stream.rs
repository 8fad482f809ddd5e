//! From packets in order to messages in order.
//!
//! A [`Stream`] reads the packets of one ring with a cursor that stands between two chunks, so a
//! safe message that is not stable yet stops it in the middle of a packet. It puts fragments
//! together; what a message is for, it does not know.
//!
//! A message is lent from where it lies until the next is looked for, so that one that nobody keeps costs no reference.

use antiphon_wire::ids::{DaemonId, ProcessId, Seq};
use antiphon_wire::reader::{DecodeError, Reader};
use antiphon_wire::ring::chunk::{self, Chunk, Fragment, MessageHead, Position, Preamble};
use antiphon_wire::ring::packet::{PACKET_HEADER_BYTES, Packet, PacketHeader};
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;

use super::unfinished::{Added, Assembled, Unfinished};
use super::{Kind, Lent, Message, Place};
use crate::preambles::{Heard, Resolved};
use crate::ring::packets::{PacketStore, Stored};

/// Largest message that is put together; what claims to be larger is dropped.
const MAX_MESSAGE_BYTES: u32 = 1 << 20;

/// The preamble of a message that has it with the rest.
static NOTHING: Bytes = Bytes::new();

/// Where the ring stops the cursor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// The last packet that may be read.
    pub(crate) last: Seq,
    /// The last packet whose safe messages may be delivered.
    pub(crate) safe: Seq,
}

/// Which messages of a packet are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// All of them.
    All,
    /// Only whole messages that need no order: the packet stands behind a hole and its sender is
    /// not known to have all its predecessors delivered.
    Unordered,
}

/// A complete message, as [`Stream::find`] came to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) sender: DaemonId,
    pub(crate) seq: Seq,
    /// Which of the messages that end in the packet, from 0.
    pub(crate) index: u16,
    kind: Kind,
    service: ServiceLevel,
    source: Source,
}

/// Where its bytes are.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// In the packet, between these two; its preamble is what its sender said with that slot, if it has one.
    Packet { start: usize, end: usize, slot: Option<u8> },
    /// Put together of fragments.
    Assembled,
}

/// A complete message that is kept.
#[derive(Debug)]
pub(crate) struct Complete {
    pub(crate) sender: DaemonId,
    pub(crate) seq: Seq,
    /// Which of the messages that end in the packet, from 0.
    pub(crate) index: u16,
    pub(crate) kind: Kind,
    pub(crate) service: ServiceLevel,
    /// The preamble, if it came as a slot or by itself; else empty, and `bytes` begin with it.
    pub(crate) preamble: Bytes,
    pub(crate) bytes: Bytes,
}

impl Complete {
    /// Where it stands in the order.
    pub(crate) fn place(&self) -> Place {
        Place { seq: self.seq, index: self.index, early: false }
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Everything up to here is read.
    done: Seq,
    /// The packet being read, `done + 1`.
    open: Option<OpenPacket>,
    assembly: Assembly,
}

#[derive(Debug)]
struct OpenPacket {
    sender: DaemonId,
    seq: Seq,
    /// Whether its whole unordered messages were delivered on arrival.
    delivered_early: bool,
    bytes: Bytes,
    /// Where the next chunk begins.
    at: usize,
    /// Messages that have ended.
    index: u16,
}

/// How far a packet was read.
enum Step {
    /// To the end of a message.
    Found(Found),
    /// To a safe message that is not stable yet.
    Unstable,
    /// To its end.
    End,
}

/// What was read before and is needed to make messages of chunks.
#[derive(Debug, Default)]
struct Assembly {
    unfinished: Unfinished,
    /// The message of fragments that was found last, until the next is looked for.
    assembled: Option<Assembled>,
    preambles: Heard,
    /// Pieces of no use so far.
    dropped: u64,
}

impl OpenPacket {
    fn new(Stored { packet, delivered_early }: &Stored) -> Self {
        let PacketHeader { sender, seq, .. } = packet.header;
        let (delivered_early, bytes) = (*delivered_early, packet.bytes.clone());
        Self { sender, seq, delivered_early, bytes, at: PACKET_HEADER_BYTES, index: 0 }
    }

    /// The next chunk, and where it ends.
    fn chunk(&self) -> Result<Option<(Chunk<'_>, usize)>, DecodeError> {
        let mut reader = Reader::new(self.bytes.get(self.at..).unwrap_or_default(), "packet");
        let chunk = chunk::next(&mut reader)?;
        Ok(chunk.map(|chunk| (chunk, self.bytes.len() - reader.remaining())))
    }

    /// Goes behind a chunk. Returns which of the packet's messages it ends, if it ends one.
    fn pass(&mut self, end: usize, ends_message: bool) -> u16 {
        self.at = end;
        let index = self.index;
        self.index += u16::from(ends_message);
        index
    }
}

impl Stream {
    /// A stream that begins after `before`.
    pub(crate) fn after(before: Seq) -> Self {
        Self { done: before, ..Self::default() }
    }

    /// Everything up to here is read.
    pub(crate) fn done(&self) -> Seq {
        self.done
    }

    /// Fragments that were of no use, messages whose preamble nobody has said, and malformed packets.
    pub(crate) fn dropped(&self) -> u64 {
        self.assembly.dropped
    }

    /// Messages of which the last fragment has not been read.
    pub(crate) fn unfinished(&self) -> usize {
        self.assembly.unfinished.count()
    }

    /// Looks for the next message in order, as far as `limit` allows and packets are there.
    pub(crate) fn find(&mut self, packets: &PacketStore, limit: Limit) -> Option<Found> {
        // A question for each message is less than what it takes to drop nothing.
        if self.assembly.assembled.is_some() {
            self.assembly.assembled = None;
        }
        loop {
            let seq = self.done.next();
            if seq > limit.last {
                return None;
            }
            let open = match &mut self.open {
                Some(open) => open,
                None => self.open.insert(OpenPacket::new(packets.get(seq)?)),
            };
            match self.assembly.read(open, seq <= limit.safe, Wanted::All) {
                Step::Found(found) => return Some(found),
                Step::Unstable => return None,
                Step::End => {}
            }
            self.open = None;
            self.done = seq;
        }
    }

    /// The message that was found last, of that process.
    pub(crate) fn lend(&self, found: Found, sender: ProcessId) -> Message<'_> {
        let (preamble, bytes) = self.parts(found);
        Message { sender, kind: found.kind, service: found.service, preamble, bytes }
    }

    fn parts(&self, found: Found) -> (&Bytes, Lent<'_>) {
        let Assembly { assembled, preambles, .. } = &self.assembly;
        match (found.source, &self.open, assembled) {
            (Source::Packet { start, end, slot }, Some(OpenPacket { bytes, .. }), _) => {
                let preamble = slot.and_then(|slot| preambles.said(found.sender, slot));
                let part = bytes.get(start..end).unwrap_or_default();
                (preamble.unwrap_or(&NOTHING), Lent::part(bytes, part))
            }
            (Source::Assembled, _, Some(Assembled { preamble, rest })) => (preamble, Lent::whole(rest)),
            _ => unreachable!("{found:?} is not what was found last"),
        }
    }

    /// The next message in order, to be kept.
    pub(crate) fn next(&mut self, packets: &PacketStore, limit: Limit) -> Option<Complete> {
        let found = self.find(packets, limit)?;
        Some(self.keep(found))
    }

    fn keep(&self, found: Found) -> Complete {
        let (preamble, bytes) = self.parts(found);
        let Found { sender, seq, index, kind, service, .. } = found;
        Complete { sender, seq, index, kind, service, preamble: preamble.clone(), bytes: bytes.keep() }
    }

    /// Reads a packet out of order: behind a hole, when a ring closes. The cursor moves past it.
    pub(crate) fn read_behind_hole(&mut self, stored: &Stored, wanted: Wanted, messages: &mut Vec<Complete>) {
        let seq = stored.packet.header.seq;
        if self.done.next() != seq {
            self.open = None;
        }
        loop {
            let open = self.open.get_or_insert_with(|| OpenPacket::new(stored));
            let Step::Found(found) = self.assembly.read(open, true, wanted) else { break };
            messages.push(self.keep(found));
        }
        self.open = None;
        self.done = seq;
    }

    /// Drops the unfinished messages of senders that do not pass `keep`, and their preambles: a hole may
    /// have swallowed parts of them.
    pub(crate) fn drop_unfinished(&mut self, keep: impl Fn(DaemonId) -> bool) {
        self.assembly.retain(&keep);
        self.open = self.open.take().filter(|open| keep(open.sender));
    }
}

impl Assembly {
    /// Forgets what senders have begun or said that do not pass `keep`.
    fn retain(&mut self, keep: impl Fn(DaemonId) -> bool) {
        self.dropped += self.unfinished.count() as u64;
        self.unfinished.retain(&keep);
        self.dropped -= self.unfinished.count() as u64;
        self.preambles.retain(&keep);
    }

    /// Reads on in a packet, up to the end of the next message that is wanted.
    fn read(&mut self, open: &mut OpenPacket, is_stable: bool, wanted: Wanted) -> Step {
        while let Some((chunk, end)) = self.chunk(open) {
            let MessageHead { kind, service, .. } = chunk.head;
            let ends_message = chunk.head.ends_message();
            if service == ServiceLevel::Safe && ends_message && !is_stable {
                return Step::Unstable;
            }
            let source = self.complete(open, &chunk, end, wanted);
            let index = open.pass(end, ends_message);
            if let Some(source) = source
                && let Some(kind) = Kind::from_number(kind)
            {
                let OpenPacket { sender, seq, .. } = *open;
                return Step::Found(Found { sender, seq, index, kind, service, source });
            }
        }
        Step::End
    }

    /// The next chunk of a packet, and where it ends. What follows a malformed one cannot be found, so the packet
    /// ends there; its sender packed it once for everyone, so everyone drops the same.
    fn chunk<'a>(&mut self, open: &'a OpenPacket) -> Option<(Chunk<'a>, usize)> {
        open.chunk().unwrap_or_else(|_| {
            self.dropped += 1;
            None
        })
    }

    /// Takes a chunk that ends there in its packet. Returns where the message is that it ends, if it ends one that is
    /// wanted.
    fn complete(
        &mut self,
        open: &OpenPacket,
        chunk: &Chunk<'_>,
        end: usize,
        wanted: Wanted,
    ) -> Option<Source> {
        let OpenPacket { sender, delivered_early, .. } = *open;
        let unordered = is_unordered(chunk);
        if (unordered && delivered_early) || (wanted == Wanted::Unordered && !unordered) {
            return None;
        }
        let Chunk { head, bytes } = *chunk;
        match head.fragment {
            None => {
                let Resolved { slot, rest } = self.begin(sender, head.preamble, bytes)?;
                Some(Source::Packet { start: end - rest.len(), end, slot })
            }
            Some(Fragment { number, position: Position::First { total } }) => {
                self.begin_unfinished(sender, number, total, head.preamble, bytes);
                None
            }
            Some(fragment) => self.add(sender, fragment, bytes).then_some(Source::Assembled),
        }
    }

    /// Takes a whole message or a first fragment.
    fn begin<'a>(
        &mut self,
        sender: DaemonId,
        preamble: Option<Preamble>,
        piece: &'a [u8],
    ) -> Option<Resolved<'a>> {
        let resolved = self.preambles.resolve(sender, preamble, piece);
        self.dropped += u64::from(resolved.is_none());
        resolved
    }

    fn begin_unfinished(
        &mut self,
        sender: DaemonId,
        number: u8,
        total: u32,
        preamble: Option<Preamble>,
        piece: &[u8],
    ) {
        self.unfinished.forget(sender, number);
        let Some(Resolved { slot, rest }) = self.begin(sender, preamble, piece) else { return };
        let preamble = slot.and_then(|slot| self.preambles.said(sender, slot)).cloned().unwrap_or_default();
        let left = (total as usize).saturating_sub(piece.len() - rest.len());
        let begun = total <= MAX_MESSAGE_BYTES && self.unfinished.begin(sender, number, left, preamble, rest);
        self.dropped += u64::from(!begun);
    }

    /// Adds a fragment to its message; whether that is complete.
    fn add(&mut self, sender: DaemonId, fragment: Fragment, piece: &[u8]) -> bool {
        match self.unfinished.add(sender, fragment, piece) {
            Added::Whole(assembled) => {
                self.assembled = Some(assembled);
                return true;
            }
            Added::Part => {}
            Added::NoUse => self.dropped += 1,
        }
        false
    }
}

/// The whole messages of a packet that need no order.
pub(crate) fn unordered(packet: &Packet) -> Vec<Complete> {
    let mut chunks = packet.chunks();
    let mut index = 0;
    let mut messages = Vec::new();
    while let Ok(Some(chunk)) = chunk::next(&mut chunks) {
        if is_unordered(&chunk)
            && let Some(kind) = Kind::from_number(chunk.head.kind)
        {
            let (sender, seq) = (packet.header.sender, packet.header.seq);
            let service = chunk.head.service;
            let (preamble, bytes) = (Bytes::new(), packet.bytes.slice_ref(chunk.bytes));
            messages.push(Complete { sender, seq, index, kind, service, preamble, bytes });
        }
        index += u16::from(chunk.head.ends_message());
    }
    messages
}

fn is_unordered(chunk: &Chunk<'_>) -> bool {
    chunk.head.fragment.is_none() && !chunk.head.service.is_ordered()
}

#[cfg(test)]
mod tests {
    use antiphon_wire::ring::chunk::Preamble;

    use super::*;

    const FIRST: Position = Position::First { total: 7 };
    const LAST: Position = Position::Last { fills_packet: false };
    const FILLING: Position = Position::Last { fills_packet: true };

    /// What comes of fragments of one message, and how many were of no use.
    fn assembled(pieces: &[(Position, Option<Preamble>, &'static [u8])]) -> (Option<Assembled>, u64) {
        let (mut assembly, mut whole) = (Assembly::default(), None);
        let sender = DaemonId(1);
        for (position, preamble, bytes) in pieces {
            whole = match *position {
                Position::First { total } => {
                    assembly.begin_unfinished(sender, 7, total, *preamble, bytes);
                    None
                }
                position => {
                    let is_whole = assembly.add(sender, Fragment { number: 7, position }, bytes);
                    assembly.assembled.clone().filter(|_| is_whole)
                }
            };
        }
        (whole, assembly.dropped)
    }

    fn whole(preamble: &'static str, rest: &'static str) -> (Option<Assembled>, u64) {
        let (preamble, rest) = (Bytes::from_static(preamble.as_bytes()), Bytes::from_static(rest.as_bytes()));
        (Some(Assembled { preamble, rest }), 0)
    }

    #[test]
    fn fragments_make_a_message_when_they_add_up_to_it() {
        let new = Some(Preamble::New { slot: 3, bytes: 2 });
        let (first, middle) = ((FIRST, None, b"abcd".as_slice()), (Position::Middle, None, b"e".as_slice()));
        assert_eq!(assembled(&[first, middle, (LAST, None, b"fg")]), whole("", "abcdefg"));
        assert_eq!(assembled(&[first, middle, (FILLING, None, b"fg")]), whole("", "abcdefg"));
        assert_eq!(assembled(&[first, (FILLING, None, b"efg\0\0")]), whole("", "abcdefg"), "with padding");
        assert_eq!(assembled(&[(FIRST, new, b"abcd"), (LAST, None, b"efg")]), whole("ab", "cdefg"));
        let known = (FIRST, Some(Preamble::Known { slot: 3 }), b"tuvw".as_slice());
        let afterwards = [(FIRST, new, b"ab".as_slice()), known, (LAST, None, b"xyz")];
        assert_eq!(assembled(&afterwards), whole("ab", "tuvwxyz"), "remembered, though never finished");
    }

    #[test]
    fn a_message_that_is_too_large_is_not_begun() {
        let mut stream = Stream::default();
        for (number, total) in [(0, MAX_MESSAGE_BYTES), (1, MAX_MESSAGE_BYTES + 1)] {
            let new = Some(Preamble::New { slot: 0, bytes: 2 });
            stream.assembly.begin_unfinished(DaemonId(1), number, total, new, b"abcd");
        }
        assert_eq!((stream.unfinished(), stream.dropped()), (1, 1));
    }

    #[test]
    fn unfinished_messages_that_are_dropped_are_counted() {
        let mut stream = Stream::default();
        for sender in [DaemonId(1), DaemonId(2), DaemonId(u16::MAX)] {
            stream.assembly.begin_unfinished(sender, 7, 7, None, b"abcd");
        }
        stream.drop_unfinished(|sender| sender == DaemonId(1));
        assert_eq!((stream.unfinished(), stream.dropped()), (1, 2));
    }

    #[test]
    fn a_malformed_message_ends_its_packet_and_is_counted() {
        let bytes = Bytes::from_static(&[0xff; 3]);
        let open =
            OpenPacket { sender: DaemonId(1), seq: Seq(1), delivered_early: false, bytes, at: 0, index: 0 };
        let mut assembly = Assembly::default();
        assert!(assembly.chunk(&open).is_none());
        assert_eq!(assembly.dropped, 1);
    }

    #[test]
    fn fragments_outside_their_message_are_dropped_and_counted() {
        let bad: [(Position, &[u8]); 6] = [
            (LAST, b"ef"),
            (LAST, b"efgh"),
            (FILLING, b"ef"),
            (FILLING, b"efghij"),
            (Position::Middle, b"efg"),
            (Position::Middle, b"efgh"),
        ];
        for (position, piece) in bad {
            assert_eq!(
                assembled(&[(FIRST, None, b"abcd"), (position, None, piece)]),
                (None, 1),
                "{position:?}"
            );
            assert_eq!(assembled(&[(position, None, piece)]), (None, 1), "{position:?} alone");
        }
        let unsaid = (FIRST, Some(Preamble::Known { slot: 3 }), b"abcd".as_slice());
        assert_eq!(assembled(&[unsaid, (LAST, None, b"efg")]), (None, 2));
    }
}
