//! The token: who may number packets, and what everyone holds.
//!
//! In place of one `aru` with an owner it carries a vector with one acknowledged prefix for each
//! member (docs/protocol.md, O3): each entry has one writer and only grows.

use bytes::BufMut;

use super::codec::{put_ring, ring};
use super::ranges::SeqRange;
use crate::ids::{ProcessId, RingId, Seq};
use crate::reader::{DecodeError, Reader};

/// Most ranges that one token asks for.
pub const MAX_REQUESTS: usize = 64;

/// See the module documentation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The member that passed it.
    pub from: ProcessId,
    /// The ring.
    pub ring: RingId,
    /// Number of this hop; grows by one each time the token is passed.
    pub hop: u64,
    /// The highest number given out.
    pub seq: Seq,
    /// Packets sent by all members in the last round (flow control count).
    pub fcc: u32,
    /// Packets that wait at all members, as each counted them in its last visit.
    pub backlog: u32,
    /// New packets of all members together that a round may have.
    pub window: u32,
    /// For each member, in member order, up to where it holds everything.
    pub acks: Vec<Seq>,
    /// What members lack.
    pub requests: Vec<Request>,
}

/// Packets that some member lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Which packets.
    pub range: SeqRange,
    /// Which member asked first, as an index into the members.
    pub member: u16,
    /// How often it was made before, in vain.
    pub age: u8,
}

const REQUEST_BYTES: usize = 8 + 4 + 2 + 1;

impl Token {
    pub(super) fn encode(&self, to: &mut impl BufMut) {
        put_ring(self.ring, to);
        to.put_u64_le(self.hop);
        to.put_u64_le(self.seq.0);
        to.put_u32_le(self.fcc);
        to.put_u32_le(self.backlog);
        to.put_u32_le(self.window);
        let members = u16::try_from(self.acks.len()).unwrap_or(u16::MAX);
        to.put_u16_le(members);
        for ack in self.acks.iter().take(usize::from(members)) {
            // What is missing is bounded by the outstanding window, so 32 bits always suffice.
            to.put_u32_le(u32::try_from(self.seq.ahead_of(*ack)).unwrap_or(u32::MAX));
        }
        let requests = self.requests.len().min(MAX_REQUESTS);
        to.put_u16_le(u16::try_from(requests).unwrap_or(0));
        for request in self.requests.iter().take(requests) {
            request.range.encode(to);
            to.put_u16_le(request.member);
            to.put_u8(request.age);
        }
    }

    pub(super) fn decode(from: ProcessId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let ring = ring(reader)?;
        let hop = counter(reader, "token hop")?;
        let seq = Seq(counter(reader, "token seq")?);
        let fcc = reader.u32()?;
        let backlog = reader.u32()?;
        let window = reader.u32()?;
        let members = reader.count(4)?;
        let mut acks = Vec::with_capacity(members);
        for _ in 0..members {
            let behind = u64::from(reader.u32()?);
            acks.push(Seq(seq.0.saturating_sub(behind)));
        }
        let requests = reader.count(REQUEST_BYTES)?;
        if requests > MAX_REQUESTS {
            return Err(reader.bad_value("request count", requests as u64));
        }
        let requests = (0..requests).map(|_| Request::decode(reader)).collect::<Result<_, _>>()?;
        Ok(Self { from, ring, hop, seq, fcc, backlog, window, acks, requests })
    }
}

/// A number that every hop may raise, so far from its end that it can be for ever.
fn counter(reader: &mut Reader<'_>, what: &'static str) -> Result<u64, DecodeError> {
    let number = reader.u64()?;
    if number > u64::MAX / 2 { Err(reader.bad_value(what, number)) } else { Ok(number) }
}

impl Request {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { range: SeqRange::decode(reader)?, member: reader.u16()?, age: reader.u8()? })
    }
}
