//! The `FL_` functions: virtual synchrony. See `include/fl.h` and docs/c-library.md. What is said of pointers
//! in [`sp`](crate::sp) holds here.

use std::ffi::{c_char, c_int};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use antiphon_wire::client::membership::GROUP_ID_BYTES;
use antiphon_wire::names::{GroupName, MemberName};

use crate::codes::{Code, print, returned};
use crate::delivery::Room;
use crate::flush::{Cast, FlushSession};
use crate::layout::{Int16, MAX_SCATTER_ELEMENTS, Mailbox, NameField, Scatter, Service};
use crate::session::{Session, find};
use crate::sp::{Places, SP_disconnect, SP_poll, body, open, wish};
use crate::{name, pointer};

/// The layer ends some bodies with the group, so one element of a scatter is its own.
const MAX_ELEMENTS: usize = MAX_SCATTER_ELEMENTS - 1;
/// Version of the interface.
const VERSION: [c_int; 3] = [2, 0, 0];

/// Makes the library ready, which it is anyway; an error the second time.
#[unsafe(no_mangle)]
pub extern "C" fn FL_lib_init() -> c_int {
    static READY: AtomicBool = AtomicBool::new(false);
    let again = READY.swap(true, Ordering::Relaxed);
    returned(if again { Err(Code::IllegalState) } else { Ok(0) })
}

/// Tells the version of the flush library; 0 when a pointer is null.
///
/// # Safety
/// Each pointer is null or has room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_version(major: *mut c_int, minor: *mut c_int, patch: *mut c_int) -> c_int {
    if major.is_null() || minor.is_null() || patch.is_null() {
        return 0;
    }
    for (to, number) in [major, minor, patch].into_iter().zip(VERSION) {
        // SAFETY: the program's promise.
        unsafe { pointer::put(to, number) };
    }
    1
}

/// Opens a session with the flush layer.
///
/// # Safety
/// As [`SP_connect`](crate::sp::SP_connect).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_connect(
    spread_name: *const c_char,
    private_name: *const c_char,
    priority: c_int,
    mailbox: *mut Mailbox,
    private_group: *mut NameField,
) -> c_int {
    // SAFETY: the program's promise.
    let wish = unsafe { wish(spread_name, private_name, priority) };
    // SAFETY: the program's promise.
    returned(wish.and_then(|wish| unsafe {
        open(&wish, mailbox, private_group, |member| Some(FlushSession::new(member)))
    }))
}

/// Ends a session in order.
#[unsafe(no_mangle)]
pub extern "C" fn FL_disconnect(mailbox: Mailbox) -> c_int {
    SP_disconnect(mailbox)
}

/// Joins a group; the first view makes this client a member.
///
/// # Safety
/// `group` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_join(mailbox: Mailbox, group: *const c_char) -> c_int {
    // SAFETY: the program's promise.
    returned(unsafe { change(mailbox, group, FlushSession::join) })
}

/// Leaves a group.
///
/// # Safety
/// `group` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_leave(mailbox: Mailbox, group: *const c_char) -> c_int {
    // SAFETY: the program's promise.
    returned(unsafe { change(mailbox, group, FlushSession::leave) })
}

/// Answers a flush request: nothing more is sent to the group before its next view.
///
/// # Safety
/// `group` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_flush(mailbox: Mailbox, group: *const c_char) -> c_int {
    // SAFETY: the program's promise.
    returned(unsafe { change(mailbox, group, FlushSession::flush) })
}

/// Has the flush layer do something about a group.
///
/// # Safety
/// `group` is null or a text.
unsafe fn change(
    mailbox: Mailbox,
    group: *const c_char,
    change: impl FnOnce(&FlushSession, &Arc<Session>, GroupName) -> Result<c_int, Code>,
) -> Result<c_int, Code> {
    let session = find(mailbox)?;
    // SAFETY: the caller's promise.
    let group = unsafe { name::group(group) }?;
    change(layer(&session)?, &session, group)
}

/// Sends to all members; returns the bytes of the body.
///
/// # Safety
/// `group` is a text, and `message` has `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_multicast(
    mailbox: Mailbox,
    service: Service,
    group: *const c_char,
    message_type: Int16,
    length: c_int,
    message: *const c_char,
) -> c_int {
    // SAFETY: the program's promise.
    let (group, body) = unsafe { (name::group(group), body(message, length)) };
    returned(body.and_then(|body| cast(mailbox, service, group, Ok(None), message_type, &[body])))
}

/// As [`FL_multicast`], with the body in pieces.
///
/// # Safety
/// `group` is a text, and `message` a scatter whose elements have as many bytes as they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_scat_multicast(
    mailbox: Mailbox,
    service: Service,
    group: *const c_char,
    message_type: Int16,
    message: *const Scatter,
) -> c_int {
    // SAFETY: the program's promise.
    let (group, pieces) = unsafe { (name::group(group), pieces(message)) };
    returned(pieces.and_then(|body| cast(mailbox, service, group, Ok(None), message_type, &body)))
}

/// Sends to one member; returns the bytes of the body.
///
/// # Safety
/// `group` and `receiver` are texts, and `message` has `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_unicast(
    mailbox: Mailbox,
    service: Service,
    group: *const c_char,
    receiver: *const c_char,
    message_type: Int16,
    length: c_int,
    message: *const c_char,
) -> c_int {
    // SAFETY: the program's promise.
    let (group, to, body) = unsafe { (name::group(group), member(receiver), body(message, length)) };
    returned(body.and_then(|body| cast(mailbox, service, group, to.map(Some), message_type, &[body])))
}

/// As [`FL_unicast`], with the body in pieces.
///
/// # Safety
/// `group` and `receiver` are texts, and `message` is as for [`FL_scat_multicast`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_scat_unicast(
    mailbox: Mailbox,
    service: Service,
    group: *const c_char,
    receiver: *const c_char,
    message_type: Int16,
    message: *const Scatter,
) -> c_int {
    // SAFETY: the program's promise.
    let (group, to, pieces) = unsafe { (name::group(group), member(receiver), pieces(message)) };
    returned(pieces.and_then(|body| cast(mailbox, service, group, to.map(Some), message_type, &body)))
}

/// Sends to some members; returns the bytes of the body.
///
/// # Safety
/// `group` is a text, `receivers` has `count` names, and `message` has `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_subgroupcast(
    mailbox: Mailbox,
    service: Service,
    group: *const c_char,
    count: c_int,
    receivers: *const NameField,
    message_type: Int16,
    length: c_int,
    message: *const c_char,
) -> c_int {
    // SAFETY: the program's promise.
    let (group, to, body) = unsafe { (name::group(group), members(count, receivers), body(message, length)) };
    returned(body.and_then(|body| cast(mailbox, service, group, to.map(Some), message_type, &[body])))
}

/// As [`FL_subgroupcast`], with the body in pieces.
///
/// # Safety
/// `group` is a text, `receivers` has `count` names, and `message` is as for [`FL_scat_multicast`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_scat_subgroupcast(
    mailbox: Mailbox,
    service: Service,
    group: *const c_char,
    count: c_int,
    receivers: *const NameField,
    message_type: Int16,
    message: *const Scatter,
) -> c_int {
    // SAFETY: the program's promise.
    let (group, to, pieces) = unsafe { (name::group(group), members(count, receivers), pieces(message)) };
    returned(pieces.and_then(|body| cast(mailbox, service, group, to.map(Some), message_type, &body)))
}

fn cast(
    mailbox: Mailbox,
    service: Service,
    group: Result<GroupName, Code>,
    receivers: Result<Option<Vec<MemberName>>, Code>,
    message_type: Int16,
    body: &[&[u8]],
) -> Result<c_int, Code> {
    let session = find(mailbox)?;
    let cast = Cast { service, group: group?, receivers: receivers?, message_type, body };
    layer(&session)?.cast(&session, cast)
}

/// The pieces of a message, if they are not too many.
///
/// # Safety
/// As [`pointer::pieces`].
unsafe fn pieces<'a>(message: *const Scatter) -> Result<Vec<&'a [u8]>, Code> {
    // SAFETY: the caller's promise.
    let pieces = unsafe { pointer::pieces(message) }?;
    if pieces.len() > MAX_ELEMENTS { Err(Code::IllegalMessage) } else { Ok(pieces) }
}

/// The one member that a message is for.
///
/// # Safety
/// `name` is null or a text.
unsafe fn member(name: *const c_char) -> Result<Vec<MemberName>, Code> {
    // SAFETY: the caller's promise.
    let name = unsafe { pointer::text(name) }.unwrap_or_default();
    Ok(vec![MemberName::parse(name).map_err(|_| Code::IllegalReceivers)?])
}

/// The members that a message is for.
///
/// # Safety
/// `names` is null or has `count` names.
unsafe fn members(count: c_int, names: *const NameField) -> Result<Vec<MemberName>, Code> {
    let count = usize::try_from(count).map_err(|_| Code::IllegalParam)?;
    // SAFETY: the caller's promise.
    let fields = unsafe { pointer::fields(names, count) };
    let member = |field| MemberName::from_field(field).map_err(|_| Code::IllegalReceivers);
    fields.iter().map(member).collect()
}

/// Receives the next message, flush request or view; returns the bytes of its body.
///
/// # Safety
/// As [`SP_receive`](crate::sp::SP_receive); `more` is null or has room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_receive(
    mailbox: Mailbox,
    service: *mut Service,
    sender: *mut NameField,
    max_groups: c_int,
    group_count: *mut c_int,
    groups: *mut NameField,
    message_type: *mut Int16,
    endian_mismatch: *mut c_int,
    max_length: c_int,
    message: *mut c_char,
    more: *mut c_int,
) -> c_int {
    let places = Places { service, sender, max_groups, group_count, groups, message_type, endian_mismatch };
    // SAFETY: the program's promise; `c_char` and `u8` have the same size.
    let body = unsafe { pointer::room(message.cast(), pointer::count(max_length)) };
    // SAFETY: the program's promise.
    returned(unsafe { receive(mailbox, &places, &mut [body], more) })
}

/// As [`FL_receive`], with the body in pieces.
///
/// # Safety
/// As [`SP_scat_receive`](crate::sp::SP_scat_receive); `more` is null or has room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FL_scat_receive(
    mailbox: Mailbox,
    service: *mut Service,
    sender: *mut NameField,
    max_groups: c_int,
    group_count: *mut c_int,
    groups: *mut NameField,
    message_type: *mut Int16,
    endian_mismatch: *mut c_int,
    message: *mut Scatter,
    more: *mut c_int,
) -> c_int {
    let places = Places { service, sender, max_groups, group_count, groups, message_type, endian_mismatch };
    // SAFETY: the program's promise.
    let pieces = unsafe { pointer::room_pieces(message) };
    // SAFETY: the program's promise.
    returned(pieces.and_then(|mut body| unsafe { receive(mailbox, &places, &mut body, more) }))
}

/// Receives the next event of the flush layer.
///
/// # Safety
/// As [`Places::fill`]; `more` is null or has room.
unsafe fn receive(
    mailbox: Mailbox,
    places: &Places,
    body: &mut [&mut [u8]],
    more: *mut c_int,
) -> Result<c_int, Code> {
    let session = find(mailbox)?;
    let layer = layer(&session)?;
    if places.max_groups < 0 {
        return Err(Code::IllegalParam);
    }
    let mut left = 0;
    let receive = |room: &mut Room<'_, '_>| layer.receive(&session, room, &mut left);
    // SAFETY: the caller's promise.
    let received = unsafe { places.fill(body, receive) };
    // SAFETY: the caller's promise.
    unsafe { pointer::put(more, left) };
    received
}

/// How many messages wait in the library, where `select` does not see them.
#[unsafe(no_mangle)]
pub extern "C" fn FL_more_msgs(mailbox: Mailbox) -> c_int {
    returned(find(mailbox).and_then(|session| Ok(layer(&session)?.ready())))
}

/// How many messages wait in the library or, if there are none, how many bytes in the socket.
#[unsafe(no_mangle)]
pub extern "C" fn FL_poll(mailbox: Mailbox) -> c_int {
    match FL_more_msgs(mailbox) {
        0 => SP_poll(mailbox),
        ready => ready,
    }
}

/// Where the group id stands in the body of a view.
#[unsafe(no_mangle)]
pub extern "C" fn FL_get_gid_offset_memb_mess() -> c_int {
    0
}

/// Where the number of names stands in the body of a view.
#[unsafe(no_mangle)]
pub extern "C" fn FL_get_num_vs_offset_memb_mess() -> c_int {
    GROUP_ID_BYTES as c_int
}

/// Where the names begin in the body of a view.
#[unsafe(no_mangle)]
pub extern "C" fn FL_get_vs_set_offset_memb_mess() -> c_int {
    GROUP_ID_BYTES as c_int + 4
}

/// Prints what a code means, to the standard output.
#[unsafe(no_mangle)]
pub extern "C" fn FL_error(code: c_int) {
    print(c"FL_error", code);
}

/// A session that was opened without the layer is none to these functions.
fn layer(session: &Session) -> Result<&FlushSession, Code> {
    session.flush.as_ref().ok_or(Code::IllegalSession)
}
