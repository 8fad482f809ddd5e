//! Packets: what has a place in the total order of a ring.
//!
//! ```text
//! common header (10) · ring 18 · seq u64 · visit u32 · ack u64 · chunks
//! flags: bit 0 sent after the token, bit 1 carries whole messages that need no order,
//! bit 2 is to be acknowledged at once
//! ```
//!
//! A packet is encoded once. Retransmission and recovery send the same bytes.

use bytes::{BufMut, Bytes};

use super::codec::{put_ring, ring};
use super::{DatagramKind, Envelope, HEADER_BYTES, put_header};
use crate::ids::{DaemonId, RingId, Seq};
use crate::reader::{DecodeError, Reader};

/// Bytes of a packet before its chunks.
pub const PACKET_HEADER_BYTES: usize = HEADER_BYTES + 18 + 8 + 4 + 8;

const AFTER_TOKEN: u8 = 1;
const HAS_UNORDERED: u8 = 2;
const WANTS_ACK: u8 = 4;

/// The fields before the chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketHeader {
    /// The ring that orders the packet.
    pub ring: RingId,
    /// The member that sent it first.
    pub sender: DaemonId,
    /// Its place in the order.
    pub seq: Seq,
    /// Low bits of the token's hop number at the visit in which the packet was numbered.
    pub visit: u32,
    /// Whether it was sent after the token of that visit (CNDS-2014-2 §III-C, second method).
    pub after_token: bool,
    /// Whether it carries whole messages that are delivered on arrival.
    pub has_unordered: bool,
    /// Whether its receivers are to acknowledge it without waiting for the token.
    pub wants_ack: bool,
    /// Up to where the sender held everything when it numbered the packet.
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
    pub fn encode(&self, cluster: u32, to: &mut impl BufMut) {
        let mut flags = if self.after_token { AFTER_TOKEN } else { 0 };
        flags |= if self.has_unordered { HAS_UNORDERED } else { 0 };
        flags |= if self.wants_ack { WANTS_ACK } else { 0 };
        put_header(DatagramKind::Packet, flags, Envelope { cluster, daemon: self.sender }, to);
        put_ring(self.ring, to);
        to.put_u64_le(self.seq.0);
        to.put_u32_le(self.visit);
        to.put_u64_le(self.ack.0);
    }
}

impl Packet {
    pub(super) fn decode(
        bytes: Bytes,
        flags: u8,
        sender: DaemonId,
        reader: &mut Reader,
    ) -> Result<Self, DecodeError> {
        let ring = ring(reader)?;
        let seq = Seq(reader.u64()?);
        let visit = reader.u32()?;
        let ack = Seq(reader.u64()?);
        if seq == Seq::ZERO || seq.0 == u64::MAX || ack > seq {
            return Err(reader.bad_value("packet seq", seq.0));
        }
        let after_token = flags & AFTER_TOKEN != 0;
        let has_unordered = flags & HAS_UNORDERED != 0;
        let wants_ack = flags & WANTS_ACK != 0;
        let header = PacketHeader { ring, sender, seq, visit, after_token, has_unordered, wants_ack, ack };
        Ok(Self { header, bytes })
    }

    /// The chunks; read them with [`super::chunk::next`].
    #[must_use]
    pub fn chunks(&self) -> Reader {
        let start = PACKET_HEADER_BYTES.min(self.bytes.len());
        Reader::new(self.bytes.slice(start..), "packet")
    }
}
