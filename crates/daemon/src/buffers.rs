//! Memory that sockets are read into.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Bytes of a buffer: a coalesced datagram may be that long.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;
/// Fewer bytes than this are copied, one read behind the other, so that they do not keep a buffer of their own.
const COPIED_BELOW_BYTES: usize = BUFFER_BYTES / 2;
/// Fewer than this get memory of their own, which is soon found for so few: whoever keeps them keeps nothing else.
const ALONE_BELOW_BYTES: usize = 1 << 10;
/// Buffers that are remembered until nobody reads them any more: those of a full window of packets.
const REMEMBERED: usize = 32;

/// Buffers for what is received, given away with it and used again when nobody reads it any more: new ones
/// would have to be filled with zeros, which takes about as long as to copy as many bytes.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// All that was given away lately, the first of them first.
    given: VecDeque<Bytes>,
    /// Memory for what is copied.
    copies: BytesMut,
}

impl Buffers {
    /// A buffer of [`BUFFER_BYTES`] whose contents mean nothing.
    pub(crate) fn spare(&mut self) -> BytesMut {
        if self.given.front().is_some_and(Bytes::is_unique)
            && let Some(Ok(buffer)) = self.given.pop_front().map(Bytes::try_into_mut)
        {
            return buffer;
        }
        BytesMut::zeroed(BUFFER_BYTES)
    }

    /// The first `length` bytes of a buffer, copied if they are few; otherwise the buffer is another one afterwards.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut, length: usize) -> Bytes {
        if length < COPIED_BELOW_BYTES {
            return self.copy(buffer.get(..length).unwrap_or_default());
        }
        let whole = std::mem::replace(buffer, self.spare()).freeze();
        let taken = whole.slice(..length.min(whole.len()));
        if self.given.len() == REMEMBERED {
            self.given.pop_front();
        }
        self.given.push_back(whole);
        taken
    }

    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() < ALONE_BELOW_BYTES {
            return Bytes::copy_from_slice(bytes);
        }
        if self.copies.capacity() < bytes.len() {
            self.copies.reserve(BUFFER_BYTES);
        }
        self.copies.extend_from_slice(bytes);
        self.copies.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the buffer is that so many bytes are taken from, and they.
    fn filled(buffers: &mut Buffers, buffer: &mut BytesMut, length: usize) -> (*const u8, Bytes) {
        buffer.fill(7);
        let place = buffer.as_ptr();
        (place, buffers.take(buffer, length))
    }

    #[test]
    fn a_buffer_is_used_again_when_nobody_reads_it() {
        let mut buffers = Buffers::default();
        let mut buffer = buffers.spare();
        let (place, bytes) = filled(&mut buffers, &mut buffer, BUFFER_BYTES);
        assert_eq!((bytes.as_ptr(), bytes.len()), (place, BUFFER_BYTES), "not copied");
        let part = bytes.slice(10..20);
        drop(bytes);
        let (second, _) = filled(&mut buffers, &mut buffer, COPIED_BELOW_BYTES);
        assert_ne!(buffer.as_ptr(), place, "a part is still read");
        assert_eq!(part, [7; 10].as_slice());
        drop(part);
        filled(&mut buffers, &mut buffer, BUFFER_BYTES - 1);
        assert_eq!((buffer.as_ptr(), buffer.len()), (place, BUFFER_BYTES), "whole again");
        filled(&mut buffers, &mut buffer, BUFFER_BYTES);
        assert_eq!((buffer.as_ptr(), buffer.len()), (second, BUFFER_BYTES), "however little was taken");
    }

    #[test]
    fn few_bytes_keep_no_buffer_of_their_own() {
        let mut buffers = Buffers::default();
        let mut buffer = buffers.spare();
        let (place, bytes) = filled(&mut buffers, &mut buffer, COPIED_BELOW_BYTES - 1);
        assert_eq!(bytes, [7; COPIED_BELOW_BYTES - 1].as_slice());
        assert_eq!(buffer.as_ptr(), place);
        assert!(buffers.given.is_empty());
        let (_, next) = filled(&mut buffers, &mut buffer, ALONE_BELOW_BYTES);
        assert_eq!(bytes.as_ptr().addr() + bytes.len(), next.as_ptr().addr(), "one behind the other");
        let (_, alone) = filled(&mut buffers, &mut buffer, ALONE_BELOW_BYTES - 1);
        assert_eq!(alone, [7; ALONE_BELOW_BYTES - 1].as_slice());
        drop((bytes, next));
        assert!(alone.is_unique() && buffers.copies.try_reclaim(BUFFER_BYTES), "it keeps nothing else");
        let places: std::collections::BTreeSet<_> =
            (0..1000).map(|_| filled(&mut buffers, &mut buffer, 2000).1.as_ptr()).collect();
        assert!(places.len() <= 2 * BUFFER_BYTES / 2000, "{} places", places.len());
    }

    #[test]
    fn readers_that_keep_everything_are_not_remembered_for_ever() {
        let mut buffers = Buffers::default();
        let mut buffer = buffers.spare();
        let kept: Vec<_> =
            (0..3 * REMEMBERED).map(|_| filled(&mut buffers, &mut buffer, BUFFER_BYTES).1).collect();
        assert_eq!(buffers.given.len(), REMEMBERED);
        let last: Vec<_> = kept.iter().skip(2 * REMEMBERED).map(|bytes| bytes.as_ptr()).collect();
        assert_eq!(buffers.given.iter().map(|bytes| bytes.as_ptr()).collect::<Vec<_>>(), last);
    }
}
