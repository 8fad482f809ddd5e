//! All groups of one connection, without the connection: events in, requests and events out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use antiphon_wire::client::flags::SUBGROUP_CAST;
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::service::ServiceLevel;

use super::group::{Group, Output};
use super::mutant::{Mutant, Planted};
use super::wire::{self, MARKED, put_mark};
use super::{Event, FlushError, OwnCopy, Request};
use crate::envelope::{Destination, Envelope};
use crate::error::Error;
use crate::message;
use crate::session::Outbox;

/// The flush layer of one session. After each call, everything in [`Layer::next_request`] goes to the
/// daemon, in order. Same inputs, same outputs; memory grows only with what the caller does not take.
#[derive(Debug)]
pub struct Layer {
    me: MemberName,
    groups: BTreeMap<GroupName, Group>,
    requests: VecDeque<Request>,
    events: VecDeque<Event>,
    /// How long the program may take to flush.
    flush_limit: Option<Duration>,
    /// The time, as the caller last said it.
    now: Duration,
    /// Until when the program may flush the groups in which it was asked to.
    deadlines: BTreeMap<GroupName, Duration>,
    planted: Planted,
}

impl Layer {
    /// A layer without groups, for the session called `me`. The session must receive membership.
    #[must_use]
    pub fn new(me: MemberName) -> Self {
        Self {
            me,
            groups: BTreeMap::new(),
            requests: VecDeque::new(),
            events: VecDeque::new(),
            flush_limit: None,
            now: Duration::ZERO,
            deadlines: BTreeMap::new(),
            planted: Planted::default(),
        }
    }

    /// How long the program may take to answer an [`Event::FlushRequest`] that comes from now on. A
    /// group in which it takes longer is left, with an [`Event::Overdue`], so that the other members
    /// go on: until it flushes they cannot. Without a limit, as at first, they wait for ever.
    pub fn set_flush_limit(&mut self, limit: Option<Duration>) {
        self.flush_limit = limit;
    }

    /// When [`Layer::on_time`] has something to do, on the caller's clock.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadlines.values().min().copied()
    }

    /// Tells the layer how much time has passed since some fixed moment, before it is told what happens then; and
    /// leaves the groups that the program has not flushed in time.
    pub fn on_time(&mut self, now: Duration) {
        self.now = self.now.max(now);
        let is_over = |(_, deadline): &(&GroupName, &Duration)| **deadline <= now;
        let late: Vec<GroupName> = self.deadlines.iter().filter(is_over).map(|(name, _)| *name).collect();
        for name in late {
            self.deadlines.remove(&name);
            if self.planted.is(Mutant::NeverOverdue) {
                continue;
            }
            if let Ok(group) = self.member_of(name) {
                group.leave();
                self.requests.push_back(Request::Leave(name));
                self.events.push_back(Event::Overdue(name));
            }
        }
    }

    /// Plants a fault in the groups that will be joined.
    #[cfg(feature = "mutants")]
    pub fn plant(&mut self, mutant: Mutant) {
        self.planted.mutant = Some(mutant);
    }

    /// The session's name.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.me
    }

    /// Joins a group; its first [`Event::View`] makes this client a member.
    ///
    /// # Errors
    /// When the name is not legal or that of a private group, or this client is joining, in or leaving the group.
    pub fn join(&mut self, group: impl Destination) -> Result<(), FlushError> {
        let name = group.group_name()?;
        if name.is_private() {
            return Err(FlushError::PrivateGroup);
        }
        if self.groups.contains_key(&name) {
            return Err(FlushError::AlreadyInvolved);
        }
        self.groups.insert(name, Group::new(name, self.me, self.planted));
        self.requests.push_back(Request::Join(name));
        Ok(())
    }

    /// Leaves a group; [`Event::SelfLeave`] confirms it. Who is joining cannot leave before its first
    /// [`Event::View`], as in the existing flush library: while some member does not flush, only the end of the
    /// session takes it out of the group.
    ///
    /// # Errors
    /// When this client is not a member, or not yet.
    pub fn leave(&mut self, group: impl Destination) -> Result<(), FlushError> {
        let name = group.group_name()?;
        self.member_of(name)?.leave();
        self.deadlines.remove(&name);
        self.requests.push_back(Request::Leave(name));
        Ok(())
    }

    /// Answers [`Event::FlushRequest`]: nothing more will be sent to the group before its next view.
    ///
    /// # Errors
    /// When this client is not a member, or no request is open.
    pub fn flush(&mut self, group: impl Destination) -> Result<(), FlushError> {
        let name = group.group_name()?;
        let mut out = Output::default();
        self.member_of(name)?.flush(&mut out)?;
        self.deadlines.remove(&name);
        self.put(out);
        Ok(())
    }

    /// Sends to all members of the view. Unreliable and reliable messages go as FIFO ones: only those
    /// keep their place before the acknowledgement that follows them.
    ///
    /// # Errors
    /// When this client is not a member or has flushed, or the message type is reserved.
    pub fn multicast(
        &mut self,
        service: ServiceLevel,
        group: impl Destination,
        message_type: i16,
        body: impl Into<Vec<u8>>,
    ) -> Result<(), FlushError> {
        let name = group.group_name()?;
        self.cast(service, name, None, message_type, body.into())
    }

    /// As [`Layer::multicast`], to some members of the view only.
    ///
    /// # Errors
    /// As [`Layer::multicast`], and when a receiver is not in the view or has left it.
    pub fn subgroup_cast(
        &mut self,
        service: ServiceLevel,
        group: impl Destination,
        receivers: &[MemberName],
        message_type: i16,
        body: impl Into<Vec<u8>>,
    ) -> Result<(), FlushError> {
        let name = group.group_name()?;
        self.cast(service, name, Some(receivers), message_type, body.into())
    }

    /// Sends to one member of the view; see [`Layer::subgroup_cast`].
    ///
    /// # Errors
    /// As [`Layer::subgroup_cast`].
    pub fn unicast(
        &mut self,
        service: ServiceLevel,
        group: impl Destination,
        receiver: MemberName,
        message_type: i16,
        body: impl Into<Vec<u8>>,
    ) -> Result<(), FlushError> {
        self.subgroup_cast(service, group, &[receiver], message_type, body)
    }

    /// Takes in what the connection received.
    ///
    /// # Errors
    /// When too much came for a view that is not installed yet; the session is of no use then.
    pub fn on_event(&mut self, event: message::Event) -> Result<(), FlushError> {
        let mut out = Output::default();
        match event {
            message::Event::Message(message) => {
                let sender = message.sender;
                match wire::decode(message.clone()) {
                    Some((name, meaning)) if !name.is_private() => {
                        if let Some(group) = self.groups.get_mut(&name) {
                            group.on_message(sender, meaning, &mut out)?;
                        }
                    }
                    _ => out.events.push(Event::Outside(message)),
                }
            }
            message::Event::View(view) => {
                if let Some(group) = self.groups.get_mut(&view.group) {
                    group.on_view(view, &mut out);
                }
            }
            message::Event::Transition(transition) => {
                if let Some(group) = self.groups.get_mut(&transition.group) {
                    group.on_transition(transition.id, &mut out);
                }
            }
            message::Event::SelfLeave(name) => {
                if self.groups.remove(&name).is_some() {
                    out.events.push(Event::SelfLeave(name));
                }
            }
            // Known daemons refuse no request of a session.
            message::Event::Rejected(_) => {}
        }
        self.put(out);
        Ok(())
    }

    /// Takes the next request for the daemon.
    pub fn next_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// Adds all requests for the daemon to what an outbox holds; `own_copy` is for all messages among them.
    ///
    /// # Errors
    /// Those of the outbox, which no request of this layer has unless a message is too long.
    pub fn hand_over(&mut self, outbox: &mut Outbox, own_copy: OwnCopy) -> Result<(), Error> {
        let discard = own_copy == OwnCopy::Discarded;
        while let Some(request) = self.next_request() {
            match request {
                Request::Join(group) => outbox.join(group)?,
                Request::Leave(group) => outbox.leave(group)?,
                Request::Send(envelope, body) => outbox.send(&envelope.self_discard(discard), &body)?,
            }
        }
        Ok(())
    }

    /// Takes the next event for the program.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn cast(
        &mut self,
        service: ServiceLevel,
        name: GroupName,
        receivers: Option<&[MemberName]>,
        message_type: i16,
        mut body: Vec<u8>,
    ) -> Result<(), FlushError> {
        if message_type <= MARKED {
            return Err(FlushError::ReservedType(message_type));
        }
        let view = self.member_of(name)?.may_send(receivers.unwrap_or_default())?;
        let service = service.max(ServiceLevel::Fifo);
        let mut envelope = Envelope::new(service).message_type(message_type);
        // Stronger messages come after the acknowledgements that their sender had seen.
        if let Some(view) = view.filter(|_| service == ServiceLevel::Fifo) {
            put_mark(&mut body, message_type, view);
            envelope = envelope.message_type(MARKED);
        }
        envelope = match receivers {
            None => envelope.to(name)?,
            Some(receivers) => {
                body.extend_from_slice(name.as_field());
                receivers
                    .iter()
                    .try_fold(envelope.add_flags(SUBGROUP_CAST), |envelope, member| envelope.to(*member))?
            }
        };
        envelope.check(body.len())?;
        self.requests.push_back(Request::Send(envelope, body));
        Ok(())
    }

    fn member_of(&mut self, name: GroupName) -> Result<&mut Group, FlushError> {
        self.groups.get_mut(&name).filter(|group| group.is_member()).ok_or(FlushError::NotAMember)
    }

    fn put(&mut self, out: Output) {
        for event in &out.events {
            match (event, self.flush_limit) {
                (Event::FlushRequest(name), Some(limit)) => {
                    self.deadlines.insert(*name, self.now.saturating_add(limit));
                }
                (Event::SelfLeave(name), _) => {
                    self.deadlines.remove(name);
                }
                _ => {}
            }
        }
        self.requests.extend(out.requests);
        self.events.extend(out.events);
    }
}
