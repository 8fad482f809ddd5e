//! Configuration changes: losses signalled and resolved.

use antiphon_wire::client::membership::Cause;
use antiphon_wire::ids::{ProcessId, RingId};

use super::exchange::Exchange;
use super::passes::Task;
use super::report::Component;
use super::table::GroupRef;
use super::views::{OwnSet, names, send_transition, send_view};
use super::{Groups, Stamp, Transitional};
use crate::config::Config;
use crate::cx::Cx;
use crate::io::Event;
use crate::mutant::Mutant;
use crate::sessions::Sessions;

impl Groups {
    /// The current ring is being closed. If its exchange is not complete, its losses wait: reports
    /// that still come may complete it, and then it was the ring that lost them.
    pub(super) fn on_transitional(&mut self, new: RingId, members: &[ProcessId], config: &Config) {
        let lowest = members.first().copied().unwrap_or(self.me);
        let stamp = Stamp::of_transitional(new, lowest, config);
        self.transitional = Some(Transitional { stamp, new, members: members.to_vec() });
        if self.is_settled() {
            self.close_component(config);
        }
    }

    /// The settled ring is being closed: fixes the component, and signals what it loses.
    pub(super) fn close_component(&mut self, config: &Config) {
        let Some(transitional) = &self.transitional else { return };
        self.component = Component { settled: self.ring, closed_by: transitional.new };
        let staying = transitional.members.clone();
        if self.table.has_lost_members(&staying) && !config.is_mutant(Mutant::LateSignal) {
            self.start_walk(Task::SignalLosses { staying });
        }
    }

    /// Signals a group's loss under the identity of its last view, and gives it one for the views
    /// that may come before the next ring.
    pub(super) fn mark(&mut self, group: GroupRef, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        if !cx.config.is_mutant(Mutant::NoSignal) {
            send_transition(&self.table, self.table.group(group), sessions, cx);
        }
        let id = self.stamp(cx.config).first_id();
        let group = self.table.group_mut(group);
        group.marked = true;
        // A group may have come into being, and grown, in this very configuration.
        if group.id.time != id.time {
            group.id = id;
        }
    }

    /// A new ring begins. When all its members have the same table, the losses are all that changed;
    /// otherwise the tables are exchanged.
    pub(super) fn on_regular(
        &mut self,
        ring: RingId,
        members: &[ProcessId],
        all_from_one_ring: bool,
        config: &Config,
    ) {
        let was_settled = self.is_settled();
        let lost_from = self.transitional.take();
        self.ring = ring;
        if let Some(Transitional { members: staying, .. }) = lost_from
            && (!was_settled || config.is_mutant(Mutant::LateSignal))
            && self.table.has_lost_members(&staying)
        {
            self.start_walk(Task::SignalLossesOfUnsettled { staying });
        }
        if was_settled && (all_from_one_ring || config.is_mutant(Mutant::NoExchange)) {
            self.start_walk(Task::ResolveLosses { staying: members.to_vec() });
        } else {
            self.exchange = Some(Exchange::new(members));
            self.start_report();
        }
    }

    /// The ring that ends was never settled: what it lost, it lost from the table before. A group
    /// that is marked already has been signalled since its last view.
    pub(super) fn mark_of_unsettled(&mut self, group: GroupRef, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        if !self.table.group(group).marked {
            send_transition(&self.table, self.table.group(group), sessions, cx);
            self.table.group_mut(group).marked = true;
        }
    }

    /// Takes those out of a group that do not stay, and shows it without them.
    pub(super) fn resolve(
        &mut self,
        group: GroupRef,
        staying: &[ProcessId],
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) {
        let keeps = cx.config.is_mutant(Mutant::KeepLost) || !self.table.has_lost(group, staying);
        if !keeps && !self.table.take_lost(group, staying) {
            return;
        }
        let entry = self.table.group_mut(group);
        if !std::mem::take(&mut entry.marked) {
            return;
        }
        entry.id = Stamp::of_ring(self.ring, cx.config).first_id();
        let entry = self.table.group(group);
        let staying = names(&self.table, entry.members());
        send_view(&self.table, entry, Cause::Network, &[&staying], OwnSet::common(0), sessions, cx);
    }

    /// The groups of the ring are known: from here on clients may send.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>) {
        cx.out.record(|| self.trace(None));
        cx.out.events.push(Event::Settled { ring: self.ring });
    }
}
