//! Errors of the library become exceptions of the Python half.

use antiphon::{Error, NameError, ReplyCode};
use pyo3::PyErr;

/// The exceptions of `antiphon._errors`.
mod exceptions {
    #![allow(missing_docs, reason = "they are documented where they are defined, in Python")]
    pyo3::import_exception!(antiphon._errors, AntiphonError);
    pyo3::import_exception!(antiphon._errors, AddressError);
    pyo3::import_exception!(antiphon._errors, RefusedError);
    pyo3::import_exception!(antiphon._errors, QuotaError);
    pyo3::import_exception!(antiphon._errors, NameInUseError);
    pyo3::import_exception!(antiphon._errors, NameRefusedError);
    pyo3::import_exception!(antiphon._errors, VersionError);
    pyo3::import_exception!(antiphon._errors, AuthenticationError);
    pyo3::import_exception!(antiphon._errors, ConnectionClosed);
    pyo3::import_exception!(antiphon._errors, ProtocolError);
    pyo3::import_exception!(antiphon._errors, IllegalNameError);
    pyo3::import_exception!(antiphon._errors, IllegalPrivateNameError);
    pyo3::import_exception!(antiphon._errors, ServiceError);
    pyo3::import_exception!(antiphon._errors, GroupCountError);
    pyo3::import_exception!(antiphon._errors, MessageTooLong);
}

/// The exception for an error.
pub(crate) fn to_python(error: Error) -> PyErr {
    let reason = error.to_string();
    match error {
        Error::Address(_) => exceptions::AddressError::new_err(reason),
        Error::Refused(code) => refused(code, reason),
        Error::AuthNotOffered { .. } => exceptions::AuthenticationError::new_err(reason),
        Error::Closed | Error::Ended => exceptions::ConnectionClosed::new_err(reason),
        Error::Protocol(_) => exceptions::ProtocolError::new_err(reason),
        Error::Name(_) => exceptions::IllegalNameError::new_err(reason),
        Error::GroupCount(_) => exceptions::GroupCountError::new_err(reason),
        Error::MessageTooLong(_) => exceptions::MessageTooLong::new_err(reason),
        // The library's own sockets are not used here, so what goes wrong with them does not come.
        _ => exceptions::AntiphonError::new_err(reason),
    }
}

/// The exception for a private name that is not legal.
pub(crate) fn illegal_private_name(error: NameError) -> PyErr {
    exceptions::IllegalPrivateNameError::new_err(error.to_string())
}

/// The exception for a flag word without exactly one service level.
pub(crate) fn no_service(flags: u32) -> PyErr {
    exceptions::ServiceError::new_err(format!("a message has exactly one service level, {flags:#x} has not"))
}

fn refused(code: ReplyCode, reason: String) -> PyErr {
    match code {
        ReplyCode::Quota => exceptions::QuotaError::new_err(reason),
        ReplyCode::IllegalName => exceptions::NameRefusedError::new_err(reason),
        ReplyCode::NotUnique => exceptions::NameInUseError::new_err(reason),
        ReplyCode::Version => exceptions::VersionError::new_err(reason),
        ReplyCode::Auth => exceptions::AuthenticationError::new_err(reason),
        ReplyCode::NoName | ReplyCode::Accept => exceptions::RefusedError::new_err(reason),
    }
}
