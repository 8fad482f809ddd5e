//! The protocol without sockets: bytes in, bytes and events out.
//!
//! ```text
//! Handshake ── on_bytes ──▶ Step::Write(bytes)   send them, then go on with on_bytes(&[])
//!                           Step::Read           nothing to do before more bytes come
//!                           Step::Open(Session)  the daemon accepted
//! Session = Inbox (bytes from the daemon become events) + Outbox (requests become bytes)
//! ```
//!
//! [`blocking`](crate::blocking) drives this over sockets; an event loop of another kind can do the
//! same. Memory is bounded as long as the caller takes all events before it adds more bytes.

use antiphon_wire::client::flags::{JOIN, KILL, LEAVE};
use antiphon_wire::client::frame::{FrameLimits, FrameReader, put_frame, put_head};
pub use antiphon_wire::client::handshake::AuthMethod;
use antiphon_wire::client::handshake::{AuthChoice, Hello, ReplyReader, Version};
use antiphon_wire::client::header::Hint;
use antiphon_wire::names::{GroupName, MemberName, PrivateName};
use bytes::{Buf, Bytes, BytesMut};

use crate::envelope::{Destination, Envelope};
use crate::error::Error;
use crate::message::Event;

/// What a face reads at once during a handshake, of which a daemon's part has less than 200 bytes.
pub(crate) const HANDSHAKE_READ_BYTES: usize = 256;
/// What a face reads at once from an open session. It is copied into one allocation, so a message that is kept keeps
/// only what was read together with it.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// What a client asks for when it connects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The private name; without one the daemon makes one up.
    pub name: Option<PrivateName>,
    /// Whether views, transitions and self-leaves are wanted.
    pub membership: bool,
    /// 0 or 1; without effect in known daemons.
    pub priority: u8,
    /// How to authenticate, all of them; at most three.
    pub auth: Vec<AuthMethod>,
}

impl Default for Options {
    /// No name, membership wanted, no proof.
    fn default() -> Self {
        Self { name: None, membership: true, priority: 0, auth: vec![AuthMethod::Null] }
    }
}

/// A connection whose session is not open yet.
#[derive(Debug)]
pub struct Handshake {
    replies: ReplyReader,
    auth: Vec<AuthMethod>,
    awaiting: Awaiting,
}

#[derive(Debug)]
enum Awaiting {
    MethodList,
    Accept,
}

/// What to do next in a handshake.
#[derive(Debug)]
pub enum Step {
    /// Send this, in one write, and call again, without bytes first: the answer may be here already.
    Write(Bytes),
    /// Call again with the next bytes.
    Read,
    /// The session is open.
    Open(Box<Session>),
}

impl Handshake {
    /// Begins a handshake. The bytes are to be sent in one write.
    #[must_use]
    pub fn begin(options: &Options) -> (Self, Bytes) {
        let hello = Hello {
            version: Version::REPORTED,
            wants_membership: options.membership,
            priority: options.priority.min(1),
            name: options.name,
        };
        let auth = options.auth.clone();
        (Self { replies: ReplyReader::new(), auth, awaiting: Awaiting::MethodList }, hello.encode())
    }

    /// Goes on with the next bytes from the daemon, cut anywhere.
    ///
    /// # Errors
    /// When the daemon refuses the session, does not offer the chosen methods, or breaks the protocol.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Result<Step, Error> {
        self.replies.push(bytes);
        match self.awaiting {
            Awaiting::MethodList => self.on_method_list(),
            Awaiting::Accept => self.on_accept(),
        }
    }

    fn on_method_list(&mut self) -> Result<Step, Error> {
        let Some(list) = self.replies.method_list()? else { return Ok(Step::Read) };
        for method in &self.auth {
            if !list.split(|byte| *byte == b' ').any(|offered| offered == method.name().as_bytes()) {
                let offered = list.trim_ascii().escape_ascii().to_string();
                return Err(Error::AuthNotOffered { wanted: method.name(), offered });
            }
        }
        self.awaiting = Awaiting::Accept;
        let names: Vec<&str> = self.auth.iter().map(|method| method.name()).collect();
        Ok(Step::Write(AuthChoice::new(&names).encode()))
    }

    fn on_accept(&mut self) -> Result<Step, Error> {
        let Some(accept) = self.replies.accept(Version::REPORTED)? else { return Ok(Step::Read) };
        let mut frames = FrameReader::new(FrameLimits::FROM_DAEMON);
        frames.push(std::mem::take(&mut self.replies).into_rest());
        Ok(Step::Open(Box::new(Session {
            daemon: accept.daemon,
            inbox: Inbox { member: accept.member, frames, sender: None },
            outbox: Outbox::new(accept.member),
        })))
    }
}

/// An open session.
#[derive(Debug)]
pub struct Session {
    /// What the daemon says its version is.
    pub daemon: Version,
    /// What comes from the daemon.
    pub inbox: Inbox,
    /// What goes to the daemon.
    pub outbox: Outbox,
}

/// Turns bytes from the daemon into events.
#[derive(Debug)]
pub struct Inbox {
    member: MemberName,
    frames: FrameReader,
    /// Who sent the last message.
    sender: Option<MemberName>,
}

impl Inbox {
    /// The session's name.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.member
    }

    /// Adds the next bytes from the daemon, cut anywhere.
    pub fn push(&mut self, bytes: Bytes) {
        self.frames.push(bytes);
    }

    /// Bytes that are missing from the next event, as far as that is known: those of a header first,
    /// then the rest. Who reads no more than these leaves the event after it in the socket, for
    /// programs that wait for the socket alone. Meant for when [`Inbox::next_event`] has returned `None`.
    #[must_use]
    pub fn missing_bytes(&self) -> usize {
        self.frames.missing_bytes()
    }

    /// Takes the next event; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the daemon breaks the protocol. The connection is of no use then.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        let Some(frame) = self.frames.next_frame()? else { return Ok(None) };
        let event = Event::from_frame_after(self.sender.as_ref(), frame, &self.member)?;
        if let Event::Message(message) = &event {
            self.sender = Some(message.sender);
        }
        Ok(Some(event))
    }
}

/// Turns requests into bytes for the daemon.
#[derive(Debug)]
pub struct Outbox {
    member: MemberName,
    bytes: BytesMut,
}

impl Outbox {
    /// The outbox of a session that has that name and nothing to say yet.
    #[must_use]
    pub fn new(member: MemberName) -> Self {
        Self { member, bytes: BytesMut::new() }
    }

    /// The session's name.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.member
    }

    /// Adds a request to join a group.
    ///
    /// # Errors
    /// When the text is not a legal name.
    pub fn join(&mut self, group: impl Destination) -> Result<(), Error> {
        self.request(JOIN, &group.group_name()?);
        Ok(())
    }

    /// Adds a request to leave a group.
    ///
    /// # Errors
    /// When the text is not a legal name.
    pub fn leave(&mut self, group: impl Destination) -> Result<(), Error> {
        self.request(LEAVE, &group.group_name()?);
        Ok(())
    }

    /// Adds a message.
    ///
    /// # Errors
    /// When the envelope has no group or more than 100, or the message is too long; nothing is added.
    pub fn send(&mut self, envelope: &Envelope, body: &[u8]) -> Result<(), Error> {
        self.send_head(envelope, body.len())?;
        self.add_body(body);
        Ok(())
    }

    /// Adds all of a message but its body. So many bytes have to follow: added by
    /// [`Outbox::add_body`], or written right after what is pending then, from where they lie.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub fn send_head(&mut self, envelope: &Envelope, body_bytes: usize) -> Result<(), Error> {
        envelope.check(body_bytes)?;
        let hint = Hint::new(envelope.type_number());
        let groups = envelope.groups().iter().map(GroupName::as_field);
        put_head(&mut self.bytes, envelope.flag_word(), self.member.as_field(), hint, groups, body_bytes);
        Ok(())
    }

    /// Adds bytes of the body of a message whose head was added last.
    pub fn add_body(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds the request that ends the session. Whatever would come after it is ignored by the daemon.
    pub fn disconnect(&mut self) {
        self.request(KILL, &GroupName::from_field(self.member.as_field()));
    }

    /// What is to be written, in order.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what was written: all that is [pending](Self::pending).
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Forgets the first bytes of what is pending, which were written.
    pub fn advance(&mut self, count: usize) {
        self.bytes.advance(count.min(self.bytes.len()));
    }

    /// Takes all that is [pending](Self::pending), to be written by whoever has it now.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        self.bytes.split().freeze()
    }

    fn request(&mut self, flags: u32, group: &GroupName) {
        let groups = std::iter::once(group.as_field());
        put_frame(&mut self.bytes, flags, self.member.as_field(), Hint::ZERO, groups, &[]);
    }
}

#[cfg(test)]
mod tests;
