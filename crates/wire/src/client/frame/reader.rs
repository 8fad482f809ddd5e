//! Frames cut out of a byte stream.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{Frame, FrameError, FrameLimits, HEADER_BYTES, Head};

/// Memory reserved ahead for a frame that arrives in parts. A length is not believed further than
/// this before the bytes are there.
const RESERVED_AHEAD_BYTES: usize = 64 * 1024;

/// Cuts frames out of a byte stream.
///
/// Every byte is looked at once: a frame inside one pushed piece is sliced out of it, only a frame
/// that crosses pieces is copied together. Headers are checked before the rest is waited for.
#[derive(Clone, Debug)]
pub struct FrameReader {
    limits: FrameLimits,
    /// The piece being read, and the pieces after it.
    front: Bytes,
    queue: VecDeque<Bytes>,
    /// Beginning of a frame that crosses pieces, and its header once that is complete.
    partial: BytesMut,
    head: Option<Head>,
    failed: Option<FrameError>,
}

impl FrameReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            front: Bytes::new(),
            queue: VecDeque::new(),
            partial: BytesMut::new(),
            head: None,
            failed: None,
        }
    }

    /// Adds the next bytes of the stream. The caller bounds memory by taking all frames with
    /// [`FrameReader::next_frame`] before it pushes more; then less than one frame is buffered.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() || self.failed.is_some() {
            return;
        }
        if self.front.is_empty() && self.queue.is_empty() {
            self.front = bytes;
        } else {
            self.queue.push_back(bytes);
        }
    }

    /// Takes the next whole frame; `None` when more bytes are needed.
    ///
    /// # Errors
    /// What makes the stream unreadable. Nothing after it is read: the error is returned again.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let taken = self.take_frame();
        if let Err(error) = taken {
            *self = Self { failed: Some(error), ..Self::new(self.limits) };
        }
        taken
    }

    /// Bytes pushed and not yet returned in a frame.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.partial.len() + self.front.len() + self.queue.iter().map(Bytes::len).sum::<usize>()
    }

    /// Bytes that are missing from the next frame, as far as that is known: those of its header first,
    /// then the rest. Who reads no more than these reads nothing of the frame after it. Meant for when
    /// [`FrameReader::next_frame`] has returned `None`.
    #[must_use]
    pub fn missing_bytes(&self) -> usize {
        self.head.map_or(HEADER_BYTES, |head| head.end).saturating_sub(self.buffered_bytes())
    }

    fn take_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if self.front.is_empty() {
                match self.queue.pop_front() {
                    Some(bytes) => self.front = bytes,
                    None => return Ok(None),
                }
            }
            let frame = if self.partial.is_empty() { self.slice_frame()? } else { self.gather_frame()? };
            if frame.is_some() {
                return Ok(frame);
            }
        }
    }

    /// Slices a frame out of the front piece, or else begins to gather one.
    fn slice_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(header) = self.front.first_chunk() {
            let head = self.limits.head(header)?;
            if head.end <= self.front.len() {
                return Ok(Some(Frame::new(head, self.front.split_to(head.end))));
            }
            self.begin_gathering(head);
        }
        self.partial.extend_from_slice(&self.front);
        self.front.clear();
        Ok(None)
    }

    /// Moves what the frame still lacks from the front piece.
    fn gather_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.head.is_none() {
            self.gather_up_to(HEADER_BYTES);
            if let Some(header) = self.partial.first_chunk() {
                let head = self.limits.head(header)?;
                self.begin_gathering(head);
            }
        }
        let Some(head) = self.head else { return Ok(None) };
        self.gather_up_to(head.end);
        if self.partial.len() < head.end {
            return Ok(None);
        }
        self.head = None;
        Ok(Some(Frame::new(head, std::mem::take(&mut self.partial).freeze())))
    }

    fn begin_gathering(&mut self, head: Head) {
        self.partial.reserve(head.end.saturating_sub(self.partial.len()).min(RESERVED_AHEAD_BYTES));
        self.head = Some(head);
    }

    fn gather_up_to(&mut self, wanted: usize) {
        let count = wanted.saturating_sub(self.partial.len()).min(self.front.len());
        // Split off, since what has advanced to its end would keep its memory.
        self.partial.extend_from_slice(&self.front.split_to(count));
    }
}
