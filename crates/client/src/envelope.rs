//! What goes with a body: service level, groups, message type.

use antiphon_wire::client::flags::{
    ENDIAN_MARK, GROUPS_EXCHANGE, MAX_BODY_AND_GROUPS_BYTES, MAX_GROUPS, REJECT, REQUEST_MASK, SELF_DISCARD,
};
use antiphon_wire::names::{GroupName, MemberName, NAME_FIELD_BYTES, NameError};
use antiphon_wire::service::ServiceLevel;

use crate::error::Error;

/// Bits that are not the application's: with one of them a daemon would drop the connection, or
/// take the message for something else.
const OWN_BITS: u32 = ENDIAN_MARK | ServiceLevel::FLAG_MASK | REQUEST_MASK | GROUPS_EXCHANGE | REJECT;

/// Something that names a group or a member: text, a [`GroupName`] or a [`MemberName`].
///
/// Text that begins with `#` names a member, `#private#daemon`; any other text names a group.
pub trait Destination {
    /// The name as messages carry it.
    ///
    /// # Errors
    /// When the text is not a legal name.
    fn group_name(&self) -> Result<GroupName, NameError>;
}

impl Destination for str {
    fn group_name(&self) -> Result<GroupName, NameError> {
        if self.starts_with('#') {
            return MemberName::parse(self.as_bytes())?.group_name();
        }
        GroupName::new(self.as_bytes())
    }
}

impl Destination for String {
    fn group_name(&self) -> Result<GroupName, NameError> {
        self.as_str().group_name()
    }
}

impl Destination for GroupName {
    fn group_name(&self) -> Result<GroupName, NameError> {
        Ok(*self)
    }
}

impl Destination for MemberName {
    fn group_name(&self) -> Result<GroupName, NameError> {
        Ok(GroupName::from_field(self.as_field()))
    }
}

impl<D: Destination + ?Sized> Destination for &D {
    fn group_name(&self) -> Result<GroupName, NameError> {
        (**self).group_name()
    }
}

/// What goes with a body. Made once, it can send many messages.
///
/// ```
/// use antiphon::{Envelope, ServiceLevel};
///
/// # fn main() -> Result<(), antiphon::NameError> {
/// let envelope = Envelope::new(ServiceLevel::Safe).to("orders")?.to("#audit#db1")?.message_type(7);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    service: ServiceLevel,
    groups: Vec<GroupName>,
    message_type: i16,
    flags: u32,
}

impl Envelope {
    /// An envelope without groups, of message type 0.
    #[must_use]
    pub fn new(service: ServiceLevel) -> Self {
        Self { service, groups: Vec::new(), message_type: 0, flags: 0 }
    }

    /// An envelope to one group, of message type 0.
    pub(crate) fn for_group(service: ServiceLevel, group: GroupName) -> Self {
        Self { groups: vec![group], ..Self::new(service) }
    }

    /// Adds a group, or a member by its private group.
    ///
    /// # Errors
    /// When the text is not a legal name.
    pub fn to(mut self, destination: impl Destination) -> Result<Self, NameError> {
        self.groups.push(destination.group_name()?);
        Ok(self)
    }

    /// Sets the application's message type.
    #[must_use]
    pub fn message_type(mut self, message_type: i16) -> Self {
        self.message_type = message_type;
        self
    }

    /// Sets whether the sender goes without its own copy.
    #[must_use]
    pub fn self_discard(mut self, discard: bool) -> Self {
        self.flags = if discard { self.flags | SELF_DISCARD } else { self.flags & !SELF_DISCARD };
        self
    }

    /// Adds bits to the flag word; daemons carry them to the receivers unchanged. Bits that the
    /// protocol needs for itself are left out.
    #[must_use]
    pub fn add_flags(mut self, flags: u32) -> Self {
        self.flags |= flags & !OWN_BITS;
        self
    }

    pub(crate) fn service(&self) -> ServiceLevel {
        self.service
    }

    pub(crate) fn groups(&self) -> &[GroupName] {
        &self.groups
    }

    pub(crate) fn type_number(&self) -> i16 {
        self.message_type
    }

    /// The flag word of a message in this envelope.
    pub(crate) fn flag_word(&self) -> u32 {
        self.service.flag() | self.flags
    }

    /// Whether a body of `body_bytes` may be sent (docs/client-protocol.md, Limits).
    pub(crate) fn check(&self, body_bytes: usize) -> Result<(), Error> {
        let count = self.groups.len();
        if count == 0 || count > MAX_GROUPS as usize {
            return Err(Error::GroupCount(count));
        }
        let bytes = body_bytes.saturating_add(count * NAME_FIELD_BYTES);
        if bytes > MAX_BODY_AND_GROUPS_BYTES as usize {
            return Err(Error::MessageTooLong(bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_groups_and_members() {
        assert_eq!("chat".group_name().map(|name| name.to_string()), Ok("chat".to_owned()));
        let member = MemberName::parse(b"#alice#db1").expect("legal");
        assert_eq!("#alice#db1".group_name(), member.group_name());
        assert_eq!("#alice".group_name(), Err(NameError::NotAMember));
        assert!("two words".group_name().is_err() && "".group_name().is_err());
    }

    #[test]
    fn applications_can_not_set_bits_of_the_protocol() {
        let envelope = Envelope::new(ServiceLevel::Fifo).add_flags(u32::MAX);
        assert_eq!(envelope.flag_word(), !OWN_BITS | ServiceLevel::Fifo.flag());
        assert_eq!(envelope.self_discard(false).flag_word() & SELF_DISCARD, 0);
    }

    #[test]
    fn groups_and_bytes_are_limited() {
        let mut envelope = Envelope::new(ServiceLevel::Fifo);
        assert!(matches!(envelope.check(0), Err(Error::GroupCount(0))));
        for _ in 0..100 {
            envelope = envelope.to("g").expect("legal");
        }
        assert!(envelope.check(143_952 - 3200).is_ok());
        assert!(matches!(envelope.check(143_953 - 3200), Err(Error::MessageTooLong(143_953))));
        let envelope = envelope.to("g").expect("legal");
        assert!(matches!(envelope.check(0), Err(Error::GroupCount(101))));
    }
}
