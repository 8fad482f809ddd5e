//! What a daemon tells of the groups of its own sessions: written and read group by group. In bytes, where a `v` number has
//! seven bits to a byte, lowest first, and bit 7 where another byte follows:
//!
//! ```text
//! report        last settled ring · ring that closed it
//!               v members, each: length u8 · private name            in name order
//!               v stamps, each: leader u32 · time u32                of the group ids
//!               v groups, in name order, each:
//!                 bytes shared with the name before u8 · length u8 · rest of the name
//!                 v stamp << 2 | marked << 1 | listed · v counter
//!                 listed:     v members, each v distance to the one before
//!                 not listed: a bit for each member, in whole bytes, lowest first
//! ```

use std::collections::BTreeMap;

use antiphon_wire::client::membership::GroupId;
use antiphon_wire::ids::RingId;
use antiphon_wire::names::{GroupName, PrivateName};
use antiphon_wire::reader::{DecodeError, Reader, number_bytes, put_number};
use antiphon_wire::ring::codec::{put_ring, ring};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::codec::{group_name, private_name};

/// Which history a daemon's groups come from: two daemons with the same component have delivered
/// the same up to the end of the transitional configuration after their last settled ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Component {
    /// The last ring whose exchange was completed.
    pub(super) settled: RingId,
    /// The ring whose transitional configuration closed it.
    pub(super) closed_by: RingId,
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
    /// Positions of its members among those of the report, growing.
    pub(super) members: Vec<u32>,
}

/// A report that is being written.
#[derive(Debug)]
pub(super) struct ReportWriter {
    component: Component,
    members: Vec<PrivateName>,
    /// Leader and time of the group ids so far, with their positions.
    stamps: BTreeMap<(u32, u32), usize>,
    groups: usize,
    last: Option<GroupName>,
    /// The groups in bytes.
    written: BytesMut,
}

impl ReportWriter {
    /// A report of these sessions, in name order, and of no group yet.
    pub(super) fn new(component: Component, members: Vec<PrivateName>) -> Self {
        let (stamps, written) = (BTreeMap::new(), BytesMut::new());
        Self { component, members, stamps, groups: 0, last: None, written }
    }

    /// Adds a group whose name is behind all others.
    pub(super) fn put_group(&mut self, group: &ReportedGroup) {
        let (name, last) = (group.name.as_bytes(), self.last.as_ref().map(GroupName::as_bytes));
        let shared =
            name.iter().zip(last.unwrap_or_default()).take_while(|(one, other)| one == other).count();
        let rest = name.get(shared..).unwrap_or_default();
        let stamp = self.position_of((group.id.leader, group.id.time));
        let (of, out) = (self.members.len(), &mut self.written);
        out.put_u8(shared.to_le_bytes()[0]);
        out.put_u8(rest.len().to_le_bytes()[0]);
        out.put_slice(rest);
        let listed = list_bytes(&group.members) < of.div_ceil(8);
        put_number(stamp << 2 | usize::from(group.marked) << 1 | usize::from(listed), out);
        put_number(group.id.counter as usize, out);
        if listed {
            put_number(group.members.len(), out);
            distances(&group.members).for_each(|distance| put_number(distance, out));
        } else {
            put_bits(out, &group.members, of);
        }
        self.groups += 1;
        self.last = Some(group.name);
    }

    fn position_of(&mut self, stamp: (u32, u32)) -> usize {
        let next = self.stamps.len();
        *self.stamps.entry(stamp).or_insert(next)
    }

    /// The report in bytes.
    pub(super) fn finish(self) -> BytesMut {
        let mut out = BytesMut::with_capacity(self.written.len() + 64);
        put_ring(self.component.settled, &mut out);
        put_ring(self.component.closed_by, &mut out);
        put_number(self.members.len(), &mut out);
        for member in &self.members {
            out.put_u8(member.as_bytes().len().to_le_bytes()[0]);
            out.put_slice(member.as_bytes());
        }
        let mut stamps: Vec<_> = self.stamps.into_iter().collect();
        stamps.sort_by_key(|(_, position)| *position);
        put_number(stamps.len(), &mut out);
        for ((leader, time), _) in stamps {
            out.put_u32_le(leader);
            out.put_u32_le(time);
        }
        put_number(self.groups, &mut out);
        out.put_slice(&self.written);
        out
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

/// A report that is being read.
#[derive(Debug)]
pub(super) struct ReportReader {
    /// Where its groups come from.
    pub(super) component: Component,
    /// Its sessions that are in groups, in name order.
    pub(super) members: Vec<PrivateName>,
    stamps: Vec<(u32, u32)>,
    last: Option<GroupName>,
    groups_left: usize,
    /// The groups in bytes that were not read yet.
    rest: Bytes,
}

impl ReportReader {
    /// Reads what comes before the groups.
    ///
    /// # Errors
    /// When it is no report.
    pub(super) fn new(mut bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = reader(&bytes);
        let component = Component { settled: ring(&mut reader)?, closed_by: ring(&mut reader)? };
        let members = private_names(&mut reader)?;
        let stamps = (0..count(&mut reader, 8)?)
            .map(|_| Ok((reader.u32()?, reader.u32()?)))
            .collect::<Result<_, DecodeError>>()?;
        let groups_left = count(&mut reader, 4)?;
        let read = bytes.len() - reader.remaining();
        bytes.advance(read);
        Ok(Self { component, members, stamps, last: None, groups_left, rest: bytes })
    }

    /// The next group; `None` behind the last.
    ///
    /// # Errors
    /// When what follows is no group, or something follows the last. There is no next one then.
    pub(super) fn next_group(&mut self) -> Result<Option<ReportedGroup>, DecodeError> {
        let (left, mut rest) = (std::mem::take(&mut self.groups_left), std::mem::take(&mut self.rest));
        let mut reader = reader(&rest);
        if left == 0 {
            return reader.finish().map(|()| None);
        }
        let group = self.read_group(&mut reader)?;
        let read = rest.len() - reader.remaining();
        rest.advance(read);
        self.last = Some(group.name);
        (self.groups_left, self.rest) = (left - 1, rest);
        Ok(Some(group))
    }

    fn read_group(&self, reader: &mut Reader<'_>) -> Result<ReportedGroup, DecodeError> {
        let (shared, length) = (usize::from(reader.u8()?), usize::from(reader.u8()?));
        let last = self.last.as_ref().map(GroupName::as_bytes).unwrap_or_default();
        let start = last.get(..shared).ok_or_else(|| reader.bad_value("shared bytes", shared as u64))?;
        let text = [start, reader.take(length)?].concat();
        let name = group_name(reader, &text)?;
        if self.last.is_some_and(|last| last >= name) {
            return Err(reader.bad_value("group order", length as u64));
        }
        let word = reader.number()?;
        let stamp = self.stamps.get(word as usize >> 2);
        let (leader, time) = *stamp.ok_or_else(|| reader.bad_value("stamp", u64::from(word)))?;
        let counter = reader.number()?;
        let of = self.members.len();
        let members = if word & 1 == 1 { listed(reader, of)? } else { bits(reader, of)? };
        if members.is_empty() {
            return Err(reader.bad_value("member count", 0));
        }
        Ok(ReportedGroup { name, id: GroupId { leader, time, counter }, marked: word & 2 == 2, members })
    }
}

fn reader(bytes: &[u8]) -> Reader<'_> {
    Reader::new(bytes, "groups report")
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
