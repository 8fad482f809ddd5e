//! What functions return instead of a result: the codes of Spread's libraries.

use std::ffi::{CStr, c_int};

use antiphon_wire::client::flags::ReplyCode;

/// A negative result of a function of the C interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(crate) enum Code {
    IllegalSpread = -1,
    CouldNotConnect = -2,
    RejectQuota = -3,
    RejectNoName = -4,
    RejectIllegalName = -5,
    RejectNotUnique = -6,
    RejectVersion = -7,
    ConnectionClosed = -8,
    RejectAuth = -9,
    IllegalSession = -11,
    IllegalService = -12,
    IllegalMessage = -13,
    IllegalGroup = -14,
    BufferTooShort = -15,
    GroupsTooShort = -16,
    MessageTooLong = -17,
    NetErrorOnSession = -18,
    SpBug = -19,
    IllegalTime = -20,
    IllegalParam = -24,
    WouldBlock = -25,
    IllegalMessageType = -26,
    IllegalState = -27,
    IllegalReceivers = -28,
}

/// The positive result of connecting.
pub(crate) const ACCEPT_SESSION: c_int = 1;

impl Code {
    const ALL: [Self; 24] = [
        Self::IllegalSpread,
        Self::CouldNotConnect,
        Self::RejectQuota,
        Self::RejectNoName,
        Self::RejectIllegalName,
        Self::RejectNotUnique,
        Self::RejectVersion,
        Self::ConnectionClosed,
        Self::RejectAuth,
        Self::IllegalSession,
        Self::IllegalService,
        Self::IllegalMessage,
        Self::IllegalGroup,
        Self::BufferTooShort,
        Self::GroupsTooShort,
        Self::MessageTooLong,
        Self::NetErrorOnSession,
        Self::SpBug,
        Self::IllegalTime,
        Self::IllegalParam,
        Self::WouldBlock,
        Self::IllegalMessageType,
        Self::IllegalState,
        Self::IllegalReceivers,
    ];

    /// As C programs see it.
    pub(crate) fn number(self) -> c_int {
        self as c_int
    }

    /// What a daemon's refusal is to the program.
    pub(crate) fn from_reply(reply: ReplyCode) -> Self {
        match reply {
            ReplyCode::Quota => Self::RejectQuota,
            ReplyCode::NoName => Self::RejectNoName,
            ReplyCode::IllegalName => Self::RejectIllegalName,
            ReplyCode::NotUnique => Self::RejectNotUnique,
            ReplyCode::Version => Self::RejectVersion,
            ReplyCode::Auth => Self::RejectAuth,
            ReplyCode::Accept => Self::SpBug,
        }
    }

    fn meaning(self) -> &'static CStr {
        match self {
            Self::IllegalSpread => {
                c"the daemon's address is not of the form PORT or PORT@HOST, or has no such host"
            }
            Self::CouldNotConnect => c"no daemon answers at the address",
            Self::RejectQuota => c"the daemon has as many sessions as it allows",
            Self::RejectNoName => c"the daemon requires a private name",
            Self::RejectIllegalName => c"the private name is not allowed",
            Self::RejectNotUnique => c"the private name is in use on this daemon",
            Self::RejectVersion => c"the daemon does not serve this version of the library",
            Self::ConnectionClosed => c"the connection to the daemon was closed",
            Self::RejectAuth => c"authentication failed, or its method is not allowed by the daemon",
            Self::IllegalSession => c"the mailbox is not of an open session",
            Self::IllegalService => c"the service type must have one service, and no bit that is reserved",
            Self::IllegalMessage => c"the message or membership is malformed",
            Self::IllegalGroup => c"the group's name is not legal, or this client is not in it",
            Self::BufferTooShort => c"the buffer for the body is too short",
            Self::GroupsTooShort => c"the buffer for the groups is too short",
            Self::MessageTooLong => c"the message is too long",
            Self::NetErrorOnSession => c"the session broke earlier and can only be disconnected",
            Self::SpBug => c"the library was used, or answered by the daemon, against its rules",
            Self::IllegalTime => {
                c"seconds and microseconds must have one sign, and microseconds be below a million"
            }
            Self::IllegalParam => c"a parameter is out of its range",
            Self::WouldBlock => c"there is nothing to receive now",
            Self::IllegalMessageType => c"message types below -32765 are reserved",
            Self::IllegalState => c"that cannot be done now",
            Self::IllegalReceivers => c"a receiver is not in the group's view",
        }
    }
}

/// A result as C programs see it.
pub(crate) fn returned(result: Result<c_int, Code>) -> c_int {
    result.unwrap_or_else(Code::number)
}

/// What a returned number means, in words for a person.
pub(crate) fn meaning(number: c_int) -> &'static CStr {
    if number >= 0 {
        return c"no error";
    }
    let known = Code::ALL.into_iter().find(|code| code.number() == number);
    known.map_or(c"unknown error code", Code::meaning)
}

/// Prints what a returned number means, with the name of the function that the program calls for it. The
/// standard output is that of C, so that this comes in turn with what the program prints.
pub(crate) fn print(function: &CStr, number: c_int) {
    let meaning = meaning(number);
    // SAFETY: the format wants a text, an `int` and a text, both texts ending with a NUL. There is nobody to tell
    // that it failed.
    unsafe { libc::printf(c"%s: (%d) %s\n".as_ptr(), function.as_ptr(), number, meaning.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_meaning_of_its_own() {
        let mut meanings: Vec<&CStr> = (-28..=-1).map(meaning).collect();
        meanings.sort_unstable();
        meanings.dedup();
        assert_eq!(meanings.len(), Code::ALL.len() + 1, "one more for the numbers that are no codes");
        assert_eq!(meaning(0), c"no error");
    }
}
