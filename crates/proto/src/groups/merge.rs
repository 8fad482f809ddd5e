//! The merge: the table that the reports of all members of a ring make together.
//!
//! Reports have their groups in the order of names, so the table is put together group by group, from all reports at
//! once, and each group that needs a new view is shown as soon as it is complete.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use antiphon_wire::client::membership::Cause;
use antiphon_wire::ids::ProcessId;
use antiphon_wire::names::{GroupName, MemberName};

use super::changes::member_name;
use super::report::{Component, ReportReader, ReportedGroup};
use super::table::{GroupRef, MemberRef, Table};
use super::views::{OwnSet, send_view};
use super::{Groups, Stamp};
use crate::config::Config;
use crate::cx::Cx;
use crate::mutant::Mutant;
use crate::sessions::Sessions;

/// To read a membership, enter it and forget the one that it replaces takes at most as long as so many changes.
const MERGED_AS_CHANGES: usize = 4;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Merge {
    me: ProcessId,
    sources: Vec<Source>,
    /// What each source has next, as long as it has something, with the number of the source.
    next: BinaryHeap<Reverse<(GroupName, usize)>>,
    /// How many components the reports come from.
    sets: usize,
    /// Whether all of my own report is there and could be read.
    mine_is_whole: bool,
    table: Table,
}

/// The report of one member of the ring.
#[derive(Debug)]
struct Source {
    process: ProcessId,
    /// Which of the components it comes from, in the order of their sets.
    set: usize,
    reader: ReportReader,
    /// Its sessions in the table, by position in the report, as far as they were met.
    members: Vec<Option<MemberRef>>,
    /// What it has next.
    group: Option<ReportedGroup>,
}

impl Groups {
    /// Puts the next group together and shows it, if it needs a new view. The table that there was goes at the same pace:
    /// it is not needed any more, and to forget all of it takes long, too. Returns whether there was a group in either.
    pub(super) fn merge_group(
        &mut self,
        merge: &mut Merge,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) -> bool {
        let has_shrunk = self.table.shrink();
        let Some(group) = merge.take_group(&self.table, sessions, cx) else {
            sessions.note_changes(1);
            return has_shrunk;
        };
        let entry = merge.table.group_mut(group);
        if std::mem::take(&mut entry.marked) {
            entry.id = Stamp::of_ring(self.ring, cx.config).first_id();
            merge.show(group, sessions, cx);
        }
        true
    }
}

impl Merge {
    /// What these reports, in the order of daemons, are to make of a table's successor.
    pub(super) fn new(
        me: ProcessId,
        reports: Vec<(ProcessId, ReportReader)>,
        table: Table,
        cx: &mut Cx<'_>,
    ) -> Self {
        let mut components: Vec<Component> = reports.iter().map(|(_, reader)| reader.component).collect();
        components.sort_by_key(|component| component_order(component, cx.config));
        components.dedup();
        let own_sets = cx.config.is_mutant(Mutant::OwnSets);
        let sets = if own_sets { reports.len() } else { components.len() };
        let source = |(number, (process, reader)): (usize, (ProcessId, ReportReader))| {
            let component = components.iter().position(|other| *other == reader.component);
            let set = if own_sets { number } else { component.unwrap_or(0) };
            let set = if cx.config.is_mutant(Mutant::OneSet) { 0 } else { set };
            Source { process, set, members: vec![None; reader.members.len()], reader, group: None }
        };
        let sources: Vec<Source> = reports.into_iter().enumerate().map(source).collect();
        let mine_is_whole = sources.iter().any(|source| source.process == me);
        let mut merge = Self { me, sources, next: BinaryHeap::new(), sets, mine_is_whole, table };
        (0..merge.sources.len()).for_each(|source| merge.read(source, cx));
        merge
    }

    /// How many groups are complete.
    pub(super) fn group_count(&self) -> usize {
        self.table.group_count()
    }

    /// The table, once there are no more groups.
    pub(super) fn into_table(mut self) -> Table {
        if !self.mine_is_whole {
            self.table.renew_audiences();
        }
        self.table
    }

    /// Reads what a source has next. What cannot be read is its end, to every receiver alike.
    fn read(&mut self, number: usize, cx: &mut Cx<'_>) {
        let Some(source) = self.sources.get_mut(number) else { return };
        source.group = source.reader.next_group().unwrap_or_else(|_| {
            cx.stats.groups_messages_rejected += 1;
            self.mine_is_whole &= source.process != self.me;
            None
        });
        self.next.extend(source.group.as_ref().map(|group| Reverse((group.name, number))));
    }

    /// Puts the next group together, from all sources that have it.
    fn take_group(&mut self, before: &Table, sessions: &mut Sessions, cx: &mut Cx<'_>) -> Option<GroupRef> {
        let Reverse((name, _)) = *self.next.peek()?;
        let mut group = None;
        while let Some(Reverse((_, number))) =
            self.next.peek().copied().filter(|Reverse((next, _))| *next == name)
        {
            self.next.pop();
            group = self.add(number, before, sessions, cx.config).or(group);
            self.read(number, cx);
        }
        group
    }

    /// Adds what a source says of a group. Identities that differ mean that histories meet.
    fn add(
        &mut self,
        number: usize,
        before: &Table,
        sessions: &mut Sessions,
        config: &Config,
    ) -> Option<GroupRef> {
        let source = self.sources.get_mut(number)?;
        let reported = source.group.take()?;
        let group = self.table.group_or_insert(&reported.name, reported.id);
        let entry = self.table.group_mut(group);
        entry.marked |= reported.marked || entry.id != reported.id;
        for position in &reported.members {
            if let Some(member) = source.member(*position, before, &mut self.table, config) {
                self.table.append(group, member);
            }
        }
        sessions.note_changes(MERGED_AS_CHANGES * (1 + reported.members.len()));
        Some(group)
    }

    fn show(&self, group: GroupRef, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        let group = self.table.group(group);
        if self.table.viewed_audience(group, sessions).is_none() {
            return;
        }
        let mut members: Vec<Vec<MemberName>> = vec![Vec::new(); self.sets];
        for member in group.members() {
            let member = self.table.member(*member);
            if let Some(set) = members.get_mut(self.set_of(member.process)) {
                set.push(member.name);
            }
        }
        let mine = members.iter().take(self.set_of(self.me)).filter(|set| !set.is_empty()).count();
        let sets: Vec<&[MemberName]> =
            members.iter().filter(|set| !set.is_empty()).map(Vec::as_slice).collect();
        send_view(&self.table, group, Cause::Network, &sets, OwnSet::common(mine), sessions, cx);
    }

    fn set_of(&self, process: ProcessId) -> usize {
        self.sources.iter().find(|source| source.process == process).map_or(0, |source| source.set)
    }
}

impl Source {
    /// The session at a position of the report, in the table. If it is one of mine, it was in the table `before`.
    fn member(
        &mut self,
        position: u32,
        before: &Table,
        table: &mut Table,
        config: &Config,
    ) -> Option<MemberRef> {
        let met = self.members.get_mut(position as usize)?;
        if met.is_none() {
            let private = self.reader.members.get(position as usize)?;
            let name = member_name(self.process, private, config)?;
            let receiver = || before.member(before.find_member(&name)?).local;
            *met = Some(table.member_or_insert(&name, self.process, receiver));
        }
        *met
    }
}

/// Existing clients expect sets by the leader's address, as a signed number, then by age; the rest
/// makes the order total.
fn component_order(component: &Component, config: &Config) -> impl Ord + use<> {
    let settled = component.settled;
    let leader = Stamp::of_ring(settled, config).leader.cast_signed();
    (leader, settled.epoch, settled, component.closed_by)
}
