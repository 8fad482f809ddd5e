//! Frames put into outboxes, and all that limits them.

use std::cell::OnceCell;

use antiphon_wire::ids::SessionId;
use bytes::{Buf, Bytes};

use super::Session;
use super::frame_budget::FrameBudget;
use super::memory::Memory;
use super::pressure::{Pressure, Threshold};
use crate::config::Config;
use crate::cx::Cx;
use crate::delivery::Lent;
use crate::mutant::Mutant;

/// A frame for clients, in two parts.
#[derive(Debug)]
pub(crate) struct SharedFrame<'a> {
    head: &'a [u8],
    /// The rest.
    body: Lent<'a>,
    /// The same as outboxes share it, once one does.
    shared: OnceCell<Bytes>,
}

impl<'a> SharedFrame<'a> {
    pub(crate) fn new(head: &'a [u8], body: Lent<'a>) -> Self {
        Self { head, body, shared: OnceCell::new() }
    }

    /// One in one part.
    pub(crate) fn whole(body: &'a Bytes) -> Self {
        Self::new(&[], Lent::whole(body))
    }

    pub(super) fn head(&self) -> &'a [u8] {
        self.head
    }

    pub(super) fn body(&self) -> &'a [u8] {
        self.body.bytes()
    }

    /// The body for one more outbox, counted once for all of them.
    pub(super) fn share_body(&self, memory: &Memory) -> Bytes {
        self.shared.get_or_init(|| memory.count(self.body.keep())).clone()
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
    /// What is kept of all sessions.
    pub(super) memory: Memory,
    pub(super) budget: FrameBudget,
}

impl Outflow {
    pub(super) fn new(config: &Config) -> Self {
        let budget = FrameBudget::new(config.frames_at_once());
        Self { pressure: Pressure::default(), memory: Memory::default(), budget }
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
        let bytes = frame.head().len() + frame.body().len();
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
            let threshold = Threshold::new(limits, self.memory.bytes(), sessions);
            self.pressure.before_growth(id, &session.outbox, threshold);
        }
        session.arrivals.messages += 1;
        session.outbox.push(frame, cx.config.ring.datagram_bytes);
        self.budget.note_frame(bytes);
        if Threshold::may_be_passed(limits, &session.outbox) {
            let threshold = Threshold::new(limits, self.memory.bytes(), sessions);
            self.pressure.on_growth(id, &session.outbox, threshold, cx.now);
        }
        (self.memory.bytes() > limits.max_kept_bytes).then_some(Excess::OfAll)
    }
}
