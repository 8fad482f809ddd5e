//! Requests to the daemon, gathered when there are many.
//!
//! A request that comes alone is written at once. Of many in quick succession, the first is written at once
//! and the others together: when they fill a buffer, when the last write is a while ago, before the program
//! waits for something on the same session, or by the [`flusher`] when the sender has gone
//! idle. Writing each by itself would take several times as long.

use std::io::IoSlice;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use antiphon::pace::{LARGE_BODY_BYTES, Pace};
use antiphon_wire::client::flags::{HEADER_BYTES, KILL};
use antiphon_wire::client::header::{Header, Hint};
use antiphon_wire::names::{MemberName, NAME_FIELD_BYTES};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};

use crate::codes::Code;
use crate::flusher::{self, Watch};
use crate::input::wait_for;
use crate::session::{Patience, Session, lock, lock_until, try_lock};

/// When to write again to a daemon that took no more.
const RETRY: Duration = Duration::from_millis(5);

/// A request to a daemon, without its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) flags: u32,
    pub(crate) message_type: i16,
    pub(crate) groups: &'a [[u8; NAME_FIELD_BYTES]],
}

/// The sending half of a session.
#[derive(Debug)]
pub(crate) struct Output {
    member: MemberName,
    gathered: Mutex<Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    pace: Pace,
    /// Whether the flusher looks at this session.
    watch: Watch,
}

/// What the flusher finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// Nothing is left to write; it need not look again.
    Done,
    /// The sender is at work, and so many writes were done by now.
    Busy(u64),
    /// The daemon takes no more at present.
    Full,
}

impl Output {
    pub(crate) fn new(member: MemberName) -> Self {
        Self { member, gathered: Mutex::new(Gathered::default()) }
    }

    /// Sends a request, or gathers it to be sent soon.
    ///
    /// # Errors
    /// When the session is or becomes broken.
    pub(crate) fn send(
        &self,
        session: &Arc<Session>,
        request: &Request<'_>,
        body: &[&[u8]],
    ) -> Result<(), Code> {
        let body_bytes = body.iter().map(|piece| piece.len()).sum();
        let head = self.head(request, body_bytes);
        let groups = request.groups.as_flattened();
        let mut parts: Vec<&[u8]> = Vec::with_capacity(2 + body.len());
        parts.extend([head.as_slice(), groups]);
        parts.extend(body);
        self.put(session, &parts, body_bytes)
    }

    /// Sends requests that are encoded already, or gathers them.
    ///
    /// # Errors
    /// When the session is or becomes broken.
    pub(crate) fn send_encoded(&self, session: &Arc<Session>, requests: &[u8]) -> Result<(), Code> {
        self.put(session, &[requests], requests.len())
    }

    fn put(&self, session: &Arc<Session>, parts: &[&[u8]], body_bytes: usize) -> Result<(), Code> {
        session.check()?;
        let mut gathered = lock(&self.gathered);
        session.check()?;
        let now = Instant::now();
        let is_quiet = gathered.pace.is_due(0, now);
        if body_bytes >= LARGE_BODY_BYTES || (is_quiet && gathered.bytes.is_empty()) {
            return gathered.write(session, parts);
        }
        parts.iter().for_each(|part| gathered.bytes.extend_from_slice(part));
        let is_due = gathered.pace.is_due(gathered.bytes.len(), now);
        if is_due || !flusher::watch(session, &mut gathered.watch) {
            return gathered.write(session, &[]);
        }
        Ok(())
    }

    /// Writes what was gathered, as long as there is patience; the rest stays.
    pub(crate) fn flush(&self, session: &Session, patience: &mut Patience) {
        // Whoever has the lock is writing.
        let Some(mut gathered) = try_lock(&self.gathered) else { return };
        // There is no call of the program to tell.
        let _ = gathered.write_patiently(session, patience);
    }

    /// In the child after a fork: what the daemon did not take before is the parent's to write, and since the
    /// daemon may have half a request, the child can not go on with the session.
    pub(crate) fn leave_to_parent(&self, session: &Session) {
        // Who had the lock is not here.
        let has_left_over = try_lock(&self.gathered)
            .is_none_or(|mut gathered| !std::mem::take(&mut gathered.bytes).is_empty());
        if has_left_over {
            session.fail(Code::ConnectionClosed);
        }
    }

    /// Writes what a sender has left that has not written since `writes`; never waits.
    pub(crate) fn look(&self, session: &Session, writes: u64) -> Look {
        let Some(mut gathered) = try_lock(&self.gathered) else { return Look::Busy(writes) };
        if gathered.bytes.is_empty() || session.check().is_err() {
            gathered.watch = Watch::default();
            return Look::Done;
        }
        if gathered.pace.writes() != writes {
            return Look::Busy(gathered.pace.writes());
        }
        match gathered.write_now(session) {
            Ok(()) => Look::Busy(gathered.pace.writes()),
            Err(Errno::INTR | Errno::AGAIN) => Look::Full,
            Err(_) => Look::Done,
        }
    }

    /// Writes what was gathered as far as the daemon takes it at present; the flusher sees to the rest.
    pub(crate) fn push(&self, session: &Session) {
        // Whoever has the lock is writing.
        let Some(mut gathered) = try_lock(&self.gathered) else { return };
        if !gathered.bytes.is_empty() && session.check().is_ok() {
            // What goes wrong, the next call will tell.
            let _ = gathered.write_now(session);
        }
    }

    /// Sends the request that ends the session.
    ///
    /// # Errors
    /// When the session is or becomes broken, and when patience with the daemon has ended.
    pub(crate) fn disconnect(&self, session: &Session, patience: &mut Patience) -> Result<(), Code> {
        let groups = [*self.member.as_field()];
        let head = self.head(&Request { flags: KILL, message_type: 0, groups: &groups }, 0);
        let mut gathered = lock_until(&self.gathered, patience.until).ok_or(Code::ConnectionClosed)?;
        gathered.bytes.extend_from_slice(&head);
        gathered.bytes.extend_from_slice(groups.as_flattened());
        gathered.write_patiently(session, patience)
    }

    fn head(&self, request: &Request<'_>, body_bytes: usize) -> [u8; HEADER_BYTES] {
        let header = Header {
            flags: request.flags,
            name: *self.member.as_field(),
            group_count: u32::try_from(request.groups.len()).unwrap_or(u32::MAX),
            hint: Hint::new(request.message_type),
            body_bytes: u32::try_from(body_bytes).unwrap_or(u32::MAX),
            little_endian: true,
        };
        header.encode()
    }
}

impl Gathered {
    /// Writes what was gathered and what comes after it.
    fn write(&mut self, session: &Session, after: &[&[u8]]) -> Result<(), Code> {
        let gathered = std::iter::once(self.bytes.as_slice());
        let mut parts: Vec<IoSlice<'_>> = gathered.chain(after.iter().copied()).map(IoSlice::new).collect();
        let bytes = parts.iter().map(|part| part.len()).sum();
        let written = write_all(session, &mut parts).map_err(|code| session.fail(code));
        self.bytes.clear();
        self.note_write(session, bytes);
        written
    }

    fn note_write(&mut self, session: &Session, bytes: usize) {
        if let Some(speed) = self.pace.on_write(bytes, Instant::now()) {
            speed.adapt(&session.socket());
        }
    }

    fn write_patiently(&mut self, session: &Session, patience: &mut Patience) -> Result<(), Code> {
        while !self.bytes.is_empty() {
            match self.write_now(session) {
                Ok(()) => *patience = Patience::new(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if Instant::now() >= patience.until => return Err(Code::ConnectionClosed),
                // The system calls a socket writable only when much of it is free.
                Err(Errno::AGAIN) => wait_for(session.socket(), PollFlags::OUT, Some(RETRY))?,
                Err(_) => return Err(Code::ConnectionClosed),
            }
        }
        Ok(())
    }

    /// Writes without waiting.
    fn write_now(&mut self, session: &Session) -> Result<(), Errno> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match send(session.socket(), &self.bytes, flags) {
            Ok(count) => {
                self.bytes.drain(..count);
                self.note_write(session, count);
                Ok(())
            }
            Err(error @ (Errno::INTR | Errno::AGAIN)) => Err(error),
            Err(error) => {
                session.fail(Code::ConnectionClosed);
                Err(error)
            }
        }
    }
}

fn write_all(session: &Session, mut parts: &mut [IoSlice<'_>]) -> Result<(), Code> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match sendmsg(session.socket(), parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL) {
            Ok(count) => IoSlice::advance_slices(&mut parts, count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for(session.socket(), PollFlags::OUT, None)?,
            Err(_) => return Err(Code::ConnectionClosed),
        }
    }
    Ok(())
}
