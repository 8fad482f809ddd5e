//! Frames of the daemon, as programs receive them (docs/c-library.md).

use std::borrow::Cow;
use std::ffi::c_int;

use antiphon_wire::client::flags::{ENDIAN_MARK, HEADER_BYTES, MEMBERSHIP_MASK, REG_MEMB, REJECT};
use antiphon_wire::client::frame::{Frame, FrameLimits, FrameReader, Head};
use antiphon_wire::client::membership::{GROUP_ID_BYTES, Membership};
use antiphon_wire::names::{GroupName, MemberName, NAME_FIELD_BYTES};
use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::codes::Code;
use crate::delivery::{Delivery, Room, Size};
use crate::input::Input;
use crate::name::ended;
use crate::session::{Session, Waiting};
use crate::sp_membership::SETS_AT;

/// Receives the next message or membership change, waiting for it. What does not fit stays and can be
/// received again, unless the program lets it be dropped.
///
/// # Errors
/// When it does not fit, and when the session has ended or is broken.
pub(crate) fn receive(session: &Session, room: &mut Room<'_, '_>) -> Result<c_int, Code> {
    session.check()?;
    let mut input = session.input.take();
    let head = first_head(session, &mut input, Waiting::Allowed)?;
    let size = Size { groups: group_count(&head), body_bytes: head.end - head.body_at };
    if let Some(shortage) = room.shortage(size).filter(|_| !room.may_drop()) {
        // All but the last byte: while that is in the socket, the mailbox stays readable.
        fill(session, &mut input, (head.end - 1).max(HEADER_BYTES), Waiting::Allowed)?;
        let groups = own_fields(&head, input.bytes());
        let delivery = plain(&head, input.bytes(), &groups, &[], session.member());
        room.describe(&delivery, size);
        return Err(shortage);
    }
    fill(session, &mut input, head.end, Waiting::Allowed)?;
    let bytes = input.bytes().get(..head.end).unwrap_or_default();
    let taken = hand_over(&head, bytes, session.member(), room);
    input.consume(head.end);
    taken.map_err(|code| if code == Code::IllegalMessage { session.fail(code) } else { code })
}

/// Takes the next frame whole, for a layer above.
///
/// # Errors
/// When the session has ended or is broken, and with [`Code::WouldBlock`] when this may not wait and some of the
/// frame has not come; what has come stays.
pub(crate) fn next_frame(session: &Session, waiting: Waiting) -> Result<Frame, Code> {
    session.check()?;
    let mut input = session.input.take_for(waiting)?;
    let head = first_head(session, &mut input, waiting)?;
    fill(session, &mut input, head.end, waiting)?;
    let frame = whole(input.bytes().get(..head.end).unwrap_or_default());
    input.consume(head.end);
    frame.ok_or_else(|| session.fail(Code::IllegalMessage))
}

fn has_ended(session: &Session) -> bool {
    let mut byte = [0];
    let peeked = recv(session.socket(), &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
    !matches!(peeked, Ok((1.., _)) | Err(Errno::AGAIN | Errno::INTR))
}

fn first_head(session: &Session, input: &mut Input, waiting: Waiting) -> Result<Head, Code> {
    fill(session, input, HEADER_BYTES, waiting)?;
    let head = input.bytes().first_chunk().and_then(|header| FrameLimits::FROM_DAEMON.head(header).ok());
    head.ok_or_else(|| session.fail(Code::IllegalMessage))
}

fn fill(session: &Session, input: &mut Input, wanted: usize, waiting: Waiting) -> Result<(), Code> {
    let before_waiting = || {
        // What is waited for may be an answer to what is gathered still.
        session.output.push(session);
        match waiting {
            Waiting::Allowed => Ok(()),
            // Of a connection that has ended, reading tells without waiting.
            Waiting::Forbidden if has_ended(session) => Ok(()),
            Waiting::Forbidden => Err(Code::WouldBlock),
        }
    };
    input.fill(session.socket(), wanted, before_waiting).map_err(|code| match code {
        Code::WouldBlock => code,
        broken => session.fail(broken),
    })
}

fn group_count(head: &Head) -> usize {
    (head.body_at - head.groups_at) / NAME_FIELD_BYTES
}

/// The group fields of a frame that is not whole yet, or is.
fn own_fields(head: &Head, bytes: &[u8]) -> Vec<[u8; NAME_FIELD_BYTES]> {
    let end = head.body_at.min(bytes.len());
    bytes.get(head.groups_at..end).unwrap_or_default().as_chunks().0.to_vec()
}

fn whole(bytes: &[u8]) -> Option<Frame> {
    let mut reader = FrameReader::new(FrameLimits::FROM_DAEMON);
    reader.push(Bytes::copy_from_slice(bytes));
    reader.next_frame().ok().flatten()
}

fn hand_over(head: &Head, bytes: &[u8], me: &MemberName, room: &mut Room<'_, '_>) -> Result<c_int, Code> {
    let fields = bytes.get(head.groups_at..head.body_at).unwrap_or_default();
    let groups: &[[u8; NAME_FIELD_BYTES]] = fields.as_chunks().0;
    let body = bytes.get(head.body_at..).unwrap_or_default();
    let body = if Membership::is_in(head.header.flags) {
        checked_membership(head, bytes, body)?
    } else {
        Cow::Borrowed(body)
    };
    room.take(&plain(head, bytes, groups, &body, me))
}

/// A frame as the program sees it.
fn plain<'a>(
    head: &Head,
    bytes: &[u8],
    groups: &'a [[u8; NAME_FIELD_BYTES]],
    body: &'a [u8],
    me: &MemberName,
) -> Delivery<'a> {
    let header = &head.header;
    let (service, message_type, endian_mismatch) = if Membership::is_in(header.flags) {
        (header.flags, own_index(header.flags, groups, me), false)
    } else {
        let mismatch = header.hint.is_little_endian() != cfg!(target_endian = "little");
        (data_service(head, bytes), header.hint.message_type(), mismatch)
    };
    Delivery { service, sender: ended(&header.name), groups, message_type, endian_mismatch, body }
}

/// Bits of membership beside a service are those of a client that wants to pass off a message as a view:
/// programs would read its body as one. A refused request has the flags of the request.
fn data_service(head: &Head, bytes: &[u8]) -> u32 {
    let flags = head.header.flags;
    if flags & REJECT == 0 {
        return flags & !MEMBERSHIP_MASK;
    }
    let word = bytes.get(HEADER_BYTES..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
    let old = if head.header.little_endian { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) };
    old & !ENDIAN_MARK | REJECT
}

/// Where this client is in a view, -1 if nowhere.
fn own_index(flags: u32, groups: &[[u8; NAME_FIELD_BYTES]], me: &MemberName) -> i16 {
    let is_me = |field: &[u8; NAME_FIELD_BYTES]| GroupName::from_field(field).as_bytes() == me.as_bytes();
    let index = groups.iter().position(is_me).filter(|_| flags & REG_MEMB != 0);
    index.and_then(|index| i16::try_from(index).ok()).unwrap_or(-1)
}

/// The body of a membership message, with numbers in the order of this host. Programs read it through
/// functions that do not know its size, so what is not consistent must not get to them.
fn checked_membership<'a>(head: &Head, bytes: &[u8], body: &'a [u8]) -> Result<Cow<'a, [u8]>, Code> {
    let frame = whole(bytes).ok_or(Code::IllegalMessage)?;
    let membership = Membership::decode(&frame).map_err(|_| Code::IllegalMessage)?;
    if head.header.little_endian == cfg!(target_endian = "little") {
        return Ok(Cow::Borrowed(body));
    }
    let mut body = body.to_vec();
    let mut swap = |at: usize| {
        if let Some(word) = body.get_mut(at..at + 4) {
            word.reverse();
        }
    };
    let words = match &membership {
        Membership::View(_) => SETS_AT / 4,
        Membership::Transition { .. } => GROUP_ID_BYTES / 4,
        Membership::SelfLeave { .. } => 0,
    };
    (0..words).for_each(|word| swap(word * 4));
    if let Membership::View(view) = &membership {
        let mut at = SETS_AT;
        for set in &view.sets {
            swap(at);
            at += 4 + set.members.len() * NAME_FIELD_BYTES;
        }
    }
    Ok(Cow::Owned(body))
}
