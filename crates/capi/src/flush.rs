//! The flush layer of a session: what the `FL_` functions do, without their pointers.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::sync::{Arc, Mutex};

use antiphon::flush::{ANSWERS_LIMIT_BYTES, Event, FlushError, Layer, OwnCopy, View};
use antiphon::session::Outbox;
use antiphon::{Error, Message, ServiceLevel};
use antiphon_wire::client::flags::{
    CAUSED_BY_LEAVE, ENDIAN_MARK, GROUPS_EXCHANGE, MEMBERSHIP_MASK, REG_MEMB, REJECT, REQUEST_MASK,
    SELF_DISCARD, SUBGROUP_CAST, TRANSITION,
};
use antiphon_wire::client::membership::GroupId;
use antiphon_wire::names::{GroupName, MemberName, NAME_FIELD_BYTES};
use bytes::Bytes;

use crate::claim::Claim;
use crate::codes::Code;
use crate::delivery::{Delivery, Room};
use crate::receive::next_frame;
use crate::session::{Session, Waiting, lock};

/// In the type of a received message: do not wait.
const DONT_BLOCK: u32 = 0x1000_0000;
/// The type of a request to flush.
const FLUSH_REQ: u32 = 0x2000_0000;
/// Bits of a service type that are not the program's.
const RESERVED: u32 =
    FLUSH_REQ | MEMBERSHIP_MASK | ENDIAN_MARK | REQUEST_MASK | GROUPS_EXCHANGE | REJECT | UNASSIGNED;
/// Bits that have no meaning, and may get one.
const UNASSIGNED: u32 = 0x0030_c000;

/// The flush layer of one session.
#[derive(Debug)]
pub(crate) struct FlushSession {
    /// Whoever reads from the daemon has this, so that events come to the layer in their order.
    reading: Claim<()>,
    /// Nobody waits for the daemon who has this, so that receivers go on while senders wait.
    state: Mutex<State>,
    /// What the program can receive; nobody waits who has this.
    ready: Mutex<VecDeque<Item>>,
}

#[derive(Debug)]
struct State {
    layer: Layer,
    outbox: Outbox,
}

/// Something that the program can receive.
#[derive(Debug)]
struct Item {
    service: u32,
    sender: GroupName,
    groups: Vec<[u8; NAME_FIELD_BYTES]>,
    message_type: i16,
    endian_mismatch: bool,
    body: Bytes,
}

/// A message to send.
#[derive(Debug)]
pub(crate) struct Cast<'a> {
    pub(crate) service: c_int,
    pub(crate) group: GroupName,
    /// `None` for the whole group.
    pub(crate) receivers: Option<Vec<MemberName>>,
    pub(crate) message_type: i16,
    pub(crate) body: &'a [&'a [u8]],
}

impl FlushSession {
    pub(crate) fn new(member: MemberName) -> Self {
        let state = State { layer: Layer::new(member), outbox: Outbox::new(member) };
        Self { reading: Claim::new(()), state: Mutex::new(state), ready: Mutex::new(VecDeque::new()) }
    }

    pub(crate) fn join(&self, session: &Arc<Session>, group: GroupName) -> Result<c_int, Code> {
        self.call(session, |layer| layer.join(group))
    }

    pub(crate) fn leave(&self, session: &Arc<Session>, group: GroupName) -> Result<c_int, Code> {
        self.call(session, |layer| layer.leave(group))
    }

    pub(crate) fn flush(&self, session: &Arc<Session>, group: GroupName) -> Result<c_int, Code> {
        self.call(session, |layer| layer.flush(group))
    }

    /// Sends a message; returns the bytes of its body.
    pub(crate) fn cast(&self, session: &Arc<Session>, cast: Cast<'_>) -> Result<c_int, Code> {
        let flags = cast.service as u32;
        let level = ServiceLevel::from_flags(flags).filter(|_| flags & RESERVED == 0);
        let level = level.ok_or(Code::IllegalService)?;
        let body = cast.body.concat();
        let body_bytes = c_int::try_from(body.len()).map_err(|_| Code::MessageTooLong)?;
        session.check()?;
        let mut state = lock(&self.state);
        let layer = &mut state.layer;
        match &cast.receivers {
            None => layer.multicast(level, cast.group, cast.message_type, body),
            Some(receivers) => layer.subgroup_cast(level, cast.group, receivers, cast.message_type, body),
        }
        .map_err(|error| code(&error))?;
        let own_copy = if flags & SELF_DISCARD == 0 { OwnCopy::Delivered } else { OwnCopy::Discarded };
        state.hand_over(session, own_copy)?;
        drop(state);
        session.output.send_added(session)?;
        Ok(body_bytes)
    }

    /// Receives the next message, request or view; returns the bytes of its body.
    pub(crate) fn receive(
        &self,
        session: &Arc<Session>,
        room: &mut Room<'_, '_>,
        more: &mut c_int,
    ) -> Result<c_int, Code> {
        let asked = room.service as u32 & DONT_BLOCK;
        let waiting = if asked == 0 { Waiting::Allowed } else { Waiting::Forbidden };
        if let Some(received) = self.take(room, more) {
            return received;
        }
        let _reading = self.reading.take_for(waiting)?;
        loop {
            // Somebody who was reading before may have found more than he took.
            if let Some(received) = self.take(room, more) {
                return received;
            }
            let frame = next_frame(session, waiting)?;
            let event = antiphon::Event::from_frame(frame, session.member())
                .map_err(|_| session.fail(Code::IllegalMessage))?;
            self.on_event(session, event)?;
        }
    }

    /// How many messages wait in the library.
    pub(crate) fn ready(&self) -> c_int {
        count(&lock(&self.ready))
    }

    /// Hands over what waits; `None` when nothing does. What does not fit stays.
    fn take(&self, room: &mut Room<'_, '_>, more: &mut c_int) -> Option<Result<c_int, Code>> {
        let mut ready = lock(&self.ready);
        let delivery = ready.front()?.delivery();
        let size = delivery.size();
        if let Some(shortage) = room.shortage(size).filter(|_| !room.may_drop()) {
            room.describe(&delivery, size);
            *more = count(&ready);
            return Some(Err(shortage));
        }
        let taken = room.take(&delivery);
        ready.pop_front();
        *more = count(&ready);
        Some(taken)
    }

    fn on_event(&self, session: &Arc<Session>, event: antiphon::Event) -> Result<(), Code> {
        let ending = match &event {
            antiphon::Event::Transition(transition) => Some(transition.id),
            _ => None,
        };
        let mut state = lock(&self.state);
        state.layer.on_event(event).map_err(|error| session.fail(code(&error)))?;
        while let Some(event) = state.layer.next_event() {
            lock(&self.ready).extend(Item::new(event, session.member(), ending));
        }
        state.hand_over(session, OwnCopy::Delivered)?;
        drop(state);
        // The daemon may take nothing before this program has received more.
        session.output.post_added(session, ANSWERS_LIMIT_BYTES)
    }

    fn call(
        &self,
        session: &Arc<Session>,
        change: impl FnOnce(&mut Layer) -> Result<(), FlushError>,
    ) -> Result<c_int, Code> {
        session.check()?;
        let mut state = lock(&self.state);
        change(&mut state.layer).map_err(|error| code(&error))?;
        state.hand_over(session, OwnCopy::Delivered)?;
        drop(state);
        session.output.send_added(session)?;
        Ok(0)
    }
}

impl State {
    /// Adds what the layer wants to be sent to what is sent next, so that it keeps its order.
    fn hand_over(&mut self, session: &Session, own_copy: OwnCopy) -> Result<(), Code> {
        let added = self.layer.hand_over(&mut self.outbox, own_copy);
        added.map_err(|error| connection_code(&error))?;
        session.output.add(self.outbox.pending());
        self.outbox.clear();
        Ok(())
    }
}

impl Item {
    fn new(event: Event, me: &MemberName, ending: Option<GroupId>) -> Option<Self> {
        Some(match event {
            Event::Message { group, message } => Self::message(message, Some(group)),
            Event::Outside(message) => Self::message(message, None),
            Event::FlushRequest(group) => Self::about(FLUSH_REQ, group, Bytes::new()),
            Event::Transition(group) => {
                Self::about(TRANSITION, group, id_bytes(ending.unwrap_or_default()).into())
            }
            Event::SelfLeave(group) => Self::about(CAUSED_BY_LEAVE, group, Bytes::new()),
            Event::View(view) => Self::view(&view, me),
            // No limit to flush is set here, and programs would have no name for it.
            Event::Overdue(_) => return None,
        })
    }

    fn about(service: u32, group: GroupName, body: Bytes) -> Self {
        Self { service, sender: group, groups: Vec::new(), message_type: -1, endian_mismatch: false, body }
    }

    /// A cast to some of the members names its group first, then its receivers.
    fn message(message: Message, group: Option<GroupName>) -> Self {
        let service = message.flags & !(MEMBERSHIP_MASK | FLUSH_REQ);
        let subgroup = group.filter(|_| service & SUBGROUP_CAST != 0);
        Self {
            service,
            sender: GroupName::from_field(message.sender.as_field()),
            groups: subgroup.iter().chain(&message.groups).map(|group| *group.as_field()).collect(),
            message_type: message.message_type,
            endian_mismatch: message.endian_mismatch,
            body: message.body,
        }
    }

    /// The body names the member that the view is about or, when the network changed, those that came along.
    fn view(view: &View, me: &MemberName) -> Self {
        let named = view.change.member().map_or(view.came_along.as_slice(), std::slice::from_ref);
        let mut body = id_bytes(view.id);
        body.extend_from_slice(&u32::try_from(named.len()).unwrap_or(u32::MAX).to_ne_bytes());
        named.iter().for_each(|member| body.extend_from_slice(member.as_field()));
        let index = view.members.iter().position(|member| member == me);
        Self {
            groups: view.members.iter().map(|member| *member.as_field()).collect(),
            message_type: index.and_then(|index| i16::try_from(index).ok()).unwrap_or(-1),
            ..Self::about(REG_MEMB | view.change.cause().flag(), view.group, body.into())
        }
    }

    fn delivery(&self) -> Delivery<'_> {
        Delivery {
            service: self.service,
            sender: *self.sender.as_field(),
            groups: &self.groups,
            message_type: self.message_type,
            endian_mismatch: self.endian_mismatch,
            body: &self.body,
        }
    }
}

fn count(ready: &VecDeque<Item>) -> c_int {
    c_int::try_from(ready.len()).unwrap_or(c_int::MAX)
}

/// A group id in the byte order of this host.
fn id_bytes(id: GroupId) -> Vec<u8> {
    [id.leader, id.time, id.counter].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn code(error: &FlushError) -> Code {
    match error {
        FlushError::Connection(error) => connection_code(error),
        FlushError::Name(_)
        | FlushError::NotAMember
        | FlushError::AlreadyInvolved
        | FlushError::PrivateGroup => Code::IllegalGroup,
        FlushError::NotRequested | FlushError::Flushed => Code::IllegalState,
        FlushError::NotInView(_) => Code::IllegalReceivers,
        FlushError::ReservedType(_) => Code::IllegalMessageType,
        _ => Code::SpBug,
    }
}

fn connection_code(error: &Error) -> Code {
    match error {
        Error::MessageTooLong(_) => Code::MessageTooLong,
        Error::GroupCount(_) => Code::IllegalMessage,
        Error::Name(_) => Code::IllegalGroup,
        _ => Code::SpBug,
    }
}
