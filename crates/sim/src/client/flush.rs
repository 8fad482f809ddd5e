//! Clients that use the library's flush layer.
//!
//! A [`Program`] takes the place of what an application would be: it answers flush requests, some at
//! once and some when the load says so, and records what its layer told it.

use std::time::Duration;

use antiphon::flush::{Event, Layer, Request};
use antiphon::session::Outbox;
use antiphon_proto::time::Instant;
use antiphon_wire::client::frame::Frame;
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;

use crate::record::Recorder;
use crate::trace::FlushEvent;

/// What a program can be told to do; it does what its layer allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// Join the group.
    Join,
    /// Leave the group.
    Leave,
    /// Flush the group.
    Flush,
    /// Send to the group.
    Cast(ServiceLevel),
}

/// The application of one connection.
#[derive(Debug)]
pub struct Program {
    layer: Layer,
    outbox: Outbox,
    /// Position in [`crate::trace::Trace::flushes`].
    position: usize,
    requests: u32,
}

impl Program {
    /// The program of a connection that has just been opened.
    #[must_use]
    pub fn new(me: MemberName, position: usize, limit: Option<Duration>) -> Self {
        let mut layer = Layer::new(me);
        layer.set_flush_limit(limit);
        Self { layer, outbox: Outbox::new(me), position, requests: 0 }
    }

    /// When the layer will have waited long enough for a flush.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.layer.deadline().map(|deadline| Instant::default() + deadline)
    }

    /// Lets the layer look at the clock.
    pub(super) fn on_time(&mut self, now: Instant, recorder: &mut Recorder) -> Result<(), String> {
        self.layer.on_time(now.since(Instant::default()));
        self.tell(now, recorder)
    }

    /// The same program, over a layer with a fault.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn planted(mut self, mutant: Option<antiphon::flush::mutant::Mutant>) -> Self {
        if let Some(mutant) = mutant {
            self.layer.plant(mutant);
        }
        self
    }

    /// Takes a frame from the daemon; what is wrong with it, if anything.
    pub(super) fn on_frame(
        &mut self,
        now: Instant,
        frame: &Frame,
        recorder: &mut Recorder,
    ) -> Result<(), String> {
        let event = antiphon::Event::from_frame(frame.clone(), &self.layer.member());
        let event = event.map_err(|error| error.to_string())?;
        self.layer.on_time(now.since(Instant::default()));
        if let antiphon::Event::View(view) = &event {
            recorder.flush(now, self.position, view.group, FlushEvent::Change(Box::new(view.clone())));
        }
        self.layer.on_event(event).map_err(|error| error.to_string())?;
        self.tell(now, recorder)
    }

    /// Records what the layer tells, and answers.
    fn tell(&mut self, now: Instant, recorder: &mut Recorder) -> Result<(), String> {
        while let Some(event) = self.layer.next_event() {
            match event {
                Event::FlushRequest(group) => {
                    recorder.flush(now, self.position, group, FlushEvent::Requested);
                    self.requests += 1;
                    if self.requests.is_multiple_of(2) {
                        self.act(now, group, Deed::Flush, recorder);
                    }
                }
                Event::View(view) => {
                    recorder.flush(now, self.position, view.group, FlushEvent::View(Box::new(view)));
                }
                Event::Message { group, message } => {
                    let number = message.body.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
                    let number = number.ok_or("a body that nobody sent")?;
                    let event = FlushEvent::Message(number, message.sender);
                    recorder.flush(now, self.position, group, event);
                }
                Event::Transition(group) => {
                    recorder.flush(now, self.position, group, FlushEvent::Transition);
                }
                Event::Overdue(group) => recorder.flush(now, self.position, group, FlushEvent::Overdue),
                Event::SelfLeave(group) => recorder.flush(now, self.position, group, FlushEvent::Left),
                Event::Outside(message) => return Err(format!("a message of {} outside", message.sender)),
            }
        }
        Ok(())
    }

    /// Does something, if the layer allows it.
    pub(super) fn act(&mut self, now: Instant, group: GroupName, deed: Deed, recorder: &mut Recorder) {
        let number = recorder.next_flush_number();
        let (done, event) = match deed {
            Deed::Join => (self.layer.join(group), FlushEvent::Joining),
            Deed::Leave => (self.layer.leave(group), FlushEvent::Leaving),
            Deed::Flush => (self.layer.flush(group), FlushEvent::Flushed),
            Deed::Cast(service) => {
                let done = self.layer.multicast(service, group, 1, number.to_le_bytes());
                (done, FlushEvent::Sent(number))
            }
        };
        if done.is_ok() {
            recorder.flush(now, self.position, group, event);
        }
    }

    /// Takes what is to be sent to the daemon.
    pub(super) fn take_bytes(&mut self) -> Bytes {
        while let Some(request) = self.layer.next_request() {
            let put = match request {
                Request::Join(group) => self.outbox.join(group),
                Request::Leave(group) => self.outbox.leave(group),
                Request::Send(envelope, body) => self.outbox.send(&envelope, &body),
            };
            assert!(put.is_ok(), "the layer checks what it asks for: {put:?}");
        }
        let bytes = Bytes::copy_from_slice(self.outbox.pending());
        self.outbox.clear();
        bytes
    }
}
