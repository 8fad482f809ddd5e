//! Membership messages to the local members of a group.

use antiphon_wire::client::membership::{
    Cause, encode_self_leave, encode_transition, encode_view, own_set_offset, with_own_set,
};
use antiphon_wire::ids::SessionId;
use antiphon_wire::names::{GroupName, MemberName};

use super::table::{Group, MemberRef, Table};
use crate::cx::Cx;
use crate::sessions::{Receiver, Sessions, SharedFrame};

/// Which virtual synchrony set a receiver is told to be its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnSet {
    /// For everyone but the joiner: position of the set.
    pub(super) common: usize,
    /// The session of mine that has just come, and the position of its set.
    pub(super) joiner: Option<(SessionId, usize)>,
}

impl OwnSet {
    /// The same set for all.
    pub(super) fn common(position: usize) -> Self {
        Self { common: position, joiner: None }
    }
}

/// Shows a group's view to its local members. Built once, and once more for each other own set.
pub(super) fn send_view(
    table: &Table,
    group: &Group,
    cause: Cause,
    sets: &[&[MemberName]],
    own: OwnSet,
    sessions: &mut Sessions,
    cx: &mut Cx<'_>,
) {
    let Some(audience) = table.viewed_audience(group, sessions) else { return };
    let members = names(table, group.members());
    let frame = encode_view(&group.name, cause, group.id, &members, sets);
    sessions.note_built(frame.len());
    let common = with_own_set(&frame, own_set_offset(sets, own.common));
    let common = SharedFrame::whole(&common);
    for session in audience.viewers() {
        match own.joiner {
            Some((joiner, position)) if joiner == session => {
                let joiners = with_own_set(&frame, own_set_offset(sets, position));
                sessions.deliver(session, &SharedFrame::whole(&joiners), cx);
            }
            _ => sessions.deliver(session, &common, cx),
        }
    }
}

/// Tells a group's local members that what follows has only the guarantees of those that stay.
pub(super) fn send_transition(table: &Table, group: &Group, sessions: &mut Sessions, cx: &mut Cx<'_>) {
    let Some(audience) = table.viewed_audience(group, sessions) else { return };
    let frame = encode_transition(&group.name, group.id);
    let frame = SharedFrame::whole(&frame);
    for session in audience.viewers() {
        sessions.deliver(session, &frame, cx);
    }
}

/// Tells a session that it has left.
pub(super) fn send_self_leave(
    leaver: Option<Receiver>,
    group: &GroupName,
    sessions: &mut Sessions,
    cx: &mut Cx<'_>,
) {
    if let Some(leaver) = leaver.filter(|leaver| leaver.wants_membership) {
        let frame = encode_self_leave(group);
        sessions.deliver(leaver.session, &SharedFrame::whole(&frame), cx);
    }
}

/// Names of members, in the order given.
pub(super) fn names(table: &Table, members: &[MemberRef]) -> Vec<MemberName> {
    members.iter().map(|member| table.member(*member).name).collect()
}
