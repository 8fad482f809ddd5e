//! Which sessions get a client's message (client protocol §4.2).

use antiphon_wire::client::flags::{HEADER_BYTES, SELF_DISCARD};
use antiphon_wire::client::header::Header;
use antiphon_wire::ids::ProcessId;
use antiphon_wire::names::{GroupName, MemberName, NAME_FIELD_BYTES};
use antiphon_wire::reader::{DecodeError, Reader};
use bytes::Bytes;

use super::Groups;
use crate::cx::Cx;
use crate::mutant::Mutant;
use crate::sessions::Sessions;

impl Groups {
    /// Passes a client frame to all local members of its groups, and to the sessions whose private
    /// groups it names. Each gets one copy, whatever the number of its roles. While groups are
    /// exchanged nobody gets it: no message with order can come then, and one without order behind a
    /// gap of the old ring must not pass the exchange (EVS contract G17).
    ///
    /// # Errors
    /// When the frame has no whole header, or not the groups that it announces.
    pub(super) fn route(
        &self,
        sender: ProcessId,
        frame: &Bytes,
        sessions: &mut Sessions,
        cx: &mut Cx<'_>,
    ) -> Result<(), DecodeError> {
        if !self.is_settled() {
            return Ok(());
        }
        let mut reader = Reader::new(frame.clone(), "client frame");
        let header = Header::decode(&reader.array::<HEADER_BYTES>()?);
        let header = header.map_err(|_| reader.bad_value("endian mark", 0))?;
        let groups = reader.take((header.group_count as usize).saturating_mul(NAME_FIELD_BYTES))?;
        let echoes = cx.config.is_mutant(Mutant::EchoDiscarded);
        let discards = !echoes && sender == self.me && header.flags & SELF_DISCARD != 0;
        let sender = if discards { MemberName::from_field(&header.name).ok() } else { None };
        sessions.begin_message(sender.as_ref());
        for field in groups.as_chunks().0 {
            self.route_to(&GroupName::from_field(field), frame, sessions, cx);
        }
        Ok(())
    }

    fn route_to(&self, name: &GroupName, frame: &Bytes, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        if name.is_private() {
            let member = MemberName::from_field(name.as_field()).ok();
            if let Some(receiver) = member.and_then(|member| sessions.receiver(&member)) {
                sessions.deliver_once(receiver.session, frame, cx);
            }
            return;
        }
        let Some(group) = self.table.find_group(name) else { return };
        for (_, receiver) in self.table.group(group).local() {
            sessions.deliver_once(receiver.session, frame, cx);
        }
    }
}
