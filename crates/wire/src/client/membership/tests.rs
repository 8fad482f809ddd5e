use super::*;
use crate::client::frame::{Frame, FrameLimits, FrameReader};
use crate::client::golden::{
    JOIN_VIEW, LEAVE_VIEW, MERGE_VIEW_FIRST, MERGE_VIEW_SECOND, SELF_LEAVE, TRANSITION as TRANSITION_FRAME,
    bytes,
};

fn frame(bytes: impl Into<Bytes>) -> Frame {
    let mut reader = FrameReader::new(FrameLimits::FROM_DAEMON);
    reader.push(bytes.into());
    reader.next_frame().expect("well formed").expect("whole")
}

fn view(hex: &str) -> View {
    match Membership::decode(&frame(bytes(hex))).expect("well formed") {
        Membership::View(view) => view,
        other => panic!("a view was expected, not {other:?}"),
    }
}

fn members(names: &[&str]) -> Vec<MemberName> {
    names.iter().map(|name| MemberName::parse(name.as_bytes()).expect("legal")).collect()
}

fn group(name: &str) -> GroupName {
    GroupName::new(name.as_bytes()).expect("legal")
}

#[test]
fn recorded_views_are_read() {
    let joined = view(JOIN_VIEW);
    assert_eq!((joined.group, joined.cause, joined.own_set), (group("grp"), Cause::Join, 0));
    assert_eq!(joined.id, GroupId { leader: 0x7f00_0001, time: 0x6b04_9e20, counter: 1 });
    assert_eq!(joined.id.to_string(), "7f000001-6b049e20-1");
    assert_eq!(joined.members, members(&["#alice#localhost"]));
    let left = view(LEAVE_VIEW);
    assert_eq!((left.cause, left.id.counter), (Cause::Leave, 3));
    assert_eq!(left.sets, [VsSet { members: members(&["#bob#localhost"]) }]);
}

#[test]
fn a_merged_view_has_one_set_per_former_component() {
    let [first, second] = [MERGE_VIEW_FIRST, MERGE_VIEW_SECOND].map(view);
    assert_eq!((first.cause, first.members.len(), first.sets.len()), (Cause::Network, 6, 2));
    assert_eq!((first.own_set, second.own_set), (0, 1));
    assert_eq!(second.sets[1].members, members(&["#bea#mid", "#max#mid"]));
    assert_eq!(View { own_set: 0, ..second }, first);
}

#[test]
fn views_are_written_as_recorded() {
    for hex in [JOIN_VIEW, LEAVE_VIEW, MERGE_VIEW_FIRST] {
        let view = view(hex);
        let sets: Vec<&[MemberName]> = view.sets.iter().map(|set| set.members.as_slice()).collect();
        assert_eq!(encode_view(&view.group, view.cause, view.id, &view.members, &sets), bytes(hex));
    }
}

#[test]
fn the_own_set_is_patched_into_a_copy() {
    let first = Bytes::from(bytes(MERGE_VIEW_FIRST));
    let view = view(MERGE_VIEW_FIRST);
    let sets: Vec<&[MemberName]> = view.sets.iter().map(|set| set.members.as_slice()).collect();
    assert_eq!(with_own_set(&first, own_set_offset(&sets, 1)), bytes(MERGE_VIEW_SECOND));
    assert_eq!(with_own_set(&first, own_set_offset(&sets, 0)).as_ptr(), first.as_ptr());
    let leave = encode_self_leave(&group("g"));
    assert_eq!(with_own_set(&leave, 36), leave);
    let stub = first.slice(..HEADER_BYTES);
    assert_eq!(with_own_set(&stub, 36), stub);
}

#[test]
fn transitions_and_self_leaves_are_read_and_written_as_recorded() {
    let id = GroupId { leader: 0x7f00_0003, time: 0x6b04_98d0, counter: 4 };
    let transition = Membership::Transition { group: group("grp"), id };
    assert_eq!(Membership::decode(&frame(bytes(TRANSITION_FRAME))), Ok(transition));
    assert_eq!(encode_transition(&group("grp"), id), bytes(TRANSITION_FRAME));
    let self_leave = Membership::SelfLeave { group: group("grp") };
    assert_eq!(Membership::decode(&frame(bytes(SELF_LEAVE))), Ok(self_leave));
    assert_eq!(encode_self_leave(&group("grp")), bytes(SELF_LEAVE));
}

#[test]
fn a_big_endian_daemon_is_understood() {
    let mut raw = bytes(TRANSITION_FRAME);
    for at in [0, 36, 44, 48, 52, 56] {
        raw[at..at + 4].reverse();
    }
    for at in [0, 3] {
        raw[at] &= 0x7f;
    }
    let read = Membership::decode(&frame(raw));
    assert_eq!(read, Membership::decode(&frame(bytes(TRANSITION_FRAME))));
}

#[test]
fn false_bodies_are_refused() {
    let good = bytes(MERGE_VIEW_FIRST);
    let body_at = HEADER_BYTES + 6 * NAME_FIELD_BYTES;
    for (offset, value) in [(12, 3), (12, u32::MAX), (12, 0), (16, 1), (20, 5), (20, u32::MAX), (20, 0)] {
        let mut bad = good.clone();
        bad[body_at + offset..body_at + offset + 4].copy_from_slice(&value.to_le_bytes());
        assert!(Membership::decode(&frame(bad)).is_err(), "{value} at {offset}");
    }
    let mut two_causes = good.clone();
    two_causes[1] |= 0x01;
    assert!(Membership::decode(&frame(two_causes)).is_err());
    let mut no_member = good;
    no_member[HEADER_BYTES] = b'x';
    assert!(Membership::decode(&frame(no_member)).is_err());
}

#[test]
fn bits_of_membership_beside_a_service_bit_are_data() {
    assert!(Membership::is_in(REG_MEMB | CAUSED_BY_JOIN) && Membership::is_in(CAUSED_BY_LEAVE));
    assert!(!Membership::is_in(REG_MEMB | 0x04) && !Membership::is_in(0x04));
}
