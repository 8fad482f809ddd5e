//! The exchange: every daemon reports the groups of its own sessions, and the reports of all
//! members of a ring are its table.

use antiphon_wire::client::membership::Cause;
use antiphon_wire::ids::ProcessId;
use antiphon_wire::names::{MemberName, PrivateName};
use antiphon_wire::reader::DecodeError;
use antiphon_wire::service::ServiceLevel;
use bytes::BytesMut;

use super::changes::member_name;
use super::codec::{self, Component, Part, Report, ReportedGroup};
use super::table::{GroupRef, MemberRef, Table};
use super::views::{OwnSet, send_view};
use super::{Groups, Stamp};
use crate::config::Config;
use crate::cx::Cx;
use crate::delivery::{Kind, Lent};
use crate::mutant::Mutant;
use crate::send_queue::Outgoing;
use crate::sessions::Sessions;

/// Parts of one report, 256 MiB together: what a daemon's own sessions may be in takes less (`max_groups` with up to
/// 48 bytes each, `max_memberships` with up to 3), and what claims more is not waited for.
const MAX_PARTS: u32 = 8192;

/// What was reported so far.
#[derive(Debug)]
pub(super) struct Exchange {
    incoming: Vec<Incoming>,
}

/// The report of one member of the ring.
#[derive(Debug)]
struct Incoming {
    process: ProcessId,
    bytes: BytesMut,
    parts: u32,
    /// How many parts there are, once the first has said so.
    count: Option<u32>,
    complete: bool,
}

/// The reports of one ring, with the components that they come from in the order of their sets.
struct Reports {
    all: Vec<(ProcessId, Report)>,
    components: Vec<Component>,
}

impl Exchange {
    pub(super) fn new(members: &[ProcessId]) -> Self {
        let incoming = |process: &ProcessId| Incoming {
            process: *process,
            bytes: BytesMut::new(),
            parts: 0,
            count: None,
            complete: false,
        };
        Self { incoming: members.iter().map(incoming).collect() }
    }

    /// Adds a part; whether it fits is returned. One that does not voids the whole report, for every
    /// receiver alike: better a daemon without sessions than an exchange that never ends.
    fn add(&mut self, sender: ProcessId, part: &Part) -> bool {
        let Some(incoming) = self.incoming.iter_mut().find(|incoming| incoming.process == sender) else {
            return false;
        };
        if incoming.complete {
            return false;
        }
        let count = *incoming.count.get_or_insert(part.count);
        let fits = part.number == incoming.parts && part.count == count && count <= MAX_PARTS;
        if fits {
            incoming.bytes.extend_from_slice(&part.piece);
            incoming.parts += 1;
        } else {
            incoming.bytes.clear();
        }
        incoming.complete = !fits || incoming.parts == part.count;
        fits
    }

    fn is_complete(&self) -> bool {
        self.incoming.iter().all(|incoming| incoming.complete)
    }

    /// Reads all reports. One that can not be read is the same to every receiver; it counts as that
    /// of a daemon without sessions.
    fn into_reports(self, cx: &mut Cx<'_>) -> Reports {
        let mut all = Vec::new();
        for incoming in self.incoming {
            match codec::decode_report(&incoming.bytes) {
                Ok(report) => all.push((incoming.process, report)),
                Err(_) => cx.stats.groups_messages_rejected += 1,
            }
        }
        let mut components: Vec<Component> = all.iter().map(|(_, report)| report.component).collect();
        components.sort_by_key(|component| component_order(component, cx.config));
        components.dedup();
        Reports { all, components }
    }
}

/// Existing clients expect sets by the leader's address, as a signed number, then by age; the rest
/// makes the order total.
fn component_order(component: &Component, config: &Config) -> impl Ord + use<> {
    let settled = component.settled;
    let leader = Stamp::of_ring(settled, config).leader.cast_signed();
    (leader, settled.epoch, settled, component.closed_by)
}

impl Reports {
    /// Which set the sessions of each process belong to, by process.
    fn set_of(&self, process: ProcessId) -> usize {
        let report = self.all.iter().find(|(sender, _)| *sender == process);
        let component = report.map(|(_, report)| report.component);
        self.components.iter().position(|other| Some(*other) == component).unwrap_or(0)
    }
}

impl Groups {
    /// Puts my report into the control lane.
    pub(super) fn send_report(&self, cx: &mut Cx<'_>) {
        for frame in codec::encode_parts(self.ring, &self.report()) {
            cx.queue.push_control(Outgoing {
                kind: Kind::Daemon,
                service: ServiceLevel::Agreed,
                payload: frame.into(),
            });
        }
    }

    fn report(&self) -> Report {
        let own = self.table.members_of(self.me);
        let mut positions = vec![0_u32; own.iter().map(|member| member.index() + 1).max().unwrap_or(0)];
        let mut members = Vec::with_capacity(own.len());
        for (position, member) in (0..).zip(&own) {
            members.extend(PrivateName::new(self.table.member(*member).name.private()));
            if let Some(slot) = positions.get_mut(member.index()) {
                *slot = position;
            }
        }
        let position = |member: &MemberRef| positions.get(member.index()).copied().unwrap_or(0);
        let groups = self.table.groups_of_processes(|process| process == self.me);
        let groups = groups.into_iter().map(|group| {
            let group = self.table.group(group);
            let members = self.table.part_of(group, self.me).iter().map(position).collect();
            ReportedGroup { name: group.name, id: group.id, marked: group.marked, members }
        });
        Report { component: self.component, members, groups: groups.collect() }
    }

    /// Takes a part of a report. Those of another ring are late and mean nothing.
    ///
    /// # Errors
    /// When it can not be read or is out of turn.
    pub(super) fn on_part(
        &mut self,
        sender: ProcessId,
        frame: Lent<'_>,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) -> Result<(), DecodeError> {
        let part = codec::decode_part(frame)?;
        let Some(exchange) = self.exchange.as_mut().filter(|_| part.ring == self.ring) else {
            return Ok(());
        };
        let fits = exchange.add(sender, &part);
        if exchange.is_complete() {
            self.finish_exchange(sessions, cx);
        }
        if fits {
            Ok(())
        } else {
            Err(DecodeError::BadValue { what: "part number", value: u64::from(part.number) })
        }
    }

    /// All reports are in, at the same place of the order everywhere.
    fn finish_exchange(&mut self, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        let Some(exchange) = self.exchange.take() else { return };
        let reports = exchange.into_reports(cx);
        self.table = self.table_of(&reports, sessions, cx.config);
        self.show_merged_views(&reports, sessions, cx);
        self.settle(cx);
        self.close_component(sessions, cx);
    }

    /// The table that the reports make. Groups that need a new view are marked.
    fn table_of(&self, reports: &Reports, sessions: &Sessions, config: &Config) -> Table {
        let mut table = self.table.without_groups();
        for (process, report) in &reports.all {
            let refs: Vec<MemberRef> = report
                .members
                .iter()
                .filter_map(|private| member_name(*process, private, config))
                .map(|name| {
                    let mine = *process == self.me;
                    table.member_or_insert(&name, *process, || {
                        if mine { sessions.receiver(&name) } else { None }
                    })
                })
                .collect();
            for group in &report.groups {
                add_reported(&mut table, group, &refs);
            }
        }
        table.sort_groups_of_members();
        table
    }

    fn show_merged_views(&mut self, reports: &Reports, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        let id = Stamp::of_ring(self.ring, cx.config).first_id();
        let sets: Vec<(ProcessId, usize)> =
            reports.all.iter().map(|(process, _)| (*process, reports.set_of(*process))).collect();
        let sets = if cx.config.is_mutant(Mutant::OneSet) {
            sets.into_iter().map(|(process, _)| (process, 0)).collect()
        } else {
            sets
        };
        let (sets, count) = if cx.config.is_mutant(Mutant::OwnSets) {
            let own = |(set, (process, _))| (process, set);
            (sets.into_iter().enumerate().map(own).collect(), reports.all.len())
        } else {
            (sets, reports.components.len())
        };
        for group in self.table.groups_where(|group| group.marked) {
            let entry = self.table.group_mut(group);
            entry.marked = false;
            entry.id = id;
            self.show_merged_view(group, &sets, count, sessions, cx);
        }
    }

    fn show_merged_view(
        &self,
        group: GroupRef,
        set_of: &[(ProcessId, usize)],
        sets: usize,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) {
        let group = self.table.group(group);
        if self.table.viewed_audience(group, sessions).is_none() {
            return;
        }
        let position = |process: ProcessId| {
            set_of.iter().find(|(other, _)| *other == process).map_or(0, |(_, position)| *position)
        };
        let mut members: Vec<Vec<MemberName>> = vec![Vec::new(); sets];
        for member in group.members() {
            let member = self.table.member(*member);
            if let Some(set) = members.get_mut(position(member.process)) {
                set.push(member.name);
            }
        }
        let mine = members.iter().take(position(self.me)).filter(|set| !set.is_empty()).count();
        let sets: Vec<&[MemberName]> =
            members.iter().filter(|set| !set.is_empty()).map(Vec::as_slice).collect();
        send_view(&self.table, group, Cause::Network, &sets, OwnSet::common(mine), sessions, cx);
    }
}

/// Adds the members of one daemon to a group. Identities that differ mean that histories meet.
fn add_reported(table: &mut Table, reported: &ReportedGroup, refs: &[MemberRef]) {
    let group = table.group_or_insert(&reported.name, reported.id);
    let entry = table.group_mut(group);
    entry.marked |= reported.marked || entry.id != reported.id;
    for member in &reported.members {
        if let Some(member) = refs.get(*member as usize) {
            table.append(group, *member);
        }
    }
}
