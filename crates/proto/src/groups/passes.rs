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
    /// Signals what the settled ring that is being closed loses.
    SignalLosses { staying: Vec<ProcessId> },
    /// Signals what a ring has lost that was never settled.
    SignalLossesOfUnsettled { staying: Vec<ProcessId> },
    /// Takes out those that do not stay, and shows the groups that have lost somebody.
    ResolveLosses { staying: Vec<ProcessId> },
    /// Writes what I report, with the positions in it of my members by their numbers.
    WriteReport { writer: ReportWriter, positions: Vec<u32> },
    /// Puts the reports together.
    Merge(Box<Merge>),
    /// Takes a session that is gone out of its groups.
    Depart(Departure),
}

/// The passes that are to be made, one after the other, each with the last group that it has come to.
#[derive(Debug, Default)]
pub(super) struct Passes(VecDeque<(Pass, Option<GroupName>)>);

impl Passes {
    /// How many groups a merge has put together so far.
    pub(super) fn merged_groups(&self) -> usize {
        match self.0.front() {
            Some((Pass::Merge(merge), _)) => merge.group_count(),
            _ => 0,
        }
    }
}

impl Groups {
    /// Makes a pass behind those that are to be made already.
    pub(super) fn start(&mut self, pass: Pass) {
        self.passes.0.push_back((pass, None));
    }

    /// Whether there is something to be done with many groups, for which all deliveries wait.
    pub(crate) fn is_busy(&self) -> bool {
        !self.passes.0.is_empty()
    }

    /// The ring that groups are reported in has ended: nobody would take the report any more.
    pub(crate) fn drop_report(&mut self) {
        self.passes.0.retain(|(pass, _)| !matches!(pass, Pass::WriteReport { .. }));
    }

    /// Goes on with it, by a few groups.
    pub(crate) fn go_on(&mut self, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        let Some((mut pass, mut reached)) = self.passes.0.pop_front() else { return };
        let has_more = match &mut pass {
            Pass::Merge(merge) => self.merge_group(merge, sessions, cx),
            Pass::Depart(departure) => self.depart(departure, sessions, cx),
            pass => self.walk_on(pass, &mut reached, sessions, cx),
        };
        if has_more {
            self.passes.0.push_front((pass, reached));
        } else {
            self.finish(pass, sessions, cx);
        }
    }

    /// Comes to the next groups of the table. Returns whether there may be more.
    fn walk_on(
        &mut self,
        pass: &mut Pass,
        reached: &mut Option<GroupName>,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) -> bool {
        let groups = self.table.groups_after(reached.as_ref(), GROUPS_AT_ONCE);
        for group in &groups {
            *reached = Some(self.table.group(*group).name);
            self.apply(pass, *group, sessions, cx);
            sessions.note_changes(1);
            if sessions.is_budget_spent() {
                return true;
            }
        }
        groups.len() == GROUPS_AT_ONCE
    }

    fn apply(&mut self, pass: &mut Pass, group: GroupRef, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        match pass {
            Pass::SignalLosses { staying } if self.table.has_lost(group, staying) => {
                self.mark(group, sessions, cx);
            }
            Pass::SignalLossesOfUnsettled { staying } if self.table.has_lost(group, staying) => {
                self.mark_of_unsettled(group, sessions, cx);
            }
            Pass::ResolveLosses { staying } => self.resolve(group, staying, sessions, cx),
            Pass::WriteReport { writer, positions } => self.report(group, positions, writer),
            Pass::SignalLosses { .. }
            | Pass::SignalLossesOfUnsettled { .. }
            | Pass::Merge(_)
            | Pass::Depart(_) => {}
        }
    }

    fn finish(&mut self, pass: Pass, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        match pass {
            Pass::SignalLosses { .. } | Pass::SignalLossesOfUnsettled { .. } => {}
            Pass::ResolveLosses { staying } => {
                if !cx.config.is_mutant(Mutant::KeepLost) {
                    self.table.forget_lost(&staying);
                }
                self.settle(cx);
            }
            Pass::WriteReport { writer, .. } => self.send_report(writer, cx),
            Pass::Merge(merge) => {
                self.table = merge.into_table();
                self.settle(cx);
                self.close_component(cx.config);
            }
            Pass::Depart(departure) => self.finish_departure(&departure, sessions, cx),
        }
    }
}
