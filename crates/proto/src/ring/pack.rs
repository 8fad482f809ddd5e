//! From waiting messages to packets: one buffer for a whole token visit.
//!
//! The messages are cut so that every packet but the last is exactly full; the burst is then one
//! segmented send. A message that must not straddle two packets leaves padding behind.

use antiphon_wire::ids::{ClusterHash, DaemonId, RingId, RingTag, Seq};
use antiphon_wire::ring::packet::{PACKET_HEADER_BYTES, Packet, PacketHeader};
use antiphon_wire::service::ServiceLevel;
use bytes::{Bytes, BytesMut};

use crate::cx::Cx;
use crate::io::Trace;
use crate::preambles::Said;
use crate::send_queue::{Outgoing, SendQueue, Space};

/// What a visit fills its packets with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub(crate) ring: RingId,
    pub(crate) tag: RingTag,
    pub(crate) sender: DaemonId,
    /// The highest number given out so far.
    pub(crate) seq: Seq,
    /// Up to where I hold everything.
    pub(crate) ack: Seq,
    /// Hop number of the token.
    pub(crate) hop: u64,
    /// New packets at most.
    pub(crate) packets: usize,
    /// How many of them may follow the token.
    pub(crate) after_token: usize,
    /// Whether the ring was quiet, so that a safe message need not wait for the token's rounds.
    pub(crate) after_quiet: bool,
}

/// The new packets of a visit.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    /// Datagrams that leave before the token, one after the other.
    pub(crate) before_token: Bytes,
    /// The rest of them, which follow it.
    pub(crate) after_token: Bytes,
    /// All of them as packets, in order.
    pub(crate) packets: Vec<Packet>,
}

/// Takes messages from the queue into packets.
pub(crate) fn fill(visit: Visit, said: &mut Said, cx: &mut Cx<'_>) -> Burst {
    let size = cx.config.ring.datagram_bytes;
    let wanted = estimate(visit.packets, size, cx.queue);
    let mut buffer = BytesMut::with_capacity(wanted.saturating_mul(size));
    let mut headers: Vec<PacketHeader> = Vec::with_capacity(wanted);
    let mut has_safe = false;
    while headers.len() < visit.packets && cx.queue.has_sendable() {
        // A packet is known to be followed by another, and so must be full, only now.
        let start = headers.len() * size;
        buffer.resize(start, 0);
        let seq = visit.seq.advanced(headers.len() as u64 + 1);
        match fill_packet(visit, seq, &mut buffer, said, &mut has_safe, cx) {
            Some(header) => headers.push(header),
            None => {
                buffer.truncate(start);
                break;
            }
        }
    }
    if let Some(last) = headers.last_mut() {
        last.wants_ack = visit.after_quiet && has_safe && !cx.queue.has_sendable();
    }
    finish(visit, buffer, headers, size, cx.config.cluster.hash)
}

/// How many packets the waiting messages need at most, so that the buffer is allocated once.
fn estimate(packets: usize, size: usize, queue: &SendQueue) -> usize {
    let capacity = size.saturating_sub(PACKET_HEADER_BYTES).max(1);
    let bytes = queue.bytes() + queue.messages() * 16;
    packets.min(bytes / capacity + 2)
}

/// Fills one packet; `None` when nothing could be taken.
fn fill_packet(
    visit: Visit,
    seq: Seq,
    buffer: &mut BytesMut,
    said: &mut Said,
    has_safe: &mut bool,
    cx: &mut Cx<'_>,
) -> Option<PacketHeader> {
    let size = cx.config.ring.datagram_bytes;
    let start = buffer.len();
    let ack = if visit.ack == visit.seq { seq } else { visit.ack };
    let mut header = PacketHeader {
        ring: visit.tag,
        sender: visit.sender,
        seq,
        visit: visit.hop as u16,
        after_token: false,
        has_unordered: false,
        wants_ack: false,
        ack,
    };
    header.encode(cx.config.cluster.hash, buffer);
    let capacity = size - PACKET_HEADER_BYTES;
    let mut index = 0;
    let (mut taken, mut is_filled) = (false, false);
    let quantum = cx.config.ring.session_quantum_bytes;
    while !is_filled {
        let space = Space { left: size - (buffer.len() - start), capacity };
        let Some(piece) = cx.queue.take(space, said, quantum) else { break };
        taken = true;
        is_filled = piece.head.fills_packet();
        *has_safe |= piece.head.service == ServiceLevel::Safe;
        header.has_unordered |= piece.head.fragment.is_none() && !piece.head.service.is_ordered();
        piece.head.encode(piece.range.len(), buffer);
        piece.message.payload.put(piece.range, buffer);
        if piece.head.ends_message() {
            originate(visit, seq, index, piece.message, cx);
            index += 1;
        }
    }
    taken.then_some(header)
}

/// Notes that a message got its place.
fn originate(visit: Visit, seq: Seq, index: u16, message: Outgoing, cx: &mut Cx<'_>) {
    cx.stats.messages_sent += 1;
    cx.out.record(|| Trace::Originated {
        ring: visit.ring,
        seq,
        index,
        kind: message.kind,
        service: message.service,
        bytes: message.payload.to_bytes(),
    });
}

/// Writes the headers again, now that it is known which packets follow the token, and slices.
fn finish(
    visit: Visit,
    mut buffer: BytesMut,
    mut headers: Vec<PacketHeader>,
    size: usize,
    cluster: ClusterHash,
) -> Burst {
    let before = headers.len().saturating_sub(visit.after_token);
    for (position, header) in headers.iter_mut().enumerate() {
        header.after_token = position >= before;
        let start = position * size;
        if let Some(mut place) = buffer.get_mut(start..start + PACKET_HEADER_BYTES) {
            header.encode(cluster, &mut place);
        }
    }
    let bytes = buffer.freeze();
    let slice = |position: usize| bytes.slice(position * size..((position + 1) * size).min(bytes.len()));
    let packets = headers
        .into_iter()
        .enumerate()
        .map(|(position, header)| Packet { header, bytes: slice(position) })
        .collect();
    let split = (before * size).min(bytes.len());
    Burst { before_token: bytes.slice(..split), after_token: bytes.slice(split..), packets }
}
