//! Bytes of a message on the way into packets.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

/// The bytes of a message, in two parts: what the daemon puts before a client's body, and the body,
/// which stays where the host had it until it is packed.
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

    /// Writes the bytes of that range; fewer if they end before it.
    pub(crate) fn put(&self, range: Range<usize>, to: &mut impl BufMut) {
        let border = self.head.len();
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let of_head = start.min(border)..end.min(border);
        let of_body = start.max(border) - border..end.max(border) - border;
        to.put_slice(self.head.get(of_head).unwrap_or_default());
        to.put_slice(self.body.get(of_body).unwrap_or_default());
    }

    /// Everything in one piece.
    pub(crate) fn to_bytes(&self) -> Bytes {
        if self.head.is_empty() {
            return self.body.clone();
        }
        let mut whole = BytesMut::with_capacity(self.len());
        self.put(0..self.len(), &mut whole);
        whole.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_from_both_parts() {
        let payload = Payload::new(Bytes::from_static(b"head"), 3, Bytes::from_static(b"body"));
        let put = |payload: &Payload, range| {
            let mut to = Vec::new();
            payload.put(range, &mut to);
            to
        };
        for start in 0..=9 {
            for length in 0..=9 {
                let expected: Vec<u8> = b"headbody".iter().copied().skip(start).take(length).collect();
                assert_eq!(put(&payload, start..start + length), expected, "{start} {length}");
            }
        }
        assert_eq!(payload.preamble(), b"hea");
        assert_eq!(payload.to_bytes(), "headbody");
        assert_eq!(put(&Bytes::from_static(b"body").into(), 1..3), b"od");
    }
}
