//! F5: changes of a group may be merged into one view, but are never split or put in another
//! order; and who did not come along is not said to have, and who did, is.
//!
//! A view of the flush layer is the newest change that the daemon told its session, with its members,
//! and no change is shown twice. Who came along was in the view before, and in every change since;
//! who left and joined again in between did not come along. The virtual synchrony sets of the changes
//! say who surely did.

use std::collections::{BTreeMap, BTreeSet};

use antiphon::flush::View;
use antiphon::{Change, message};
use antiphon_wire::names::{GroupName, MemberName};

use super::stays::Stays;
use super::{Violation, report};
use crate::trace::{FlushEvent, Trace};

pub(super) fn check(trace: &Trace, _: &Stays<'_>, violations: &mut Vec<Violation>) {
    for program in &trace.flushes {
        let session = &trace.sessions[program.session];
        let mut groups: BTreeMap<GroupName, Changes<'_>> = BTreeMap::new();
        for (time, group, event) in &program.records {
            let changes = groups.entry(*group).or_default();
            let found = match event {
                FlushEvent::Change(view) => {
                    changes.add(view);
                    None
                }
                FlushEvent::View(view) => changes.judge(session.name, view),
                FlushEvent::Joining | FlushEvent::Left => {
                    *changes = Changes::default();
                    None
                }
                _ => None,
            };
            if let Some(text) = found {
                let text = format!("{} in {group}: {text}", session.name);
                report(violations, Violation::new("F5", &[session.process], text).at(*time));
            }
        }
    }
}

/// What the daemon told of a group since the last view of the layer.
#[derive(Default)]
struct Changes<'a> {
    before: Option<&'a View>,
    newest: Option<&'a message::View>,
    /// Members that some change since the view before shows as gone, joined or joined again.
    moved: BTreeSet<MemberName>,
    /// Members that some network change since then does not list in the set of the receiver.
    parted: BTreeSet<MemberName>,
}

impl<'a> Changes<'a> {
    fn add(&mut self, view: &'a message::View) {
        let known: BTreeSet<MemberName> =
            self.before.into_iter().flat_map(|view| &view.members).copied().collect();
        self.moved.extend(known.iter().filter(|member| !view.members.contains(member)));
        match view.change {
            Change::Join(member) | Change::Leave(member) | Change::Disconnect(member) => {
                self.moved.insert(member);
            }
            Change::Network => {
                self.parted.extend(known.iter().filter(|member| !view.my_set().contains(member)));
            }
        }
        self.newest = Some(view);
    }

    fn judge(&mut self, me: MemberName, view: &'a View) -> Option<String> {
        let Some(newest) = self.newest.take() else {
            return Some(format!("{:?} is a view without a change", view.id));
        };
        let (moved, parted) = (std::mem::take(&mut self.moved), std::mem::take(&mut self.parted));
        let before = self.before.replace(view);
        if newest.id != view.id || newest.members != view.members {
            return Some(format!("{:?} is not the newest change, which is {:?}", view.id, newest.id));
        }
        let was_there = |member: &MemberName| before.is_some_and(|view| view.members.contains(member));
        let strange = |member: &&MemberName| **member != me && (!was_there(member) || moved.contains(member));
        if let Some(stranger) = view.came_along.iter().find(strange) {
            return Some(format!("{stranger} is said to have come along to {:?}", view.id));
        }
        let companion =
            |member: &&MemberName| was_there(member) && !moved.contains(member) && !parted.contains(member);
        let mut companions = view.members.iter().filter(companion);
        let forgotten = companions.find(|member| !view.came_along.contains(member))?;
        Some(format!("{forgotten} is not said to have come along to {:?}", view.id))
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::{Cause, GroupId};

    use super::super::story::Story;
    use super::*;
    use crate::trace::FlushTrace;
    use crate::workload::group;

    /// What the program of `p` is told of a group of `p` and `q`.
    struct Told {
        story: Story,
        names: Vec<MemberName>,
    }

    impl Told {
        fn new() -> Self {
            let mut story = Story::ring_of(1);
            let sessions = [story.client(0, "p"), story.client(0, "q")];
            let names = sessions.iter().map(|session| story.trace.sessions[*session].name).collect();
            let session = sessions[0];
            story.trace.flushes.push(FlushTrace { session, limit: None, records: Vec::new() });
            let mut told = Self { story, names };
            told.change(1, Cause::Network, &[0, 1]).tells(1, &[0, 1], &[0]);
            told
        }

        fn id(counter: u32) -> GroupId {
            GroupId { leader: 1, time: 1, counter }
        }

        fn named(&self, list: &[usize]) -> Vec<MemberName> {
            list.iter().map(|at| self.names[*at]).collect()
        }

        fn tell(&mut self, event: FlushEvent) -> &mut Self {
            let now = self.story.now();
            self.story.trace.flushes[0].records.push((now, group("v"), event));
            self
        }

        /// A change; when it is not of the network, it is about `q`.
        fn change(&mut self, counter: u32, cause: Cause, members: &[usize]) -> &mut Self {
            let (members, q) = (self.named(members), self.names[1]);
            let (change, vs_sets) = match cause {
                Cause::Join => (Change::Join(q), Vec::new()),
                Cause::Leave => (Change::Leave(q), Vec::new()),
                Cause::Disconnect => (Change::Disconnect(q), Vec::new()),
                Cause::Network => (Change::Network, vec![members.clone()]),
            };
            self.tell(FlushEvent::Change(Box::new(message::View {
                group: group("v"),
                id: Self::id(counter),
                change,
                my_index: Some(0),
                members,
                vs_sets,
                my_vs_set: 0,
            })))
        }

        /// A view, after a flush.
        fn view(&mut self, counter: u32, members: &[usize], came_along: &[usize]) -> &mut Self {
            self.tell(FlushEvent::Requested).tell(FlushEvent::Flushed).tells(counter, members, came_along)
        }

        fn tells(&mut self, counter: u32, members: &[usize], came_along: &[usize]) -> &mut Self {
            let (members, came_along) = (self.named(members), self.named(came_along));
            self.tell(FlushEvent::View(Box::new(View {
                group: group("v"),
                id: Self::id(counter),
                change: Change::Network,
                members,
                came_along,
            })))
        }
    }

    #[test]
    fn changes_may_be_merged_and_the_newest_is_shown() {
        let mut merged = Told::new();
        merged.change(2, Cause::Network, &[0]).change(3, Cause::Join, &[0, 1]).view(3, &[0, 1], &[0]);
        merged.story.accept();
        let mut old = Told::new();
        old.change(2, Cause::Network, &[0]).change(3, Cause::Join, &[0, 1]).view(2, &[0], &[0]);
        old.story.reject("F5");
    }

    #[test]
    fn no_change_becomes_two_views() {
        let mut split = Told::new();
        split.change(2, Cause::Network, &[0, 1]).view(2, &[0, 1], &[0, 1]).view(2, &[0, 1], &[0, 1]);
        split.story.reject("F5");
    }

    #[test]
    fn who_left_and_came_back_did_not_come_along() {
        let mut back = Told::new();
        back.change(2, Cause::Leave, &[0]).change(3, Cause::Join, &[0, 1]).view(3, &[0, 1], &[0, 1]);
        back.story.reject("F5");
    }

    #[test]
    fn who_came_along_is_said_to_have() {
        for (came_along, is_good) in [(&[0, 1][..], true), (&[0][..], false)] {
            let mut told = Told::new();
            told.change(2, Cause::Network, &[0, 1]).view(2, &[0, 1], came_along);
            if is_good { told.story.accept() } else { told.story.reject("F5") }
        }
    }
}
