//! Bytes owed to one client.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::SharedFrame;
use super::memory::Memory;
use crate::delivery::SMALL_BYTES;

/// When the copied frames reach this size, they become one shared piece.
const TAIL_BYTES: usize = 16 << 10;

/// Bytes owed to one client. Implements [`Buf`]: write what `chunk` (or `chunks_vectored`) gives,
/// then `advance`, and say by `set_refused` whether the socket took less than it was offered.
#[derive(Debug)]
pub struct Outbox {
    /// Pieces before the tail, the next to be written first.
    pieces: VecDeque<Bytes>,
    /// Small frames and heads of large ones, copied one behind the other. What stands before `tail_start` is written.
    tail: Vec<u8>,
    tail_start: usize,
    bytes: usize,
    /// All bytes that were ever written.
    taken: u64,
    /// Bytes not yet written of each message that is not written whole.
    messages: VecDeque<u32>,
    refused: bool,
    /// Counts the pieces and the tail.
    memory: Memory,
}

impl Outbox {
    /// One whose bytes are counted there.
    pub(super) fn new(memory: &Memory) -> Self {
        Self {
            pieces: VecDeque::new(),
            tail: Vec::new(),
            tail_start: 0,
            bytes: 0,
            taken: 0,
            messages: VecDeque::new(),
            refused: false,
            memory: memory.clone(),
        }
    }

    /// Messages that are not yet written whole.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    /// How many bytes the socket has taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Says whether the socket took less than all it was offered last. The client is then to blame for what is
    /// left; otherwise the host has not come to it yet.
    pub fn set_refused(&mut self, refused: bool) {
        self.refused = refused;
    }

    /// Messages that the socket has not taken whole, besides those that came after it was offered what there was.
    pub(super) fn messages_refused(&self, later: usize) -> usize {
        if self.refused { self.messages.len().saturating_sub(later) } else { 0 }
    }

    /// Appends a message, which may come in two parts. A body that may be a slice of a packet, as it is not
    /// larger than one, is copied: it would keep a whole receive buffer in memory for as long as the reader
    /// takes. So is a small one, as one more piece to write costs as much as the copy. Others are shared by all
    /// their receivers.
    pub(super) fn push(&mut self, frame: &SharedFrame<'_>, packet_bytes: usize) {
        let (head, body) = (frame.head(), frame.body());
        let length = head.len() + body.len();
        if length == 0 {
            return;
        }
        self.bytes += length;
        self.messages.push_back(u32::try_from(length).unwrap_or(u32::MAX));
        self.extend_tail(head);
        if body.len() < SMALL_BYTES.max(packet_bytes) {
            self.extend_tail(body);
            if self.tail.len() >= TAIL_BYTES {
                self.close_tail();
            }
        } else {
            self.close_tail();
            self.pieces.push_back(frame.share_body(&self.memory));
        }
    }

    fn extend_tail(&mut self, bytes: &[u8]) {
        self.memory.add(bytes.len());
        self.tail.extend_from_slice(bytes);
    }

    /// Makes the tail a piece. One that is full is likely to be followed by another, which need not grow to its size
    /// step by step.
    fn close_tail(&mut self) {
        let start = std::mem::take(&mut self.tail_start);
        let next = if self.tail.len() < TAIL_BYTES { 0 } else { self.tail.len() };
        let tail = std::mem::replace(&mut self.tail, Vec::with_capacity(next));
        self.memory.remove(tail.len());
        if start < tail.len() {
            self.pieces.push_back(self.memory.count(tail.into()).slice(start..));
        }
    }

    fn unwritten_tail(&self) -> &[u8] {
        self.tail.get(self.tail_start..).unwrap_or_default()
    }

    fn advance_messages(&mut self, mut written: usize) {
        while written > 0
            && let Some(first) = self.messages.front_mut()
        {
            let rest = *first as usize;
            if rest > written {
                *first -= written as u32;
                return;
            }
            written -= rest;
            self.messages.pop_front();
        }
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or_else(|| self.unwritten_tail(), Bytes::as_ref)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = Some(self.unwritten_tail()).filter(|tail| !tail.is_empty());
        let chunks = self.pieces.iter().map(Bytes::as_ref).chain(tail);
        let filled = slices.iter_mut().zip(chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk));
        filled.count()
    }

    /// # Panics
    /// When more is advanced than remains, as [`Buf`] demands.
    fn advance(&mut self, count: usize) {
        assert!(count <= self.bytes, "cannot advance past the end of an outbox");
        self.bytes -= count;
        self.taken += count as u64;
        self.advance_messages(count);
        let mut left = count;
        while let Some(front) = self.pieces.front_mut() {
            if front.len() > left {
                front.advance(left);
                return;
            }
            left -= front.len();
            self.pieces.pop_front();
        }
        self.tail_start += left;
        if self.tail_start == self.tail.len() {
            self.memory.remove(self.tail.len());
            self.tail.clear();
            self.tail_start = 0;
        }
    }
}

#[cfg(test)]
impl Default for Outbox {
    fn default() -> Self {
        Self::new(&Memory::default())
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.memory.remove(self.tail.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Lent;

    const PACKET: usize = 1472;

    fn frames(sizes: &[usize]) -> Vec<Bytes> {
        (0_u8..).zip(sizes).map(|(byte, size)| Bytes::from(vec![byte; *size])).collect()
    }

    #[test]
    fn bytes_come_out_in_order_however_they_are_advanced() {
        let frames = frames(&[10, 2600, 20, 30, 2048, 2047, 9000, 1, 300, 20_000, 5]);
        let expected = frames.concat();
        for step in [1, 7, 511, 1000, 50_000] {
            let mut outbox = Outbox::default();
            for frame in &frames {
                outbox.push(&SharedFrame::whole(frame), PACKET);
            }
            assert_eq!((outbox.messages(), outbox.remaining()), (frames.len(), expected.len()));
            let mut written = Vec::new();
            while outbox.has_remaining() {
                let taken = outbox.chunk().len().min(step);
                written.extend_from_slice(&outbox.chunk()[..taken]);
                outbox.advance(taken);
            }
            assert_eq!(written, expected);
            assert_eq!(outbox.messages(), 0);
        }
    }

    #[test]
    fn vectors_show_everything_and_large_bodies_are_shared() {
        let frames = frames(&[10, 20, 2600, 30]);
        let mut outbox = Outbox::default();
        for frame in &frames {
            outbox.push(&SharedFrame::new(b"head", Lent::whole(frame)), PACKET);
        }
        let mut slices = [IoSlice::new(&[]); 8];
        let count = outbox.chunks_vectored(&mut slices);
        assert_eq!(slices[..count].iter().map(|slice| slice.len()).collect::<Vec<_>>(), [42, 2600, 34]);
        assert_eq!(slices[1].as_ptr(), frames[2].as_ptr());
        assert_eq!((outbox.messages(), outbox.remaining()), (4, 2660 + 16));
    }

    #[test]
    fn what_may_lie_in_a_large_packet_is_copied() {
        for (bytes, packet_bytes, pieces) in [(8000, 8972, 1), (8972, 8972, 2), (8000, 1472, 2)] {
            let mut outbox = Outbox::default();
            outbox.push(&SharedFrame::whole(&Bytes::from(vec![0; bytes])), packet_bytes);
            outbox.push(&SharedFrame::new(b"next", Lent::whole(&Bytes::new())), packet_bytes);
            let mut slices = [IoSlice::new(&[]); 4];
            assert_eq!(outbox.chunks_vectored(&mut slices), pieces, "{bytes} bytes");
        }
    }

    #[test]
    fn a_message_counts_until_its_last_byte_is_written() {
        let mut outbox = Outbox::default();
        outbox.push(&SharedFrame::whole(&Bytes::from_static(b"abc")), PACKET);
        outbox.push(&SharedFrame::whole(&Bytes::from_static(b"de")), PACKET);
        outbox.advance(2);
        assert_eq!(outbox.messages(), 2);
        outbox.advance(2);
        assert_eq!((outbox.messages(), outbox.chunk(), outbox.taken()), (1, &b"e"[..], 4));
        outbox.push(&SharedFrame::whole(&Bytes::from_static(b"f")), PACKET);
        assert_eq!(outbox.chunk(), b"ef");
    }
}
