//! Requests to the daemon, gathered when there are many.
//!
//! A request that comes alone is written at once. Of many in quick succession, the first is written at once
//! and the others together: when they fill a buffer, when the last write is a while ago, before the program
//! waits for something on the same session, or by the [`flusher`] when the sender has gone
//! idle. Writing each by itself would take several times as long.
//!
//! There are two locks. Senders take turns, and whoever has the turn may wait for the daemon. What was gathered
//! is never held for so long: somebody who must not wait adds to it, and it is written in the order in which it
//! was added.

use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use antiphon::pace::{LARGE_BODY_BYTES, Pace, RETRY};
use antiphon::patience::Patience;
use antiphon_wire::client::flags::{HEADER_BYTES, KILL};
use antiphon_wire::client::header::{Header, Hint};
use antiphon_wire::names::{MemberName, NAME_FIELD_BYTES};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};

use crate::claim::{CLAIM_POLL, Claim, Claimed};
use crate::codes::Code;
use crate::flusher::{self, Watch};
use crate::input::wait_for;
use crate::session::{Session, lock, try_lock};

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
    /// Whoever has this may write, and wait for the daemon. Taken before `gathered`.
    turn: Claim<Turn>,
    /// Whoever has this waits for nothing.
    gathered: Mutex<Gathered>,
    /// Bytes that the daemon has taken, for those who wait for whoever has the turn.
    taken_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Turn {
    pace: Pace,
    /// What is being written by a sender that may wait; empty after that.
    leaving: Vec<u8>,
}

/// What is to be written next.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
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
        Self {
            member,
            turn: Claim::new(Turn::default()),
            gathered: Mutex::default(),
            taken_bytes: AtomicUsize::new(0),
        }
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
        session.check()?;
        let mut turn = self.turn.take();
        session.check()?;
        let mut gathered = lock(&self.gathered);
        let now = Instant::now();
        let is_lone = gathered.bytes.is_empty() && turn.pace.is_due(0, now);
        if is_lone || body_bytes >= LARGE_BODY_BYTES {
            return turn.write(session, gathered, &parts);
        }
        parts.iter().for_each(|part| gathered.bytes.extend_from_slice(part));
        turn.write_if_due(session, gathered, now)
    }

    /// Adds requests that are encoded already, to be sent by [`Output::send_added`] or [`Output::post_added`].
    /// Waits for nothing.
    pub(crate) fn add(&self, requests: &[u8]) {
        lock(&self.gathered).bytes.extend_from_slice(requests);
    }

    /// Sends what was added, or leaves it to be sent soon.
    ///
    /// # Errors
    /// When the session is or becomes broken.
    pub(crate) fn send_added(&self, session: &Arc<Session>) -> Result<(), Code> {
        session.check()?;
        let mut turn = self.turn.take();
        session.check()?;
        turn.write_if_due(session, lock(&self.gathered), Instant::now())
    }

    /// As [`Output::send_added`], without waiting: what the daemon does not take now, or another sender is in
    /// the way of, the flusher sees to.
    ///
    /// # Errors
    /// When more than `limit_bytes` are left.
    pub(crate) fn post_added(&self, session: &Arc<Session>, limit_bytes: usize) -> Result<(), Code> {
        self.push(session);
        let mut gathered = lock(&self.gathered);
        if gathered.bytes.len() > limit_bytes {
            return Err(session.fail(Code::ConnectionClosed));
        }
        if !gathered.bytes.is_empty() {
            // Without a flusher, the next call that receives or sends writes it.
            flusher::watch(session, &mut gathered.watch);
        }
        Ok(())
    }

    fn note_taken(&self, bytes: usize) {
        self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Writes what was gathered, as long as there is patience; the rest stays.
    pub(crate) fn flush(&self, session: &Session, patience: &mut Patience) {
        // The flusher has turns in which it only looks; anybody else who has the turn is writing.
        let Some(mut turn) = flusher::while_nobody_looks(|| self.turn.try_take()) else { return };
        if session.is_closed() {
            return;
        }
        // What goes wrong, the next call will tell.
        let _ = turn.write_patiently(session, &self.gathered, patience);
    }

    /// In the child after a fork: what the daemon did not take before is the parent's to write, and since the
    /// daemon may have half a request, the child cannot go on with the session.
    pub(crate) fn leave_to_parent(&self, session: &Session) {
        // Who had the locks is not here.
        let nothing_left = self.turn.try_take().is_some()
            && try_lock(&self.gathered)
                .is_some_and(|mut gathered| std::mem::take(&mut gathered.bytes).is_empty());
        if !nothing_left {
            session.fail_untold();
        }
    }

    /// Writes what a sender has left that has not written since `writes`; never waits.
    pub(crate) fn look(&self, session: &Session, writes: u64) -> Look {
        let Some(mut turn) = self.turn.try_take() else { return Look::Busy(writes) };
        let mut gathered = lock(&self.gathered);
        if gathered.bytes.is_empty() || !session.is_sound() || session.is_closed() {
            gathered.watch = Watch::default();
            return Look::Done;
        }
        if turn.pace.writes() != writes {
            return Look::Busy(turn.pace.writes());
        }
        match turn.write_now(session, &mut gathered.bytes) {
            Ok(()) => Look::Busy(turn.pace.writes()),
            Err(Errno::INTR | Errno::AGAIN) => Look::Full,
            Err(_) => Look::Done,
        }
    }

    /// Writes what was gathered as far as the daemon takes it at present; the flusher sees to the rest.
    pub(crate) fn push(&self, session: &Session) {
        // Whoever has the turn is writing.
        let Some(mut turn) = self.turn.try_take() else { return };
        let mut gathered = lock(&self.gathered);
        if !gathered.bytes.is_empty() && session.is_sound() {
            // What goes wrong, the next call will tell.
            let _ = turn.write_now(session, &mut gathered.bytes);
        }
    }

    /// Sends the request that ends the session. A sender in another thread is waited for while it gets on; a
    /// message that this call has interrupted stays cut off, and the end of the connection must do.
    ///
    /// # Errors
    /// When the session is or becomes broken, and when patience with the daemon has ended.
    pub(crate) fn disconnect(&self, session: &Session, patience: &mut Patience) -> Result<(), Code> {
        if self.turn.is_mine() {
            return Ok(());
        }
        let groups = [*self.member.as_field()];
        let head = self.head(&Request { flags: KILL, message_type: 0, groups: &groups }, 0);
        let mut turn = self.take_turn(patience).ok_or(Code::ConnectionClosed)?;
        self.add(&[&head, groups.as_flattened()].concat());
        turn.write_patiently(session, &self.gathered, patience)
    }

    /// Waits for the turn, as long as there is patience with whoever has it.
    fn take_turn(&self, patience: &mut Patience) -> Option<Claimed<'_, Turn>> {
        let mut taken_bytes = self.taken_bytes.load(Ordering::Relaxed);
        loop {
            let turn = self.turn.try_take();
            if turn.is_some() || patience.is_over() {
                return turn;
            }
            let before = std::mem::replace(&mut taken_bytes, self.taken_bytes.load(Ordering::Relaxed));
            if before != taken_bytes {
                patience.renew();
            }
            thread::sleep(CLAIM_POLL);
        }
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

impl Turn {
    /// Writes what was gathered, if enough or long ago, or leaves it to the flusher.
    fn write_if_due(
        &mut self,
        session: &Arc<Session>,
        mut gathered: MutexGuard<'_, Gathered>,
        now: Instant,
    ) -> Result<(), Code> {
        if gathered.bytes.is_empty() {
            // Whoever had the turn before has written it.
            return Ok(());
        }
        let is_due = self.pace.is_due(gathered.bytes.len(), now);
        if is_due || !flusher::watch(session, &mut gathered.watch) {
            return self.write(session, gathered, &[]);
        }
        Ok(())
    }

    /// Writes what was gathered and what comes after it.
    fn write(
        &mut self,
        session: &Session,
        mut gathered: MutexGuard<'_, Gathered>,
        after: &[&[u8]],
    ) -> Result<(), Code> {
        std::mem::swap(&mut self.leaving, &mut gathered.bytes);
        drop(gathered);
        let leaving = std::iter::once(self.leaving.as_slice());
        let mut parts: Vec<IoSlice<'_>> = leaving.chain(after.iter().copied()).map(IoSlice::new).collect();
        let bytes = parts.iter().map(|part| part.len()).sum();
        let written = write_all(session, &mut parts).map_err(|code| session.fail(code));
        self.leaving.clear();
        self.note_write(session, bytes);
        written
    }

    fn note_write(&mut self, session: &Session, bytes: usize) {
        if let Some(speed) = self.pace.on_write(bytes, Instant::now()) {
            speed.adapt(&session.socket());
        }
    }

    fn write_patiently(
        &mut self,
        session: &Session,
        gathered: &Mutex<Gathered>,
        patience: &mut Patience,
    ) -> Result<(), Code> {
        loop {
            let mut held = lock(gathered);
            if held.bytes.is_empty() {
                return Ok(());
            }
            let written = self.write_now(session, &mut held.bytes);
            drop(held);
            match written {
                Ok(()) => patience.renew(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if patience.is_over() => return Err(Code::ConnectionClosed),
                Err(Errno::AGAIN) => wait_for(session.socket(), PollFlags::OUT, Some(RETRY))?,
                Err(_) => return Err(Code::ConnectionClosed),
            }
        }
    }

    /// Writes without waiting; what is left stays. Those for whom it does so have nobody to tell of a break.
    fn write_now(&mut self, session: &Session, bytes: &mut Vec<u8>) -> Result<(), Errno> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match send(session.socket(), bytes, flags) {
            Ok(count) => {
                session.output.note_taken(count);
                bytes.drain(..count);
                self.note_write(session, count);
                Ok(())
            }
            Err(error @ (Errno::INTR | Errno::AGAIN)) => Err(error),
            Err(error) => {
                session.fail_untold();
                Err(error)
            }
        }
    }
}

fn write_all(session: &Session, mut parts: &mut [IoSlice<'_>]) -> Result<(), Code> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match sendmsg(session.socket(), parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL) {
            Ok(count) => {
                session.output.note_taken(count);
                IoSlice::advance_slices(&mut parts, count);
            }
            Err(Errno::INTR) => {}
            // It has waited for the time limit of the socket, unless the program made that non-blocking.
            Err(Errno::AGAIN) => wait_for(session.socket(), PollFlags::OUT, Some(RETRY))?,
            Err(_) => return Err(Code::ConnectionClosed),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::session;

    /// A session whose daemon has gone, with something to write.
    fn left_alone() -> Session {
        let (daemon, socket) = UnixStream::pair().expect("a pair");
        let session = Session::new(socket.into(), MemberName::parse(b"#me#here").expect("a name"), None);
        session.output.add(b"request");
        drop(daemon);
        session
    }

    #[test]
    fn a_break_found_by_nobody_who_could_tell_is_told_by_the_next_call_alone() {
        let found: [fn(&Session); 4] = [
            |session| assert_eq!(session.output.look(session, 0), Look::Done),
            |session| session.output.push(session),
            |session| session.output.flush(session, &mut Patience::default()),
            |session| session.output.leave_to_parent(session),
        ];
        for find in found {
            let session = left_alone();
            assert_eq!(session.check(), Ok(()));
            find(&session);
            session.output.push(&session);
            assert_eq!(session.output.look(&session, 0), Look::Done);
            assert_eq!(session.check(), Err(Code::ConnectionClosed));
            assert_eq!(session.check(), Err(Code::NetErrorOnSession));
        }
    }

    #[test]
    fn what_was_gathered_is_written_at_the_end_although_the_flusher_was_looking() {
        let (mut daemon, socket) = UnixStream::pair().expect("a pair");
        let session = Session::new(socket.into(), MemberName::parse(b"#me#here").expect("a name"), None);
        session.output.add(b"request");
        let mailbox = session::open(session);
        let session = session::find(mailbox).expect("it is open");
        let killer = flusher::while_nobody_looks(|| {
            let _turn = session.output.turn.take();
            let killer = thread::spawn(move || session::kill(mailbox));
            thread::sleep(Duration::from_millis(50));
            killer
        });
        killer.join().expect("no panic");
        drop(session);
        let mut written = Vec::new();
        daemon.read_to_end(&mut written).expect("readable");
        assert_eq!(written, b"request");
    }

    #[test]
    fn a_break_that_was_told_is_not_told_again() {
        let session = left_alone();
        session.fail(Code::ConnectionClosed);
        session.output.leave_to_parent(&session);
        assert_eq!(session.check(), Err(Code::NetErrorOnSession));
    }
}
