//! Frames of a byte stream, counted without being read.
//!
//! A view of a thousand members has 32 KB and goes to each of them. An instrument that took it apart a
//! thousand times would measure itself, so it looks at headers only and passes over the rest.

use antiphon_wire::client::flags::{HEADER_BYTES, REJECT};
use antiphon_wire::client::header::Header;
use antiphon_wire::client::membership::Membership;
use antiphon_wire::names::NAME_FIELD_BYTES;

/// What a frame from a daemon was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Skimmed {
    /// A view or transition with so many members.
    Membership(usize),
    /// Anything else.
    Message,
}

/// One stream, cut anywhere.
#[derive(Debug)]
pub(crate) struct Skimmer {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// The frame whose header is complete, and what is still to come of it.
    rest: Option<(Skimmed, usize)>,
}

/// The stream is not one of a daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Nonsense;

impl Skimmer {
    pub(crate) fn new() -> Self {
        Self { header: [0; HEADER_BYTES], header_bytes: 0, rest: None }
    }

    /// Takes the next bytes, and tells `on_frame` of each frame that ends in them.
    pub(crate) fn on_bytes(
        &mut self,
        mut bytes: &[u8],
        mut on_frame: impl FnMut(Skimmed),
    ) -> Result<(), Nonsense> {
        loop {
            if let Some((frame, left)) = self.rest {
                let Some(after) = bytes.get(left..) else {
                    self.rest = Some((frame, left - bytes.len()));
                    return Ok(());
                };
                self.rest = None;
                bytes = after;
                on_frame(frame);
            }
            let missing = self.header.get_mut(self.header_bytes..).unwrap_or_default();
            let taken = missing.len().min(bytes.len());
            let (now, later) = bytes.split_at(taken);
            missing.iter_mut().zip(now).for_each(|(slot, byte)| *slot = *byte);
            self.header_bytes += taken;
            bytes = later;
            if self.header_bytes < HEADER_BYTES {
                return Ok(());
            }
            self.header_bytes = 0;
            self.rest = Some(head(&self.header)?);
        }
    }
}

fn head(bytes: &[u8; HEADER_BYTES]) -> Result<(Skimmed, usize), Nonsense> {
    let header = Header::decode(bytes).map_err(|_| Nonsense)?;
    if header.flags & REJECT != 0 {
        return Err(Nonsense);
    }
    let groups = header.group_count as usize;
    let frame = if Membership::is_in(header.flags) { Skimmed::Membership(groups) } else { Skimmed::Message };
    Ok((frame, groups * NAME_FIELD_BYTES + header.body_bytes as usize))
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::flags::{CAUSED_BY_JOIN, REG_MEMB};
    use antiphon_wire::client::frame::put_frame;
    use antiphon_wire::client::header::Hint;
    use antiphon_wire::service::ServiceLevel;
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn frames_are_counted_wherever_the_stream_is_cut() {
        let mut stream = BytesMut::new();
        let field = [b'x'; NAME_FIELD_BYTES];
        let members = [&field, &field, &field];
        put_frame(&mut stream, REG_MEMB | CAUSED_BY_JOIN, &field, Hint::ZERO, members.into_iter(), &[1; 40]);
        put_frame(&mut stream, ServiceLevel::Agreed.flag(), &field, Hint::ZERO, [&field].into_iter(), b"");
        for piece in 1..stream.len() {
            let (mut skimmer, mut frames) = (Skimmer::new(), Vec::new());
            for bytes in stream.chunks(piece) {
                skimmer.on_bytes(bytes, |frame| frames.push(frame)).expect("frames");
            }
            assert_eq!(frames, [Skimmed::Membership(3), Skimmed::Message], "pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_frame_is_told() {
        let mut half_a_mark = [0; HEADER_BYTES];
        half_a_mark[0] = 0x80;
        assert_eq!(Skimmer::new().on_bytes(&half_a_mark, |_| {}), Err(Nonsense));
    }
}
