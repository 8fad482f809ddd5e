//! What a client's frame asks for, and what is wrong with it.

use antiphon_wire::client::flags::{GROUPS_EXCHANGE, JOIN, KILL, LEAVE, REJECT, REQUEST_MASK};
use antiphon_wire::client::frame::Frame;
use antiphon_wire::client::header::Header;
use antiphon_wire::names::{GroupName, MemberName};
use antiphon_wire::ring::multicast::put_packed_head;
use antiphon_wire::service::ServiceLevel;
use bytes::{Bytes, BytesMut};

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

/// Bytes of packed heads that share an allocation.
const PACKING_BYTES: usize = 4096;

/// Checks what clients ask for, and packs multicasts.
#[derive(Debug)]
pub(super) struct Ingress {
    /// Where the heads of multicasts are packed, many in one allocation.
    packing: BytesMut,
    last: Option<Admitted>,
}

/// The multicast that was admitted last: mostly the next one differs from it in its body alone.
#[derive(Debug)]
struct Admitted {
    member: MemberName,
    /// As if there were no body.
    header: Header,
    groups: Vec<u8>,
    service: ServiceLevel,
    /// All that is packed before the body.
    head: Bytes,
    preamble_bytes: usize,
}

impl Ingress {
    pub(super) fn new() -> Self {
        Self { packing: BytesMut::with_capacity(PACKING_BYTES), last: None }
    }

    /// Checks a frame of the session `member`, and packs it if it is a multicast.
    ///
    /// # Errors
    /// What the client did wrong; its connection is to be closed.
    pub(super) fn admit(&mut self, frame: Frame, member: &MemberName) -> Result<Request, &'static str> {
        if let Some(last) = self.last.as_ref().filter(|last| last.is_like(&frame, member)) {
            return Ok(Request::Send(last.with_body(frame)));
        }
        let asked = check(&frame.header, member)?;
        let first_group = frame.group_fields().next().map(GroupName::from_field);
        Ok(match (asked, first_group) {
            (KILL, _) => Request::Disconnect,
            (_, None) => Request::Nothing,
            (JOIN, Some(group)) => Request::Send(operation(Kind::Join, member, &group)),
            (LEAVE, Some(group)) => Request::Send(operation(Kind::Leave, member, &group)),
            (flags, Some(_)) => ServiceLevel::from_flags(flags).map_or(Request::Nothing, |service| {
                let admitted = Admitted::new(&frame, member, service, &mut self.packing);
                Request::Send(self.last.insert(admitted).with_body(frame))
            }),
        })
    }
}

impl Admitted {
    fn new(frame: &Frame, member: &MemberName, service: ServiceLevel, packing: &mut BytesMut) -> Self {
        let preamble_bytes = put_packed_head(frame, member, packing);
        Self {
            member: *member,
            header: Header { body_bytes: 0, ..frame.header },
            groups: frame.groups().to_vec(),
            service,
            head: packing.split().freeze(),
            preamble_bytes,
        }
    }

    fn is_like(&self, frame: &Frame, member: &MemberName) -> bool {
        self.header == Header { body_bytes: 0, ..frame.header }
            && self.groups == frame.groups()
            && self.member == *member
    }

    fn with_body(&self, frame: Frame) -> Outgoing {
        let may_overtake = frame.whole().len() <= MAX_OVERTAKING_BYTES;
        let service = if may_overtake { self.service } else { self.service.max(ServiceLevel::Fifo) };
        let payload = Payload::new(self.head.clone(), self.preamble_bytes, frame.into_body());
        Outgoing { kind: Kind::Client, service, payload }
    }
}

/// What the one flag says that a frame of the session `member` asks for.
fn check(header: &Header, member: &MemberName) -> Result<u32, &'static str> {
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
    Ok(asked)
}

fn operation(kind: Kind, member: &MemberName, group: &GroupName) -> Outgoing {
    Outgoing { kind, service: ServiceLevel::Agreed, payload: encode_operation(member, group).into() }
}
