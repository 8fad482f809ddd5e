//! The group table: which member is in which group.
//!
//! Members and groups are kept under small numbers, so that ten thousand groups with a thousand
//! members each take a few bytes for each membership. A group lists its members in the order that
//! clients see, by daemon and then by name; a member lists its groups, so that its end touches
//! those and no others. Groups are found in the order of their names, so that one can come to all of
//! them, some at a time.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Bound;

use antiphon_wire::client::membership::GroupId;
use antiphon_wire::ids::ProcessId;
use antiphon_wire::names::{GroupName, MemberName};
use foldhash::fast::FixedState;

use super::audience::{Audience, Audiences};
use super::slab::Slab;
use crate::NameHash;
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
}

impl Group {
    fn new(name: GroupName, id: GroupId) -> Self {
        Self { name, id, marked: false, members: Vec::new() }
    }

    /// Its members by daemon, then by name.
    pub(super) fn members(&self) -> &[MemberRef] {
        &self.members
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Table {
    members: Slab<Member>,
    member_names: HashMap<MemberName, MemberRef, NameHash>,
    groups: Slab<Group>,
    group_names: BTreeMap<GroupName, GroupRef>,
    audiences: Audiences,
}

impl Table {
    /// A table without groups.
    pub(super) fn new(hash: NameHash) -> Self {
        Self {
            members: Slab::default(),
            group_names: BTreeMap::new(),
            audiences: Audiences::new(&hash),
            member_names: HashMap::with_hasher(hash),
            groups: Slab::default(),
        }
    }

    /// A table without groups that is to replace this one. It has the audiences already: sessions of mine are in the same
    /// groups as before.
    pub(super) fn successor(&mut self) -> Self {
        let hash = self.member_names.hasher().clone();
        let audiences = std::mem::replace(&mut self.audiences, Audiences::new(&hash));
        Self { audiences, ..Self::new(hash) }
    }

    /// Makes the audiences what the table says.
    pub(super) fn renew_audiences(&mut self) {
        self.audiences = Audiences::new(self.member_names.hasher());
        let mine = self.members.iter().filter_map(|(_, member)| Some((member.local?, &member.groups)));
        for (receiver, groups) in mine {
            for group in groups {
                let Some(group) = self.groups.get(group.0) else { continue };
                self.audiences.enter(&group.name, receiver);
            }
        }
    }

    /// Forgets the first group of a table that is to be replaced. Returns whether there was one.
    pub(super) fn shrink(&mut self) -> bool {
        let Some((_, group)) = self.group_names.pop_first() else { return false };
        self.groups.remove(group.0).is_some()
    }

    /// How many groups there are.
    pub(super) fn group_count(&self) -> usize {
        self.group_names.len()
    }

    /// A hash of everything that the tables of daemons with one history have in common.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = FixedState::default().build_hasher();
        for group in self.groups() {
            let Group { name, id, marked, members, .. } = self.group(group);
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

    /// The sessions of mine in the group of that name, if there are any.
    pub(super) fn audience(&self, group: &GroupName) -> Option<&Audience> {
        self.audiences.of(group)
    }

    /// Those of a group, if anyone reads what it is told about the group's membership.
    pub(super) fn viewed_audience(&self, group: &Group, sessions: &Sessions) -> Option<&Audience> {
        self.audience(&group.name).filter(|audience| audience.has_viewers(sessions))
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
        self.insert_group(name, id)
    }

    /// A group of that name, of which there is none yet.
    pub(super) fn insert_group(&mut self, name: &GroupName, id: GroupId) -> GroupRef {
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
        self.audiences.groups() > config.max_groups || self.audiences.memberships() > config.max_memberships
    }

    /// Whether the member is in the group.
    pub(super) fn is_in(&self, group: GroupRef, member: MemberRef) -> bool {
        self.member(member).groups.binary_search(&group).is_ok()
    }

    /// Where the member is in the list of the group's members, or is to be.
    pub(super) fn place_in(&self, group: GroupRef, member: MemberRef) -> Result<usize, usize> {
        self.group(group).members.binary_search_by(|other| self.order(*other, member))
    }

    /// Puts a member into a group that it is not in, at its place.
    pub(super) fn enter(&mut self, group: GroupRef, member: MemberRef, place: usize) {
        self.group_mut(group).members.insert(place, member);
        let entry = self.member_mut(member);
        let local = entry.local;
        // Who joins many groups that are as old as it is itself, or joined by all in one order, adds to the end.
        let place = match entry.groups.last() {
            Some(last) if *last > group => entry.groups.partition_point(|other| *other < group),
            _ => entry.groups.len(),
        };
        entry.groups.insert(place, group);
        if let Some(receiver) = local {
            let name = self.group(group).name;
            self.audiences.enter(&name, receiver);
        }
    }

    /// As [`Table::enter`] for a member behind all others of a group that came after all groups of the member. Who is
    /// one of mine is in the group's audience already.
    pub(super) fn append(&mut self, group: GroupRef, member: MemberRef) {
        self.member_mut(member).groups.push(group);
        self.group_mut(group).members.push(member);
    }

    /// Ends the membership of a member in a group. What is left empty is forgotten; whether the group
    /// still exists is returned.
    pub(super) fn leave(&mut self, group: GroupRef, member: MemberRef) -> bool {
        let entry = self.member_mut(member);
        if let Ok(at) = entry.groups.binary_search(&group) {
            entry.groups.remove(at);
        }
        let is_in_none = entry.groups.is_empty();
        let remains = self.take_out(group, member);
        if is_in_none {
            self.forget_member(member);
        }
        remains
    }

    /// Empties a member's list of groups and returns it, by name. Each of them still has the member until
    /// [`Table::take_out`]; then the member itself is to be forgotten. Taken off one by one, ten thousand
    /// groups would move the rest of the list as often.
    pub(super) fn take_groups(&mut self, member: MemberRef) -> Vec<GroupRef> {
        let mut groups = std::mem::take(&mut self.member_mut(member).groups);
        groups.sort_by_cached_key(|group| self.group(*group).name);
        groups
    }

    /// Takes a member out of a group. An empty group is forgotten; whether it still exists is
    /// returned.
    pub(super) fn take_out(&mut self, group: GroupRef, member: MemberRef) -> bool {
        let local = self.member(member).local;
        let entry = self.group_mut(group);
        entry.members.retain(|other| *other != member);
        let remains = !entry.members.is_empty();
        if let Some(receiver) = local {
            let name = entry.name;
            self.audiences.leave(&name, receiver.session);
        }
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

    /// All groups, by name.
    pub(super) fn groups(&self) -> impl Iterator<Item = GroupRef> + '_ {
        self.group_names.values().copied()
    }

    /// The first groups behind that name, or of all, by name.
    pub(super) fn groups_after(&self, name: Option<&GroupName>, count: usize) -> Vec<GroupRef> {
        let start = name.map_or(Bound::Unbounded, Bound::Excluded);
        let groups = self.group_names.range((start, Bound::Unbounded));
        groups.take(count).map(|(_, group)| *group).collect()
    }

    /// Whether a member of the group is connected to a process that does not stay.
    pub(super) fn has_lost(&self, group: GroupRef, staying: &[ProcessId]) -> bool {
        let process = |member: &MemberRef| self.member(*member).process;
        let parts = self.group(group).members.chunk_by(|one, other| process(one) == process(other));
        parts.filter_map(<[MemberRef]>::first).any(|member| !staying.contains(&process(member)))
    }

    /// Takes the members out of a group whose process does not stay; they themselves are to be forgotten with
    /// [`Table::forget_lost`]. An empty group is forgotten; whether it still exists is returned.
    pub(super) fn take_lost(&mut self, group: GroupRef, staying: &[ProcessId]) -> bool {
        let mut members = std::mem::take(&mut self.group_mut(group).members);
        members.retain(|member| staying.contains(&self.member(*member).process));
        let remains = !members.is_empty();
        self.group_mut(group).members = members;
        if !remains {
            self.forget_group(group);
        }
        remains
    }

    /// Whether a member is connected to a process that does not stay.
    pub(super) fn has_lost_members(&self, staying: &[ProcessId]) -> bool {
        self.members.iter().any(|(_, member)| !staying.contains(&member.process))
    }

    /// Forgets the members whose process does not stay.
    pub(super) fn forget_lost(&mut self, staying: &[ProcessId]) {
        let lost = self.members.iter().filter(|(_, member)| !staying.contains(&member.process));
        let lost: Vec<MemberRef> = lost.map(|(number, _)| MemberRef(number)).collect();
        lost.into_iter().for_each(|member| self.forget_member(member));
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
