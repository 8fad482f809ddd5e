//! Private, daemon, group and member names, checked when they are made.
//!
//! Every name travels in a field of [`NAME_FIELD_BYTES`] bytes, padded with NUL. The types here
//! *are* that field, so a name is copied and compared as 32 bytes and never allocates. Names
//! compare by byte order, which is the order of the member lists that clients see.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Size of a name on the wire, with at least one terminating NUL.
pub const NAME_FIELD_BYTES: usize = 32;
const HALF: usize = NAME_FIELD_BYTES / 2;
/// Longest private name, in bytes.
pub const PRIVATE_NAME_MAX_BYTES: usize = 10;
/// Longest daemon name, in bytes.
pub const DAEMON_NAME_MAX_BYTES: usize = 19;
/// Longest group name, in bytes.
pub const GROUP_NAME_MAX_BYTES: usize = NAME_FIELD_BYTES - 1;

/// Why a name was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NameError {
    /// The name has no bytes.
    #[error("a {kind} must not be empty")]
    Empty {
        /// Which sort of name.
        kind: &'static str,
    },
    /// The name does not fit.
    #[error("a {kind} has at most {limit} bytes, this one has {length}")]
    TooLong {
        /// Which sort of name.
        kind: &'static str,
        /// The longest that is allowed.
        limit: usize,
        /// What was given.
        length: usize,
    },
    /// A byte that the name must not contain.
    #[error("a {kind} consists of printable characters from '$' to '~', found byte 0x{byte:02x}")]
    IllegalByte {
        /// Which sort of name.
        kind: &'static str,
        /// The first offending byte.
        byte: u8,
    },
    /// Not of the form `#private#daemon`.
    #[error("a member name has the form #private#daemon")]
    NotAMember,
}

fn padded(bytes: &[u8]) -> [u8; NAME_FIELD_BYTES] {
    let mut field = [0; NAME_FIELD_BYTES];
    let length = bytes.len().min(NAME_FIELD_BYTES);
    if let (Some(place), Some(name)) = (field.get_mut(..length), bytes.get(..length)) {
        place.copy_from_slice(name);
    }
    field
}

/// What stands before the first NUL. Eight bytes at a time, as it is done for every group of every message.
fn text(field: &[u8; NAME_FIELD_BYTES]) -> &[u8] {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let mut end = 0;
    for word in field.as_chunks().0 {
        let word = u64::from_le_bytes(*word);
        // The lowest bit that is set is the highest of the first byte that is 0 (Warren, Hacker's Delight, section 6-1).
        let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
        end += zeros.trailing_zeros() as usize / 8;
        if zeros != 0 {
            break;
        }
    }
    field.get(..end).unwrap_or(field)
}

/// A field without the NULs at its end: the name, where it is padded as in the types here. In two steps, as
/// it is done for every message.
pub(crate) fn unpadded(field: &[u8; NAME_FIELD_BYTES]) -> &[u8] {
    let half = |half: Option<&[u8; HALF]>| {
        half.map_or(0, |half| HALF - u128::from_le_bytes(*half).leading_zeros() as usize / 8)
    };
    let length = match half(field.last_chunk()) {
        0 => half(field.first_chunk()),
        length => HALF + length,
    };
    field.get(..length).unwrap_or(field)
}

fn check(kind: &'static str, bytes: &[u8], limit: usize) -> Result<[u8; NAME_FIELD_BYTES], NameError> {
    if bytes.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if bytes.len() > limit {
        return Err(NameError::TooLong { kind, limit, length: bytes.len() });
    }
    match bytes.iter().find(|byte| !(b'$'..=b'~').contains(*byte)) {
        Some(byte) => Err(NameError::IllegalByte { kind, byte: *byte }),
        None => Ok(padded(bytes)),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; NAME_FIELD_BYTES]);

        impl $name {
            /// The name without its padding.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                unpadded(&self.0)
            }

            /// The name as it stands on the wire, padded with NUL.
            #[must_use]
            pub fn as_field(&self) -> &[u8; NAME_FIELD_BYTES] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&String::from_utf8_lossy(self.as_bytes()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $check(text.as_bytes())
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, text: &str) -> bool {
                self.as_bytes() == text.as_bytes()
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, text: &&str) -> bool {
                *self == **text
            }
        }
    };
}

name_type! {
    /// What a client calls itself: 1 to 10 bytes from `$` to `~`.
    PrivateName, PrivateName::new
}
name_type! {
    /// What the configuration calls a daemon: 1 to 19 bytes from `$` to `~`.
    DaemonName, DaemonName::new
}
name_type! {
    /// Name of a group: up to 31 bytes, everything from the first NUL on ignored.
    ///
    /// Daemons do not check the bytes of a group name, client libraries do:
    /// [`GroupName::new`] is their rule, [`GroupName::from_field`] the daemon's.
    GroupName, GroupName::new
}
name_type! {
    /// Full name of a session, `#private#daemon`, which is also the name of its private group.
    MemberName, MemberName::parse
}

impl PrivateName {
    /// Checks a private name.
    ///
    /// # Errors
    /// When it is empty, longer than [`PRIVATE_NAME_MAX_BYTES`], or has a byte outside `$`..`~`.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        check("private name", bytes, PRIVATE_NAME_MAX_BYTES).map(Self)
    }
}

impl DaemonName {
    /// Checks a daemon name.
    ///
    /// # Errors
    /// When it is empty, longer than [`DAEMON_NAME_MAX_BYTES`], or has a byte outside `$`..`~`.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        check("daemon name", bytes, DAEMON_NAME_MAX_BYTES).map(Self)
    }
}

impl GroupName {
    /// Checks a group name by the rule of the client libraries.
    ///
    /// # Errors
    /// When it is empty, longer than [`GROUP_NAME_MAX_BYTES`], or has a byte outside `$`..`~`.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        check("group name", bytes, GROUP_NAME_MAX_BYTES).map(Self)
    }

    /// Takes the name out of a wire field: what stands before the first NUL, at most 31 bytes.
    #[must_use]
    pub fn from_field(field: &[u8; NAME_FIELD_BYTES]) -> Self {
        Self(padded(text(field).get(..GROUP_NAME_MAX_BYTES).unwrap_or_else(|| text(field))))
    }

    /// Whether the name denotes a session's private group, that is, begins with `#`.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.0.first() == Some(&b'#')
    }
}

impl MemberName {
    /// Joins a private name and the name of its daemon.
    #[must_use]
    pub fn new(private: &PrivateName, daemon: &DaemonName) -> Self {
        let (private, daemon) = (private.as_bytes(), daemon.as_bytes());
        let mut field = [0; NAME_FIELD_BYTES];
        if let [first, rest @ ..] = &mut field
            && let Some((private_place, [second, rest @ ..])) = rest.split_at_mut_checked(private.len())
            && let Some(daemon_place) = rest.get_mut(..daemon.len())
        {
            (*first, *second) = (b'#', b'#');
            private_place.copy_from_slice(private);
            daemon_place.copy_from_slice(daemon);
        }
        Self(field)
    }

    /// Splits `#private#daemon`.
    ///
    /// # Errors
    /// When the text does not have that form with two legal names.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        let rest = bytes.strip_prefix(b"#").ok_or(NameError::NotAMember)?;
        let hash = rest.iter().position(|byte| *byte == b'#').ok_or(NameError::NotAMember)?;
        let (private, daemon) = rest.split_at(hash);
        let private = PrivateName::new(private)?;
        let daemon = DaemonName::new(daemon.get(1..).unwrap_or_default())?;
        Ok(Self::new(&private, &daemon))
    }

    /// Takes the name out of a wire field.
    ///
    /// # Errors
    /// As [`MemberName::parse`].
    pub fn from_field(field: &[u8; NAME_FIELD_BYTES]) -> Result<Self, NameError> {
        Self::parse(text(field))
    }

    /// The private part, without the two `#`.
    #[must_use]
    pub fn private(&self) -> &[u8] {
        let rest = self.as_bytes().get(1..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'#').unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    /// The daemon part.
    #[must_use]
    pub fn daemon(&self) -> &[u8] {
        self.as_bytes().split(|byte| *byte == b'#').nth(2).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_names_have_one_to_ten_legal_bytes() {
        assert!(PrivateName::new(b"$").is_ok());
        assert!(PrivateName::new(b"abcdefghij").is_ok());
        assert!(matches!(PrivateName::new(b""), Err(NameError::Empty { .. })));
        assert!(matches!(PrivateName::new(b"abcdefghijk"), Err(NameError::TooLong { length: 11, .. })));
        assert!(matches!(PrivateName::new(b"a#b"), Err(NameError::IllegalByte { byte: b'#', .. })));
        assert!(matches!(PrivateName::new(b"a b"), Err(NameError::IllegalByte { byte: b' ', .. })));
    }

    #[test]
    fn a_member_name_splits_into_its_parts() {
        let name = MemberName::parse(b"#alice#localhost").expect("well formed");
        assert_eq!(name.private(), b"alice");
        assert_eq!(name.daemon(), b"localhost");
        assert_eq!(name.to_string(), "#alice#localhost");
        for bad in [b"alice".as_slice(), b"#alice", b"##d", b"#a#", b"#a#b#c"] {
            assert!(MemberName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_read_from_text_and_compared_with_it() {
        assert_eq!("alice".parse(), PrivateName::new(b"alice"));
        assert_eq!("db1".parse(), DaemonName::new(b"db1"));
        assert_eq!("#alice#db1".parse(), MemberName::parse(b"#alice#db1"));
        assert_eq!("alice".parse::<MemberName>(), Err(NameError::NotAMember));
        assert!(matches!("my printer".parse::<GroupName>(), Err(NameError::IllegalByte { byte: b' ', .. })));
        let group: GroupName = "printer".parse().expect("legal");
        assert!(group == "printer" && group == *"printer" && group != "print");
    }

    #[test]
    fn a_group_field_ends_at_its_nul_and_never_exceeds_31_bytes() {
        let mut field = [b'x'; 32];
        assert_eq!(GroupName::from_field(&field).as_bytes().len(), 31);
        field[3] = 0;
        assert_eq!(GroupName::from_field(&field).as_bytes(), b"xxx");
    }

    #[test]
    fn names_sort_by_their_bytes() {
        let mut names =
            ["zed", "Bob", "amy", "$1"].map(|name| PrivateName::new(name.as_bytes()).expect("legal"));
        names.sort();
        assert_eq!(names.map(|name| name.to_string()), ["$1", "Bob", "amy", "zed"]);
    }

    #[test]
    fn a_field_has_its_text_before_the_first_nul() {
        for end in 0..=NAME_FIELD_BYTES {
            for byte in [1, 0x7f, 0x80, 0xff] {
                let mut field = [byte; NAME_FIELD_BYTES];
                field.iter_mut().skip(end).step_by(3).for_each(|byte| *byte = 0);
                assert_eq!(text(&field), &field[..end], "{byte}");
            }
        }
    }
}
