//! From packets in order to messages in order.
//!
//! A [`Stream`] reads the packets of one ring with a cursor that stands between two chunks, so a
//! safe message that is not stable yet stops it in the middle of a packet. It puts fragments
//! together; what a message is for, it does not know.

use antiphon_wire::ids::{DaemonId, Seq};
use antiphon_wire::reader::Reader;
use antiphon_wire::ring::chunk::{self, Chunk, Fragment, Position, Preamble};
use antiphon_wire::ring::packet::Packet;
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;

use super::Kind;
use super::unfinished::{Added, Unfinished};
use crate::preambles::{Heard, Parts};
use crate::ring::window::{Stored, Window};

/// Largest message that is put together; what claims to be larger is dropped.
const MAX_MESSAGE_BYTES: u32 = 1 << 20;

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

/// A complete message of the stream.
#[derive(Clone, Debug)]
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

/// See the module documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    /// Everything up to here is read.
    done: Seq,
    /// The packet being read, `done + 1`.
    open: Option<OpenPacket>,
    assembly: Assembly,
}

#[derive(Clone, Debug)]
struct OpenPacket {
    sender: DaemonId,
    early: bool,
    chunks: Reader,
    index: u16,
    /// A chunk that was read but may not be delivered yet.
    waiting: Option<Chunk>,
}

/// What was read before and is needed to make messages of chunks.
#[derive(Clone, Debug, Default)]
struct Assembly {
    unfinished: Unfinished,
    preambles: Heard,
    /// Pieces of no use so far.
    dropped: u64,
}

impl OpenPacket {
    fn new(stored: &Stored) -> Self {
        Self {
            sender: stored.packet.header.sender,
            early: stored.early,
            chunks: stored.packet.chunks(),
            index: 0,
            waiting: None,
        }
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

    /// The next message in order, as far as `limit` allows and packets are there.
    pub(crate) fn next(&mut self, window: &Window, limit: Limit) -> Option<Complete> {
        loop {
            let seq = self.done.next();
            if seq > limit.last {
                return None;
            }
            let open = match &mut self.open {
                Some(open) => open,
                None => self.open.insert(OpenPacket::new(window.get(seq)?)),
            };
            while let Some(chunk) = self.assembly.next_chunk(open) {
                if chunk.head.service == ServiceLevel::Safe && seq > limit.safe && chunk.head.ends_message() {
                    open.waiting = Some(chunk);
                    return None;
                }
                let message = self.assembly.complete(open, seq, chunk, Wanted::All);
                if message.is_some() {
                    return message;
                }
            }
            self.open = None;
            self.done = seq;
        }
    }

    /// Reads a packet out of order: behind a hole, when a ring closes. The cursor moves past it.
    pub(crate) fn read_behind_hole(&mut self, stored: &Stored, wanted: Wanted, messages: &mut Vec<Complete>) {
        let seq = stored.packet.header.seq;
        let opened = self.open.take().filter(|_| self.done.next() == seq);
        let mut open = opened.unwrap_or_else(|| OpenPacket::new(stored));
        while let Some(chunk) = self.assembly.next_chunk(&mut open) {
            messages.extend(self.assembly.complete(&mut open, seq, chunk, wanted));
        }
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

    /// The next chunk of a packet. What follows a malformed one can not be found, so the packet ends there;
    /// its sender packed it once for everyone, so everyone drops the same.
    fn next_chunk(&mut self, open: &mut OpenPacket) -> Option<Chunk> {
        if open.waiting.is_some() {
            return open.waiting.take();
        }
        match chunk::next(&mut open.chunks) {
            Ok(chunk) => chunk,
            Err(_) => {
                self.dropped += 1;
                None
            }
        }
    }

    /// Turns a chunk into the message that it ends, if it ends one that is wanted.
    fn complete(
        &mut self,
        open: &mut OpenPacket,
        seq: Seq,
        chunk: Chunk,
        wanted: Wanted,
    ) -> Option<Complete> {
        let ends = chunk.head.ends_message();
        let index = open.index;
        open.index += u16::from(ends);
        let unordered = is_unordered(&chunk);
        if (unordered && open.early) || (wanted == Wanted::Unordered && !unordered) {
            return None;
        }
        let Chunk { head, bytes } = chunk;
        let Parts { preamble, rest: bytes } = match head.fragment {
            None => self.begin(open.sender, head.preamble, bytes)?,
            Some(Fragment { number, position: Position::First { total } }) => {
                self.begin_unfinished(open.sender, number, total, head.preamble, bytes);
                return None;
            }
            Some(fragment) => self.add(open.sender, fragment, &bytes)?,
        };
        let kind = Kind::from_number(head.kind)?;
        Some(Complete { sender: open.sender, seq, index, kind, service: head.service, preamble, bytes })
    }

    /// Takes a whole message or a first fragment.
    fn begin(&mut self, sender: DaemonId, preamble: Option<Preamble>, piece: Bytes) -> Option<Parts> {
        let parts = self.preambles.resolve(sender, preamble, piece);
        self.dropped += u64::from(parts.is_none());
        parts
    }

    fn begin_unfinished(
        &mut self,
        sender: DaemonId,
        number: u8,
        total: u32,
        preamble: Option<Preamble>,
        piece: Bytes,
    ) {
        self.unfinished.forget(sender, number);
        let sent_bytes = piece.len();
        let Some(Parts { preamble, rest }) = self.begin(sender, preamble, piece) else { return };
        let left = (total as usize).saturating_sub(sent_bytes - rest.len());
        let begun = total <= MAX_MESSAGE_BYTES
            && self.unfinished.begin(sender, number, left, Parts { preamble, rest });
        self.dropped += u64::from(!begun);
    }

    /// Adds a fragment to its message; returns that if it is complete.
    fn add(&mut self, sender: DaemonId, fragment: Fragment, piece: &Bytes) -> Option<Parts> {
        match self.unfinished.add(sender, fragment, piece) {
            Added::Whole(parts) => return Some(parts),
            Added::Part => {}
            Added::NoUse => self.dropped += 1,
        }
        None
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
            let (preamble, bytes) = (Bytes::new(), chunk.bytes.clone());
            messages.push(Complete { sender, seq, index, kind, service, preamble, bytes });
        }
        index += u16::from(chunk.head.ends_message());
    }
    messages
}

fn is_unordered(chunk: &Chunk) -> bool {
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
    fn assembled(pieces: &[(Position, Option<Preamble>, &'static [u8])]) -> (Option<Parts>, u64) {
        let (mut assembly, mut whole) = (Assembly::default(), None);
        let sender = DaemonId(1);
        for (position, preamble, bytes) in pieces {
            let bytes = Bytes::from_static(bytes);
            whole = match *position {
                Position::First { total } => {
                    assembly.begin_unfinished(sender, 7, total, *preamble, bytes);
                    None
                }
                position => assembly.add(sender, Fragment { number: 7, position }, &bytes),
            };
        }
        (whole, assembly.dropped)
    }

    fn whole(preamble: &'static str, rest: &'static str) -> (Option<Parts>, u64) {
        let (preamble, rest) = (Bytes::from_static(preamble.as_bytes()), Bytes::from_static(rest.as_bytes()));
        (Some(Parts { preamble, rest }), 0)
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
            stream.assembly.begin_unfinished(DaemonId(1), number, total, new, Bytes::from_static(b"abcd"));
        }
        assert_eq!((stream.unfinished(), stream.dropped()), (1, 1));
    }

    #[test]
    fn unfinished_messages_that_are_dropped_are_counted() {
        let mut stream = Stream::default();
        for sender in [DaemonId(1), DaemonId(2), DaemonId(u16::MAX)] {
            stream.assembly.begin_unfinished(sender, 7, 7, None, Bytes::from_static(b"abcd"));
        }
        stream.drop_unfinished(|sender| sender == DaemonId(1));
        assert_eq!((stream.unfinished(), stream.dropped()), (1, 2));
    }

    #[test]
    fn a_malformed_message_ends_its_packet_and_is_counted() {
        let chunks = Reader::new(Bytes::from_static(&[0xff; 3]), "packet");
        let mut open = OpenPacket { sender: DaemonId(1), early: false, chunks, index: 0, waiting: None };
        let mut assembly = Assembly::default();
        assert!(assembly.next_chunk(&mut open).is_none());
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
