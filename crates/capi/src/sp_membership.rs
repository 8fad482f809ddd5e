//! The `SP_` functions that read the bodies of views.
//!
//! They get a body without its size. Bodies that were received are consistent, and so are safe to read; a
//! body in pieces is read no further than its pieces go.

use std::ffi::{c_char, c_int, c_uint};

use antiphon_wire::client::flags::{CAUSED_BY_NETWORK, MEMBERSHIP_MASK, REG_MEMB, REJECT, TRANSITION};
use antiphon_wire::client::membership::GROUP_ID_BYTES;
use antiphon_wire::names::NAME_FIELD_BYTES;

use crate::codes::{Code, returned};
use crate::layout::{GroupId, MembershipInfo, NameField, Scatter, Service, VsSetInfo};
use crate::{name, pointer};

/// Where the number of sets stands in the body of a view, behind its id.
const SET_COUNT_AT: usize = GROUP_ID_BYTES;
/// Where it stands at which of the sets' bytes the receiver's own begins.
const OWN_SET_AT: usize = SET_COUNT_AT + 4;
/// Where the sets stand.
pub(crate) const SETS_AT: usize = OWN_SET_AT + 4;

/// A body in one piece or several.
#[derive(Debug)]
enum Body<'a> {
    Flat(*const u8),
    Pieces(Vec<&'a [u8]>),
}

impl Body<'_> {
    /// Copies bytes from an offset on.
    ///
    /// # Safety
    /// A flat body has these bytes.
    unsafe fn copy<const N: usize>(&self, at: usize) -> Result<[u8; N], Code> {
        let mut bytes = [0; N];
        match self {
            // SAFETY: the caller's promise; arrays of bytes need no alignment.
            Self::Flat(start) => bytes = unsafe { start.add(at).cast::<[u8; N]>().read() },
            Self::Pieces(pieces) => {
                let mut from = pieces.iter().copied().flatten().skip(at);
                for byte in &mut bytes {
                    *byte = *from.next().ok_or(Code::IllegalMessage)?;
                }
            }
        }
        Ok(bytes)
    }

    /// The number at an offset.
    ///
    /// # Safety
    /// A flat body has its four bytes.
    unsafe fn word(&self, at: usize) -> Result<u32, Code> {
        // SAFETY: the caller's promise.
        Ok(u32::from_ne_bytes(unsafe { self.copy(at) }?))
    }

    /// The name at an offset.
    ///
    /// # Safety
    /// A flat body has its field.
    unsafe fn name(&self, at: usize) -> Result<[u8; NAME_FIELD_BYTES], Code> {
        // SAFETY: the caller's promise.
        Ok(name::ended(&unsafe { self.copy(at) }?))
    }

    /// The set that begins at an offset, and where the next one begins.
    ///
    /// # Safety
    /// A flat body has a number there.
    unsafe fn set(&self, at: usize) -> Result<(VsSetInfo, usize), Code> {
        // SAFETY: the caller's promise.
        let num_members = unsafe { self.word(at) }?;
        let members_offset = c_uint::try_from(at + 4).map_err(|_| Code::IllegalMessage)?;
        let next = at + 4 + num_members as usize * NAME_FIELD_BYTES;
        Ok((VsSetInfo { num_members, members_offset }, next))
    }

    /// # Safety
    /// A flat body is that of a message of this type as it was received.
    unsafe fn info(&self, service: Service) -> Result<MembershipInfo, Code> {
        let flags = service as u32;
        if flags & MEMBERSHIP_MASK == 0 || flags & REJECT != 0 {
            return Err(Code::IllegalMessage);
        }
        let mut info = MembershipInfo {
            gid: GroupId::default(),
            changed_member: [0; NAME_FIELD_BYTES],
            num_vs_sets: 0,
            my_vs_set: VsSetInfo::default(),
        };
        if flags & (REG_MEMB | TRANSITION) == 0 {
            // A self-leave has no body.
            return Ok(info);
        }
        for (index, word) in info.gid.id.iter_mut().enumerate() {
            // SAFETY: views and transitions begin with these words.
            *word = unsafe { self.word(index * 4) }? as i32;
        }
        if flags & REG_MEMB == 0 {
            return Ok(info);
        }
        // SAFETY: a view has these words, its own set, and at least one set with a member.
        unsafe {
            info.num_vs_sets = self.word(SET_COUNT_AT)?;
            info.my_vs_set = self.set(SETS_AT + self.word(OWN_SET_AT)? as usize)?.0;
            if flags & CAUSED_BY_NETWORK == 0 {
                info.changed_member = self.name(SETS_AT + 4)?.map(|byte| byte as c_char);
            }
        }
        Ok(info)
    }

    /// Lists the sets; returns how many there are, and the index of the receiver's own.
    ///
    /// # Safety
    /// A flat body is that of a view as it was received.
    unsafe fn sets(&self, sets: &mut [VsSetInfo]) -> Result<(c_int, c_uint), Code> {
        // SAFETY: a view has these words.
        let (count, own) = unsafe { (self.word(SET_COUNT_AT)?, self.word(OWN_SET_AT)?) };
        let sets = sets.get_mut(..count as usize).ok_or(Code::BufferTooShort)?;
        let mut own_index = 0;
        let mut at = SETS_AT;
        for (index, set) in (0..).zip(sets) {
            if at == SETS_AT + own as usize {
                own_index = index;
            }
            // SAFETY: a view has as many sets as it says.
            (*set, at) = unsafe { self.set(at) }?;
        }
        Ok((c_int::try_from(count).map_err(|_| Code::IllegalMessage)?, own_index))
    }

    /// Lists the members of a set.
    ///
    /// # Safety
    /// A flat body is that of a view as it was received, and the set is one of it.
    unsafe fn members(&self, set: &VsSetInfo, names: &mut [[u8; NAME_FIELD_BYTES]]) -> Result<c_int, Code> {
        let names = names.get_mut(..set.num_members as usize).ok_or(Code::BufferTooShort)?;
        for (index, to) in names.iter_mut().enumerate() {
            // SAFETY: a set has as many members as it says.
            *to = unsafe { self.name(set.members_offset as usize + index * NAME_FIELD_BYTES) }?;
        }
        c_int::try_from(set.num_members).map_err(|_| Code::IllegalMessage)
    }
}

/// A body in one piece.
///
/// # Safety
/// `body` is null or was received, and stays as it is.
unsafe fn flat<'a>(body: *const c_char) -> Result<Body<'a>, Code> {
    if body.is_null() { Err(Code::IllegalMessage) } else { Ok(Body::Flat(body.cast())) }
}

/// A body in pieces.
///
/// # Safety
/// As [`pointer::pieces`].
unsafe fn scattered<'a>(body: *const Scatter) -> Result<Body<'a>, Code> {
    // SAFETY: the caller's promise.
    unsafe { pointer::pieces(body) }.map(Body::Pieces)
}

/// Tells what a membership message says; returns 1.
///
/// # Safety
/// A flat body was received with this type, and `info` is null or has room.
unsafe fn put_info(body: Result<Body<'_>, Code>, service: Service, info: *mut MembershipInfo) -> c_int {
    // SAFETY: the caller's promise.
    returned(body.and_then(|body| unsafe { body.info(service) }).map(|found| {
        // SAFETY: the caller's promise.
        unsafe { pointer::put(info, found) };
        1
    }))
}

/// Lists the sets of a view; returns how many there are.
///
/// # Safety
/// A flat body is that of a view as it was received, `sets` has room for so many, and `own` is null or has room.
unsafe fn put_sets(
    body: Result<Body<'_>, Code>,
    sets: *mut VsSetInfo,
    room: c_uint,
    own: *mut c_uint,
) -> c_int {
    // SAFETY: the caller's promise.
    let sets = unsafe { pointer::room(sets, room as usize) };
    // SAFETY: the caller's promise.
    returned(body.and_then(|body| unsafe { body.sets(sets) }).map(|(count, own_index)| {
        // SAFETY: the caller's promise.
        unsafe { pointer::put(own, own_index) };
        count
    }))
}

/// Lists the members of a set; returns how many there are.
///
/// # Safety
/// A flat body is that of a view as it was received, `set` is null or one of it, and `names` has room for so many.
unsafe fn put_members(
    body: Result<Body<'_>, Code>,
    set: *const VsSetInfo,
    names: *mut NameField,
    room: c_uint,
) -> c_int {
    // SAFETY: the caller's promise.
    let (set, names) = unsafe { (set.as_ref(), pointer::room(names.cast(), room as usize)) };
    let set = set.ok_or(Code::IllegalMessage);
    // SAFETY: the caller's promise.
    returned(body.and_then(|body| unsafe { body.members(set?, names) }))
}

/// Reads what the body of a membership message says; returns 1.
///
/// # Safety
/// `body` was received with this type, and `info` has room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_get_memb_info(
    body: *const c_char,
    service: Service,
    info: *mut MembershipInfo,
) -> c_int {
    // SAFETY: the program's promise.
    unsafe { put_info(flat(body), service, info) }
}

/// Lists the virtual synchrony sets of a view; returns how many there are.
///
/// # Safety
/// `body` is that of a view as it was received, and `sets` has `room` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_get_vs_sets_info(
    body: *const c_char,
    sets: *mut VsSetInfo,
    room: c_uint,
    own: *mut c_uint,
) -> c_int {
    // SAFETY: the program's promise.
    unsafe { put_sets(flat(body), sets, room, own) }
}

/// Lists the members of a set; returns how many there are.
///
/// # Safety
/// `body` is that of a view as it was received, `set` one of its sets, and `names` has `room` names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_get_vs_set_members(
    body: *const c_char,
    set: *const VsSetInfo,
    names: *mut NameField,
    room: c_uint,
) -> c_int {
    // SAFETY: the program's promise.
    unsafe { put_members(flat(body), set, names, room) }
}

/// As [`SP_get_memb_info`], of a body in pieces.
///
/// # Safety
/// As [`SP_get_memb_info`]; the elements of `body` have as many bytes as they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_scat_get_memb_info(
    body: *const Scatter,
    service: Service,
    info: *mut MembershipInfo,
) -> c_int {
    // SAFETY: the program's promise.
    unsafe { put_info(scattered(body), service, info) }
}

/// As [`SP_get_vs_sets_info`], of a body in pieces.
///
/// # Safety
/// As [`SP_get_vs_sets_info`]; the elements of `body` have as many bytes as they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_scat_get_vs_sets_info(
    body: *const Scatter,
    sets: *mut VsSetInfo,
    room: c_uint,
    own: *mut c_uint,
) -> c_int {
    // SAFETY: the program's promise.
    unsafe { put_sets(scattered(body), sets, room, own) }
}

/// As [`SP_get_vs_set_members`], of a body in pieces.
///
/// # Safety
/// As [`SP_get_vs_set_members`]; the elements of `body` have as many bytes as they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SP_scat_get_vs_set_members(
    body: *const Scatter,
    set: *const VsSetInfo,
    names: *mut NameField,
    room: c_uint,
) -> c_int {
    // SAFETY: the program's promise.
    unsafe { put_members(scattered(body), set, names, room) }
}

/// 1 when both are the id of one view, 0 otherwise.
#[unsafe(no_mangle)]
pub extern "C" fn SP_equal_group_ids(one: GroupId, other: GroupId) -> c_int {
    (one == other).into()
}
