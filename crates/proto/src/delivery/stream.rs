//! From packets in order to messages in order.
//!
//! A [`Stream`] reads the packets of one ring with a cursor that stands between two chunks, so a
//! safe message that is not stable yet stops it in the middle of a packet. It puts fragments
//! together; what a message is for, it does not know.

use std::collections::BTreeMap;

use antiphon_wire::ids::{DaemonId, Seq};
use antiphon_wire::reader::Reader;
use antiphon_wire::ring::chunk::{self, Chunk, Fragment, Position};
use antiphon_wire::ring::packet::Packet;
use antiphon_wire::service::ServiceLevel;
use bytes::{BufMut, Bytes, BytesMut};

use super::Kind;
use crate::ring::window::{Stored, Window};

/// Largest message that is put together; what claims to be larger is dropped.
const MAX_MESSAGE_BYTES: u32 = 1 << 20;
/// Messages of one sender that may be unfinished at once. Senders keep to
/// [`crate::send_queue::MAX_OPEN_MESSAGES`] client messages and one of their own.
const MAX_PARTIAL_MESSAGES: usize = crate::send_queue::MAX_OPEN_MESSAGES + 1;

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
    pub(crate) bytes: Bytes,
}

/// See the module documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    /// Everything up to here is read.
    done: Seq,
    /// The packet being read, `done + 1`.
    open: Option<Open>,
    partial: BTreeMap<(DaemonId, u16), Partial>,
    /// Fragments of no use so far.
    dropped: u64,
}

/// A message of which the last fragment has not been read.
#[derive(Clone, Debug)]
struct Partial {
    total: u32,
    bytes: BytesMut,
}

#[derive(Clone, Debug)]
struct Open {
    sender: DaemonId,
    early: bool,
    chunks: Reader,
    index: u16,
    /// A chunk that was read but may not be delivered yet.
    waiting: Option<Chunk>,
}

impl Open {
    fn new(stored: &Stored) -> Self {
        Self {
            sender: stored.packet.header.sender,
            early: stored.early,
            chunks: stored.packet.chunks(),
            index: 0,
            waiting: None,
        }
    }

    /// The next chunk. What follows a malformed one can not be found, so the packet ends there; its
    /// sender packed it once for everyone, so everyone drops the same.
    fn next(&mut self) -> Option<Chunk> {
        self.waiting.take().or_else(|| chunk::next(&mut self.chunks).ok().flatten())
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

    /// Fragments that were of no use.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next message in order, as far as `limit` allows and packets are there.
    pub(crate) fn next(&mut self, window: &Window, limit: Limit) -> Option<Complete> {
        loop {
            let seq = self.done.next();
            if seq > limit.last {
                return None;
            }
            let mut open = match self.open.take() {
                Some(open) => open,
                None => Open::new(window.get(seq)?),
            };
            while let Some(chunk) = open.next() {
                if chunk.head.service == ServiceLevel::Safe && seq > limit.safe && chunk.head.ends_message() {
                    open.waiting = Some(chunk);
                    self.open = Some(open);
                    return None;
                }
                if let Some(message) = self.complete(&mut open, seq, chunk, Wanted::All) {
                    self.open = Some(open);
                    return Some(message);
                }
            }
            self.done = seq;
        }
    }

    /// Reads a packet out of order: behind a hole, when a ring closes. The cursor moves past it.
    pub(crate) fn read_behind_hole(&mut self, stored: &Stored, wanted: Wanted, messages: &mut Vec<Complete>) {
        let seq = stored.packet.header.seq;
        let mut open = if self.done.next() == seq { self.open.take() } else { None }
            .unwrap_or_else(|| Open::new(stored));
        while let Some(chunk) = open.next() {
            messages.extend(self.complete(&mut open, seq, chunk, wanted));
        }
        self.open = None;
        self.done = seq;
    }

    /// Drops the unfinished messages of senders that do not pass `keep`: a hole may have swallowed
    /// parts of them.
    pub(crate) fn drop_partial(&mut self, keep: impl Fn(DaemonId) -> bool) {
        self.dropped += self.partial.len() as u64;
        self.partial.retain(|(sender, _), _| keep(*sender));
        self.dropped -= self.partial.len() as u64;
        self.open = self.open.take().filter(|open| keep(open.sender));
    }

    /// Turns a chunk into the message that it ends, if it ends one that is wanted.
    fn complete(&mut self, open: &mut Open, seq: Seq, chunk: Chunk, wanted: Wanted) -> Option<Complete> {
        let ends = chunk.head.ends_message();
        let index = open.index;
        open.index += u16::from(ends);
        let unordered = is_unordered(&chunk);
        if (unordered && open.early) || (wanted == Wanted::Unordered && !unordered) {
            return None;
        }
        let Chunk { head, bytes } = chunk;
        let bytes = match head.fragment {
            None => bytes,
            Some(fragment) => self.assemble(open.sender, fragment, &bytes)?,
        };
        let kind = Kind::from_number(head.kind)?;
        Some(Complete { sender: open.sender, seq, index, kind, service: head.service, bytes })
    }

    fn assemble(&mut self, sender: DaemonId, fragment: Fragment, bytes: &Bytes) -> Option<Bytes> {
        let key = (sender, fragment.number);
        if let Position::First { total } = fragment.position {
            let unfinished = self.partial.range((sender, 0)..=(sender, u16::MAX)).count();
            if total > MAX_MESSAGE_BYTES || unfinished >= MAX_PARTIAL_MESSAGES {
                self.dropped += 1;
                return None;
            }
            self.partial.insert(key, Partial { total, bytes: BytesMut::with_capacity(total as usize) });
        }
        let partial = self.partial.get_mut(&key);
        let Some(partial) = partial.filter(|partial| partial.goes_on_with(fragment.position, bytes)) else {
            self.partial.remove(&key);
            self.dropped += 1;
            return None;
        };
        partial.bytes.put_slice(bytes);
        let is_last = matches!(fragment.position, Position::Last { .. });
        if is_last { self.partial.remove(&key).map(|partial| partial.bytes.freeze()) } else { None }
    }
}

impl Partial {
    /// Whether a piece begins where the last one ended, and ends the message if it says so.
    fn goes_on_with(&self, position: Position, piece: &Bytes) -> bool {
        let (start, end) = (self.bytes.len(), self.bytes.len() + piece.len());
        match position {
            Position::First { .. } => start == 0,
            Position::Middle { offset } => start == offset as usize && end < self.total as usize,
            Position::Last { offset } => start == offset as usize && end == self.total as usize,
        }
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
            messages.push(Complete { sender, seq, index, kind, service, bytes: chunk.bytes.clone() });
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
    use super::*;

    /// What comes of fragments of one message, and how many were of no use.
    fn assembled(pieces: &[(Position, &'static [u8])]) -> (Option<Bytes>, u64) {
        let (mut stream, mut whole) = (Stream::default(), None);
        for (position, bytes) in pieces {
            let fragment = Fragment { number: 9, position: *position };
            whole = stream.assemble(DaemonId(1), fragment, &Bytes::from_static(bytes));
        }
        (whole, stream.dropped)
    }

    #[test]
    fn fragments_make_a_message_when_each_follows_the_one_before() {
        let (first, middle) = (Position::First { total: 7 }, Position::Middle { offset: 4 });
        let pieces: &[(Position, &[u8])] =
            &[(first, b"abcd"), (middle, b"e"), (Position::Last { offset: 5 }, b"fg")];
        assert_eq!(assembled(pieces), (Some(Bytes::from_static(b"abcdefg")), 0));
    }

    #[test]
    fn fragments_outside_their_message_are_dropped_and_counted() {
        let (middle, last) = (|offset| Position::Middle { offset }, |offset| Position::Last { offset });
        let bad: [(Position, &[u8]); 6] = [
            (last(5), b"fg"),
            (last(4), b"ef"),
            (last(4), b"efgh"),
            (middle(4), b"efg"),
            (middle(4), b"efgh"),
            (middle(3), b"d"),
        ];
        for (position, piece) in bad {
            let first = (Position::First { total: 7 }, b"abcd".as_slice());
            assert_eq!(assembled(&[first, (position, piece)]), (None, 1), "{position:?}");
            assert_eq!(assembled(&[(position, piece)]), (None, 1), "{position:?} alone");
        }
    }
}
