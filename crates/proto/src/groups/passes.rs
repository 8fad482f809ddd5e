//! Passes: what a configuration asks of every group, or the end of a session of all groups that it was in.
//!
//! With hundreds of thousands of groups that takes longer than the others wait for the token. So a pass comes to a few
//! groups at a time, in the order of their names, and goes on in the next call once enough was handed up in this
//! one. Nothing is delivered meanwhile; so nobody can tell a pass from one that is done at once.

use std::collections::VecDeque;

use antiphon_wire::ids::ProcessId;
use antiphon_wire::names::GroupName;

use super::Groups;
use super::changes::Departure;
use super::merge::Merge;
use super::report::ReportWriter;
use super::table::GroupRef;
use crate::cx::Cx;
use crate::mutant::Mutant;
use crate::sessions::Sessions;

/// So many groups are looked up at once.
const GROUPS_AT_ONCE: usize = 16;

/// What is to be done with many groups.
#[derive(Debug)]
pub(super) enum Pass {
    /// Comes to every group of the table.
    Walk(Walk),
    /// Puts the reports together.
    Merge(Box<Merge>),
    /// Takes a session that is gone out of its groups.
    Depart(Departure),
}

/// A pass through the table.
#[derive(Debug)]
pub(super) struct Walk {
    task: Task,
    /// The last group that it has come to.
    reached: Option<GroupName>,
}

/// What is to be done with every group of the table.
#[derive(Debug)]
pub(super) enum Task {
    /// Signals what the settled ring that is being closed loses.
    SignalLosses { staying: Vec<ProcessId> },
    /// Signals what a ring has lost that was never settled.
    SignalLossesOfUnsettled { staying: Vec<ProcessId> },
    /// Takes out those that do not stay, and shows the groups that have lost somebody.
    ResolveLosses { staying: Vec<ProcessId> },
    /// Writes what I report, with the positions in it of my members by their numbers.
    WriteReport { writer: ReportWriter, positions: Vec<u32> },
}

/// The passes that are to be made, one after the other.
#[derive(Debug, Default)]
pub(super) struct Passes(VecDeque<Pass>);

impl Passes {
    /// How many groups a merge has put together so far.
    pub(super) fn merged_groups(&self) -> usize {
        match self.0.front() {
            Some(Pass::Merge(merge)) => merge.group_count(),
            _ => 0,
        }
    }
}

impl Groups {
    /// Makes a pass behind those that are to be made already.
    pub(super) fn start(&mut self, pass: Pass) {
        self.passes.0.push_back(pass);
    }

    /// Does something with every group, behind the passes that are to be made already.
    pub(super) fn start_walk(&mut self, task: Task) {
        self.start(Pass::Walk(Walk { task, reached: None }));
    }

    /// Whether there is something to be done with many groups, for which all deliveries wait.
    pub(crate) fn is_busy(&self) -> bool {
        !self.passes.0.is_empty()
    }

    /// The ring that groups are reported in has ended: nobody would take the report any more.
    pub(crate) fn drop_report(&mut self) {
        self.passes.0.retain(|pass| !matches!(pass, Pass::Walk(Walk { task: Task::WriteReport { .. }, .. })));
    }

    /// Goes on with it, by a few groups.
    pub(crate) fn go_on(&mut self, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        let Some(mut pass) = self.passes.0.pop_front() else { return };
        let has_more = match &mut pass {
            Pass::Walk(walk) => self.walk_on(walk, sessions, cx),
            Pass::Merge(merge) => self.merge_group(merge, sessions, cx),
            Pass::Depart(departure) => self.depart(departure, sessions, cx),
        };
        if has_more {
            self.passes.0.push_front(pass);
        } else {
            self.finish(pass, sessions, cx);
        }
    }

    /// Comes to the next groups of the table. Returns whether there may be more.
    fn walk_on(&mut self, walk: &mut Walk, sessions: &mut Sessions, cx: &mut Cx<'_>) -> bool {
        let groups = self.table.groups_after(walk.reached.as_ref(), GROUPS_AT_ONCE);
        for group in &groups {
            walk.reached = Some(self.table.group(*group).name);
            self.apply(&mut walk.task, *group, sessions, cx);
            sessions.note_changes(1);
            if sessions.is_budget_spent() {
                return true;
            }
        }
        groups.len() == GROUPS_AT_ONCE
    }

    fn apply(&mut self, task: &mut Task, group: GroupRef, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        match task {
            Task::SignalLosses { staying } if self.table.has_lost(group, staying) => {
                self.mark(group, sessions, cx);
            }
            Task::SignalLossesOfUnsettled { staying } if self.table.has_lost(group, staying) => {
                self.mark_of_unsettled(group, sessions, cx);
            }
            Task::SignalLosses { .. } | Task::SignalLossesOfUnsettled { .. } => {}
            Task::ResolveLosses { staying } => self.resolve(group, staying, sessions, cx),
            Task::WriteReport { writer, positions } => self.report(group, positions, writer),
        }
    }

    fn finish(&mut self, pass: Pass, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        match pass {
            Pass::Walk(walk) => self.finish_walk(walk.task, cx),
            Pass::Merge(merge) => {
                self.table = merge.into_table();
                self.settle(cx);
                self.close_component(cx.config);
            }
            Pass::Depart(departure) => self.finish_departure(&departure, sessions, cx),
        }
    }

    fn finish_walk(&mut self, task: Task, cx: &mut Cx<'_>) {
        match task {
            Task::SignalLosses { .. } | Task::SignalLossesOfUnsettled { .. } => {}
            Task::ResolveLosses { staying } => {
                if !cx.config.is_mutant(Mutant::KeepLost) {
                    self.table.forget_lost(&staying);
                }
                self.settle(cx);
            }
            Task::WriteReport { writer, .. } => self.send_report(writer, cx),
        }
    }
}
