//! Membership messages read.

use super::{Cause, GROUP_ID_BYTES, GroupId};
use crate::client::flags::{CAUSED_BY_LEAVE, MEMBERSHIP_MASK, REG_MEMB, TRANSITION};
use crate::client::frame::Frame;
use crate::client::header::word;
use crate::names::{GroupName, MemberName, NAME_FIELD_BYTES};
use crate::reader::{DecodeError, Reader};
use crate::service::ServiceLevel;

/// What daemons tell the members of a group about the group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Membership {
    /// Who is in the group now.
    View(View),
    /// What is delivered until the next view may be missing at members that are not in it.
    Transition {
        /// The group.
        group: GroupName,
        /// Identity of the view that is ending.
        id: GroupId,
    },
    /// The receiver is out of the group.
    SelfLeave {
        /// The group.
        group: GroupName,
    },
}

/// Who is in a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The group.
    pub group: GroupName,
    /// What changed it.
    pub cause: Cause,
    /// Identity of the view.
    pub id: GroupId,
    /// All members, in the same order everywhere.
    pub members: Vec<MemberName>,
    /// Who it is about (join, leave, disconnect), or who came into it together (network).
    pub sets: Vec<VsSet>,
    /// Index in `sets` of the receiver's own set; 0 unless the network caused the view.
    pub own_set: usize,
}

/// Members that moved from one view to the next together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VsSet {
    /// The members, in the order of the view.
    pub members: Vec<MemberName>,
}

impl Membership {
    /// Whether a frame from a daemon is a membership message. Data messages have one of the service
    /// bits; beside one, the bits of membership are the application's own business.
    #[must_use]
    pub fn is_in(flags: u32) -> bool {
        flags & MEMBERSHIP_MASK != 0 && flags & ServiceLevel::FLAG_MASK == 0
    }

    /// Reads a membership message.
    ///
    /// # Errors
    /// When the flags are of no kind of membership message, a body is cut short or too long, a name is
    /// not a member's, or the own-set offset is not where a set begins.
    pub fn decode(frame: &Frame) -> Result<Self, DecodeError> {
        let group = GroupName::from_field(&frame.header.name);
        match frame.header.flags & MEMBERSHIP_MASK {
            CAUSED_BY_LEAVE => Ok(Self::SelfLeave { group }),
            TRANSITION => {
                let mut body = Body::new(frame, "transition");
                let id = body.group_id()?;
                body.reader.finish()?;
                Ok(Self::Transition { group, id })
            }
            flags if flags & REG_MEMB != 0 => decode_view(frame, group).map(Self::View),
            flags => Err(DecodeError::BadValue { what: "membership flags", value: flags.into() }),
        }
    }
}

fn decode_view(frame: &Frame, group: GroupName) -> Result<View, DecodeError> {
    let flags = frame.header.flags;
    let cause = Cause::from_flags(flags)
        .ok_or(DecodeError::BadValue { what: "cause of a view", value: flags.into() })?;
    let members = names(frame.groups())?;
    let mut body = Body::new(frame, "view");
    let id = body.group_id()?;
    let set_count = body.u32()?;
    let own_offset = body.u32()?;
    let sets_bytes = body.reader.remaining();
    let mut sets = Vec::new();
    let mut own_set = None;
    for index in 0..set_count {
        if sets_bytes - body.reader.remaining() == own_offset as usize {
            own_set = Some(index as usize);
        }
        sets.push(VsSet { members: body.set()? });
    }
    body.reader.finish()?;
    let own_set =
        own_set.ok_or(DecodeError::BadValue { what: "offset of the own set", value: own_offset.into() })?;
    Ok(View { group, cause, id, members, sets, own_set })
}

/// Every field as a member name.
fn names(fields: &[u8]) -> Result<Vec<MemberName>, DecodeError> {
    let bad = DecodeError::BadValue { what: "name of a member", value: 0 };
    fields.as_chunks().0.iter().map(|field| MemberName::from_field(field).map_err(|_| bad)).collect()
}

/// A cursor over numbers in the byte order of their frame.
struct Body<'a> {
    reader: Reader<'a>,
    little_endian: bool,
}

impl<'a> Body<'a> {
    fn new(frame: &'a Frame, what: &'static str) -> Self {
        let little_endian = frame.header.little_endian;
        Self { reader: Reader::new(frame.body(), what), little_endian }
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(word(self.reader.array()?, self.little_endian))
    }

    fn group_id(&mut self) -> Result<GroupId, DecodeError> {
        const { assert!(GROUP_ID_BYTES == 3 * size_of::<u32>()) };
        Ok(GroupId { leader: self.u32()?, time: self.u32()?, counter: self.u32()? })
    }

    /// One set. Its bytes are taken first, so a count is not believed before they are there. An
    /// empty set has no meaning, and many of them would cost more memory than bytes.
    fn set(&mut self) -> Result<Vec<MemberName>, DecodeError> {
        let count = self.u32()? as usize;
        if count == 0 {
            return Err(DecodeError::BadValue { what: "members of a set", value: 0 });
        }
        names(self.reader.take(count.saturating_mul(NAME_FIELD_BYTES))?)
    }
}
