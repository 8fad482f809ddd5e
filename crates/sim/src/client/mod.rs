//! Simulated clients.
//!
//! A [`Client`] is a place from which one connection after the other is opened to one daemon, always
//! under the same name. It speaks the client protocol in bytes and records what it does and reads.

pub mod flush;
pub mod payload;

use std::time::Duration;

use antiphon_proto::CloseReason;
use antiphon_proto::time::Instant;
use antiphon_wire::client::flags::{JOIN, KILL, LEAVE};
use antiphon_wire::client::frame::{Frame, FrameLimits, FrameReader, put_frame};
use antiphon_wire::client::handshake::{AuthChoice, Hello, ReplyError, ReplyReader, Version};
use antiphon_wire::client::header::Hint;
use antiphon_wire::client::membership::Membership;
use antiphon_wire::ids::SessionId;
use antiphon_wire::names::{DaemonName, GroupName, MemberName, PrivateName};
use antiphon_wire::service::ServiceLevel;
use bytes::{Bytes, BytesMut};

use self::flush::{Deed, Program};
use crate::record::{Recorder, flags};
use crate::trace::{Received, SessionEvent, Submission};

/// A multicast to be sent.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Its service level.
    pub service: ServiceLevel,
    /// To whom.
    pub groups: Vec<GroupName>,
    /// Whether the sender wants no copy.
    pub self_discard: bool,
    /// Bytes of body.
    pub body_bytes: usize,
}

/// One place for connections to one daemon.
#[derive(Debug)]
pub struct Client {
    /// The host whose daemon it connects to.
    pub host: usize,
    /// The name it asks for.
    pub private: PrivateName,
    /// The name it gets.
    pub member: MemberName,
    /// Whether it asks for membership messages.
    pub wants_views: bool,
    /// Whether it reads what the daemon sends.
    pub reads: bool,
    /// Whether it uses the flush layer.
    pub flushes: bool,
    /// How long it may take to flush, if there is a limit.
    pub flush_limit: Option<Duration>,
    /// Groups it asked to join and not to leave since.
    pub joined: Vec<GroupName>,
    connection: Option<Connection>,
    #[cfg(feature = "mutants")]
    flush_mutant: Option<antiphon::flush::mutant::Mutant>,
    message_type: u16,
}

#[derive(Debug)]
struct Connection {
    id: SessionId,
    /// Position in the trace.
    session: usize,
    phase: Phase,
    /// What reads the frames, if the client uses the flush layer.
    program: Option<Program>,
}

#[derive(Debug)]
enum Phase {
    /// The hello is sent.
    Hello(ReplyReader),
    /// The choice of authentication is sent.
    Choice(ReplyReader),
    /// The session is open.
    Open(FrameReader),
    /// The client says and hears nothing any more.
    Over,
}

impl Client {
    /// A client without a connection.
    ///
    /// # Panics
    /// When a name is not legal.
    #[must_use]
    pub fn new(host: usize, private: &str, daemon: &DaemonName, wants_views: bool) -> Self {
        let Ok(private) = PrivateName::new(private.as_bytes()) else { unreachable!("{private} is illegal") };
        Self {
            host,
            private,
            member: MemberName::new(&private, daemon),
            wants_views,
            reads: true,
            flushes: false,
            flush_limit: None,
            joined: Vec::new(),
            connection: None,
            #[cfg(feature = "mutants")]
            flush_mutant: None,
            message_type: 0,
        }
    }

    /// The number of the connection, if there is one.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.connection.as_ref().map(|connection| connection.id)
    }

    /// The position of the connection in the trace, if there is one.
    #[must_use]
    pub fn trace_position(&self) -> Option<usize> {
        self.connection.as_ref().map(|connection| connection.session)
    }

    /// Whether requests may be sent: the accept need not have been read.
    #[must_use]
    pub fn may_send(&self) -> bool {
        let phase = self.connection.as_ref().map(|connection| &connection.phase);
        matches!(phase, Some(Phase::Choice(_) | Phase::Open(_)))
    }

    /// Whether the session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| matches!(connection.phase, Phase::Open(_)))
    }

    /// Whether it has used up its numbers for messages.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.message_type == u16::MAX
    }

    /// Plants a fault in the flush layers of connections to come.
    #[cfg(feature = "mutants")]
    pub fn plant(&mut self, mutant: Option<antiphon::flush::mutant::Mutant>) {
        self.flush_mutant = mutant;
    }

    /// Opens a connection; returns the hello.
    pub fn connect(&mut self, id: SessionId, session: usize, recorder: &mut Recorder) -> Bytes {
        let limit = self.flush_limit;
        let program =
            self.flushes.then(|| Program::new(self.member, recorder.open_flush(session, limit), limit));
        #[cfg(feature = "mutants")]
        let program = program.map(|program| program.planted(self.flush_mutant));
        let phase = Phase::Hello(ReplyReader::new());
        self.connection = Some(Connection { id, session, phase, program });
        self.joined.clear();
        let (version, name) = (Version::REPORTED, Some(self.private));
        Hello { version, wants_membership: self.wants_views, priority: 0, name }.encode()
    }

    /// The request to join a group.
    pub fn join(&mut self, now: Instant, group: GroupName, recorder: &mut Recorder) -> Bytes {
        if !self.joined.contains(&group) {
            self.joined.push(group);
        }
        self.record(now, recorder, SessionEvent::Joining(group));
        self.request(JOIN, &group)
    }

    /// The request to leave a group.
    pub fn leave(&mut self, now: Instant, group: GroupName, recorder: &mut Recorder) -> Bytes {
        self.joined.retain(|joined| *joined != group);
        self.record(now, recorder, SessionEvent::Leaving(group));
        self.request(LEAVE, &group)
    }

    /// The request to end the session.
    pub fn kill(&mut self, now: Instant, recorder: &mut Recorder) -> Bytes {
        self.record(now, recorder, SessionEvent::Disconnecting);
        let own = GroupName::from_field(self.member.as_field());
        self.request(KILL, &own)
    }

    /// A multicast.
    pub fn multicast(&mut self, now: Instant, cast: Cast, recorder: &mut Recorder) -> Bytes {
        let Some(session) = self.trace_position() else { return Bytes::new() };
        self.message_type = self.message_type.wrapping_add(1);
        let message_type = self.message_type.cast_signed();
        let Cast { service, groups, self_discard, body_bytes } = cast;
        let submission = Submission { session, service, groups, self_discard, body_bytes };
        let flags = flags(&submission);
        let number = recorder.submit(now, message_type, submission);
        let groups = &recorder.trace.submissions[number].groups;
        let mut out = BytesMut::new();
        let fields = groups.iter().map(GroupName::as_field);
        let body = payload::body(number, body_bytes);
        put_frame(&mut out, flags, self.member.as_field(), Hint::new(message_type), fields, body);
        out.freeze()
    }

    fn request(&self, flags: u32, group: &GroupName) -> Bytes {
        let mut out = BytesMut::new();
        let groups = [group.as_field()];
        put_frame(&mut out, flags, self.member.as_field(), Hint::ZERO, groups.into_iter(), &[]);
        out.freeze()
    }

    /// Takes bytes from the daemon; returns what the client answers at once.
    pub fn on_bytes(&mut self, now: Instant, bytes: &Bytes, recorder: &mut Recorder) -> Option<Bytes> {
        let connection = self.connection.as_mut()?;
        match &mut connection.phase {
            Phase::Hello(replies) | Phase::Choice(replies) => replies.push(bytes),
            Phase::Open(frames) => frames.push(bytes.clone()),
            Phase::Over => return None,
        }
        let answer = self.handshake(now, recorder);
        self.read_frames(now, recorder);
        let program = self.connection.as_mut().and_then(|connection| connection.program.as_mut());
        let said = program.map(Program::take_bytes).filter(|bytes| !bytes.is_empty());
        // No frame is read before the handshake is over.
        answer.or(said)
    }

    /// When a client with the flush layer will have taken too long to flush.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.connection.as_ref()?.program.as_ref()?.deadline()
    }

    /// Lets a client with the flush layer look at the clock.
    pub fn on_time(&mut self, now: Instant, recorder: &mut Recorder) -> Bytes {
        let program = self.connection.as_mut().and_then(|connection| connection.program.as_mut());
        let Some(program) = program else { return Bytes::new() };
        let told = program.on_time(now, recorder);
        let said = program.take_bytes();
        if let Err(error) = told {
            self.record(now, recorder, SessionEvent::Garbage(error));
        }
        said
    }

    /// Lets a client with the flush layer do something.
    pub fn act(&mut self, now: Instant, group: GroupName, deed: Deed, recorder: &mut Recorder) -> Bytes {
        let program = self.connection.as_mut().and_then(|connection| connection.program.as_mut());
        let Some(program) = program else { return Bytes::new() };
        program.act(now, group, deed, recorder);
        program.take_bytes()
    }

    fn handshake(&mut self, now: Instant, recorder: &mut Recorder) -> Option<Bytes> {
        let connection = self.connection.as_mut()?;
        let session = connection.session;
        let mut answer = None;
        if let Phase::Hello(replies) = &mut connection.phase {
            match replies.method_list() {
                Ok(None) => return None,
                Ok(Some(_)) => {
                    answer = Some(AuthChoice::new(&["NULL"]).encode());
                    connection.phase = Phase::Choice(std::mem::take(replies));
                }
                Err(error) => self.refuse(now, error, recorder),
            }
        }
        let connection = self.connection.as_mut()?;
        if let Phase::Choice(replies) = &mut connection.phase {
            match replies.accept(Version::REPORTED) {
                Ok(None) => {}
                Ok(Some(accept)) => {
                    let mut frames = FrameReader::new(FrameLimits::FROM_DAEMON);
                    frames.push(std::mem::take(replies).into_rest());
                    connection.phase = Phase::Open(frames);
                    recorder.session(now, session, SessionEvent::Accepted);
                    if accept.member != self.member {
                        let text = format!("accepted as {}", accept.member);
                        recorder.session(now, session, SessionEvent::Garbage(text));
                    }
                }
                Err(error) => self.refuse(now, error, recorder),
            }
        }
        answer
    }

    fn refuse(&mut self, now: Instant, error: ReplyError, recorder: &mut Recorder) {
        let event = match error {
            ReplyError::Refused(code) => SessionEvent::Refused(code),
            other => SessionEvent::Garbage(other.to_string()),
        };
        self.record(now, recorder, event);
        if let Some(connection) = &mut self.connection {
            connection.phase = Phase::Over;
        }
    }

    fn read_frames(&mut self, now: Instant, recorder: &mut Recorder) {
        let Some(connection) = &mut self.connection else { return };
        let session = connection.session;
        while let Phase::Open(frames) = &mut connection.phase {
            match frames.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let event = match &mut connection.program {
                        Some(program) => {
                            program.on_frame(now, &frame, recorder).err().map(SessionEvent::Garbage)
                        }
                        None => Some(read(&frame, recorder)),
                    };
                    if let Some(event) = event {
                        recorder.session(now, session, event);
                    }
                }
                Err(error) => {
                    recorder.session(now, session, SessionEvent::Garbage(error.to_string()));
                    connection.phase = Phase::Over;
                }
            }
        }
    }

    /// Closes the connection from this side, with a request or without; the daemon is told otherwise.
    pub fn hang_up(&mut self, now: Instant, recorder: &mut Recorder) {
        self.record(now, recorder, SessionEvent::Disconnecting);
        self.forget();
    }

    /// The daemon closed the connection for that reason, or crashed.
    pub fn on_closed(&mut self, now: Instant, reason: Option<CloseReason>, recorder: &mut Recorder) {
        self.record(now, recorder, SessionEvent::Closed(reason));
        self.forget();
    }

    fn forget(&mut self) {
        self.connection = None;
        self.joined.clear();
    }

    fn record(&self, now: Instant, recorder: &mut Recorder, event: SessionEvent) {
        if let Some(session) = self.trace_position() {
            recorder.session(now, session, event);
        }
    }
}

/// What a frame tells a client.
fn read(frame: &Frame, recorder: &Recorder) -> SessionEvent {
    if Membership::is_in(frame.header.flags) {
        return match Membership::decode(frame) {
            Ok(Membership::View(view)) => SessionEvent::View(Box::new(view)),
            Ok(Membership::Transition { group, id }) => SessionEvent::Signal(group, id),
            Ok(Membership::SelfLeave { group }) => SessionEvent::Left(group),
            Err(error) => SessionEvent::Garbage(error.to_string()),
        };
    }
    match recorder.find(&frame.header.name, frame.header.hint) {
        Some(submission) => {
            let intact = recorder.is_intact(frame, submission);
            SessionEvent::Message(Received { submission, intact })
        }
        None => SessionEvent::Garbage(format!(
            "a frame with flags {:#x} and message type {} that nobody sent",
            frame.header.flags,
            frame.header.hint.message_type()
        )),
    }
}
