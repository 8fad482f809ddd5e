//! Virtual synchrony, as programs with the flush layer see it.
//!
//! - F1: a message is delivered once, in the view in which it was sent, and its sender is one of those
//!   who deliver it.
//! - F2: between two views of a member that is not leaving, one request and one flush.
//! - F3: nothing is sent between a flush and the next view.
//! - F4: views of one id have the same members; who comes from one view into the next together has
//!   delivered the same messages, and says so of each other.

use std::collections::{BTreeMap, BTreeSet};

use antiphon::flush::View;
use antiphon_proto::time::Instant;
use antiphon_wire::client::membership::GroupId;
use antiphon_wire::names::{GroupName, MemberName};

use super::stays::Stays;
use super::{Violation, report};
use crate::trace::{FlushEvent, Trace};

pub(super) fn check(trace: &Trace, _: &Stays<'_>, violations: &mut Vec<Violation>) {
    let mut walk = Walk { trace, sent_in: sent_in(trace), views: BTreeMap::new(), moves: BTreeMap::new() };
    for at in 0..trace.flushes.len() {
        walk.program(at, violations);
    }
}

/// In which view of which group each message was sent.
fn sent_in(trace: &Trace) -> BTreeMap<u64, (GroupName, Option<GroupId>)> {
    let mut sent = BTreeMap::new();
    for program in &trace.flushes {
        let mut views: BTreeMap<GroupName, GroupId> = BTreeMap::new();
        for (_, group, event) in &program.records {
            match event {
                FlushEvent::View(view) => {
                    views.insert(*group, view.id);
                }
                FlushEvent::Sent(number) => {
                    sent.insert(*number, (*group, views.get(group).copied()));
                }
                _ => {}
            }
        }
    }
    sent
}

/// A step from one view to the next, with those who took it together.
type Step = (GroupName, GroupId, Vec<MemberName>);

struct Walk<'a> {
    trace: &'a Trace,
    sent_in: BTreeMap<u64, (GroupName, Option<GroupId>)>,
    views: BTreeMap<(GroupName, GroupId), &'a [MemberName]>,
    /// The view before, what was delivered in it, and to whom.
    moves: BTreeMap<Step, (Option<GroupId>, BTreeSet<u64>, MemberName)>,
}

/// One program's time in one group, up to now.
#[derive(Default)]
struct Stay<'a> {
    view: Option<&'a View>,
    requests: u32,
    flushes: u32,
    leaving: bool,
    owed: BTreeSet<u64>,
    delivered: BTreeSet<u64>,
}

impl<'a> Walk<'a> {
    fn program(&mut self, at: usize, violations: &mut Vec<Violation>) {
        let program = &self.trace.flushes[at];
        let session = &self.trace.sessions[program.session];
        let mut stays: BTreeMap<GroupName, Stay<'a>> = BTreeMap::new();
        for (time, group, event) in &program.records {
            let stay = stays.entry(*group).or_default();
            let found = match event {
                FlushEvent::Requested => {
                    stay.requests += 1;
                    None
                }
                FlushEvent::Flushed => {
                    stay.flushes += 1;
                    None
                }
                FlushEvent::Sent(number) => {
                    stay.owed.insert(*number);
                    let flushed = stay.flushes > 0;
                    flushed.then(|| ("F3", format!("sent message {number} after its flush")))
                }
                FlushEvent::Leaving | FlushEvent::Overdue => {
                    stay.leaving = true;
                    None
                }
                FlushEvent::Message(number, sender) => self.message(stay, *group, *number, *sender),
                FlushEvent::View(view) => self.view(stay, session.name, view),
                FlushEvent::Joining | FlushEvent::Left => {
                    *stay = Stay::default();
                    None
                }
                FlushEvent::Transition | FlushEvent::Change(_) => None,
            };
            if let Some((property, text)) = found {
                say(
                    property,
                    session.process,
                    *time,
                    &format!("{} in {group}: {text}", session.name),
                    violations,
                );
            }
        }
    }

    fn message(
        &self,
        stay: &mut Stay<'a>,
        group: GroupName,
        number: u64,
        sender: MemberName,
    ) -> Option<(&'static str, String)> {
        let here = stay.view.map(|view| view.id);
        stay.owed.remove(&number);
        if !stay.delivered.insert(number) {
            return Some(("F1", format!("message {number} came twice")));
        }
        if !stay.view.is_some_and(|view| view.members.contains(&sender)) {
            return Some(("F6", format!("message {number} of {sender}, who is not in the view")));
        }
        let sent = self.sent_in.get(&number);
        let is_same = sent.is_some_and(|(to, view)| *to == group && *view == here);
        (!is_same).then(|| ("F1", format!("message {number}, sent in {sent:?}, delivered in {here:?}")))
    }

    fn view(
        &mut self,
        stay: &mut Stay<'a>,
        me: MemberName,
        view: &'a View,
    ) -> Option<(&'static str, String)> {
        let before = std::mem::take(stay);
        *stay = Stay { view: Some(view), leaving: before.leaving, ..Stay::default() };
        let members = *self.views.entry((view.group, view.id)).or_insert(&view.members);
        if members != view.members {
            return Some(("F4", format!("{:?} has members {members:?} elsewhere", view.id)));
        }
        if !view.came_along.contains(&me) {
            return Some(("F4", format!("did not come to {:?} with itself", view.id)));
        }
        let came_from = before.view?;
        let answered = (before.requests, before.flushes);
        if !before.leaving && answered != (1, 1) {
            return Some(("F2", format!("{answered:?} requests and flushes before {:?}", view.id)));
        }
        if let Some(number) = before.owed.first() {
            return Some(("F1", format!("its own message {number} is missing before {:?}", view.id)));
        }
        let step = (view.group, view.id, view.came_along.clone());
        let moved = (Some(came_from.id), before.delivered, me);
        let first = self.moves.entry(step).or_insert_with(|| moved.clone());
        if (first.0, &first.1) == (moved.0, &moved.1) {
            return None;
        }
        let differ: Vec<&u64> = first.1.symmetric_difference(&moved.1).collect();
        let text = format!(
            "came from {:?} to {:?}, and {} from {:?} together with it; delivered by one only: {differ:?}",
            moved.0, view.id, first.2, first.0
        );
        Some(("F4", text))
    }
}

fn say(property: &'static str, process: usize, at: Instant, text: &str, violations: &mut Vec<Violation>) {
    report(violations, Violation::new(property, &[process], text.to_owned()).at(at));
}

#[cfg(test)]
mod tests {
    use antiphon::{Change, message};

    use super::super::story::Story;
    use super::*;
    use crate::trace::FlushTrace;
    use crate::workload::group;

    /// Programs `p` and `q` that are together in view 1, and what each does from there.
    struct Told {
        story: Story,
        names: Vec<MemberName>,
    }

    impl Told {
        fn new() -> Self {
            let mut story = Story::ring_of(1);
            let sessions = [story.client(0, "p"), story.client(0, "q")];
            let names: Vec<MemberName> =
                sessions.iter().map(|session| story.trace.sessions[*session].name).collect();
            for session in sessions {
                story.trace.flushes.push(FlushTrace { session, limit: None, records: Vec::new() });
            }
            let mut told = Self { story, names };
            for program in 0..2 {
                told.view(program, 1, &[0, 1], &[program]);
            }
            told
        }

        fn does(&mut self, program: usize, event: FlushEvent) {
            let now = self.story.now();
            self.story.trace.flushes[program].records.push((now, group("v"), event));
        }

        fn flushes(&mut self, program: usize) {
            self.does(program, FlushEvent::Requested);
            self.does(program, FlushEvent::Flushed);
        }

        fn gets(&mut self, program: usize, number: u64) {
            self.does(program, FlushEvent::Message(number, self.names[0]));
        }

        fn view(&mut self, program: usize, counter: u32, members: &[usize], came_along: &[usize]) {
            let named = |list: &[usize]| list.iter().map(|at| self.names[*at]).collect();
            let (members, came_along): (Vec<_>, Vec<_>) = (named(members), named(came_along));
            let (group, id) = (group("v"), GroupId { leader: 1, time: 1, counter });
            let change = message::View {
                group,
                id,
                change: Change::Network,
                my_index: None,
                members: members.clone(),
                vs_sets: Vec::new(),
                my_vs_set: 0,
            };
            self.does(program, FlushEvent::Change(Box::new(change)));
            let view = View { group, id, change: Change::Network, members, came_along };
            self.does(program, FlushEvent::View(Box::new(view)));
        }

        /// `p` sends, and both have flushed and seen the next view; `late` may be delivered after it.
        fn moved(receivers: &[usize], late: &[usize]) -> Self {
            let mut told = Self::new();
            told.does(0, FlushEvent::Sent(5));
            for program in 0..2 {
                told.flushes(program);
                if receivers.contains(&program) {
                    told.gets(program, 5);
                }
                told.view(program, 2, &[0, 1], &[0, 1]);
                if late.contains(&program) {
                    told.gets(program, 5);
                }
            }
            told
        }
    }

    #[test]
    fn messages_are_delivered_in_the_view_in_which_they_were_sent() {
        Told::moved(&[0, 1], &[]).story.accept();
        Told::moved(&[0], &[1]).story.reject("F1");
        Told::moved(&[0, 1], &[1]).story.reject("F1");
        Told::moved(&[1], &[]).story.reject("F1");
    }

    #[test]
    fn who_comes_along_has_delivered_the_same() {
        Told::moved(&[0], &[]).story.reject("F4");
        let mut apart = Told::new();
        apart.does(0, FlushEvent::Sent(5));
        apart.flushes(0);
        apart.flushes(1);
        apart.gets(0, 5);
        apart.view(0, 2, &[0, 1], &[0]);
        apart.view(1, 2, &[0, 1], &[1]);
        apart.story.accept();
    }

    #[test]
    fn a_view_has_the_same_members_for_all() {
        let mut told = Told::moved(&[0, 1], &[]);
        told.flushes(0);
        told.flushes(1);
        told.view(0, 3, &[0, 1], &[0, 1]);
        told.view(1, 3, &[1], &[1]);
        told.story.reject("F4");
    }

    #[test]
    fn a_view_takes_one_request_and_one_flush() {
        let mut told = Told::new();
        told.does(0, FlushEvent::Requested);
        told.view(0, 2, &[0], &[0]);
        told.story.reject("F2");
        let mut leaving = Told::new();
        leaving.does(0, FlushEvent::Leaving);
        leaving.view(0, 2, &[0, 1], &[0, 1]);
        leaving.story.accept();
    }

    #[test]
    fn nothing_is_sent_between_flush_and_view() {
        let mut told = Told::new();
        told.flushes(0);
        told.does(0, FlushEvent::Sent(6));
        told.story.reject("F3");
    }

    #[test]
    fn only_members_are_heard() {
        let mut told = Told::new();
        told.does(0, FlushEvent::Sent(5));
        told.flushes(1);
        told.view(1, 2, &[1], &[1]);
        told.gets(1, 5);
        told.story.reject("F6");
    }
}
