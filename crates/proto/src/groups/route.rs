//! Which sessions get a client's message.

use antiphon_wire::client::flags::{HEADER_BYTES, SELF_DISCARD};
use antiphon_wire::ids::SessionId;
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::reader::DecodeError;
use antiphon_wire::ring::multicast::Unpacked;
use bytes::Bytes;
use smallvec::SmallVec;

use super::Groups;
use crate::cx::Cx;
use crate::delivery::Message;
use crate::mutant::Mutant;
use crate::sessions::{Sessions, SharedFrame};

impl Groups {
    /// Passes a multicast to all local members of its groups, and to the sessions whose private
    /// groups it names. Each gets one copy, whatever the number of its roles. Only while groups are settled:
    /// what comes before that is not delivered at all. What concerns nobody here is not looked at any further.
    ///
    /// # Errors
    /// When the bytes are no packed multicast of a configured daemon.
    pub(super) fn route(
        &mut self,
        message: Message<'_>,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) -> Result<(), DecodeError> {
        let Message { sender, preamble, bytes, .. } = message;
        let known = self.known.as_ref().filter(|known| known.is_for(preamble));
        let receivers = known.and_then(|known| known.receivers.as_ref());
        if receivers.is_some_and(Receivers::is_empty) {
            return Ok(());
        }
        let Some(daemon) = cx.config.daemon(sender.daemon) else {
            return Err(DecodeError::BadValue { what: "sending daemon", value: u64::from(sender.daemon.0) });
        };
        let Unpacked { header, body } = self.unpacker.unpack(preamble, bytes.bytes(), &daemon.name)?;
        // One for all groups, so that a large body is shared by all who get it.
        let frame = SharedFrame::new(self.unpacker.head(), bytes.narrowed(body));
        if let Some(receivers) = receivers {
            receivers.iter().for_each(|session| sessions.deliver(*session, &frame, cx));
            return Ok(());
        }
        let echoes = cx.config.is_mutant(Mutant::EchoDiscarded);
        let discards = !echoes && sender == self.me && header.flags & SELF_DISCARD != 0;
        let sender = if discards { MemberName::from_field(&header.name).ok() } else { None };
        sessions.begin_message(sender.as_ref());
        let groups = self.unpacker.head().get(HEADER_BYTES..).unwrap_or_default();
        let (mut receivers, mut may_be_kept) = (known.map(|_| Receivers::new()), !preamble.is_empty());
        for field in groups.as_chunks().0 {
            let name = GroupName::from_field(field);
            may_be_kept &= !name.is_private();
            self.route_to(&name, &frame, sessions, &mut receivers, cx);
        }
        self.known = may_be_kept.then(|| Known { preamble: preamble.clone(), receivers });
        Ok(())
    }

    /// Passes a multicast to those whom one of its groups has here and who have not got it, and notes them.
    fn route_to(
        &self,
        name: &GroupName,
        frame: &SharedFrame<'_>,
        sessions: &mut Sessions,
        receivers: &mut Option<Receivers>,
        cx: &mut Cx<'_>,
    ) {
        if name.is_private() {
            let member = MemberName::from_field(name.as_field()).ok();
            if let Some(receiver) = member.and_then(|member| sessions.receiver(&member)) {
                sessions.deliver_once(receiver.session, frame, cx);
            }
            return;
        }
        let Some(audience) = self.table.audience(name) else { return };
        for receiver in audience.receivers() {
            if (receiver.wants_membership || !cx.config.is_mutant(Mutant::DeafWithoutViews))
                && sessions.deliver_once(receiver.session, frame, cx)
                && let Some(receivers) = receivers
            {
                receivers.push(receiver.session);
            }
        }
    }
}

/// Sessions that get a message.
type Receivers = SmallVec<[SessionId; 2]>;

/// Who here gets messages with a preamble, none of whose groups is private.
#[derive(Debug)]
pub(super) struct Known {
    preamble: Bytes,
    /// From the second message in a row on: where each has another preamble, nobody asks.
    receivers: Option<Receivers>,
}

impl Known {
    /// Whether that is the preamble, down to its place in memory, where each is kept for one sender.
    fn is_for(&self, preamble: &Bytes) -> bool {
        std::ptr::eq::<[u8]>(&*self.preamble, &**preamble)
    }
}
