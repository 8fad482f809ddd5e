//! Which sessions get a client's message.

use antiphon_wire::client::flags::{HEADER_BYTES, SELF_DISCARD};
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::reader::DecodeError;
use antiphon_wire::ring::multicast::Unpacked;
use bytes::Bytes;

use super::Groups;
use super::audience::Listener;
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
        if self.deaf_to.as_ref().is_some_and(|last| is_the_same(last, preamble)) {
            return Ok(());
        }
        let Some(daemon) = cx.config.daemon(sender.daemon) else {
            return Err(DecodeError::BadValue { what: "sending daemon", value: u64::from(sender.daemon.0) });
        };
        let Unpacked { header, body } = self.unpacker.unpack(preamble, bytes.bytes(), &daemon.name)?;
        let body = bytes.narrowed(body);
        let echoes = cx.config.is_mutant(Mutant::EchoDiscarded);
        let discards = !echoes && sender == self.me && header.flags & SELF_DISCARD != 0;
        let sender = if discards { MemberName::from_field(&header.name).ok() } else { None };
        sessions.begin_message(sender.as_ref());
        let groups = self.unpacker.head().get(HEADER_BYTES..).unwrap_or_default();
        // One for all groups, so that a large body is shared by all who get it.
        let frame = SharedFrame::new(self.unpacker.head(), body);
        let mut is_deaf = !preamble.is_empty();
        for field in groups.as_chunks().0 {
            is_deaf &= !self.route_to(&GroupName::from_field(field), &frame, sessions, cx);
        }
        self.deaf_to = is_deaf.then(|| preamble.clone());
        Ok(())
    }

    /// Passes a multicast to those whom one of its groups has here. Returns whether there may be any, also for the
    /// next message.
    fn route_to(
        &self,
        name: &GroupName,
        frame: &SharedFrame<'_>,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) -> bool {
        if name.is_private() {
            let member = MemberName::from_field(name.as_field()).ok();
            if let Some(receiver) = member.and_then(|member| sessions.receiver(&member)) {
                sessions.deliver_once(receiver.session, frame, cx);
            }
            return true;
        }
        let Some(audience) = self.table.audience(name) else { return false };
        for Listener { receiver, .. } in audience.listeners() {
            if receiver.wants_membership || !cx.config.is_mutant(Mutant::DeafWithoutViews) {
                sessions.deliver_once(receiver.session, frame, cx);
            }
        }
        true
    }
}

/// Whether two preambles are one down to their place in memory, where each is kept for one sender.
fn is_the_same(one: &Bytes, other: &Bytes) -> bool {
    std::ptr::eq::<[u8]>(&**one, &**other)
}
