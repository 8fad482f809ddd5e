//! Messages waiting for the token.
//!
//! Two lanes. The control lane carries the groups exchange and always may send. The client lane
//! has one queue for each session, opens when the exchange of the current ring is settled, and is
//! served round robin by bytes, so that neither a flood nor a large message of one session holds
//! up another. Within a session the order is kept, joins and leaves included.
//!
//! A session may have as much waiting as one and a half token visits take, all of them together what is
//! configured, and its client is read no further. More would only wait here, and make every message late,
//! where it could as well wait with its client. Less would be used up before the client has sent more, and
//! the ring would seem to have nothing left to do.
//!
//! A message leaves the queue when its last chunk is numbered. If the ring ends before that, one of a client is
//! sent again from its beginning in the next ring ([`SendQueue::rewind`]), and one of the daemon itself is dropped.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use antiphon_wire::ids::SessionId;
use antiphon_wire::ring::chunk::{Fragment, MessageHead, Position, Preamble};
use antiphon_wire::service::ServiceLevel;

use crate::config::RingConfig;
use crate::delivery::Kind;
use crate::payload::Payload;
use crate::preambles::Said;

/// How many messages of the clients of one daemon may be under way in fragments at once; bounds what
/// receivers must reassemble.
pub(crate) const MAX_OPEN_MESSAGES: usize = 8;

/// The number of the message of the daemon itself that is under way in fragments.
const CONTROL_NUMBER: u8 = MAX_OPEN_MESSAGES as u8;

/// What a session may have waiting at least.
const LEAST_SHARE_BYTES: usize = 48 << 10;
/// Less than this is not worth reading by itself.
const LEAST_ROOM_BYTES: usize = 8 << 10;

/// A message to send.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) kind: Kind,
    pub(crate) service: ServiceLevel,
    pub(crate) payload: Payload,
}

/// A piece of a message, ready to be written into a packet.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) head: MessageHead,
    /// The whole message.
    pub(crate) message: Outgoing,
    /// Which bytes of its payload the piece is.
    pub(crate) range: Range<usize>,
}

/// Where a message is cut next.
#[derive(Debug)]
struct Cut {
    head: MessageHead,
    range: Range<usize>,
}

impl Cut {
    fn of(self, message: Outgoing) -> Piece {
        Piece { head: self.head, message, range: self.range }
    }
}

/// Room in a packet, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    /// Behind what it has already.
    pub(crate) left: usize,
    /// In an empty one.
    pub(crate) capacity: usize,
}

#[derive(Debug)]
struct Waiting {
    message: Outgoing,
    /// Set once a first fragment was taken.
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    number: u8,
    /// Where in the payload the next piece begins.
    offset: usize,
}

/// Which numbers messages of clients have that are under way in fragments.
#[derive(Clone, Copy, Default, Debug)]
struct OpenNumbers(u8);

impl OpenNumbers {
    /// The lowest number that is free, if there may be one message more.
    fn free(self) -> Option<u8> {
        let lowest = self.0.trailing_ones();
        u8::try_from(lowest).ok().filter(|number| usize::from(*number) < MAX_OPEN_MESSAGES)
    }

    /// Takes or gives back the number of a piece that is sent.
    fn note(&mut self, head: &MessageHead) {
        let Some(Fragment { number, position }) = head.fragment else { return };
        match position {
            Position::First { .. } => self.0 |= 1 << number,
            Position::Middle => {}
            Position::Last { .. } => self.0 &= !(1 << number),
        }
    }
}

/// What waits of one session.
#[derive(Debug, Default)]
struct SessionQueue {
    messages: VecDeque<Waiting>,
    bytes: usize,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    control: VecDeque<Waiting>,
    sessions: HashMap<SessionId, SessionQueue, foldhash::fast::FixedState>,
    /// Sessions with waiting messages, the next to be served first.
    turns: VecDeque<SessionId>,
    /// Bytes that the first session in `turns` may still send.
    quantum_left: usize,
    /// Whether a session had to wait for a number since the last one became free.
    passed_over: bool,
    clients_open: bool,
    open_numbers: OpenNumbers,
    messages: usize,
    bytes: usize,
    /// What one session may have waiting; none while no token comes and goes.
    share_bytes: Option<usize>,
}

impl SendQueue {
    /// Queues a message of a session, behind everything the session queued before.
    pub(crate) fn push(&mut self, session: SessionId, message: Outgoing) {
        self.messages += 1;
        self.bytes += message.payload.len();
        let lane = self.sessions.entry(session).or_default();
        if lane.messages.is_empty() {
            self.turns.push_back(session);
        }
        lane.bytes += message.payload.len();
        lane.messages.push_back(Waiting { message, open: None });
    }

    /// Queues a message of the daemon itself, ahead of all sessions.
    pub(crate) fn push_control(&mut self, message: Outgoing) {
        self.messages += 1;
        self.bytes += message.payload.len();
        self.control.push_back(Waiting { message, open: None });
    }

    /// Lets the client lane send, or stops it.
    pub(crate) fn set_clients_open(&mut self, open: bool) {
        self.clients_open = open;
    }

    /// Whether clients may hand in more messages.
    pub(crate) fn accepts(&self, config: &RingConfig) -> bool {
        self.messages < config.send_queue_messages && self.bytes < config.send_queue_bytes
    }

    /// How many bytes that client may hand in.
    pub(crate) fn room_for(&self, session: SessionId, config: &RingConfig) -> usize {
        let waiting = self.sessions.get(&session).map_or(0, |lane| lane.bytes);
        let room = self.share_bytes.map_or(usize::MAX, |share| share.saturating_sub(waiting));
        if self.accepts(config) && room >= LEAST_ROOM_BYTES { room } else { 0 }
    }

    /// Says how many bytes one token visit takes; none when no token comes and goes. More than that shows
    /// that there is use for a greater window.
    pub(crate) fn set_visit_bytes(&mut self, bytes: Option<usize>) {
        self.share_bytes = bytes.map(|bytes| bytes.saturating_add(bytes / 2).max(LEAST_SHARE_BYTES));
    }

    /// Whether something may be sent now.
    pub(crate) fn has_sendable(&self) -> bool {
        !self.control.is_empty() || (self.clients_open && !self.turns.is_empty())
    }

    /// Packets of that size that what may be sent now would fill, roughly.
    pub(crate) fn backlog_packets(&self, datagram_bytes: usize) -> u32 {
        if !self.has_sendable() {
            return 0;
        }
        u32::try_from(self.bytes / datagram_bytes.max(1) + 1).unwrap_or(u32::MAX)
    }

    /// Messages waiting.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes of messages waiting.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the next piece that fits into `space`. `None` when nothing fits or nothing may be sent.
    pub(crate) fn take(&mut self, space: Space, said: &mut Said, quantum: usize) -> Option<Piece> {
        if !self.control.is_empty() {
            return self.take_control(space, said);
        }
        if !self.clients_open {
            return None;
        }
        for _ in 0..self.turns.len() {
            if self.quantum_left == 0 {
                self.quantum_left = quantum.max(1);
                self.turns.rotate_left(1);
            }
            if let Some(piece) = self.take_turn(space, said) {
                return Some(piece);
            }
            if !self.may_skip() {
                return None;
            }
            self.passed_over = true;
            self.quantum_left = 0;
        }
        None
    }

    /// Whether the session in turn is stopped only because too many messages are open already, so
    /// that the next one may go instead.
    fn may_skip(&self) -> bool {
        let lane = self.turns.front().and_then(|id| self.sessions.get(id));
        let first = lane.and_then(|lane| lane.messages.front());
        self.open_numbers.free().is_none() && first.is_some_and(|waiting| waiting.open.is_none())
    }

    fn take_control(&mut self, space: Space, said: &mut Said) -> Option<Piece> {
        let waiting = self.control.front_mut()?;
        let cut = match waiting.open {
            None => begin(waiting, space, Some(CONTROL_NUMBER), said)?,
            Some(open) => go_on(waiting, open, space)?,
        };
        if !cut.head.ends_message() {
            return Some(cut.of(waiting.message.clone()));
        }
        let message = self.control.pop_front()?.message;
        self.forget(&message);
        Some(cut.of(message))
    }

    fn take_turn(&mut self, space: Space, said: &mut Said) -> Option<Piece> {
        let session = *self.turns.front()?;
        let lane = self.sessions.get_mut(&session)?;
        let waiting = lane.messages.front_mut()?;
        let cut = match waiting.open {
            None => begin(waiting, space, self.open_numbers.free(), said)?,
            Some(open) => go_on(waiting, open, space)?,
        };
        self.open_numbers.note(&cut.head);
        self.quantum_left = self.quantum_left.saturating_sub(cut.range.len().max(1));
        if !cut.head.ends_message() {
            return Some(cut.of(waiting.message.clone()));
        }
        let message = lane.messages.pop_front()?.message;
        lane.bytes -= message.payload.len();
        if lane.messages.is_empty() {
            self.sessions.remove(&session);
            self.turns.pop_front();
            // So that the next call does not pass over the session that is first now.
            self.quantum_left = self.quantum_left.max(1);
        } else if cut.head.fragment.is_some() && std::mem::take(&mut self.passed_over) {
            // The number that is free now is for the others, not for the next message of this one.
            self.quantum_left = 0;
        }
        self.forget(&message);
        Some(cut.of(message))
    }

    fn forget(&mut self, message: &Outgoing) {
        self.messages -= 1;
        self.bytes -= message.payload.len();
    }

    /// A ring ended: every message of a client whose end was not numbered starts again.
    pub(crate) fn rewind(&mut self) {
        for session in &self.turns {
            if let Some(first) = self.sessions.get_mut(session).and_then(|lane| lane.messages.front_mut()) {
                first.open = None;
            }
        }
        self.open_numbers = OpenNumbers::default();
    }

    /// Drops the waiting messages of the daemon itself: the exchange that they belong to is void.
    pub(crate) fn clear_control(&mut self) {
        for waiting in std::mem::take(&mut self.control) {
            self.forget(&waiting.message);
        }
    }
}

/// Cuts the first piece of a message, which may be all of it, to fit `space`; the number is for one that is
/// not. `None` when it must wait for the next packet.
fn begin(waiting: &mut Waiting, space: Space, number: Option<u8>, said: &mut Said) -> Option<Cut> {
    let Outgoing { kind, service, payload } = &waiting.message;
    let preamble = if service.is_ordered() { said.find(payload.preamble()) } else { None };
    let (offset, least) = match preamble {
        Some(Preamble::Known { .. }) => (payload.preamble().len(), 1),
        Some(Preamble::New { bytes, .. }) => (0, usize::from(bytes)),
        None => (0, 1),
    };
    let total = payload.len() - offset;
    let mut head = MessageHead { kind: *kind as u8, service: *service, fragment: None, preamble };
    let mut length = total;
    if head.encoded_bytes(total) + total > space.left {
        // A message without order is delivered on arrival, so it must not straddle two packets.
        let fits_alone = head.encoded_bytes(total) + total <= space.capacity;
        if !service.is_ordered() && fits_alone {
            return None;
        }
        let number = number?;
        head.fragment = Some(Fragment { number, position: Position::First { total: total as u32 } });
        length = space.left.checked_sub(head.encoded_bytes(0)).filter(|room| *room >= least)?;
        waiting.open = Some(Open { number, offset: offset + length });
    }
    said.note(preamble, payload.preamble());
    Some(Cut { head, range: offset..offset + length })
}

/// Cuts the next piece of a message whose first is sent, in the same way.
fn go_on(waiting: &mut Waiting, open: Open, space: Space) -> Option<Cut> {
    let Outgoing { kind, service, payload } = &waiting.message;
    let Open { number, offset } = open;
    let left = payload.len() - offset;
    let head = |position| {
        let fragment = Some(Fragment { number, position });
        MessageHead { kind: *kind as u8, service: *service, fragment, preamble: None }
    };
    let fits = |head: &MessageHead| head.encoded_bytes(left) + left <= space.left;
    let lasts = [false, true].map(|fills_packet| head(Position::Last { fills_packet }));
    let (head, length) = match lasts.into_iter().find(fits) {
        Some(last) => (last, left),
        None => {
            let middle = head(Position::Middle);
            (middle, space.left.checked_sub(middle.encoded_bytes(0)).filter(|room| *room > 0)?)
        }
    };
    waiting.open = Some(Open { number, offset: offset + length });
    Some(Cut { head, range: offset..offset + length })
}

#[cfg(test)]
mod tests;
