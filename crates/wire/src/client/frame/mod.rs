//! Frames out of a byte stream that is cut anywhere, and frames written.
//!
//! A frame is a header, `group_count` fields of 32 bytes, and `body_bytes` of body. A REJECT frame,
//! which only daemons send, has one more 4-byte word between header and groups.

mod reader;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

pub use self::reader::FrameReader;
use super::flags::{HEADER_BYTES, MAX_BODY_AND_GROUPS_BYTES, MAX_GROUPS, REJECT};
use super::header::{HalfEndianMark, Header, Hint, word};
use crate::names::NAME_FIELD_BYTES;

/// Bytes of the word that only REJECT frames have.
const REJECT_WORD_BYTES: usize = 4;

/// Why a byte stream is not a sequence of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FrameError {
    /// The byte order of a header cannot be told.
    #[error(transparent)]
    HalfEndianMark(#[from] HalfEndianMark),
    /// A header announces more groups than allowed, or a negative number of them.
    #[error("a frame may have at most {limit} groups, this one announces {count}")]
    TooManyGroups {
        /// What the header says, read as unsigned.
        count: u32,
        /// What is allowed.
        limit: u32,
    },
    /// A header announces a body that is too long, alone or with its groups, or has negative length.
    #[error("groups and body of a frame may have at most {limit} bytes, this one announces {bytes}")]
    TooLong {
        /// What the header says for both together, read as unsigned.
        bytes: u64,
        /// What is allowed.
        limit: u32,
    },
}

impl FrameError {
    /// The cause in a few words, for logs and counters.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::HalfEndianMark(_) => "half an endian mark",
            Self::TooManyGroups { .. } => "too many groups",
            Self::TooLong { .. } => "message too long",
        }
    }
}

/// What a frame may announce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameLimits {
    /// Most group fields.
    pub groups: u32,
    /// Most bytes of group fields and body together.
    pub groups_and_body_bytes: u32,
    /// Whether REJECT frames have their extra word.
    pub reject_word: bool,
}

impl FrameLimits {
    /// What a daemon accepts from a client.
    pub const FROM_CLIENT: Self =
        Self { groups: MAX_GROUPS, groups_and_body_bytes: MAX_BODY_AND_GROUPS_BYTES, reject_word: false };

    /// What a client accepts from a daemon: the member list of a view has 64 MiB at most, and its
    /// virtual synchrony sets name every member once more.
    pub const FROM_DAEMON: Self =
        Self { groups: 1 << 21, groups_and_body_bytes: 144 << 20, reject_word: true };

    /// Reads and checks the header of a frame.
    ///
    /// # Errors
    /// When it has no byte order, or announces more than is allowed.
    pub fn head(self, bytes: &[u8; HEADER_BYTES]) -> Result<Head, FrameError> {
        let header = Header::decode(bytes)?;
        if header.group_count > self.groups {
            return Err(FrameError::TooManyGroups { count: header.group_count, limit: self.groups });
        }
        let groups_bytes = header.group_count as usize * NAME_FIELD_BYTES;
        let bytes = groups_bytes as u64 + u64::from(header.body_bytes);
        if bytes > u64::from(self.groups_and_body_bytes) {
            return Err(FrameError::TooLong { bytes, limit: self.groups_and_body_bytes });
        }
        let extra = if self.reject_word && header.flags & REJECT != 0 { REJECT_WORD_BYTES } else { 0 };
        let body_at = HEADER_BYTES + extra + groups_bytes;
        Ok(Head {
            header,
            groups_at: HEADER_BYTES + extra,
            body_at,
            end: body_at + header.body_bytes as usize,
        })
    }
}

/// A checked header and where the parts of its frame are, counted from its first byte.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// The header.
    pub header: Header,
    /// Where the group fields begin.
    pub groups_at: usize,
    /// Where the group fields end and the body begins.
    pub body_at: usize,
    /// Where the frame ends.
    pub end: usize,
}

/// A whole frame. It shares memory with what was pushed, if it came in one piece; so a small frame that is
/// kept long should be copied by its keeper.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The decoded header.
    pub header: Header,
    /// The flags of the refused request, in a REJECT frame of a daemon.
    pub rejected: Option<u32>,
    whole: Bytes,
    groups_at: usize,
    body_at: usize,
}

impl Frame {
    fn new(head: Head, whole: Bytes) -> Self {
        let rejected = whole
            .get(HEADER_BYTES..head.groups_at)
            .and_then(|bytes| bytes.first_chunk())
            .map(|bytes| word(*bytes, head.header.little_endian));
        Self { header: head.header, rejected, whole, groups_at: head.groups_at, body_at: head.body_at }
    }

    /// Header, groups and body as they came.
    #[must_use]
    pub fn whole(&self) -> &Bytes {
        &self.whole
    }

    /// Group fields, 32 bytes each.
    #[must_use]
    pub fn groups(&self) -> &[u8] {
        self.whole.get(self.groups_at..self.body_at).unwrap_or_default()
    }

    /// The group fields one by one, in the order in which they were sent.
    pub fn group_fields(&self) -> impl ExactSizeIterator<Item = &[u8; NAME_FIELD_BYTES]> {
        self.groups().as_chunks().0.iter()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.whole.get(self.body_at..).unwrap_or_default()
    }

    /// The body, which shares memory with what was pushed.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        let mut body = self.whole;
        if self.body_at >= body.len() {
            // What has advanced to its end would keep its memory.
            return Bytes::new();
        }
        body.advance(self.body_at);
        body
    }
}

/// Appends a frame, little-endian. The caller keeps to the limits of the receiver.
pub fn put_frame<'a>(
    out: &mut BytesMut,
    flags: u32,
    name: &[u8; NAME_FIELD_BYTES],
    hint: Hint,
    groups: impl ExactSizeIterator<Item = &'a [u8; NAME_FIELD_BYTES]>,
    body: &[u8],
) {
    put_head(out, flags, name, hint, groups, body.len());
    out.extend_from_slice(body);
}

/// Appends header and groups of a frame whose body the caller adds, or sends from where it lies.
pub fn put_head<'a>(
    out: &mut BytesMut,
    flags: u32,
    name: &[u8; NAME_FIELD_BYTES],
    hint: Hint,
    groups: impl ExactSizeIterator<Item = &'a [u8; NAME_FIELD_BYTES]>,
    body_bytes: usize,
) {
    let header = Header {
        flags,
        name: *name,
        group_count: u32::try_from(groups.len()).unwrap_or(u32::MAX),
        hint,
        body_bytes: u32::try_from(body_bytes).unwrap_or(u32::MAX),
        little_endian: true,
    };
    out.reserve(HEADER_BYTES + groups.len() * NAME_FIELD_BYTES);
    out.extend_from_slice(&header.encode());
    for group in groups {
        out.extend_from_slice(group);
    }
}

#[cfg(test)]
mod tests;
