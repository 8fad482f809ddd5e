//! Names as programs give them.

use std::ffi::c_char;

use antiphon_wire::names::{
    GROUP_NAME_MAX_BYTES, GroupName, NAME_FIELD_BYTES, PRIVATE_NAME_MAX_BYTES, PrivateName,
};

use crate::codes::Code;
use crate::pointer;

/// The field of a group that a message goes to. Not checked, as only joining and leaving check names; what
/// does not fit is cut off.
///
/// # Errors
/// When there is no name.
///
/// # Safety
/// As [`pointer::text`].
pub(crate) unsafe fn destination(name: *const c_char) -> Result<[u8; NAME_FIELD_BYTES], Code> {
    // SAFETY: the caller's promise.
    unsafe { pointer::text(name) }.map(field).ok_or(Code::IllegalGroup)
}

/// The name of a group to join or leave.
///
/// # Errors
/// When it is not legal.
///
/// # Safety
/// As [`pointer::text`].
pub(crate) unsafe fn group(name: *const c_char) -> Result<GroupName, Code> {
    // SAFETY: the caller's promise.
    let name = unsafe { pointer::text(name) }.ok_or(Code::IllegalGroup)?;
    GroupName::new(name).map_err(|_| Code::IllegalGroup)
}

/// A private name, cut to the longest that is possible; `None` for none.
///
/// # Errors
/// When it is not legal.
///
/// # Safety
/// As [`pointer::text`].
pub(crate) unsafe fn private(name: *const c_char) -> Result<Option<PrivateName>, Code> {
    // SAFETY: the caller's promise.
    let name = unsafe { pointer::text(name) }.unwrap_or_default();
    let name = name.get(..PRIVATE_NAME_MAX_BYTES).unwrap_or(name);
    if name.is_empty() {
        return Ok(None);
    }
    PrivateName::new(name).map(Some).map_err(|_| Code::RejectIllegalName)
}

/// A name padded with NUL, cut so that one is left.
pub(crate) fn field(name: &[u8]) -> [u8; NAME_FIELD_BYTES] {
    let mut field = [0; NAME_FIELD_BYTES];
    for (to, from) in field.iter_mut().zip(name.iter().take(GROUP_NAME_MAX_BYTES)) {
        *to = *from;
    }
    field
}

/// A field of a program or a daemon: what stands before its first NUL, and never without one.
pub(crate) fn ended(name: &[u8; NAME_FIELD_BYTES]) -> [u8; NAME_FIELD_BYTES] {
    *GroupName::from_field(name).as_field()
}
