//! Joins, leaves and ends of sessions, in their order.

use std::vec;

use antiphon_wire::client::membership::Cause;
use antiphon_wire::ids::ProcessId;
use antiphon_wire::names::{GroupName, MemberName, PrivateName};

use super::Groups;
use super::passes::Pass;
use super::table::{GroupRef, MemberRef};
use super::views::{OwnSet, names, send_self_leave, send_transition, send_view};
use crate::config::Config;
use crate::cx::Cx;
use crate::mutant::Mutant;
use crate::sessions::Sessions;

/// What happened to a group.
#[derive(Clone, Copy, Debug)]
struct Change {
    cause: Cause,
    about: MemberName,
    joiner: Option<MemberRef>,
}

/// The end of a session that is in groups.
#[derive(Debug)]
pub(super) struct Departure {
    member: MemberRef,
    change: Change,
    /// Those that it is still to be taken out of.
    groups: vec::IntoIter<GroupRef>,
}

impl Groups {
    /// Tells a session of this daemon that its join or leave has its place now, whatever comes of it.
    pub(super) fn note_change(
        &self,
        sender: ProcessId,
        private: &PrivateName,
        sessions: &mut Sessions,
        config: &Config,
    ) {
        if sender == self.me
            && let Some(name) = member_name(sender, private, config)
        {
            sessions.on_change_delivered(&name);
        }
    }

    /// A session of `sender` joins a group. Nothing happens if it is in it already, or if the groups are not settled,
    /// which can only be behind a hole: a daemon sends joins once all reports have been delivered to it, and these stand
    /// before them in the order. One that is in too many groups is not taken in, and its daemon ends it. One with which
    /// all sessions of its daemon together are in too many is taken in and ended: only that daemon counts them.
    pub(super) fn on_join(
        &mut self,
        sender: ProcessId,
        private: &PrivateName,
        group: &GroupName,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) {
        let Some(name) = member_name(sender, private, cx.config).filter(|_| self.is_settled()) else {
            return;
        };
        let mine = sender == self.me;
        let receiver = || if mine { sessions.receiver(&name) } else { None };
        let member = self.table.member_or_insert(&name, sender, receiver);
        if self.table.member(member).process != sender {
            return;
        }
        let known = self.table.find_group(group);
        let place = match known.map(|group| (group, self.table.place_in(group, member))) {
            None => 0,
            Some((_, Err(place))) => place,
            Some((group, Ok(_))) => {
                if mine && cx.config.is_mutant(Mutant::CountDuplicateJoin) {
                    self.count_change(group, cx.config);
                }
                return;
            }
        };
        if self.table.is_full(member) {
            if mine {
                sessions.on_too_many_groups(&name, "in too many groups", cx);
            }
            return;
        }
        let id = self.id_of_new_life(cx.config);
        let group = known.unwrap_or_else(|| self.table.insert_group(group, id));
        self.table.enter(group, member, place);
        sessions.note_changes(1);
        if known.is_some() {
            self.count_change(group, cx.config);
        }
        self.announce(group, Change { cause: Cause::Join, about: name, joiner: Some(member) }, sessions, cx);
        if mine && self.table.is_crowded(&cx.config.sessions) {
            sessions.on_too_many_groups(
                &name,
                "all clients of the daemon together are in too many groups",
                cx,
            );
        }
    }

    /// A session of `sender` leaves a group; nothing happens if it is not in it.
    pub(super) fn on_leave(
        &mut self,
        sender: ProcessId,
        private: &PrivateName,
        group: &GroupName,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) {
        let Some((name, member)) = self.known_member(sender, private, cx.config) else { return };
        let Some(group) = self.table.find_group(group).filter(|group| self.table.is_in(*group, member))
        else {
            return;
        };
        let leaver = self.table.member(member).local;
        send_self_leave(leaver, &self.table.group(group).name, sessions, cx);
        let remains = self.table.leave(group, member);
        sessions.note_changes(1);
        let change = Change { cause: Cause::Leave, about: name, joiner: None };
        self.after_removal(group, remains, change, sessions, cx);
    }

    /// A session of `sender` is gone: it is taken out of its groups, in name order, and has departed then.
    pub(super) fn on_disconnect(
        &mut self,
        sender: ProcessId,
        private: &PrivateName,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) {
        if let Some((name, member)) = self.known_member(sender, private, cx.config) {
            let is_leave = cx.config.is_mutant(Mutant::LeaveForDisconnect);
            let cause = if is_leave { Cause::Leave } else { Cause::Disconnect };
            let change = Change { cause, about: name, joiner: None };
            let mut groups = self.table.take_groups(member).into_iter();
            if cx.config.is_mutant(Mutant::ForgetAGroup) {
                groups.next();
            }
            self.start(Pass::Depart(Departure { member, change, groups }));
            while self.is_busy() && !sessions.is_budget_spent() {
                self.go_on(sessions, cx);
            }
        } else if sender == self.me
            && let Some(name) = member_name(sender, private, cx.config)
        {
            sessions.on_departed(&name, cx);
        }
    }

    /// Takes a session that is gone out of its next groups. Returns whether there may be more.
    pub(super) fn depart(
        &mut self,
        departure: &mut Departure,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) -> bool {
        let Departure { member, change, groups } = departure;
        for group in groups {
            let remains = self.table.take_out(group, *member);
            self.after_removal(group, remains, *change, sessions, cx);
            sessions.note_changes(1);
            if sessions.is_budget_spent() {
                return true;
            }
        }
        false
    }

    /// A session that is gone is in no group any more.
    pub(super) fn finish_departure(
        &mut self,
        departure: &Departure,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) {
        let Departure { member, change, .. } = departure;
        let is_mine = self.table.member(*member).process == self.me;
        if !cx.config.is_mutant(Mutant::ForgetAGroup) {
            self.table.forget_member(*member);
        }
        if is_mine {
            sessions.on_departed(&change.about, cx);
        }
    }

    /// The session of that name, if it is in a group and connected to that very process.
    fn known_member(
        &self,
        sender: ProcessId,
        private: &PrivateName,
        config: &Config,
    ) -> Option<(MemberName, MemberRef)> {
        let name = member_name(sender, private, config).filter(|_| self.is_settled())?;
        let member = self.table.find_member(&name)?;
        (self.table.member(member).process == sender).then_some((name, member))
    }

    /// Counts a membership that ended, and shows the view after it if the group `remains`.
    fn after_removal(
        &mut self,
        group: GroupRef,
        remains: bool,
        change: Change,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) {
        if remains {
            self.count_change(group, cx.config);
            self.announce(group, change, sessions, cx);
        } else {
            self.emptied = self.emptied.wrapping_add(1);
        }
    }

    /// Gives a group the id of its next view.
    fn count_change(&mut self, group: GroupRef, config: &Config) {
        let id = self.id_after(self.table.group(group).id, config);
        self.table.group_mut(group).id = id;
    }

    /// Shows the view after a change. In a group that has lost members, it is a network view, and
    /// the loss is signalled again if it is still not resolved (docs/testing.md, G12). It is, when those
    /// that were lost had left before and the stream said so only now.
    fn announce(&mut self, group: GroupRef, change: Change, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        if self.table.group(group).marked {
            self.show_closing_view(group, change, sessions, cx);
            let entry = self.table.group(group);
            if entry.members().iter().any(|member| self.is_lost(self.table.member(*member).process)) {
                send_transition(&self.table, entry, sessions, cx);
            } else {
                self.table.group_mut(group).marked = false;
            }
            return;
        }
        let entry = self.table.group(group);
        send_view(&self.table, entry, change.cause, &[&[change.about]], OwnSet::common(0), sessions, cx);
        // The joiner's own daemon may be one of those that are lost.
        if change.joiner.is_some_and(|joiner| self.is_lost(self.table.member(joiner).process)) {
            self.mark(group, sessions, cx);
        }
    }

    /// Sets of a view between a loss and its resolution: who stays; each lost daemon by itself; who
    /// has just joined.
    fn show_closing_view(&self, group: GroupRef, change: Change, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        let group = self.table.group(group);
        if self.table.viewed_audience(group, sessions).is_none() {
            return;
        }
        let process = |member: &MemberRef| self.table.member(*member).process;
        let others = group.members().iter().copied().filter(|member| Some(*member) != change.joiner);
        let (lost, staying): (Vec<_>, Vec<_>) = others.partition(|member| self.is_lost(process(member)));
        let mut sets = vec![names(&self.table, &staying)];
        sets.extend(
            lost.chunk_by(|one, other| process(one) == process(other)).map(|set| names(&self.table, set)),
        );
        sets.extend(change.joiner.map(|_| vec![change.about]));
        sets.retain(|set| !set.is_empty());
        let sets: Vec<&[MemberName]> = sets.iter().map(Vec::as_slice).collect();
        let joiner = change.joiner.and_then(|joiner| self.table.member(joiner).local);
        let joiner = joiner.map(|receiver| (receiver.session, sets.len().saturating_sub(1)));
        send_view(&self.table, group, Cause::Network, &sets, OwnSet { common: 0, joiner }, sessions, cx);
    }
}

/// Full name of a session of `sender`; `None` when the process is not of a configured daemon.
pub(super) fn member_name(sender: ProcessId, private: &PrivateName, config: &Config) -> Option<MemberName> {
    config.daemon(sender.daemon).map(|daemon| MemberName::new(private, &daemon.name))
}
