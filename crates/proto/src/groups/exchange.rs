//! The exchange: every daemon reports the groups of its own sessions, and the reports of all
//! members of a ring are its table, which [`super::merge`] puts together.

use antiphon_wire::ids::ProcessId;
use antiphon_wire::names::PrivateName;
use antiphon_wire::reader::DecodeError;
use antiphon_wire::service::ServiceLevel;
use bytes::BytesMut;

use super::Groups;
use super::codec::{self, Part};
use super::merge::Merge;
use super::passes::{Pass, Task};
use super::report::{ReportReader, ReportWriter, ReportedGroup};
use super::table::{Group, GroupRef, MemberRef};
use crate::cx::Cx;
use crate::delivery::{Kind, Lent};
use crate::send_queue::Outgoing;

/// Parts of one report, 256 MiB together: what a daemon's own sessions may be in takes less (`max_groups` with up to
/// 48 bytes each, `max_memberships` with up to 3), and what claims more is not waited for.
const MAX_PARTS: u32 = 8192;

/// What was reported so far.
#[derive(Debug)]
pub(super) struct Exchange {
    incoming: Vec<Incoming>,
}

/// The report of one member of the ring.
#[derive(Debug)]
struct Incoming {
    process: ProcessId,
    bytes: BytesMut,
    parts: u32,
    /// How many parts there are, once the first has said so.
    count: Option<u32>,
    complete: bool,
}

impl Exchange {
    pub(super) fn new(members: &[ProcessId]) -> Self {
        let incoming = |process: &ProcessId| Incoming {
            process: *process,
            bytes: BytesMut::new(),
            parts: 0,
            count: None,
            complete: false,
        };
        Self { incoming: members.iter().map(incoming).collect() }
    }

    /// Adds a part; whether it fits is returned. One that does not voids the whole report, for every
    /// receiver alike: better a daemon without sessions than an exchange that never ends.
    fn add(&mut self, sender: ProcessId, part: &Part) -> bool {
        let Some(incoming) = self.incoming.iter_mut().find(|incoming| incoming.process == sender) else {
            return false;
        };
        if incoming.complete {
            return false;
        }
        let count = *incoming.count.get_or_insert(part.count);
        let is_next = part.number == incoming.parts && part.number < count;
        let fits = is_next && part.count == count && count <= MAX_PARTS;
        if fits {
            incoming.bytes.extend_from_slice(&part.piece);
            incoming.parts += 1;
        } else {
            incoming.bytes.clear();
        }
        incoming.complete = !fits || incoming.parts == part.count;
        fits
    }

    fn is_complete(&self) -> bool {
        self.incoming.iter().all(|incoming| incoming.complete)
    }

    /// What there is to be read. A report of which not even the beginning can be is the same to every receiver; it
    /// counts as that of a daemon without sessions.
    fn into_readers(self, cx: &mut Cx<'_>) -> Vec<(ProcessId, ReportReader)> {
        let mut readers = Vec::new();
        for incoming in self.incoming {
            match ReportReader::new(incoming.bytes.freeze()) {
                Ok(reader) => readers.push((incoming.process, reader)),
                Err(_) => cx.stats.groups_messages_rejected += 1,
            }
        }
        readers
    }
}

impl Groups {
    /// Begins to write what I report.
    pub(super) fn start_report(&mut self) {
        let own = self.table.members_of(self.me);
        let mut positions = vec![0_u32; own.iter().map(|member| member.index() + 1).max().unwrap_or(0)];
        let mut members = Vec::with_capacity(own.len());
        for (position, member) in (0..).zip(&own) {
            members.extend(PrivateName::new(self.table.member(*member).name.private()));
            if let Some(slot) = positions.get_mut(member.index()) {
                *slot = position;
            }
        }
        let writer = ReportWriter::new(self.component, members);
        self.start_walk(Task::WriteReport { writer, positions });
    }

    /// Adds a group to my report, if sessions of mine are in it. Theirs are the `positions`, by member.
    pub(super) fn report(&self, group: GroupRef, positions: &[u32], writer: &mut ReportWriter) {
        let group = self.table.group(group);
        let position = |member: &MemberRef| positions.get(member.index()).copied().unwrap_or(0);
        let members: Vec<u32> = self.table.part_of(group, self.me).iter().map(position).collect();
        if !members.is_empty() {
            let Group { name, id, marked, .. } = *group;
            writer.put_group(&ReportedGroup { name, id, marked, members });
        }
    }

    /// Puts my report into the control lane.
    pub(super) fn send_report(&self, writer: ReportWriter, cx: &mut Cx<'_>) {
        for frame in codec::encode_parts(self.ring, &writer.finish()) {
            cx.queue.push_control(Outgoing {
                kind: Kind::Daemon,
                service: ServiceLevel::Agreed,
                payload: frame.into(),
            });
        }
    }

    /// Takes a part of a report. Those of another ring are late and mean nothing.
    ///
    /// # Errors
    /// When it cannot be read or is out of turn.
    // Few messages are parts: what becomes of them is not to be in the way of the others.
    #[cold]
    pub(super) fn on_part(
        &mut self,
        sender: ProcessId,
        frame: Lent<'_>,
        cx: &mut Cx<'_>,
    ) -> Result<(), DecodeError> {
        let part = codec::decode_part(frame)?;
        let Some(exchange) = self.exchange.as_mut().filter(|_| part.ring == self.ring) else {
            return Ok(());
        };
        let fits = exchange.add(sender, &part);
        if let Some(complete) = self.exchange.take_if(|exchange| exchange.is_complete()) {
            let merge = Merge::new(self.me, complete.into_readers(cx), self.table.successor(), cx);
            self.start(Pass::Merge(Box::new(merge)));
        }
        if fits {
            Ok(())
        } else {
            Err(DecodeError::BadValue { what: "part number", value: u64::from(part.number) })
        }
    }
}
