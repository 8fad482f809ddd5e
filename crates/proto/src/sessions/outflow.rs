//! Frames put into outboxes, and all that limits them.

use antiphon_wire::ids::SessionId;
use bytes::{Buf, Bytes};

use super::Session;
use super::handover::Handover;
use super::owed::Owed;
use super::pressure::{Pressure, Threshold};
use crate::config::Config;
use crate::cx::Cx;
use crate::delivery::Lent;
use crate::mutant::Mutant;

/// A frame for clients, in two parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedFrame<'a> {
    /// The first part.
    pub(crate) head: &'a [u8],
    /// The rest; what is large is shared by the outboxes.
    pub(crate) body: Lent<'a>,
    /// About how many sessions get it.
    pub(crate) receivers: usize,
}

impl<'a> SharedFrame<'a> {
    /// One in one part.
    pub(crate) fn whole(body: &'a Bytes, receivers: usize) -> Self {
        Self { head: &[], body: Lent::whole(body), receivers }
    }
}

/// What is too much.
#[derive(Clone, Copy, Debug)]
pub(super) enum Excess {
    /// What the one session has not read: it did not get the frame.
    OfOne,
    /// What all sessions have not read.
    OfAll,
}

/// What limits the frames for all sessions.
#[derive(Debug)]
pub(super) struct Outflow {
    pub(super) pressure: Pressure,
    pub(super) owed: Owed,
    pub(super) handover: Handover,
}

impl Outflow {
    pub(super) fn new(config: &Config) -> Self {
        let handover = Handover::new(config.frames_at_once());
        Self { pressure: Pressure::default(), owed: Owed::default(), handover }
    }

    /// Puts a frame into the outbox of one of so many sessions. Messages are judged by what the socket has left, so
    /// that no burst ends a session that reads; the limit in bytes bounds the memory at any moment.
    pub(super) fn put(
        &mut self,
        id: SessionId,
        session: &mut Session,
        frame: &SharedFrame<'_>,
        sessions: usize,
        cx: &mut Cx<'_>,
    ) -> Option<Excess> {
        let limits = &cx.config.sessions;
        let bytes = frame.head.len() + frame.body.bytes().len();
        let is_impatient = cx.config.is_mutant(Mutant::Impatient) && session.outbox.messages() > 10;
        if is_impatient
            || session.messages_left(cx.now) >= limits.max_outbox_messages
            || session.outbox.remaining() + bytes > limits.max_outbox_bytes
        {
            return Some(Excess::OfOne);
        }
        if !session.outbox.has_remaining() {
            cx.out.dirty.push(id);
        }
        if !self.pressure.is_empty() {
            let threshold = Threshold::new(limits, self.owed.memory_bytes(), sessions);
            self.pressure.before_growth(id, &session.outbox, threshold);
        }
        session.arrivals.messages += 1;
        let kept = session.outbox.push(frame.head, frame.body, cx.config.ring.datagram_bytes);
        self.handover.note_frame(bytes);
        self.owed.add(&mut session.owes, kept, frame.receivers);
        if Threshold::may_be_passed(limits, &session.outbox) {
            let threshold = Threshold::new(limits, self.owed.memory_bytes(), sessions);
            self.pressure.on_growth(id, &session.outbox, threshold, cx.now);
        }
        (self.owed.memory_bytes() > limits.max_owed_bytes).then_some(Excess::OfAll)
    }
}
