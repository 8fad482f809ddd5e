//! Membership messages: views, transitions, self-leaves.
//!
//! All three carry the group in the name field of the header and a hint without message type.
//!
//! | kind | flags | groups | body |
//! |---|---|---|---|
//! | view | REG_MEMB and one cause | all members | below |
//! | transition | TRANSITION | none | group id before the change, 12 bytes |
//! | self-leave | CAUSED_BY_LEAVE alone | none | empty |
//!
//! Body of a view:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 12 | group id: leader, time, counter |
//! | 12 | 4 | number of virtual synchrony sets |
//! | 16 | 4 | offset of the receiver's own set, counted from offset 20 |
//! | 20 | … | each set: 4-byte member count, then that many 32-byte names |
//!
//! Numbers are in the byte order of the frame's header.

mod decode;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

pub use self::decode::{Membership, View, VsSet};
use super::flags::{
    CAUSE_MASK, CAUSED_BY_DISCONNECT, CAUSED_BY_JOIN, CAUSED_BY_LEAVE, CAUSED_BY_NETWORK, HEADER_BYTES,
    REG_MEMB, TRANSITION,
};
use super::frame::put_head;
use super::header::{Header, Hint};
use crate::names::{GroupName, MemberName, NAME_FIELD_BYTES};

/// Bytes of a group id.
pub const GROUP_ID_BYTES: usize = 12;
/// Where the own-set offset stands in the body of a view.
const OWN_SET_AT: usize = 16;
/// Where the sets begin in the body of a view.
const SETS_AT: usize = 20;

/// Identity of a view: the same at all its members, and never used for another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct GroupId {
    /// Identity of the leader of the daemons' configuration.
    pub leader: u32,
    /// When that configuration formed, forced to grow; the unit is the daemon's.
    pub time: u32,
    /// Changes of the group in that configuration, from 1.
    pub counter: u32,
}

/// `7f000001-6b049e20-1`: the leader and the time in hexadecimal, and the counter. The form stays, so programs may
/// send it and compare it.
impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:08x}-{}", self.leader, self.time, self.counter)
    }
}

/// What a view came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// A member joined.
    Join,
    /// A member left.
    Leave,
    /// A member's session ended.
    Disconnect,
    /// Daemons became unreachable, or reachable again.
    Network,
}

impl Cause {
    /// The bit of the flag word.
    #[must_use]
    pub fn flag(self) -> u32 {
        match self {
            Self::Join => CAUSED_BY_JOIN,
            Self::Leave => CAUSED_BY_LEAVE,
            Self::Disconnect => CAUSED_BY_DISCONNECT,
            Self::Network => CAUSED_BY_NETWORK,
        }
    }

    /// The cause named by exactly one of the four bits; `None` for no bit or several.
    #[must_use]
    pub fn from_flags(flags: u32) -> Option<Self> {
        let all = [Self::Join, Self::Leave, Self::Disconnect, Self::Network];
        all.into_iter().find(|cause| flags & CAUSE_MASK == cause.flag())
    }
}

/// The frame of a view, as the members of the first virtual synchrony set get it; for the others see
/// [`with_own_set`].
///
/// `members` are all members after the change, in the order that clients will see. `sets` are, for
/// a join, leave or disconnect, the one member that it is about; for a network change, those
/// members that came here together, set by set.
#[must_use]
pub fn encode_view(
    group: &GroupName,
    cause: Cause,
    id: GroupId,
    members: &[MemberName],
    sets: &[&[MemberName]],
) -> Bytes {
    let body_bytes = SETS_AT + sets.iter().map(|set| set_bytes(set)).sum::<usize>();
    let head_bytes = HEADER_BYTES + members.len() * NAME_FIELD_BYTES;
    let mut out = BytesMut::with_capacity(head_bytes + body_bytes);
    let fields = members.iter().map(MemberName::as_field);
    put_head(&mut out, REG_MEMB | cause.flag(), group.as_field(), Hint::ZERO, fields, body_bytes);
    put_id(&mut out, id);
    put_count(&mut out, sets.len());
    out.put_u32_le(0);
    for set in sets {
        put_count(&mut out, set.len());
        for member in *set {
            out.put_slice(member.as_field());
        }
    }
    out.freeze()
}

/// Offset of a set as receivers in it are told: bytes of the sets before it.
#[must_use]
pub fn own_set_offset(sets: &[&[MemberName]], index: usize) -> u32 {
    let bytes: usize = sets.iter().take(index).map(|set| set_bytes(set)).sum();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// A copy of a view's frame, from [`encode_view`], for receivers whose own set begins at `offset`.
/// Offset 0 costs no copy. Anything but a view comes back unchanged.
#[must_use]
pub fn with_own_set(frame: &Bytes, offset: u32) -> Bytes {
    let Some(at) = own_set_at(frame).filter(|_| offset != 0) else { return frame.clone() };
    let mut copy = BytesMut::from(frame.as_ref());
    if let Some(word) = copy.get_mut(at..at + 4) {
        word.copy_from_slice(&offset.to_le_bytes());
    }
    copy.freeze()
}

/// The frame of a transition; `id` is that of the view before the change.
#[must_use]
pub fn encode_transition(group: &GroupName, id: GroupId) -> Bytes {
    let mut out = BytesMut::new();
    put_head(&mut out, TRANSITION, group.as_field(), Hint::ZERO, [].iter(), GROUP_ID_BYTES);
    put_id(&mut out, id);
    out.freeze()
}

/// The frame that tells a member that it has left.
#[must_use]
pub fn encode_self_leave(group: &GroupName) -> Bytes {
    let mut out = BytesMut::new();
    put_head(&mut out, CAUSED_BY_LEAVE, group.as_field(), Hint::ZERO, [].iter(), 0);
    out.freeze()
}

/// Where the own-set offset stands in a view's frame.
fn own_set_at(frame: &[u8]) -> Option<usize> {
    let header = Header::decode(frame.first_chunk()?).ok()?;
    let groups_bytes = usize::try_from(header.group_count).ok()?.checked_mul(NAME_FIELD_BYTES)?;
    let at = groups_bytes.checked_add(HEADER_BYTES + OWN_SET_AT)?;
    (header.flags & REG_MEMB != 0 && header.little_endian).then_some(at)
}

fn set_bytes(set: &[MemberName]) -> usize {
    4 + set.len() * NAME_FIELD_BYTES
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32_le(u32::try_from(count).unwrap_or(u32::MAX));
}

fn put_id(out: &mut BytesMut, id: GroupId) {
    out.put_u32_le(id.leader);
    out.put_u32_le(id.time);
    out.put_u32_le(id.counter);
}

#[cfg(test)]
mod tests;
