//! The `SP_` functions: sessions and messages. See `include/sp_func.h` and docs/c-library.md.
//!
//! Every pointer may be null: what would be written through it is not, and a text or buffer that is missing
//! counts as empty or is refused. Beyond that, the program promises what C programs do: texts end with a
//! NUL, buffers are as large as it says, and nobody else uses them during the call.

use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use antiphon::Address;
use antiphon_wire::client::flags::{
    DROP_RECV, ENDIAN_MARK, GROUPS_EXCHANGE, JOIN, LEAVE, MAX_BODY_AND_GROUPS_BYTES, MAX_GROUPS, REJECT,
    REQUEST_MASK,
};
use antiphon_wire::client::handshake::{AUTH_SLOTS, Version};
use antiphon_wire::names::{MemberName, NAME_FIELD_BYTES};
use antiphon_wire::service::ServiceLevel;

use crate::auth::{self, Method};
use crate::codes::{ACCEPT_SESSION, Code, meaning, print, returned};
use crate::connect::{Wish, connect};
use crate::delivery::Room;
use crate::flush::FlushSession;
use crate::layout::{AuthFunction, Int16, Mailbox, NameField, Scatter, Service, SpTime};
use crate::output::Request;
use crate::session::{self, Session};
use crate::{name, pointer, receive};

/// Tells the version of the library; 0 when a pointer is null.
///
/// # Safety
/// Each pointer is null or has room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_version(major: *mut c_int, minor: *mut c_int, patch: *mut c_int) -> c_int {
    if major.is_null() || minor.is_null() || patch.is_null() {
        return 0;
    }
    let version = Version::REPORTED;
    for (to, number) in [(major, version.major), (minor, version.minor), (patch, version.patch)] {
        // SAFETY: the program's promise.
        unsafe { pointer::put(to, number.into()) };
    }
    1
}

/// Sets the one method by which later connections authenticate; 0 when it is not a possible one.
///
/// # Safety
/// `name` is a text, and `function` can be called with a descriptor and `data`, now and later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_set_auth_method(
    name: *const c_char,
    function: Option<AuthFunction>,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the program's promise.
    let name = unsafe { pointer::text(name) };
    let method = name.zip(function).and_then(|(name, function)| Method::new(name, function, data));
    method.is_some_and(|method| auth::set(vec![method])).into()
}

/// Sets the methods by which later connections authenticate, at most three; 0 when they are not possible.
///
/// # Safety
/// The three arrays have `count` elements, each as for [`SP_set_auth_method`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_set_auth_methods(
    count: c_int,
    names: *const *const c_char,
    functions: *const Option<AuthFunction>,
    data: *const *mut c_void,
) -> c_int {
    let Some(count) = usize::try_from(count).ok().filter(|count| *count <= AUTH_SLOTS) else { return 0 };
    // SAFETY: the program's promise.
    let (names, functions) = unsafe { (pointer::slice(names, count), pointer::slice(functions, count)) };
    // SAFETY: the program's promise.
    let data = unsafe { pointer::slice(data, count) };
    let method = |index: usize| {
        // SAFETY: the program's promise for each of the names.
        let name = unsafe { pointer::text(*names.get(index)?) }?;
        Method::new(name, (*functions.get(index)?)?, data.get(index).copied().unwrap_or(std::ptr::null_mut()))
    };
    let methods: Option<Vec<Method>> = (0..count).map(method).collect();
    methods.is_some_and(auth::set).into()
}

/// Opens a session.
///
/// # Safety
/// The names are texts, `mailbox` has room for one, and `private_group` for a name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_connect(
    spread_name: *const c_char,
    private_name: *const c_char,
    priority: c_int,
    membership: c_int,
    mailbox: *mut Mailbox,
    private_group: *mut NameField,
) -> c_int {
    let forever = SpTime::default();
    // SAFETY: the program's promise.
    unsafe {
        SP_connect_timeout(spread_name, private_name, priority, membership, mailbox, private_group, forever)
    }
}

/// Opens a session, in no more than the given time if that is not 0.
///
/// # Safety
/// As [`SP_connect`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_connect_timeout(
    spread_name: *const c_char,
    private_name: *const c_char,
    priority: c_int,
    membership: c_int,
    mailbox: *mut Mailbox,
    private_group: *mut NameField,
    timeout: SpTime,
) -> c_int {
    let timeout = limit(timeout);
    // SAFETY: the program's promise.
    let request = unsafe { wish(spread_name, private_name, priority) };
    let wish =
        timeout.and_then(|timeout| request.map(|wish| Wish { timeout, membership: membership != 0, ..wish }));
    // SAFETY: the program's promise.
    returned(wish.and_then(|wish| unsafe { open(&wish, mailbox, private_group, |_| None) }))
}

/// What a program asks for when it connects.
///
/// # Safety
/// The names are texts.
pub(crate) unsafe fn wish(
    spread_name: *const c_char,
    private_name: *const c_char,
    priority: c_int,
) -> Result<Wish, Code> {
    // SAFETY: the caller's promise.
    let address = unsafe { pointer::text(spread_name) }.unwrap_or_default();
    let address = std::str::from_utf8(address).ok().and_then(|text| text.parse::<Address>().ok());
    // SAFETY: the caller's promise.
    let name = unsafe { name::private(private_name) };
    let address = address.ok_or(Code::IllegalSpread)?;
    Ok(Wish { address, name, priority: (priority > 0).into(), membership: true, timeout: None })
}

/// Connects and fills in what the program wants to know; `flush` makes the flush layer of the member, if it is to have
/// one.
///
/// # Safety
/// `mailbox` has room for one and `private_group` for a name.
pub(crate) unsafe fn open(
    wish: &Wish,
    mailbox: *mut Mailbox,
    private_group: *mut NameField,
    flush: impl FnOnce(MemberName) -> Option<FlushSession>,
) -> Result<c_int, Code> {
    if mailbox.is_null() {
        return Err(Code::SpBug);
    }
    let (socket, member) = connect(wish)?;
    let opened = session::open(Session::new(socket, member, flush(member)));
    // SAFETY: the caller's promise; the fields are bytes of the same size.
    unsafe {
        pointer::put(private_group.cast(), *member.as_field());
        pointer::put(mailbox, opened);
    }
    Ok(ACCEPT_SESSION)
}

/// How long a connection may take, `None` for ever.
fn limit(time: SpTime) -> Result<Option<Duration>, Code> {
    let one_sign = time.sec.signum() * time.usec.signum() >= 0;
    if !one_sign || time.usec.unsigned_abs() >= 1_000_000 {
        return Err(Code::IllegalTime);
    }
    if time == SpTime::default() {
        return Ok(None);
    }
    // A time in the past is over.
    let seconds = u64::try_from(time.sec).unwrap_or(0);
    let microseconds = u64::try_from(time.usec).unwrap_or(0);
    Ok(Some(Duration::from_secs(seconds) + Duration::from_micros(microseconds)))
}

/// Ends a session in order.
#[unsafe(no_mangle)]
pub extern "C" fn SP_disconnect(mailbox: Mailbox) -> c_int {
    returned(session::disconnect(mailbox).map(|()| 0))
}

/// Forgets a session without telling the daemon.
#[unsafe(no_mangle)]
pub extern "C" fn SP_kill(mailbox: Mailbox) {
    session::kill(mailbox);
}

/// Requests to join a group.
///
/// # Safety
/// `group` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_join(mailbox: Mailbox, group: *const c_char) -> c_int {
    // SAFETY: the program's promise.
    returned(unsafe { request(mailbox, JOIN, group) })
}

/// Requests to leave a group.
///
/// # Safety
/// `group` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_leave(mailbox: Mailbox, group: *const c_char) -> c_int {
    // SAFETY: the program's promise.
    returned(unsafe { request(mailbox, LEAVE, group) })
}

/// Asks the daemon for something about a group.
///
/// # Safety
/// `group` is null or a text.
unsafe fn request(mailbox: Mailbox, flags: u32, group: *const c_char) -> Result<c_int, Code> {
    // SAFETY: the caller's promise.
    let group = unsafe { name::group(group) }?;
    let session = session::find(mailbox)?;
    let groups = [*group.as_field()];
    session.output.send(&session, &Request { flags, message_type: 0, groups: &groups }, &[])?;
    Ok(0)
}

/// Sends a message to a group; returns the bytes of its body.
///
/// # Safety
/// `group` is a text, and `message` has `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_multicast(
    mailbox: Mailbox,
    service: Service,
    group: *const c_char,
    message_type: Int16,
    length: c_int,
    message: *const c_char,
) -> c_int {
    // SAFETY: the program's promise.
    let (group, body) = unsafe { (name::destination(group), body(message, length)) };
    let sent = group.and_then(|group| send(mailbox, service, &[group], message_type, &[body?]));
    returned(sent)
}

/// Sends a message in pieces to a group; returns the bytes of its body.
///
/// # Safety
/// `group` is a text, and `message` a scatter whose elements have as many bytes as they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_scat_multicast(
    mailbox: Mailbox,
    service: Service,
    group: *const c_char,
    message_type: Int16,
    message: *const Scatter,
) -> c_int {
    // SAFETY: the program's promise.
    let (group, pieces) = unsafe { (name::destination(group), pointer::pieces(message)) };
    returned(group.and_then(|group| send(mailbox, service, &[group], message_type, &pieces?)))
}

/// Sends a message to several groups; returns the bytes of its body.
///
/// # Safety
/// `groups` has `count` names, and `message` has `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_multigroup_multicast(
    mailbox: Mailbox,
    service: Service,
    count: c_int,
    groups: *const NameField,
    message_type: Int16,
    length: c_int,
    message: *const c_char,
) -> c_int {
    // SAFETY: the program's promise.
    let (groups, body) = unsafe { (destinations(count, groups), body(message, length)) };
    returned(groups.and_then(|groups| send(mailbox, service, &groups, message_type, &[body?])))
}

/// Sends a message in pieces to several groups; returns the bytes of its body.
///
/// # Safety
/// `groups` has `count` names, and `message` is as for [`SP_scat_multicast`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_multigroup_scat_multicast(
    mailbox: Mailbox,
    service: Service,
    count: c_int,
    groups: *const NameField,
    message_type: Int16,
    message: *const Scatter,
) -> c_int {
    // SAFETY: the program's promise.
    let (groups, pieces) = unsafe { (destinations(count, groups), pointer::pieces(message)) };
    returned(groups.and_then(|groups| send(mailbox, service, &groups, message_type, &pieces?)))
}

/// The body of a message.
///
/// # Safety
/// `message` is null or has `length` bytes.
pub(crate) unsafe fn body<'a>(message: *const c_char, length: c_int) -> Result<&'a [u8], Code> {
    if length < 0 || (length > 0 && message.is_null()) {
        return Err(Code::IllegalMessage);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { pointer::bytes(message, pointer::count(length)) })
}

/// The groups that a message is for.
///
/// # Safety
/// `groups` is null or has `count` names.
unsafe fn destinations(count: c_int, groups: *const NameField) -> Result<Vec<[u8; NAME_FIELD_BYTES]>, Code> {
    let count = pointer::count(count);
    // More than that would cost the connection.
    if count > MAX_GROUPS as usize {
        return Err(Code::IllegalMessage);
    }
    if count > 0 && groups.is_null() {
        return Err(Code::IllegalGroup);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { pointer::fields(groups, count) }.iter().map(name::ended).collect())
}

fn send(
    mailbox: Mailbox,
    service: Service,
    groups: &[[u8; NAME_FIELD_BYTES]],
    message_type: Int16,
    body: &[&[u8]],
) -> Result<c_int, Code> {
    let flags = service as u32 & !(ENDIAN_MARK | DROP_RECV);
    // With two services, or one and a request, the daemon would drop the connection.
    let sendable = flags & (REQUEST_MASK | GROUPS_EXCHANGE | REJECT) == 0;
    if !sendable || ServiceLevel::from_flags(flags).is_none() {
        return Err(Code::IllegalService);
    }
    let body_bytes: usize = body.iter().map(|piece| piece.len()).sum();
    let bytes = body_bytes.saturating_add(groups.len() * NAME_FIELD_BYTES);
    if bytes > MAX_BODY_AND_GROUPS_BYTES as usize {
        return Err(Code::MessageTooLong);
    }
    let session = session::find(mailbox)?;
    session.output.send(&session, &Request { flags, message_type, groups }, body)?;
    Ok(c_int::try_from(body_bytes).unwrap_or(c_int::MAX))
}

/// Where a program wants to have what it receives.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) service: *mut Service,
    pub(crate) sender: *mut NameField,
    pub(crate) max_groups: c_int,
    pub(crate) group_count: *mut c_int,
    pub(crate) groups: *mut NameField,
    pub(crate) message_type: *mut Int16,
    pub(crate) endian_mismatch: *mut c_int,
}

impl Places {
    /// Lets `receive` fill the room that the program has.
    ///
    /// # Safety
    /// Each pointer is null or has room for its value, `groups` for `max_groups` names; `service` has one.
    pub(crate) unsafe fn fill(
        &self,
        body: &mut [&mut [u8]],
        receive: impl FnOnce(&mut Room<'_, '_>) -> Result<c_int, Code>,
    ) -> Result<c_int, Code> {
        // SAFETY: the caller's promise.
        let (service, groups) = unsafe {
            (
                self.service.as_ref().copied(),
                pointer::room(self.groups.cast(), pointer::count(self.max_groups)),
            )
        };
        let mut room = Room::new(service.unwrap_or_default(), groups, body);
        let received = receive(&mut room);
        let described =
            received.is_ok() || matches!(received, Err(Code::BufferTooShort | Code::GroupsTooShort));
        if described {
            // SAFETY: the caller's promise.
            unsafe {
                pointer::put(self.service, room.service);
                pointer::put(self.sender.cast(), room.sender);
                pointer::put(self.group_count, room.group_count);
                pointer::put(self.message_type, room.message_type);
                pointer::put(self.endian_mismatch, room.endian_mismatch);
            }
        }
        received
    }
}

/// Receives the next message or membership change; returns the bytes of its body.
///
/// # Safety
/// Each pointer is null or has room for its value, `groups` for `max_groups` names and `message` for
/// `max_length` bytes; `service` has one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_receive(
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
) -> c_int {
    let places = Places { service, sender, max_groups, group_count, groups, message_type, endian_mismatch };
    // SAFETY: the program's promise; `c_char` and `u8` have the same size.
    let body = unsafe { pointer::room(message.cast(), pointer::count(max_length)) };
    let received = session::find(mailbox).and_then(|session| {
        // SAFETY: the program's promise.
        unsafe { places.fill(&mut [body], |room| receive::receive(&session, room)) }
    });
    returned(received)
}

/// As [`SP_receive`], with the body in pieces.
///
/// # Safety
/// As [`SP_receive`]; `message` is a scatter whose elements have room for as many bytes as they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_scat_receive(
    mailbox: Mailbox,
    service: *mut Service,
    sender: *mut NameField,
    max_groups: c_int,
    group_count: *mut c_int,
    groups: *mut NameField,
    message_type: *mut Int16,
    endian_mismatch: *mut c_int,
    message: *mut Scatter,
) -> c_int {
    let places = Places { service, sender, max_groups, group_count, groups, message_type, endian_mismatch };
    // SAFETY: the program's promise.
    let pieces = unsafe { pointer::room_pieces(message) };
    let received = session::find(mailbox).and_then(|session| {
        // SAFETY: the program's promise.
        unsafe { places.fill(&mut pieces?, |room| receive::receive(&session, room)) }
    });
    returned(received)
}

/// How many bytes can be received without waiting; 0 for none.
#[unsafe(no_mangle)]
pub extern "C" fn SP_poll(mailbox: Mailbox) -> c_int {
    returned(session::find(mailbox).map(|session| {
        let ready = session.ready_bytes();
        if ready == 0 {
            // What is waited for may be an answer to what is gathered still.
            session.output.push(&session);
        }
        c_int::try_from(ready).unwrap_or(c_int::MAX)
    }))
}

/// Prints what a code means, to the standard output.
#[unsafe(no_mangle)]
pub extern "C" fn SP_error(code: c_int) {
    print(c"SP_error", code);
}

/// What a code means, as a text that is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn SP_strerror(code: c_int) -> *const c_char {
    meaning(code).as_ptr()
}
