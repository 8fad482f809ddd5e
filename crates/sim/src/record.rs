//! Writes the [`Trace`] of a run.

use std::collections::HashMap;
use std::time::Duration;

use antiphon_proto::delivery::{Configuration, Kind};
use antiphon_proto::time::Instant;
use antiphon_proto::{Event, Trace as CoreRecord};
use antiphon_wire::client::flags::SELF_DISCARD;
use antiphon_wire::client::frame::Frame;
use antiphon_wire::client::header::Hint;
use antiphon_wire::ids::{ProcessId, RingId, Seq, SessionId};
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::ring::multicast::Unpacker;
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;

use crate::client::payload;
use crate::hash;
use crate::trace::{
    FlushEvent, FlushTrace, ProcessEvent, ProcessTrace, SessionEvent, SessionTrace, Stamp, Submission, Trace,
};
use crate::world::daemon_name;

/// The trace of a run in the making.
#[derive(Debug, Default)]
pub struct Recorder {
    /// What was recorded so far.
    pub trace: Trace,
    /// How many records of processes and sessions there are.
    pub records: u64,
    /// Numbers given to messages of clients with the flush layer.
    flush_numbers: u64,
    /// Ring of the configuration that each process recorded last.
    rings: Vec<RingId>,
    /// Multicasts by name of the sender and message type, which together are never used twice.
    numbers: HashMap<(MemberName, i16), usize>,
}

impl Recorder {
    /// Begins the trace of a process; returns its position.
    pub fn boot(&mut self, process: ProcessId) -> usize {
        self.rings.push(RingId::default());
        self.trace.processes.push(ProcessTrace { process, records: Vec::new(), ended: None });
        self.trace.processes.len() - 1
    }

    /// Begins the trace of a connection; returns its position.
    pub fn open(&mut self, now: Instant, name: MemberName, process: usize, wants_views: bool) -> usize {
        self.trace.sessions.push(SessionTrace::new(name, process, now, wants_views));
        self.trace.sessions.len() - 1
    }

    /// Records an event of a connection.
    pub fn session(&mut self, now: Instant, session: usize, event: SessionEvent) {
        if let Some(session) = self.trace.sessions.get_mut(session) {
            session.records.push((now, event));
            self.records += 1;
        }
    }

    /// Begins the trace of a connection with the flush layer; returns its position.
    pub fn open_flush(&mut self, session: usize, limit: Option<Duration>) -> usize {
        self.trace.flushes.push(FlushTrace { session, limit, records: Vec::new() });
        self.trace.flushes.len() - 1
    }

    /// Records an event of a client with the flush layer.
    pub fn flush(&mut self, now: Instant, position: usize, group: GroupName, event: FlushEvent) {
        self.trace.flushes[position].records.push((now, group, event));
        self.records += 1;
    }

    /// A number that no message of a client with the flush layer has yet.
    pub fn next_flush_number(&mut self) -> u64 {
        self.flush_numbers += 1;
        self.flush_numbers
    }

    /// Records a multicast that a client sends with that message type; returns its position.
    pub fn submit(&mut self, now: Instant, message_type: i16, submission: Submission) -> usize {
        let number = self.trace.submissions.len();
        let session = submission.session;
        let name = self.trace.sessions[session].name;
        let used = self.numbers.insert((name, message_type), number);
        assert!(used.is_none(), "message types of a name are used once");
        self.trace.submissions.push(submission);
        self.session(now, session, SessionEvent::Sent(number));
        number
    }

    /// Notes something that the world did.
    pub fn remark(&mut self, now: Instant, text: String) {
        self.trace.remarks.push((now, text));
    }

    /// Records one element of a core's own trace.
    pub fn core(&mut self, now: Instant, process: usize, record: CoreRecord) {
        let event = match record {
            CoreRecord::Originated { ring, seq, index, kind, service, bytes } => {
                let sender = self.trace.processes[process].process;
                ProcessEvent::Originated(self.stamp(ring, (seq, index), sender, (kind, service), &bytes))
            }
            CoreRecord::Delivered { sender, seq, index, kind, service, bytes, early } => {
                let ring = self.rings[process];
                let stamp = self.stamp(ring, (seq, index), sender, (kind, service), &bytes);
                ProcessEvent::Delivered { sender, stamp, early }
            }
            CoreRecord::Configured(configuration) => {
                if let Configuration::Regular { ring, .. } = configuration {
                    self.rings[process] = ring;
                }
                ProcessEvent::Configured(configuration)
            }
            CoreRecord::Table { ring, place, hash } => ProcessEvent::Table { ring, place, hash },
        };
        self.trace.processes[process].records.push((now, event));
        self.records += 1;
    }

    /// Records what of a core's events the checkers need.
    pub fn event(&mut self, now: Instant, process: usize, event: &Event) {
        let event = match event {
            Event::Settled { ring } => ProcessEvent::Settled(*ring),
            Event::SessionAccepted(session, _) => ProcessEvent::Accepted(position(*session)),
            Event::SessionClosed(session, _, reason) => ProcessEvent::Closed(position(*session), *reason),
            _ => return,
        };
        self.trace.processes[process].records.push((now, event));
    }

    fn stamp(
        &self,
        ring: RingId,
        (seq, index): (Seq, u16),
        sender: ProcessId,
        (kind, service): (Kind, ServiceLevel),
        bytes: &Bytes,
    ) -> Stamp {
        let submission = if kind == Kind::Client { self.carried(sender, bytes) } else { None };
        Stamp { ring, seq, index, kind, service, hash: hash::of_bytes(bytes), submission }
    }

    fn carried(&self, sender: ProcessId, packed: &Bytes) -> Option<usize> {
        let daemon = daemon_name(sender.daemon.index());
        let header = Unpacker::default().unpack(&Bytes::new(), packed, &daemon).ok()?.header;
        self.find(&header.name, header.hint)
    }

    /// Which multicast has that sender name field and that hint.
    #[must_use]
    pub fn find(&self, name: &[u8; 32], hint: Hint) -> Option<usize> {
        let name = MemberName::from_field(name).ok()?;
        self.numbers.get(&(name, hint.message_type())).copied()
    }

    /// Whether a frame is exactly the multicast of that position.
    #[must_use]
    pub fn is_intact(&self, frame: &Frame, submission: usize) -> bool {
        let Some(sent) = self.trace.submissions.get(submission) else { return false };
        frame.header.flags == flags(sent)
            && frame.group_fields().eq(sent.groups.iter().map(GroupName::as_field))
            && frame.body() == payload::body(submission, sent.body_bytes)
    }
}

/// Where the trace of a session stands: worlds number sessions in the order in which they are opened.
fn position(session: SessionId) -> usize {
    usize::try_from(session.0).unwrap_or(usize::MAX)
}

/// The flag word of a multicast.
#[must_use]
pub fn flags(submission: &Submission) -> u32 {
    submission.service.flag() | if submission.self_discard { SELF_DISCARD } else { 0 }
}
