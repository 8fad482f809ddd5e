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

/// More than the head of a chunk takes.
const HEAD_BYTES: usize = 16;

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
    let mut filling = Filling {
        visit,
        size,
        buffer: BytesMut::with_capacity(wanted.saturating_mul(size)),
        headers: Vec::with_capacity(wanted),
        has_safe: false,
    };
    while filling.headers.len() < visit.packets && cx.queue.has_sendable() {
        if !filling.add_packet(said, cx) {
            break;
        }
    }
    let wants_ack = visit.after_quiet && filling.has_safe && !cx.queue.has_sendable();
    if let Some(last) = filling.headers.last_mut() {
        last.wants_ack = wants_ack;
    }
    filling.finish(cx.config.cluster.hash)
}

/// How many packets the waiting messages need at most, so that the buffer is allocated once.
fn estimate(packets: usize, size: usize, queue: &SendQueue) -> usize {
    let capacity = size.saturating_sub(PACKET_HEADER_BYTES).max(1);
    let bytes = queue.bytes() + queue.messages() * HEAD_BYTES;
    packets.min(bytes / capacity + 2)
}

/// A burst that is being filled.
struct Filling {
    visit: Visit,
    /// Bytes of each packet but the last.
    size: usize,
    buffer: BytesMut,
    /// Of the packets in `buffer`, which also has them, but for what is known only at the end.
    headers: Vec<PacketHeader>,
    /// Whether a safe message, or a part of one, is among them.
    has_safe: bool,
}

impl Filling {
    /// Fills one packet more; false when nothing could be taken.
    fn add_packet(&mut self, said: &mut Said, cx: &mut Cx<'_>) -> bool {
        // That the packet before is followed by another, and so must be full, is known only now.
        let start = self.headers.len() * self.size;
        self.buffer.resize(start, 0);
        let mut header = self.next_header();
        header.encode(cx.config.cluster.hash, &mut self.buffer);
        if !self.take_messages(start, &mut header, said, cx) {
            self.buffer.truncate(start);
            return false;
        }
        self.headers.push(header);
        true
    }

    fn next_header(&self) -> PacketHeader {
        let visit = &self.visit;
        let seq = visit.seq.advanced(self.headers.len() as u64 + 1);
        PacketHeader {
            ring: visit.tag,
            sender: visit.sender,
            seq,
            visit: visit.hop as u16,
            after_token: false,
            has_unordered: false,
            wants_ack: false,
            ack: if visit.ack == visit.seq { seq } else { visit.ack },
        }
    }

    /// Fills the packet that begins at `start` with what waits; false when nothing could be taken.
    fn take_messages(
        &mut self,
        start: usize,
        header: &mut PacketHeader,
        said: &mut Said,
        cx: &mut Cx<'_>,
    ) -> bool {
        let capacity = self.size - PACKET_HEADER_BYTES;
        let quantum = cx.config.ring.session_quantum_bytes;
        let mut index = 0;
        let (mut has_any, mut is_full) = (false, false);
        while !is_full {
            let space = Space { left: self.size - (self.buffer.len() - start), capacity };
            let Some(piece) = cx.queue.take(space, said, quantum) else { break };
            has_any = true;
            is_full = piece.head.fills_packet();
            self.has_safe |= piece.head.service == ServiceLevel::Safe;
            header.has_unordered |= piece.head.fragment.is_none() && !piece.head.service.is_ordered();
            piece.head.encode(piece.range.len(), &mut self.buffer);
            piece.message.payload.put(piece.range, &mut self.buffer);
            if piece.head.ends_message() {
                originate(self.visit.ring, header.seq, index, piece.message, cx);
                index += 1;
            }
        }
        has_any
    }

    /// Writes the headers again, now that it is known which packets follow the token, and slices.
    fn finish(self, cluster: ClusterHash) -> Burst {
        let Self { visit, size, mut buffer, mut headers, .. } = self;
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
}

/// Notes that a message got its place.
fn originate(ring: RingId, seq: Seq, index: u16, message: Outgoing, cx: &mut Cx<'_>) {
    cx.stats.messages_sent += 1;
    cx.out.record(|| Trace::Originated {
        ring,
        seq,
        index,
        kind: message.kind,
        service: message.service,
        bytes: message.payload.to_bytes(),
    });
}
