//! The messages of the flush layer, as Spread's sends them.
//!
//! | message | message type | goes to | body |
//! |---|---|---|---|
//! | flush acknowledgement | -32768 | the group | id of the view that is being agreed on |
//! | receipt | -32767 | the group | id of the view that was installed |
//! | marked data | -32766 | the group | user's body, 2 bytes user's message type, id of the sender's view |
//! | subgroup cast | user's or -32766 | receivers' private groups | as data, then 32 bytes group name |
//!
//! Ids are 12 bytes. All numbers are in the byte order of the sender, and messages come with the mark
//! that tells whether that is ours. Acknowledgements and receipts are FIFO messages.

use antiphon_wire::client::flags::SUBGROUP_CAST;
use antiphon_wire::client::membership::{GROUP_ID_BYTES, GroupId};
use antiphon_wire::names::{GroupName, NAME_FIELD_BYTES};

use crate::message::Message;

/// Message type of a flush acknowledgement.
pub(super) const FLUSH_OK: i16 = i16::MIN;
/// Message type of a receipt.
pub(super) const FLUSH_RECV: i16 = i16::MIN + 1;
/// Message type of marked data.
pub(super) const MARKED: i16 = i16::MIN + 2;

const MARK_BYTES: usize = 2 + GROUP_ID_BYTES;

/// What a message means to the flush layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// The sender will send no more before the view with this id.
    FlushOk(GroupId),
    /// The sender installed the view with this id.
    FlushRecv(GroupId),
    /// The user's message, and the view in which it was sent if the sender said so.
    Data(Message, Option<GroupId>),
}

/// Takes a message apart: its group and what it means. `None` when it is not of the flush layer's
/// making, which holds for messages to no group or several, and when it is too short.
pub(super) fn decode(mut message: Message) -> Option<(GroupName, Meaning)> {
    // On a big-endian host, the messages that mismatch are the little-endian ones.
    let big_endian = message.endian_mismatch == cfg!(target_endian = "little");
    let group = if message.flags & SUBGROUP_CAST != 0 {
        let at = message.body.len().checked_sub(NAME_FIELD_BYTES)?;
        let name = message.body.split_off(at);
        GroupName::from_field(name.as_ref().try_into().ok()?)
    } else {
        let [group] = message.groups.as_slice() else { return None };
        *group
    };
    let meaning = match message.message_type {
        FLUSH_OK => Meaning::FlushOk(id(&message.body, big_endian)?),
        FLUSH_RECV => Meaning::FlushRecv(id(&message.body, big_endian)?),
        MARKED => {
            let mark = message.body.split_off(message.body.len().checked_sub(MARK_BYTES)?);
            let (message_type, view) = mark.split_at_checked(2)?;
            let message_type = i16::from_le_bytes(message_type.try_into().ok()?);
            message.message_type = if big_endian { message_type.swap_bytes() } else { message_type };
            Meaning::Data(message, Some(id(view, big_endian)?))
        }
        _ => Meaning::Data(message, None),
    };
    Some((group, meaning))
}

/// An id in the byte order that our messages are marked with.
pub(super) fn put_id(body: &mut Vec<u8>, id: GroupId) {
    for word in [id.leader, id.time, id.counter] {
        body.extend_from_slice(&word.to_le_bytes());
    }
}

/// The end of a marked body: the user's message type and the sender's view.
pub(super) fn put_mark(body: &mut Vec<u8>, message_type: i16, view: GroupId) {
    body.extend_from_slice(&message_type.to_le_bytes());
    put_id(body, view);
}

fn id(bytes: &[u8], big_endian: bool) -> Option<GroupId> {
    let (words, []) = bytes.as_chunks::<4>() else { return None };
    let [leader, time, counter] = words else { return None };
    let word =
        |bytes: &[u8; 4]| if big_endian { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) };
    Some(GroupId { leader: word(leader), time: word(time), counter: word(counter) })
}
