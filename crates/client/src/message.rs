//! What is received: messages, views, transitions.

use std::collections::BTreeSet;

use antiphon_wire::client::flags::REJECT;
use antiphon_wire::client::frame::Frame;
use antiphon_wire::client::header::Hint;
use antiphon_wire::client::membership::{self, Cause, GroupId, Membership, VsSet};
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::reader::DecodeError;
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;

use crate::error::ProtocolError;

/// Something that the daemon delivers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A message.
    Message(Message),
    /// Who is in a group now. Only for connections that asked for membership.
    View(View),
    /// A group is about to lose members because daemons became unreachable.
    Transition(Transition),
    /// This client is out of the group, as it requested.
    SelfLeave(GroupName),
    /// The daemon refused a request of this client. Known daemons never do.
    Rejected(Rejected),
}

/// A message that a client sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Who sent it; also the name of the private group for an answer.
    pub sender: MemberName,
    /// How it was sent.
    pub service: ServiceLevel,
    /// Every group that it was sent to, in the order of the sender.
    pub groups: Vec<GroupName>,
    /// The application's message type.
    pub message_type: i16,
    /// Whether the sender's host has another byte order than this one. Bodies are never converted.
    pub endian_mismatch: bool,
    /// All bits of the flag word but the endian mark, for layers that put their own in
    /// ([`Envelope::add_flags`](crate::Envelope::add_flags)).
    pub flags: u32,
    /// What was sent. Shares memory with what was read at the same time: copy what is kept for long.
    pub body: Bytes,
}

/// Who is in a group. All members that are told of the same [`GroupId`] are told the same view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The group.
    pub group: GroupName,
    /// Identity of the view.
    pub id: GroupId,
    /// What changed the group.
    pub change: Change,
    /// All members, in the same order at each of them.
    pub members: Vec<MemberName>,
    /// Where this client is in `members`.
    pub my_index: Option<usize>,
    /// The virtual synchrony sets of a network change: the members that came from one view into this one
    /// together, and so have delivered the same messages before it. None after another change; see
    /// [`View::came_along`].
    pub vs_sets: Vec<Vec<MemberName>>,
    /// Which of `vs_sets` this client came with; 0 if there are none.
    pub my_vs_set: usize,
}

/// What made a view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A client joined the group.
    Join(MemberName),
    /// A member left the group.
    Leave(MemberName),
    /// The session of a member ended.
    Disconnect(MemberName),
    /// Daemons became unreachable, or reachable again.
    Network,
}

/// The transitional signal. The ordinary promises of a view end: what follows until the next [`View`]
/// of the group was possibly not delivered to members that became unreachable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transition {
    /// The group.
    pub group: GroupName,
    /// Identity of the view that is ending.
    pub id: GroupId,
}

/// A request that came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    /// The flag word of the request; a refused join or leave shows as its cause bit.
    pub flags: u32,
    /// Groups of the request, and this client's private group after them.
    pub groups: Vec<GroupName>,
    /// The application's message type.
    pub message_type: i16,
    /// Body of the request.
    pub body: Bytes,
}

impl Change {
    /// The kind of change.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Join(_) => Cause::Join,
            Self::Leave(_) => Cause::Leave,
            Self::Disconnect(_) => Cause::Disconnect,
            Self::Network => Cause::Network,
        }
    }

    /// The member that joined, left or disconnected; `None` after a network change.
    #[must_use]
    pub fn member(&self) -> Option<&MemberName> {
        match self {
            Self::Join(member) | Self::Leave(member) | Self::Disconnect(member) => Some(member),
            Self::Network => None,
        }
    }

    /// Frames name the member as the only one of the only set, and no set is empty.
    fn new(cause: Cause, sets: &[VsSet]) -> Result<Self, DecodeError> {
        let member = sets.first().and_then(|set| set.members.first()).copied();
        let nobody = DecodeError::BadValue { what: "member that a view is about", value: 0 };
        let of = |change: fn(MemberName) -> Self| member.map(change).ok_or(nobody);
        match cause {
            Cause::Join => of(Self::Join),
            Cause::Leave => of(Self::Leave),
            Cause::Disconnect => of(Self::Disconnect),
            Cause::Network => Ok(Self::Network),
        }
    }
}

impl View {
    /// The virtual synchrony set that this client came with; empty unless the network changed.
    #[must_use]
    pub fn my_set(&self) -> &[MemberName] {
        self.vs_sets.get(self.my_vs_set).map_or(&[], Vec::as_slice)
    }

    /// The members that came here together with this client, itself included, in the order of the view:
    /// they have delivered the same messages in the view before.
    #[must_use]
    pub fn came_along(&self) -> Vec<MemberName> {
        let me = self.my_index.and_then(|index| self.members.get(index));
        let is_with_me = |member: &&MemberName| match &self.change {
            Change::Join(new) if Some(new) == me => *member == new,
            Change::Join(new) => *member != new,
            Change::Leave(_) | Change::Disconnect(_) => true,
            Change::Network => self.my_set().contains(*member),
        };
        self.members.iter().filter(is_with_me).copied().collect()
    }

    /// Members of this view that were not in `previous`, the view of the same group before it, in the
    /// order of this view. Compares names only: after a network change, who of the others came along
    /// with this client is in [`View::vs_sets`].
    #[must_use]
    pub fn new_since(&self, previous: &Self) -> Vec<MemberName> {
        missing_from(&previous.members, &self.members)
    }

    /// Members of `previous`, the view of the same group before this one, that are not in this view,
    /// in the order of `previous`.
    #[must_use]
    pub fn gone_since(&self, previous: &Self) -> Vec<MemberName> {
        missing_from(&self.members, &previous.members)
    }

    fn new(view: membership::View, me: &MemberName) -> Result<Self, DecodeError> {
        let change = Change::new(view.cause, &view.sets)?;
        let sets = if change == Change::Network { view.sets } else { Vec::new() };
        Ok(Self {
            group: view.group,
            id: view.id,
            change,
            my_index: view.members.iter().position(|member| member == me),
            members: view.members,
            vs_sets: sets.into_iter().map(|set| set.members).collect(),
            my_vs_set: view.own_set,
        })
    }
}

impl Event {
    /// What a frame from the daemon means to the client called `me`.
    ///
    /// # Errors
    /// When no daemon may send such a frame.
    pub fn from_frame(frame: Frame, me: &MemberName) -> Result<Self, ProtocolError> {
        Self::from_frame_after(None, frame, me)
    }

    /// The same, after a message of `last`: mostly the next one is of the same sender, whose name need not be
    /// read again then.
    pub(crate) fn from_frame_after(
        last: Option<&MemberName>,
        frame: Frame,
        me: &MemberName,
    ) -> Result<Self, ProtocolError> {
        let flags = frame.header.flags;
        if flags & REJECT != 0 {
            return Ok(Self::Rejected(Rejected {
                flags: frame.rejected.unwrap_or(flags),
                groups: groups(&frame),
                message_type: frame.header.hint.message_type(),
                body: frame.into_body(),
            }));
        }
        if Membership::is_in(flags) {
            return Ok(match Membership::decode(&frame)? {
                Membership::View(view) => Self::View(View::new(view, me)?),
                Membership::Transition { group, id } => Self::Transition(Transition { group, id }),
                Membership::SelfLeave { group } => Self::SelfLeave(group),
            });
        }
        let service = ServiceLevel::from_flags(flags).ok_or(ProtocolError::Flags(flags))?;
        let sender = match last.filter(|last| *last.as_field() == frame.header.name) {
            Some(last) => *last,
            None => MemberName::from_field(&frame.header.name).map_err(ProtocolError::Sender)?,
        };
        Ok(Self::Message(Message {
            sender,
            service,
            groups: groups(&frame),
            message_type: frame.header.hint.message_type(),
            endian_mismatch: is_foreign(frame.header.hint),
            flags,
            body: frame.into_body(),
        }))
    }
}

/// The `members` that are not in `others`. Sorted first, because views can have thousands of members.
fn missing_from(others: &[MemberName], members: &[MemberName]) -> Vec<MemberName> {
    let others: BTreeSet<&[u8]> = others.iter().map(MemberName::as_bytes).collect();
    members.iter().filter(|member| !others.contains(member.as_bytes())).copied().collect()
}

fn groups(frame: &Frame) -> Vec<GroupName> {
    frame.group_fields().map(GroupName::from_field).collect()
}

fn is_foreign(hint: Hint) -> bool {
    hint.is_little_endian() != cfg!(target_endian = "little")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<MemberName> {
        list.iter().map(|name| MemberName::parse(name.as_bytes()).unwrap()).collect()
    }

    fn view(members: &[MemberName], change: Change, my_index: usize) -> View {
        View {
            group: GroupName::new(b"g").unwrap(),
            id: GroupId::default(),
            change,
            members: members.to_vec(),
            my_index: Some(my_index),
            vs_sets: Vec::new(),
            my_vs_set: 0,
        }
    }

    #[test]
    fn who_came_along_has_the_same_state() {
        let members = names(&["#a#n", "#b#n", "#c#n"]);
        let view = |change, sets: &[&[&str]], my_index, my_vs_set| View {
            vs_sets: sets.iter().map(|set| names(set)).collect(),
            my_vs_set,
            ..view(&members, change, my_index)
        };
        let (b, d) = (members[1], names(&["#d#n"])[0]);
        assert_eq!(view(Change::Join(b), &[], 0, 0).came_along(), names(&["#a#n", "#c#n"]));
        assert_eq!(view(Change::Join(b), &[], 1, 0).came_along(), names(&["#b#n"]));
        assert_eq!(view(Change::Leave(d), &[], 0, 0).came_along(), members);
        let sides: &[&[&str]] = &[&["#b#n"], &["#c#n", "#a#n"]];
        assert_eq!(view(Change::Network, sides, 0, 1).came_along(), names(&["#a#n", "#c#n"]));
        assert_eq!(view(Change::Network, sides, 1, 0).came_along(), names(&["#b#n"]));
    }

    #[test]
    fn members_are_new_or_gone_by_name_and_keep_the_order_of_their_view() {
        let before = view(&names(&["#d#n", "#a#n", "#b#n"]), Change::Network, 1);
        let after = view(&names(&["#a#n", "#e#n", "#c#n"]), Change::Network, 0);
        assert_eq!(after.new_since(&before), names(&["#e#n", "#c#n"]));
        assert_eq!(after.gone_since(&before), names(&["#d#n", "#b#n"]));
        assert!(after.new_since(&after).is_empty() && after.gone_since(&after).is_empty());
    }
}
