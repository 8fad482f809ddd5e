//! From pointers of C programs to slices, and back. Null is never an error here: there is nothing to
//! read, or nothing is written.

use std::ffi::{CStr, c_char, c_int};
use std::slice;

use antiphon_wire::names::NAME_FIELD_BYTES;

use crate::codes::Code;
use crate::layout::{MAX_SCATTER_ELEMENTS, Scatter, ScatterElement};

/// The bytes of a text, without its NUL.
///
/// # Safety
/// `text` is null, or points to a text that ends with a NUL and does not change while it is used.
pub(crate) unsafe fn text<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, so the caller says that it is such a text.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// Writes a result.
///
/// # Safety
/// `to` is null, or points to room for a `T` that is aligned and that nobody else uses now.
pub(crate) unsafe fn put<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: not null, so the caller says that there is room.
        unsafe { to.write(value) };
    }
}

/// Reads `count` values.
///
/// # Safety
/// `from` is null, or points to `count` values that are aligned and do not change while they are used.
pub(crate) unsafe fn slice<'a, T>(from: *const T, count: usize) -> &'a [T] {
    if from.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: not null, so the caller says that the values are there.
    unsafe { slice::from_raw_parts(from, count) }
}

/// Room for `count` values.
///
/// # Safety
/// `to` is null, or points to room for `count` values that is aligned and that nobody else uses now. Any
/// bytes are a `T`.
pub(crate) unsafe fn room<'a, T>(to: *mut T, count: usize) -> &'a mut [T] {
    if to.is_null() || count == 0 {
        return &mut [];
    }
    // SAFETY: not null, so the caller says that there is room; what is in it is a `T`, whatever it is.
    unsafe { slice::from_raw_parts_mut(to, count) }
}

/// A count as C programs give it; a negative one is none at all.
pub(crate) fn count(number: c_int) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// Group fields of a program.
///
/// # Safety
/// As [`slice()`], for fields.
pub(crate) unsafe fn fields<'a>(
    from: *const [c_char; NAME_FIELD_BYTES],
    count: usize,
) -> &'a [[u8; NAME_FIELD_BYTES]] {
    // SAFETY: the caller's promise; `c_char` and `u8` have the same size and accept any byte.
    unsafe { slice(from.cast(), count) }
}

/// Bytes of a program.
///
/// # Safety
/// As [`slice()`], for bytes.
pub(crate) unsafe fn bytes<'a>(from: *const c_char, count: usize) -> &'a [u8] {
    // SAFETY: the caller's promise; `c_char` and `u8` have the same size and accept any byte.
    unsafe { slice(from.cast(), count) }
}

/// The elements in use of a scatter, which the program gave.
///
/// # Errors
/// When it gave none, and when its elements are too many or have more bytes than there can be.
fn elements(scatter: Option<&Scatter>) -> Result<&[ScatterElement], Code> {
    let elements = scatter.and_then(|scatter| scatter.elements.get(..scatter.num_elements));
    let elements = elements.ok_or(Code::IllegalMessage)?;
    let bytes = elements.iter().try_fold(0_usize, |bytes, element| bytes.checked_add(element.len));
    // No object has more, whatever the program says, and a slice must not.
    let is_possible = bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok());
    if is_possible { Ok(elements) } else { Err(Code::IllegalMessage) }
}

/// The pieces of a body to send.
///
/// # Errors
/// When the scatter or an element with bytes is null, and when its elements are too many or too long.
///
/// # Safety
/// `scatter` is null or points to a scatter, and each of its elements in use to bytes, as for [`slice()`].
pub(crate) unsafe fn pieces<'a>(scatter: *const Scatter) -> Result<Vec<&'a [u8]>, Code> {
    // SAFETY: the caller's promise.
    let elements = elements(unsafe { scatter.as_ref() })?;
    if elements.iter().any(|element| element.buf.is_null() && element.len > 0) {
        return Err(Code::IllegalMessage);
    }
    // SAFETY: the caller's promise for each element in use.
    Ok(elements.iter().map(|element| unsafe { bytes(element.buf, element.len) }).collect())
}

/// The pieces of room for a body.
///
/// # Errors
/// When the scatter is null, and when its elements are too many or too long.
///
/// # Safety
/// `scatter` is null or points to a scatter, and each of its elements in use to room, as for [`room`], that
/// does not overlap with that of another.
pub(crate) unsafe fn room_pieces<'a>(scatter: *const Scatter) -> Result<Vec<&'a mut [u8]>, Code> {
    // SAFETY: the caller's promise.
    let elements = elements(unsafe { scatter.as_ref() })?;
    // SAFETY: the caller's promise for each element in use; `c_char` and `u8` have the same size.
    Ok(elements.iter().map(|element| unsafe { room(element.buf.cast(), element.len) }).collect())
}

const _: () = assert!(MAX_SCATTER_ELEMENTS == 100 && size_of::<c_char>() == 1);
