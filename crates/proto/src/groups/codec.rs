//! Byte layouts of the messages between groups layers; what a report says is in [`super::report`]. Numbers are
//! little-endian.
//!
//! ```text
//! join, leave   private name length u8 · private name · group name (up to the end)
//! disconnect    private name (up to the end)
//! part          0 u8 · ring · number u32 · of how many u32 · piece of a report
//! ring          epoch u64 · leader u16 · incarnation u64
//! ```
//!
//! The daemon of a session is the sender of the message, so its name is not repeated. A daemon
//! reports its own sessions only: what every daemon says together is the table.

use antiphon_wire::ids::RingId;
use antiphon_wire::names::{GROUP_NAME_MAX_BYTES, GroupName, MemberName, NAME_FIELD_BYTES, PrivateName};
use antiphon_wire::reader::{DecodeError, Reader};
use antiphon_wire::ring::codec::{put_ring, ring};
use bytes::{BufMut, Bytes, BytesMut};

use crate::delivery::{Lent, Saying};

/// Most bytes of a report in one part.
const PART_BYTES: usize = 32 << 10;

/// One part of a report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// The ring that the exchange belongs to.
    pub(super) ring: RingId,
    /// Which part, from 0.
    pub(super) number: u32,
    /// Of how many.
    pub(super) count: u32,
    /// Its piece of the report.
    pub(super) piece: Bytes,
}

/// A join or leave.
pub(crate) fn encode_operation(member: &MemberName, group: &GroupName) -> Bytes {
    let private = member.private();
    let mut out = BytesMut::with_capacity(1 + private.len() + group.as_bytes().len());
    out.put_u8(private.len().to_le_bytes()[0]);
    out.put_slice(private);
    out.put_slice(group.as_bytes());
    out.freeze()
}

/// The end of a session.
pub(crate) fn encode_disconnect(member: &MemberName) -> Bytes {
    Bytes::copy_from_slice(member.private())
}

/// Reads a join or leave.
pub(super) fn decode_operation(frame: &[u8]) -> Result<(PrivateName, GroupName), DecodeError> {
    let mut reader = Reader::new(frame, "join or leave");
    let private = private_name(&mut reader)?;
    let group = reader.take_rest();
    Ok((private, group_name(&reader, group)?))
}

/// Reads the end of a session.
pub(super) fn decode_disconnect(frame: &[u8]) -> Result<PrivateName, DecodeError> {
    let reader = Reader::new(frame, "disconnect");
    PrivateName::new(frame).map_err(|_| reader.bad_value("private name", frame.len() as u64))
}

/// Cuts a report into parts, at least one.
pub(super) fn encode_parts(ring: RingId, report: &[u8]) -> Vec<Bytes> {
    let count = report.len().div_ceil(PART_BYTES);
    let part = |(number, piece): (u32, &[u8])| {
        let mut out = BytesMut::with_capacity(27 + piece.len());
        out.put_u8(Saying::Groups as u8);
        put_ring(ring, &mut out);
        out.put_u32_le(number);
        out.put_u32_le(u32::try_from(count).unwrap_or(u32::MAX));
        out.put_slice(piece);
        out.freeze()
    };
    (0..).zip(report.chunks(PART_BYTES)).map(part).collect()
}

/// Reads a part.
pub(super) fn decode_part(frame: Lent<'_>) -> Result<Part, DecodeError> {
    let mut reader = Reader::new(frame.bytes(), "part of a groups report");
    let saying = reader.u8()?;
    if saying != Saying::Groups as u8 {
        return Err(reader.bad_value("saying of a daemon", u64::from(saying)));
    }
    let (ring, number, count) = (ring(&mut reader)?, reader.u32()?, reader.u32()?);
    Ok(Part { ring, number, count, piece: frame.narrowed(reader.take_rest()).keep() })
}

pub(super) fn private_name(reader: &mut Reader<'_>) -> Result<PrivateName, DecodeError> {
    let length = reader.u8()?;
    let bytes = reader.take(usize::from(length))?;
    PrivateName::new(bytes).map_err(|_| reader.bad_value("private name", u64::from(length)))
}

pub(super) fn group_name(reader: &Reader<'_>, bytes: &[u8]) -> Result<GroupName, DecodeError> {
    if bytes.len() > GROUP_NAME_MAX_BYTES || bytes.contains(&0) {
        return Err(reader.bad_value("group name", bytes.len() as u64));
    }
    let mut field = [0; NAME_FIELD_BYTES];
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
    Ok(GroupName::from_field(&field))
}
