//! Bytes of a message on the way into packets.

use bytes::{BufMut, Bytes, BytesMut};

/// The bytes of a message, in two parts: what the daemon puts before a client's body, and the body,
/// which stays where it was read until it is packed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Payload {
    head: Bytes,
    /// How many bytes of the head are the preamble of a multicast.
    preamble_bytes: usize,
    body: Bytes,
}

impl From<Bytes> for Payload {
    fn from(body: Bytes) -> Self {
        Self { body, ..Self::default() }
    }
}

impl Payload {
    /// Of a multicast.
    pub(crate) fn new(head: Bytes, preamble_bytes: usize, body: Bytes) -> Self {
        Self { head, preamble_bytes, body }
    }

    /// What is before the rest of a multicast; nothing of other messages.
    pub(crate) fn preamble(&self) -> &[u8] {
        self.head.get(..self.preamble_bytes).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// The `length` bytes from `offset`; fewer if it ends before.
    pub(crate) fn piece(&self, offset: usize, length: usize) -> Self {
        let border = self.head.len();
        let end = (offset + length).min(self.len());
        let start = offset.min(end);
        Self {
            head: self.head.slice(start.min(border)..end.min(border)),
            preamble_bytes: 0,
            body: self.body.slice(start.max(border) - border..end.max(border) - border),
        }
    }

    pub(crate) fn put(&self, to: &mut impl BufMut) {
        to.put_slice(&self.head);
        to.put_slice(&self.body);
    }

    /// Everything in one piece.
    pub(crate) fn to_bytes(&self) -> Bytes {
        if self.head.is_empty() {
            return self.body.clone();
        }
        let mut whole = BytesMut::with_capacity(self.len());
        self.put(&mut whole);
        whole.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_from_both_parts() {
        let payload = Payload::new(Bytes::from_static(b"head"), 3, Bytes::from_static(b"body"));
        for start in 0..=9 {
            for length in 0..=9 {
                let expected: Vec<u8> = b"headbody".iter().copied().skip(start).take(length).collect();
                assert_eq!(payload.piece(start, length).to_bytes(), expected, "{start} {length}");
            }
        }
        assert_eq!(payload.preamble(), b"hea");
        assert_eq!(Payload::from(Bytes::from_static(b"body")).piece(1, 2).to_bytes(), "od");
    }
}
