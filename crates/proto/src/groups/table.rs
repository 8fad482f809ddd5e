//! The group table: which member is in which group.
//!
//! Members and groups are kept under small numbers, so that ten thousand groups with a thousand
//! members each take a few bytes for each membership. A group lists its members in the order that
//! clients see, by daemon and then by name; a member lists its groups, so that its end touches
//! those and no others.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};

use antiphon_wire::client::membership::GroupId;
use antiphon_wire::ids::ProcessId;
use antiphon_wire::names::{GroupName, MemberName};
use foldhash::fast::FixedState;

use super::slab::Slab;
use crate::config::SessionConfig;
use crate::sessions::{Receiver, Sessions};

/// Groups that one session may be in. A part of the protocol, as all daemons count alike.
pub(super) const MAX_GROUPS_OF_A_MEMBER: usize = 65_536;

/// Number of a member in its table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct MemberRef(u32);

impl MemberRef {
    /// The number as an index.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Number of a group in its table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct GroupRef(u32);

/// A session that is in at least one group.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name.
    pub(super) name: MemberName,
    /// The daemon process that it is connected to.
    pub(super) process: ProcessId,
    /// The session itself, when it is one of mine.
    pub(super) local: Option<Receiver>,
    /// Its groups, by number.
    groups: Vec<GroupRef>,
}

/// A group with at least one member.
#[derive(Debug)]
pub(super) struct Group {
    /// Its name.
    pub(super) name: GroupName,
    /// Identity of its last view; while it is marked, of the view to come.
    pub(super) id: GroupId,
    /// Whether it has lost members, and told so, since its last view.
    pub(super) marked: bool,
    /// Its members by daemon, then by name.
    members: Vec<MemberRef>,
    /// Those of them that are sessions of mine.
    local: Vec<(MemberRef, Receiver)>,
}

impl Group {
    fn new(name: GroupName, id: GroupId) -> Self {
        Self { name, id, marked: false, members: Vec::new(), local: Vec::new() }
    }

    /// Its members by daemon, then by name.
    pub(super) fn members(&self) -> &[MemberRef] {
        &self.members
    }

    /// Members that are sessions of mine.
    pub(super) fn local(&self) -> &[(MemberRef, Receiver)] {
        &self.local
    }

    /// Whether a session of mine is to be told about its membership. One that is closed stays in its
    /// groups until the stream says so, but nobody reads what it would be told.
    pub(super) fn has_listeners(&self, sessions: &Sessions) -> bool {
        self.local.iter().any(|(_, local)| local.wants_membership && sessions.is_established(local.session))
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Table {
    members: Slab<Member>,
    member_names: HashMap<MemberName, MemberRef, FixedState>,
    groups: Slab<Group>,
    /// Ordered, as clients choose all bytes of a name: they could make many that a hash can not tell apart.
    group_names: BTreeMap<GroupName, GroupRef>,
    /// Groups with sessions of mine, and the memberships of these.
    local_groups: usize,
    local_memberships: usize,
}

impl Table {
    /// How many groups there are.
    pub(super) fn group_count(&self) -> usize {
        self.group_names.len()
    }

    /// A hash of everything that the tables of daemons with one history have in common.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = FixedState::default().build_hasher();
        for (name, group) in &self.group_names {
            let Group { id, marked, members, .. } = self.group(*group);
            (name, id.leader, id.time, id.counter, marked, members.len()).hash(&mut hasher);
            for member in members {
                let Member { name, process, .. } = self.member(*member);
                (name, process).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// The group of that name.
    pub(super) fn find_group(&self, name: &GroupName) -> Option<GroupRef> {
        self.group_names.get(name).copied()
    }

    /// The member of that name.
    pub(super) fn find_member(&self, name: &MemberName) -> Option<MemberRef> {
        self.member_names.get(name).copied()
    }

    /// The group under a number of this table.
    pub(super) fn group(&self, group: GroupRef) -> &Group {
        let Some(found) = self.groups.get(group.0) else { unreachable!("{group:?} outlived its group") };
        found
    }

    /// The group under a number of this table.
    pub(super) fn group_mut(&mut self, group: GroupRef) -> &mut Group {
        let Some(found) = self.groups.get_mut(group.0) else { unreachable!("{group:?} outlived its group") };
        found
    }

    /// The member under a number of this table.
    pub(super) fn member(&self, member: MemberRef) -> &Member {
        let Some(found) = self.members.get(member.0) else { unreachable!("{member:?} outlived its member") };
        found
    }

    fn member_mut(&mut self, member: MemberRef) -> &mut Member {
        let Some(found) = self.members.get_mut(member.0) else {
            unreachable!("{member:?} outlived its member")
        };
        found
    }

    /// The group of that name; a new one gets `id`.
    pub(super) fn group_or_insert(&mut self, name: &GroupName, id: GroupId) -> GroupRef {
        if let Some(group) = self.find_group(name) {
            return group;
        }
        let group = GroupRef(self.groups.insert(Group::new(*name, id)));
        self.group_names.insert(*name, group);
        group
    }

    /// The member of that name; a new one gets `process` and `local`.
    pub(super) fn member_or_insert(
        &mut self,
        name: &MemberName,
        process: ProcessId,
        local: impl FnOnce() -> Option<Receiver>,
    ) -> MemberRef {
        if let Some(member) = self.find_member(name) {
            return member;
        }
        let entry = Member { name: *name, process, local: local(), groups: Vec::new() };
        let member = MemberRef(self.members.insert(entry));
        self.member_names.insert(*name, member);
        member
    }

    /// Whether the member is in as many groups as one may be.
    pub(super) fn is_full(&self, member: MemberRef) -> bool {
        self.member(member).groups.len() >= MAX_GROUPS_OF_A_MEMBER
    }

    /// Whether sessions of mine are in more groups than a report of them has room for.
    pub(super) fn is_crowded(&self, config: &SessionConfig) -> bool {
        self.local_groups > config.max_groups || self.local_memberships > config.max_memberships
    }

    /// Whether the member is in the group.
    pub(super) fn is_in(&self, group: GroupRef, member: MemberRef) -> bool {
        self.member(member).groups.binary_search(&group).is_ok()
    }

    /// Puts a member into a group that it is not in.
    pub(super) fn enter(&mut self, group: GroupRef, member: MemberRef) {
        let at = self.group(group).members.partition_point(|other| self.order(*other, member).is_lt());
        self.group_mut(group).members.insert(at, member);
        let entry = self.member_mut(member);
        let local = entry.local;
        let at = entry.groups.partition_point(|other| *other < group);
        entry.groups.insert(at, group);
        self.enter_local(group, member, local);
    }

    fn enter_local(&mut self, group: GroupRef, member: MemberRef, local: Option<Receiver>) {
        let Some(local) = local else { return };
        let entries = &mut self.group_mut(group).local;
        let is_first = entries.is_empty();
        entries.push((member, local));
        self.local_groups += usize::from(is_first);
        self.local_memberships += 1;
    }

    /// As [`Table::enter`] for a member behind all others of the group, leaving its list of groups
    /// unsorted until [`Table::sort_groups_of_members`].
    pub(super) fn append(&mut self, group: GroupRef, member: MemberRef) {
        let entry = self.member_mut(member);
        entry.groups.push(group);
        let local = entry.local;
        self.group_mut(group).members.push(member);
        self.enter_local(group, member, local);
    }

    /// Ends a series of [`Table::append`].
    pub(super) fn sort_groups_of_members(&mut self) {
        for member in self.members.iter_mut() {
            member.groups.sort_unstable();
        }
    }

    /// Ends the membership of a member in a group. What is left empty is forgotten; whether the group
    /// still exists is returned.
    pub(super) fn leave(&mut self, group: GroupRef, member: MemberRef) -> bool {
        let entry = self.member_mut(member);
        if let Ok(at) = entry.groups.binary_search(&group) {
            entry.groups.remove(at);
        }
        if entry.groups.is_empty() {
            self.forget_member(member);
        }
        self.take_out(group, member)
    }

    /// Empties a member's list of groups and returns it, by name. Each of them still has the member until
    /// [`Table::take_out`]; then the member itself is to be forgotten. Taken off one by one, ten thousand
    /// groups would move the rest of the list as often.
    pub(super) fn take_groups(&mut self, member: MemberRef) -> Vec<GroupRef> {
        let mut groups = std::mem::take(&mut self.member_mut(member).groups);
        self.sort_by_name(&mut groups);
        groups
    }

    /// Takes a member out of a group. An empty group is forgotten; whether it still exists is
    /// returned.
    pub(super) fn take_out(&mut self, group: GroupRef, member: MemberRef) -> bool {
        let entry = self.group_mut(group);
        entry.members.retain(|other| *other != member);
        let before = entry.local.len();
        entry.local.retain(|(other, _)| *other != member);
        let gone = before - entry.local.len();
        let was_last = gone > 0 && entry.local.is_empty();
        let remains = !entry.members.is_empty();
        self.local_memberships -= gone;
        self.local_groups -= usize::from(was_last);
        if !remains {
            self.forget_group(group);
        }
        remains
    }

    /// Forgets a member that is in no group.
    pub(super) fn forget_member(&mut self, member: MemberRef) {
        if let Some(entry) = self.members.remove(member.0) {
            self.member_names.remove(&entry.name);
        }
    }

    fn forget_group(&mut self, group: GroupRef) {
        if let Some(entry) = self.groups.remove(group.0) {
            self.group_names.remove(&entry.name);
        }
    }

    /// Sorts groups by name and removes repetitions.
    pub(super) fn sort_by_name(&self, groups: &mut Vec<GroupRef>) {
        groups.sort_unstable();
        groups.dedup();
        groups.sort_by_cached_key(|group| self.group(*group).name);
    }

    /// All groups that `chosen` picks, by name.
    pub(super) fn groups_where(&self, chosen: impl Fn(&Group) -> bool) -> Vec<GroupRef> {
        let chosen = self.groups.iter().filter(|(_, group)| chosen(group));
        let mut groups: Vec<GroupRef> = chosen.map(|(number, _)| GroupRef(number)).collect();
        self.sort_by_name(&mut groups);
        groups
    }

    /// Groups with a member whose process is one of the `chosen`, by name.
    pub(super) fn groups_of_processes(&self, chosen: impl Fn(ProcessId) -> bool) -> Vec<GroupRef> {
        let chosen = self.members.iter().filter(|(_, member)| chosen(member.process));
        let mut groups: Vec<GroupRef> =
            chosen.flat_map(|(_, member)| member.groups.iter().copied()).collect();
        self.sort_by_name(&mut groups);
        groups
    }

    /// Removes every member whose process `is_lost`, and the groups that become empty.
    pub(super) fn remove_lost(&mut self, is_lost: impl Fn(ProcessId) -> bool) {
        let affected = self.groups_of_processes(&is_lost);
        let lost: Vec<MemberRef> = self
            .members
            .iter()
            .filter(|(_, member)| is_lost(member.process))
            .map(|(number, _)| MemberRef(number))
            .collect();
        for group in affected {
            let members = &mut self.group_mut(group).members;
            members.retain(|member| lost.binary_search(member).is_err());
            if members.is_empty() {
                self.forget_group(group);
            }
        }
        for member in lost {
            self.forget_member(member);
        }
    }

    /// Members of one process, by name, with their numbers.
    pub(super) fn members_of(&self, process: ProcessId) -> Vec<MemberRef> {
        let own = self.members.iter().filter(|(_, member)| member.process == process);
        let mut members: Vec<MemberRef> = own.map(|(number, _)| MemberRef(number)).collect();
        members.sort_by_key(|member| self.member(*member).name);
        members
    }

    /// The members of a group that are connected to one process.
    pub(super) fn part_of(&self, group: &Group, process: ProcessId) -> Vec<MemberRef> {
        let daemon = process.daemon;
        let start = group.members.partition_point(|member| self.member(*member).process.daemon < daemon);
        let rest = group.members.iter().skip(start);
        let part = rest.take_while(|member| self.member(**member).process.daemon == daemon);
        part.copied().filter(|member| self.member(*member).process == process).collect()
    }

    fn order(&self, one: MemberRef, other: MemberRef) -> Ordering {
        let (one, other) = (self.member(one), self.member(other));
        (one.process.daemon, &one.name).cmp(&(other.process.daemon, &other.name))
    }
}
