//! Byte layouts.

use antiphon_wire::client::membership::GroupId;
use antiphon_wire::ids::{DaemonId, ProcessId, RingId};
use antiphon_wire::names::{MemberName, PrivateName};
use antiphon_wire::reader::DecodeError;
use bytes::{Bytes, BytesMut};

use super::super::codec::*;
use super::super::report::*;
use super::world::group;
use crate::delivery::Lent;

pub(super) fn ring(epoch: u64) -> RingId {
    RingId { epoch, leader: ProcessId { daemon: DaemonId(2), incarnation: 77 } }
}

/// All of a report.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Report {
    component: Component,
    pub(super) members: Vec<PrivateName>,
    pub(super) groups: Vec<ReportedGroup>,
}

pub(super) fn written(report: &Report) -> Bytes {
    let mut writer = ReportWriter::new(report.component, report.members.clone());
    report.groups.iter().for_each(|group| writer.put_group(group));
    writer.finish().freeze()
}

pub(super) fn read(bytes: Bytes) -> Result<Report, DecodeError> {
    let mut reader = ReportReader::new(bytes)?;
    let mut groups = Vec::new();
    while let Some(group) = reader.next_group()? {
        groups.push(group);
    }
    assert_eq!(reader.next_group(), Ok(None), "the end stays the end");
    Ok(Report { component: reader.component, members: reader.members, groups })
}

pub(super) fn report(members: usize, groups: usize) -> Report {
    let mut names: Vec<PrivateName> = (0..members)
        .map(|number| PrivateName::new(format!("m{number}").as_bytes()).expect("legal"))
        .collect();
    names.sort();
    let group = |number: usize| {
        let picked =
            |member: &u32| (*member as usize).is_multiple_of(number % 7 + 1) || number.is_multiple_of(5);
        ReportedGroup {
            name: group(&format!("group-{number:05}")),
            id: GroupId { leader: 9, time: (number % 3) as u32, counter: number as u32 + 1 },
            marked: number.is_multiple_of(2),
            members: (0..members as u32).filter(picked).collect(),
        }
    };
    let component = Component { settled: ring(4), closed_by: ring(6) };
    Report { component, members: names, groups: (0..groups).map(group).collect() }
}

fn whole(parts: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::new();
    for (number, part) in parts.iter().enumerate() {
        let part = decode_part(Lent::whole(part)).expect("well formed");
        assert_eq!((part.ring, part.number as usize, part.count as usize), (ring(8), number, parts.len()));
        bytes.extend_from_slice(&part.piece);
    }
    bytes.freeze()
}

#[test]
fn reports_come_back_as_they_were_written() {
    for (members, groups) in [(0, 0), (1, 1), (8, 3), (9, 40), (300, 1000), (1000, 20)] {
        let report = report(members, groups);
        let parts = encode_parts(ring(8), &written(&report));
        assert!(parts.iter().all(|part| part.len() <= 33 << 10));
        assert_eq!(read(whole(&parts)), Ok(report), "{members} members, {groups} groups");
    }
}

#[test]
fn few_members_are_listed_and_many_are_bits() {
    let mut report = report(1000, 1);
    report.groups[0].members = vec![3, 999];
    let few = written(&report);
    report.groups[0].members = (0..1000).collect();
    let many = written(&report);
    assert_eq!(many.len() - few.len(), 125 - 4);
}

#[test]
fn operations_carry_any_group_name() {
    let member = MemberName::parse(b"#alice#zeta").expect("legal");
    for name in ["g", "with#hash", "~"] {
        let (private, decoded) =
            decode_operation(&encode_operation(&member, &group_of(name))).expect("legal");
        assert_eq!((private.as_bytes(), decoded.as_bytes()), (&b"alice"[..], name.as_bytes()));
    }
    let (_, empty) = decode_operation(&encode_operation(&member, &group_of(""))).expect("legal");
    assert!(empty.as_bytes().is_empty());
    assert_eq!(decode_disconnect(&encode_disconnect(&member)).expect("legal").as_bytes(), b"alice");
}

fn group_of(name: &str) -> antiphon_wire::names::GroupName {
    let mut field = [0; 32];
    field[..name.len()].copy_from_slice(name.as_bytes());
    antiphon_wire::names::GroupName::from_field(&field)
}
