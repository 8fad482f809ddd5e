//! What goes on when a session does not.

use antiphon_wire::names::{GroupName, MemberName};

use super::unconfirmed::{Unconfirmed, fingerprint};
use super::{Gap, Rejoined};
use crate::envelope::Envelope;
use crate::error::Error;
use crate::message::{Event, View};

/// Keeps, of a session, what has to be known when it ends: the groups, the last view of each, and the
/// messages that have not come back. Told of every request and every event, in their order.
#[derive(Debug)]
pub struct Continuity {
    member: MemberName,
    /// Whether views and self-leaves come.
    membership: bool,
    groups: Vec<Involvement>,
    unconfirmed: Unconfirmed,
}

#[derive(Debug)]
struct Involvement {
    group: GroupName,
    /// Whether the last request was to join.
    is_wanted: bool,
    /// Leaves that were requested and have not happened.
    leaves: u32,
    last_view: Option<View>,
}

impl Continuity {
    /// Of a session that has just begun.
    #[must_use]
    pub fn new(member: MemberName, membership: bool) -> Self {
        Self { member, membership, groups: Vec::new(), unconfirmed: Unconfirmed::default() }
    }

    /// The name in the session.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.member
    }

    /// A group is to be joined.
    pub fn on_join(&mut self, group: GroupName) {
        match self.groups.iter_mut().find(|known| known.group == group) {
            Some(known) => known.is_wanted = true,
            None => self.groups.push(Involvement { group, is_wanted: true, leaves: 0, last_view: None }),
        }
    }

    /// A group is to be left. Daemons ignore that of a client that is not in the group.
    pub fn on_leave(&mut self, group: GroupName) {
        if let Some(known) = self.groups.iter_mut().find(|known| known.group == group && known.is_wanted) {
            known.is_wanted = false;
            known.leaves += 1;
        }
        if !self.membership {
            self.groups.retain(|known| known.is_wanted);
        }
    }

    /// A message is to be sent.
    pub fn on_send(&mut self, envelope: &Envelope, body: &[u8]) {
        let fingerprint = fingerprint(envelope.groups(), envelope.type_number(), body);
        self.unconfirmed.on_send(envelope.service(), fingerprint);
    }

    /// The daemon delivered something.
    pub fn on_event(&mut self, event: &Event) {
        match event {
            Event::Message(message) if message.sender == self.member => {
                let fingerprint = fingerprint(&message.groups, message.message_type, &message.body);
                self.unconfirmed.on_return(message.service, fingerprint);
            }
            Event::View(view) => {
                if let Some(known) = self.groups.iter_mut().find(|known| known.group == view.group) {
                    known.last_view = Some(view.clone());
                }
            }
            Event::SelfLeave(group) => {
                for known in self.groups.iter_mut().filter(|known| known.group == *group) {
                    known.leaves = known.leaves.saturating_sub(1);
                    known.last_view = None;
                }
                self.groups.retain(|known| known.is_wanted || known.leaves > 0);
            }
            Event::Message(_) | Event::Transition(_) | Event::Rejected(_) => {}
        }
    }

    /// The session ended for that reason, and `now` is the name in the next one. All groups of the gap
    /// are to be joined, in their order, and this goes on with the new session.
    pub fn on_session(&mut self, cause: Error, now: MemberName) -> Gap {
        let unconfirmed = std::mem::take(&mut self.unconfirmed).count();
        let before = std::mem::replace(&mut self.member, now);
        let (wanted, unwanted) =
            std::mem::take(&mut self.groups).into_iter().partition::<Vec<_>, _>(|known| known.is_wanted);
        let groups: Vec<Rejoined> = wanted
            .into_iter()
            .map(|known| Rejoined { group: known.group, last_view: known.last_view })
            .collect();
        for rejoined in &groups {
            self.on_join(rejoined.group);
        }
        let left = unwanted.iter().map(|known| known.group).collect();
        Gap { cause, before, now, groups, left, unconfirmed }
    }
}
