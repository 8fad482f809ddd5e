//! Configuration changes: losses signalled and resolved.

use antiphon_wire::client::membership::Cause;
use antiphon_wire::ids::{ProcessId, RingId};

use super::codec::Component;
use super::exchange::Exchange;
use super::table::GroupRef;
use super::views::{OwnSet, names, send_transition, send_view};
use super::{Groups, Stamp, Transitional};
use crate::cx::Cx;
use crate::io::Event;
use crate::mutant::Mutant;
use crate::sessions::Sessions;

impl Groups {
    /// The current ring is being closed. If its exchange is not complete, its losses wait: reports
    /// that still come may complete it, and then it was the ring that lost them.
    pub(super) fn on_transitional(
        &mut self,
        new: RingId,
        members: &[ProcessId],
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) {
        let lowest = members.first().copied().unwrap_or(self.me);
        let stamp = Stamp::of_transitional(new, lowest, cx.config);
        self.transitional = Some(Transitional { stamp, new, members: members.to_vec() });
        if self.is_settled() {
            self.close_component(sessions, cx);
        }
    }

    /// The settled ring is being closed: fixes the component, and signals what it loses.
    pub(super) fn close_component(&mut self, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        let Some(transitional) = &self.transitional else { return };
        self.component = Component { settled: self.ring, closed_by: transitional.new };
        if cx.config.is_mutant(Mutant::LateSignal) {
            return;
        }
        for group in self.table.groups_of_processes(|process| self.is_lost(process)) {
            self.mark(group, sessions, cx);
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
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) {
        let was_settled = self.is_settled();
        if !was_settled || cx.config.is_mutant(Mutant::LateSignal) {
            self.signal_losses_of_unsettled(sessions, cx);
        }
        self.ring = ring;
        self.transitional = None;
        if was_settled && (all_from_one_ring || cx.config.is_mutant(Mutant::NoExchange)) {
            self.resolve_losses(members, sessions, cx);
            self.settle(cx);
        } else {
            self.start_exchange(members, cx);
        }
    }

    /// The ring that ends was never settled: what it lost, it lost from the table before. A group
    /// that is marked already has been signalled since its last view.
    fn signal_losses_of_unsettled(&mut self, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        for group in self.table.groups_of_processes(|process| self.is_lost(process)) {
            if !self.table.group(group).marked {
                send_transition(&self.table, self.table.group(group), sessions, cx);
                self.table.group_mut(group).marked = true;
            }
        }
    }

    fn resolve_losses(&mut self, members: &[ProcessId], sessions: &mut Sessions, cx: &mut Cx<'_>) {
        if !cx.config.is_mutant(Mutant::KeepLost) {
            self.table.remove_lost(|process| !members.contains(&process));
        }
        let id = Stamp::of_ring(self.ring, cx.config).first_id();
        for group in self.table.groups_where(|group| group.marked) {
            let entry = self.table.group_mut(group);
            entry.marked = false;
            entry.id = id;
            let entry = self.table.group(group);
            let staying = names(&self.table, entry.members());
            send_view(&self.table, entry, Cause::Network, &[&staying], OwnSet::common(0), sessions, cx);
        }
    }

    fn start_exchange(&mut self, members: &[ProcessId], cx: &mut Cx<'_>) {
        cx.queue.set_clients_open(false);
        cx.patience.note_exchange();
        self.exchange = Some(Exchange::new(members));
        self.send_report(cx);
    }

    /// From here on clients may send.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>) {
        self.exchange = None;
        cx.patience.note_settled();
        cx.queue.set_clients_open(true);
        cx.out.record(|| self.trace(None));
        cx.out.events.push(Event::Settled { ring: self.ring });
    }
}
