//! The daemon's side of the handshake.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{AUTH_CHOICE_BYTES, AuthChoice, Hello, Version};
use crate::client::flags::ReplyCode;
use crate::names::{MemberName, PRIVATE_NAME_MAX_BYTES, PrivateName};

/// Longest method list: its length must not look like a refusal.
const METHOD_LIST_MAX_BYTES: usize = 127;

/// Reads what a client says until its session is accepted.
///
/// Bytes may come cut anywhere. What a client sends ahead of the accept stays in order and is handed
/// over by [`HelloReader::into_rest`]; the caller stops reading from a client that sends ahead for
/// longer than it likes ([`HelloReader::buffered_bytes`]).
#[derive(Clone, Debug, Default)]
pub struct HelloReader {
    buffer: BytesMut,
}

impl HelloReader {
    /// A reader at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the connection.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the hello; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The reply code of the refusal, as soon as it is certain: [`ReplyCode::Version`] or
    /// [`ReplyCode::IllegalName`].
    pub fn hello(&mut self) -> Result<Option<Hello>, ReplyCode> {
        let mut rest: &[u8] = &self.buffer;
        let hello = parse(&mut rest)?;
        let read = self.buffer.len() - rest.len();
        if hello.is_some() {
            self.buffer.advance(read);
        }
        Ok(hello)
    }

    /// Takes the auth choice that follows the hello of a client that
    /// [chooses](Version::chooses_auth); `None` when more bytes are needed.
    pub fn auth_choice(&mut self) -> Option<AuthChoice> {
        let choice = AuthChoice::decode(self.buffer.first_chunk::<AUTH_CHOICE_BYTES>()?);
        self.buffer.advance(AUTH_CHOICE_BYTES);
        Some(choice)
    }

    /// Bytes pushed and not taken yet. More than none right after the hello of a client that waits for
    /// the method list means that it sent more name than it announced.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// What follows the handshake, for the frame reader.
    #[must_use]
    pub fn into_rest(self) -> Bytes {
        self.buffer.freeze()
    }
}

fn next(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

/// The version, which says by itself how long it is; `None` when it is cut short.
fn parse_version(rest: &mut &[u8]) -> Option<Version> {
    let version = Version { major: next(rest)?, minor: next(rest)?, patch: 0 };
    if version.sends_patch() {
        return Some(Version { patch: next(rest)?, ..version });
    }
    Some(version)
}

fn parse(rest: &mut &[u8]) -> Result<Option<Hello>, ReplyCode> {
    let Some(version) = parse_version(rest) else { return Ok(None) };
    if !version.is_served() {
        return Err(ReplyCode::Version);
    }
    let (Some(flags), Some(length)) = (next(rest), next(rest)) else { return Ok(None) };
    let length = usize::from(length);
    if length > PRIVATE_NAME_MAX_BYTES {
        return Err(ReplyCode::IllegalName);
    }
    let name = rest.get(..length.min(rest.len())).unwrap_or_default();
    if !name.is_empty() && PrivateName::new(name).is_err() {
        return Err(ReplyCode::IllegalName);
    }
    if name.len() < length {
        return Ok(None);
    }
    *rest = rest.get(length..).unwrap_or_default();
    Ok(Some(Hello {
        version,
        // The reference looks for an odd signed byte, and negative ones are odd another way.
        wants_membership: flags < 0x80 && flags & 1 == 1,
        priority: flags >> 4,
        name: PrivateName::new(name).ok(),
    }))
}

/// The list of methods that a client may choose from, as one write. Names that do not fit into the
/// 127 bytes of a list are left out.
#[must_use]
pub fn encode_method_list(methods: &[&str]) -> Bytes {
    let mut out = BytesMut::from(&[0][..]);
    for method in methods {
        if out.len() + method.len() < METHOD_LIST_MAX_BYTES {
            out.put_slice(method.as_bytes());
            out.put_u8(b' ');
        }
    }
    let length = out.len().saturating_sub(1).to_le_bytes()[0];
    if let Some(first) = out.first_mut() {
        *first = length;
    }
    out.freeze()
}

/// The accept for a client of that version, as one write: what the daemon calls the session.
#[must_use]
pub fn encode_accept(client: Version, daemon: Version, member: &MemberName) -> Bytes {
    let name = member.as_bytes();
    let mut out = BytesMut::with_capacity(5 + name.len());
    out.put_u8(ReplyCode::Accept.to_byte());
    out.put_slice(&[daemon.major, daemon.minor]);
    if client.expects_patch() {
        out.put_u8(daemon.patch);
    }
    // A member name has 31 bytes at most, so its length is one byte.
    out.put_u8(name.len().to_le_bytes()[0]);
    out.put_slice(name);
    out.freeze()
}
