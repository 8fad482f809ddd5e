//! The traces of the sessions, ordered by the groups that they were in.
//!
//! A [`Stay`] is one membership of one session in one group as the session saw it: from its own first
//! view to its leaving, or to the end. Only sessions that asked for membership messages have stays.

use std::collections::BTreeMap;

use antiphon_proto::time::Instant;
use antiphon_wire::client::membership::{Cause, GroupId, View};
use antiphon_wire::names::GroupName;

use super::exits::Exits;
use crate::trace::{SessionEvent, SessionTrace, Trace};

/// One thing that a member saw of its group.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sight<'a> {
    View(&'a View),
    Signal(GroupId),
    /// A message to the group, by position in the submissions.
    Message(usize),
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Stay<'a> {
    /// Position of the session in the trace.
    pub(super) session: usize,
    pub(super) group: GroupName,
    /// What was seen, and where it stands among the records of the session.
    pub(super) sights: Vec<(usize, Instant, Sight<'a>)>,
    /// Position of the record that ended the stay.
    pub(super) ended: Option<usize>,
}

impl<'a> Stay<'a> {
    /// The views, each with its position among the sights.
    pub(super) fn views(&self) -> impl Iterator<Item = (usize, &'a View)> {
        self.sights.iter().enumerate().filter_map(|(at, (_, _, sight))| match sight {
            Sight::View(view) => Some((at, *view)),
            _ => None,
        })
    }

    /// Each view but the first: the view before it, what was seen between, the view, and when.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change<'_, 'a>> {
        let views: Vec<(usize, &View)> = self.views().collect();
        (1..views.len()).map(move |next| {
            let ((from, before), (to, after)) = (views[next - 1], views[next]);
            let signal = |at: usize| matches!(self.sights.get(at), Some((_, _, Sight::Signal(_))));
            let is_first_or_after_signal =
                self.sights[..from].iter().rev().find_map(membership).unwrap_or(true);
            let is_closing = is_first_or_after_signal && before.cause == Cause::Network && signal(from + 1);
            Change { before, between: &self.sights[from + 1..to], after, at: self.sights[to].1, is_closing }
        })
    }
}

/// How a member came from one view to the next.
pub(super) struct Change<'s, 'a> {
    pub(super) before: &'a View,
    pub(super) between: &'s [(usize, Instant, Sight<'a>)],
    pub(super) after: &'a View,
    pub(super) at: Instant,
    /// Whether the view before was itself one between a loss and its resolution: a change that was
    /// ordered there shows as a network view with another signal at once.
    pub(super) is_closing: bool,
}

/// Whether a sight is a signal, if it is not a message.
fn membership(sight: &(usize, Instant, Sight<'_>)) -> Option<bool> {
    match sight.2 {
        Sight::View(_) => Some(false),
        Sight::Signal(_) => Some(true),
        Sight::Message(_) => None,
    }
}

impl Change<'_, '_> {
    /// How many transitional signals came between.
    pub(super) fn signals(&self) -> usize {
        self.between.iter().filter(|(_, _, sight)| matches!(sight, Sight::Signal(_))).count()
    }
}

/// All stays, and what was seen of groups outside of any.
#[derive(Debug, Default)]
pub(super) struct Stays<'a> {
    pub(super) stays: Vec<Stay<'a>>,
    /// Session, record, and what is wrong with it.
    pub(super) strays: Vec<(usize, usize, String)>,
    /// How processes came out of the configurations of ids.
    pub(super) exits: Exits,
}

impl<'a> Stays<'a> {
    pub(super) fn new(trace: &'a Trace) -> Self {
        let mut all = Self::default();
        for (at, session) in trace.sessions.iter().enumerate() {
            if session.wants_views {
                all.walk(trace, at, session);
            }
        }
        all.exits = Exits::new(trace);
        all
    }

    fn walk(&mut self, trace: &'a Trace, session: usize, traced: &'a SessionTrace) {
        let mut open: BTreeMap<GroupName, Stay<'a>> = BTreeMap::new();
        for (at, (time, event)) in traced.records.iter().enumerate() {
            match event {
                SessionEvent::View(view) => {
                    let (group, sights) = (view.group, Vec::new());
                    let stay = Stay { session, group, sights, ended: None };
                    let stay = open.entry(group).or_insert(stay);
                    stay.sights.push((at, *time, Sight::View(view)));
                }
                SessionEvent::Signal(group, id) => match open.get_mut(group) {
                    Some(stay) => stay.sights.push((at, *time, Sight::Signal(*id))),
                    None => self.stray(session, at, format!("a signal of {group}")),
                },
                SessionEvent::Left(group) => match open.remove(group) {
                    Some(stay) => self.stays.push(Stay { ended: Some(at), ..stay }),
                    None => self.stray(session, at, format!("a self-leave of {group}")),
                },
                SessionEvent::Message(received) => {
                    let submission = &trace.submissions[received.submission];
                    let private = GroupName::from_field(traced.name.as_field());
                    let mut expected = submission.groups.contains(&private);
                    for (group, stay) in &mut open {
                        if submission.groups.contains(group) {
                            expected = true;
                            stay.sights.push((at, *time, Sight::Message(received.submission)));
                        }
                    }
                    if !expected {
                        self.stray(session, at, format!("message {}", received.submission));
                    }
                }
                _ => {}
            }
        }
        self.stays.extend(open.into_values());
    }

    fn stray(&mut self, session: usize, record: usize, what: String) {
        self.strays.push((session, record, what));
    }
}
