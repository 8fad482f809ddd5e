//! What a client's frame asks for, and what is wrong with it.

use antiphon_wire::client::flags::{GROUPS_EXCHANGE, JOIN, KILL, LEAVE, REJECT, REQUEST_MASK};
use antiphon_wire::client::frame::Frame;
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::ring::multicast::put_packed_head;
use antiphon_wire::service::ServiceLevel;
use bytes::BytesMut;

use crate::delivery::Kind;
use crate::groups::codec::encode_operation;
use crate::payload::Payload;
use crate::send_queue::Outgoing;

/// A longer frame of the levels below FIFO is ordered nevertheless: clients know only that what fits into one
/// packet of the reference may overtake others, however long ours are.
const MAX_OVERTAKING_BYTES: usize = 1432;

/// What a well-formed frame asks for.
#[derive(Debug)]
pub(super) enum Request {
    /// Put this into the order.
    Send(Outgoing),
    /// End the session.
    Disconnect,
    /// Nothing: a message to no group, or a join or leave that names none.
    Nothing,
}

/// Checks a frame of the session `member`; packs it, if it is a multicast, with the memory of `packing`.
///
/// # Errors
/// What the client did wrong; its connection is to be closed.
pub(super) fn admit(
    frame: Frame,
    member: &MemberName,
    packing: &mut BytesMut,
) -> Result<Request, &'static str> {
    let header = &frame.header;
    if header.hint.has_foreign_bits() {
        return Err("unknown bits in the hint");
    }
    if header.flags & (GROUPS_EXCHANGE | REJECT) != 0 {
        return Err("a type that only daemons use");
    }
    let sender = header.ended_name();
    // Nearly all fields are the name and nothing else, and then need not be parsed.
    if sender != *member.as_field() && MemberName::from_field(&sender) != Ok(*member) {
        return Err("somebody else's name as sender");
    }
    let asked = header.flags & (REQUEST_MASK | ServiceLevel::FLAG_MASK);
    if asked.count_ones() != 1 {
        return Err("not exactly one service or request");
    }
    let first_group = frame.group_fields().next().map(GroupName::from_field);
    Ok(match (asked, first_group) {
        (KILL, _) => Request::Disconnect,
        (_, None) => Request::Nothing,
        (JOIN, Some(group)) => Request::Send(operation(Kind::Join, member, &group)),
        (LEAVE, Some(group)) => Request::Send(operation(Kind::Leave, member, &group)),
        (flags, Some(_)) => ServiceLevel::from_flags(flags).map_or(Request::Nothing, |service| {
            let may_overtake = frame.whole().len() <= MAX_OVERTAKING_BYTES;
            let service = if may_overtake { service } else { service.max(ServiceLevel::Fifo) };
            let preamble_bytes = put_packed_head(&frame, member, packing);
            let payload = Payload::new(packing.split().freeze(), preamble_bytes, frame.into_body());
            Request::Send(Outgoing { kind: Kind::Client, service, payload })
        }),
    })
}

fn operation(kind: Kind, member: &MemberName, group: &GroupName) -> Outgoing {
    Outgoing { kind, service: ServiceLevel::Agreed, payload: encode_operation(member, group).into() }
}
