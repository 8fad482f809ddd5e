//! Byte layouts of the messages between groups layers. Numbers are little-endian; a `v` number has
//! seven bits to a byte, lowest first, and bit 7 where another byte follows.
//!
//! ```text
//! join, leave   private name length u8 · private name · group name (up to the end)
//! disconnect    private name (up to the end)
//! part          0 u8 · ring · number u32 · of how many u32 · piece of a report
//! ring          epoch u64 · leader u16 · incarnation u64
//! report        last settled ring · ring that closed it
//!               v members, each: length u8 · private name            in name order
//!               v stamps, each: leader u32 · time u32                of the group ids
//!               v groups, in name order, each:
//!                 bytes shared with the name before u8 · length u8 · rest of the name
//!                 v stamp << 2 | marked << 1 | listed · v counter
//!                 listed:     v members, each v distance to the one before
//!                 not listed: a bit for each member, in whole bytes, lowest first
//! ```
//!
//! The daemon of a session is the sender of the message, so its name is not repeated. A daemon
//! reports its own sessions only: what every daemon says together is the table.

use antiphon_wire::client::membership::GroupId;
use antiphon_wire::ids::RingId;
use antiphon_wire::names::{GROUP_NAME_MAX_BYTES, GroupName, MemberName, NAME_FIELD_BYTES, PrivateName};
use antiphon_wire::reader::{DecodeError, Reader, number_bytes, put_number};
use antiphon_wire::ring::codec::{put_ring, ring};
use bytes::{BufMut, Bytes, BytesMut};

use crate::delivery::{Lent, Saying};

/// Most bytes of a report in one part.
const PART_BYTES: usize = 32 << 10;

/// Which history a daemon's groups come from: two daemons with the same component have delivered
/// the same up to the end of the transitional configuration after their last settled ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Component {
    /// The last ring whose exchange was completed.
    pub(super) settled: RingId,
    /// The ring whose transitional configuration closed it.
    pub(super) closed_by: RingId,
}

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

/// What one daemon knows about the groups of its own sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Report {
    /// Where its groups come from.
    pub(super) component: Component,
    /// Its sessions that are in groups, in name order.
    pub(super) members: Vec<PrivateName>,
    /// Their groups, in name order.
    pub(super) groups: Vec<ReportedGroup>,
}

/// A group as one daemon sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ReportedGroup {
    /// Its name.
    pub(super) name: GroupName,
    /// Its identity.
    pub(super) id: GroupId,
    /// Whether it has lost members since its last view.
    pub(super) marked: bool,
    /// Positions of its members in [`Report::members`], growing.
    pub(super) members: Vec<u32>,
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
pub(super) fn encode_parts(ring: RingId, report: &Report) -> Vec<Bytes> {
    let report = encode_report(report);
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
    if number >= count {
        return Err(reader.bad_value("part number", u64::from(number)));
    }
    Ok(Part { ring, number, count, piece: frame.narrowed(reader.take_rest()).keep() })
}

fn encode_report(report: &Report) -> Bytes {
    let mut out = BytesMut::new();
    put_ring(report.component.settled, &mut out);
    put_ring(report.component.closed_by, &mut out);
    put_number(report.members.len(), &mut out);
    for member in &report.members {
        out.put_u8(member.as_bytes().len().to_le_bytes()[0]);
        out.put_slice(member.as_bytes());
    }
    let mut stamps: Vec<(u32, u32)> = report.groups.iter().map(|group| stamp(group.id)).collect();
    stamps.sort_unstable();
    stamps.dedup();
    put_number(stamps.len(), &mut out);
    for (leader, time) in &stamps {
        out.put_u32_le(*leader);
        out.put_u32_le(*time);
    }
    put_number(report.groups.len(), &mut out);
    let mut previous: &[u8] = &[];
    for group in &report.groups {
        put_group(&mut out, group, previous, &stamps, report.members.len());
        previous = group.name.as_bytes();
    }
    out.freeze()
}

fn stamp(id: GroupId) -> (u32, u32) {
    (id.leader, id.time)
}

fn put_group(
    out: &mut BytesMut,
    group: &ReportedGroup,
    previous: &[u8],
    stamps: &[(u32, u32)],
    members: usize,
) {
    let name = group.name.as_bytes();
    let shared = name.iter().zip(previous).take_while(|(one, other)| one == other).count();
    let rest = name.get(shared..).unwrap_or_default();
    out.put_u8(shared.to_le_bytes()[0]);
    out.put_u8(rest.len().to_le_bytes()[0]);
    out.put_slice(rest);
    let listed = list_bytes(&group.members) < members.div_ceil(8);
    let stamp = stamps.binary_search(&stamp(group.id)).unwrap_or(0);
    put_number(stamp << 2 | usize::from(group.marked) << 1 | usize::from(listed), out);
    put_number(group.id.counter as usize, out);
    if listed {
        put_number(group.members.len(), out);
        distances(&group.members).for_each(|distance| put_number(distance, out));
    } else {
        put_bits(out, &group.members, members);
    }
}

fn put_bits(out: &mut BytesMut, members: &[u32], of: usize) {
    let start = out.len();
    out.put_bytes(0, of.div_ceil(8));
    for member in members {
        if let Some(byte) = out.get_mut(start + *member as usize / 8) {
            *byte |= 1 << (member % 8);
        }
    }
}

/// Distance of each number to the one after the one before.
fn distances(members: &[u32]) -> impl Iterator<Item = usize> {
    let befores = std::iter::once(0).chain(members.iter().map(|member| member + 1));
    members.iter().zip(befores).map(|(member, before)| (*member - before) as usize)
}

fn list_bytes(members: &[u32]) -> usize {
    number_bytes(members.len()) + distances(members).map(number_bytes).sum::<usize>()
}

/// Reads a whole report.
pub(super) fn decode_report(bytes: &[u8]) -> Result<Report, DecodeError> {
    let mut reader = Reader::new(bytes, "groups report");
    let component = Component { settled: ring(&mut reader)?, closed_by: ring(&mut reader)? };
    let members = private_names(&mut reader)?;
    let stamps: Vec<(u32, u32)> = (0..count(&mut reader, 8)?)
        .map(|_| Ok((reader.u32()?, reader.u32()?)))
        .collect::<Result<_, DecodeError>>()?;
    let mut groups: Vec<ReportedGroup> = Vec::new();
    for _ in 0..count(&mut reader, 4)? {
        let group = reported_group(&mut reader, groups.last(), &stamps, members.len())?;
        groups.push(group);
    }
    reader.finish()?;
    Ok(Report { component, members, groups })
}

fn private_names(reader: &mut Reader<'_>) -> Result<Vec<PrivateName>, DecodeError> {
    let mut names: Vec<PrivateName> = Vec::new();
    for _ in 0..count(reader, 2)? {
        let name = private_name(reader)?;
        if names.last().is_some_and(|last| *last >= name) {
            return Err(reader.bad_value("member order", names.len() as u64));
        }
        names.push(name);
    }
    Ok(names)
}

fn reported_group(
    reader: &mut Reader<'_>,
    previous: Option<&ReportedGroup>,
    stamps: &[(u32, u32)],
    of: usize,
) -> Result<ReportedGroup, DecodeError> {
    let (shared, length) = (usize::from(reader.u8()?), usize::from(reader.u8()?));
    let before = previous.map(|group| group.name.as_bytes()).unwrap_or_default();
    let start = before.get(..shared).ok_or_else(|| reader.bad_value("shared bytes", shared as u64))?;
    let text = [start, reader.take(length)?].concat();
    let name = group_name(reader, &text)?;
    if previous.is_some_and(|previous| previous.name >= name) {
        return Err(reader.bad_value("group order", length as u64));
    }
    let word = reader.number()?;
    let stamp = stamps.get(word as usize >> 2);
    let (leader, time) = *stamp.ok_or_else(|| reader.bad_value("stamp", u64::from(word)))?;
    let counter = reader.number()?;
    let members = if word & 1 == 1 { listed(reader, of)? } else { bits(reader, of)? };
    if members.is_empty() {
        return Err(reader.bad_value("member count", 0));
    }
    Ok(ReportedGroup { name, id: GroupId { leader, time, counter }, marked: word & 2 == 2, members })
}

fn listed(reader: &mut Reader<'_>, of: usize) -> Result<Vec<u32>, DecodeError> {
    let mut members = Vec::new();
    let mut next = 0;
    for _ in 0..count(reader, 1)? {
        let member = reader.number()?.saturating_add(next);
        if member as usize >= of {
            return Err(reader.bad_value("member", u64::from(member)));
        }
        next = member + 1;
        members.push(member);
    }
    Ok(members)
}

fn bits(reader: &mut Reader<'_>, of: usize) -> Result<Vec<u32>, DecodeError> {
    let bytes = reader.take(of.div_ceil(8))?;
    let mut members = Vec::new();
    for (base, byte) in (0..).step_by(8).zip(bytes) {
        members.extend((0..8).filter(|bit| byte & 1 << bit != 0).map(|bit| base + bit));
    }
    match members.last() {
        Some(last) if *last as usize >= of => Err(reader.bad_value("member", u64::from(*last))),
        _ => Ok(members),
    }
}

/// A count of items that have at least `item_bytes` each.
fn count(reader: &mut Reader<'_>, item_bytes: usize) -> Result<usize, DecodeError> {
    let count = reader.number()? as usize;
    if count.saturating_mul(item_bytes) > reader.remaining() {
        return Err(reader.bad_value("count", count as u64));
    }
    Ok(count)
}

fn private_name(reader: &mut Reader<'_>) -> Result<PrivateName, DecodeError> {
    let length = reader.u8()?;
    let bytes = reader.take(usize::from(length))?;
    PrivateName::new(bytes).map_err(|_| reader.bad_value("private name", u64::from(length)))
}

fn group_name(reader: &Reader<'_>, bytes: &[u8]) -> Result<GroupName, DecodeError> {
    if bytes.len() > GROUP_NAME_MAX_BYTES || bytes.contains(&0) {
        return Err(reader.bad_value("group name", bytes.len() as u64));
    }
    let mut field = [0; NAME_FIELD_BYTES];
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
    Ok(GroupName::from_field(&field))
}
