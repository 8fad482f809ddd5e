//! Packets: what has a place in the total order of a ring.
//!
//! ```text
//! common header (10) · ring tag u64 · seq u64 · visit u16 · behind u16 · chunks
//! behind: how far the acknowledgement is behind seq; 65535: so far that it says nothing
//! flags: bit 0 sent after the token, bit 1 carries whole messages that need no order,
//! bit 2 is to be acknowledged at once
//! ```
//!
//! A packet is encoded once. Retransmission and recovery send the same bytes.

use bytes::{BufMut, Bytes};

use super::{DatagramKind, Envelope, HEADER_BYTES, put_header};
use crate::ids::{ClusterHash, DaemonId, RingTag, Seq};
use crate::reader::{DecodeError, Reader};

/// Bytes of a packet before its chunks.
pub const PACKET_HEADER_BYTES: usize = HEADER_BYTES + 8 + 8 + 2 + 2;

const AFTER_TOKEN: u8 = 1;
const HAS_UNORDERED: u8 = 2;
const WANTS_ACK: u8 = 4;

/// In place of the distance of an acknowledgement that is too far behind.
const NO_ACK: u16 = u16::MAX;

/// The fields before the chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketHeader {
    /// The ring that orders the packet.
    pub ring: RingTag,
    /// The member that sent it first.
    pub sender: DaemonId,
    /// Its place in the order.
    pub seq: Seq,
    /// Low bits of the token's hop number at the visit in which the packet was numbered.
    pub visit: u16,
    /// Whether it was sent after the token of that visit (CNDS-2014-2 §III-C, second method).
    pub after_token: bool,
    /// Whether it carries whole messages that are delivered on arrival.
    pub has_unordered: bool,
    /// Whether its receivers are to acknowledge it without waiting for the token.
    pub wants_ack: bool,
    /// Up to where the sender held everything when it numbered the packet; [`Seq::ZERO`] if that is more
    /// than 65534 packets behind it.
    pub ack: Seq,
}

/// A received or own packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The fields before the chunks.
    pub header: PacketHeader,
    /// The whole datagram.
    pub bytes: Bytes,
}

impl PacketHeader {
    /// Writes the header; the chunks follow.
    pub fn encode(&self, cluster: ClusterHash, to: &mut impl BufMut) {
        let mut flags = if self.after_token { AFTER_TOKEN } else { 0 };
        flags |= if self.has_unordered { HAS_UNORDERED } else { 0 };
        flags |= if self.wants_ack { WANTS_ACK } else { 0 };
        put_header(DatagramKind::Packet, flags, Envelope { cluster, daemon: self.sender }, to);
        to.put_u64_le(self.ring.0);
        to.put_u64_le(self.seq.0);
        to.put_u16_le(self.visit);
        to.put_u16_le(u16::try_from(self.seq.ahead_of(self.ack)).unwrap_or(NO_ACK));
    }

    pub(super) fn decode(flags: u8, sender: DaemonId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let ring = RingTag(reader.u64()?);
        let seq = Seq(reader.u64()?);
        let visit = reader.u16()?;
        let behind = reader.u16()?;
        if seq == Seq::ZERO || seq.0 == u64::MAX {
            return Err(reader.bad_value("packet seq", seq.0));
        }
        let ack = match seq.0.checked_sub(u64::from(behind)) {
            _ if behind == NO_ACK => Seq::ZERO,
            Some(ack) => Seq(ack),
            None => return Err(reader.bad_value("packet ack", u64::from(behind))),
        };
        let after_token = flags & AFTER_TOKEN != 0;
        let has_unordered = flags & HAS_UNORDERED != 0;
        let wants_ack = flags & WANTS_ACK != 0;
        Ok(Self { ring, sender, seq, visit, after_token, has_unordered, wants_ack, ack })
    }
}

impl Packet {
    /// The chunks; read them with [`super::chunk::next`].
    #[must_use]
    pub fn chunks(&self) -> Reader<'_> {
        Reader::new(self.bytes.get(PACKET_HEADER_BYTES..).unwrap_or_default(), "packet")
    }
}
