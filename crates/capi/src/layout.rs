//! The types that C programs share with the library, as `include/sp.h` declares them.

use std::ffi::{c_char, c_int, c_long, c_short, c_uint, c_void};

use antiphon_wire::names::NAME_FIELD_BYTES;

/// Most elements of a [`Scatter`].
pub(crate) const MAX_SCATTER_ELEMENTS: usize = 100;

/// A handle of a session: the descriptor of its socket.
pub type Mailbox = c_int;
/// Service and kind of a message.
pub type Service = c_int;
/// Number that a program gives to a kind of its messages.
pub type Int16 = c_short;
/// A name in a field of fixed size, ended by a NUL.
pub type NameField = [c_char; NAME_FIELD_BYTES];
/// Proves to a daemon who connects, by talking over the descriptor; 1 when that went well.
pub type AuthFunction = unsafe extern "C" fn(c_int, *mut c_void) -> c_int;
/// Called by the event loop at a time, with its code and data.
pub type TimeFunction = unsafe extern "C" fn(c_int, *mut c_void);
/// Called by the event loop for a descriptor, with its code and data.
pub type FdFunction = unsafe extern "C" fn(c_int, c_int, *mut c_void);

/// Identity of a view.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupId {
    /// Three words, of which only equality has a meaning.
    pub id: [i32; 3],
}

/// A piece of a body.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ScatterElement {
    /// Where it is.
    pub buf: *mut c_char,
    /// Its bytes.
    pub len: usize,
}

/// A body in pieces.
#[repr(C)]
#[derive(Debug)]
pub struct Scatter {
    /// How many of the elements are in use.
    pub num_elements: usize,
    /// The elements.
    pub elements: [ScatterElement; MAX_SCATTER_ELEMENTS],
}

/// A virtual synchrony set in the body of a view.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VsSetInfo {
    /// How many members it has.
    pub num_members: c_uint,
    /// Where their names begin in the body.
    pub members_offset: c_uint,
}

/// What the body of a view says.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MembershipInfo {
    /// Identity of the view.
    pub gid: GroupId,
    /// Who joined, left or disconnected; empty after a network change.
    pub changed_member: NameField,
    /// How many virtual synchrony sets there are.
    pub num_vs_sets: c_uint,
    /// The receiver's own.
    pub my_vs_set: VsSetInfo,
}

/// A time or a duration. Both parts have the same sign.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct SpTime {
    /// Whole seconds.
    pub sec: c_long,
    /// Microseconds, less than a million.
    pub usec: c_long,
}
