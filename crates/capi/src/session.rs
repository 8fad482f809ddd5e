//! One open session, and all of them by mailbox.
//!
//! Any number of threads may use a session: senders take turns, receivers take turns, and neither waits
//! for the other. A session lives until it is disconnected and the last call on it has returned; only then
//! is its descriptor closed, so that no new session gets a mailbox number that a call still uses. A program
//! that closes the number by itself ends the session too, as soon as the system gives the number to another.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard, TryLockError};
use std::time::{Duration, Instant};

use antiphon::patience::Patience;
use antiphon_wire::names::MemberName;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::socket_cookie;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use rustix::time::Timespec;

use crate::claim::Claim;
use crate::codes::Code;
use crate::flush::FlushSession;
use crate::flusher::{self, Life};
use crate::input::{Input, ready_bytes};
use crate::layout::Mailbox;
use crate::output::Output;

/// How long a daemon may stand still after a goodbye before it closes. One that still sends events gets on with what
/// was sent to it.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// Whether the connection is broken; it never becomes sound again.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Health {
    Sound,
    /// It is broken, and no call has told the program.
    Broken,
    /// It is broken, and a call has told the program.
    Told,
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    socket: OwnedFd,
    /// What tells the socket from one that gets its number, if the system says.
    cookie: Option<u64>,
    /// In which the session was opened.
    life: Life,
    member: MemberName,
    /// A [`Health`].
    health: AtomicU8,
    pub(crate) input: Claim<Input>,
    pub(crate) output: Output,
    /// The flush layer, if the session was opened with it.
    pub(crate) flush: Option<FlushSession>,
}

/// Sessions by mailbox.
pub(crate) type Sessions = BTreeMap<Mailbox, Arc<Session>>;

static SESSIONS: RwLock<Sessions> = RwLock::new(BTreeMap::new());

/// Locks, also after a panic of another thread: no function here leaves half a change behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], unless another thread holds it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Whether a call may wait, for the daemon or for another call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waiting {
    Allowed,
    /// The program has asked with `DONT_BLOCK` for [`Code::WouldBlock`] instead.
    Forbidden,
}

impl Session {
    /// A session on a connected socket.
    pub(crate) fn new(socket: OwnedFd, member: MemberName, flush: Option<FlushSession>) -> Self {
        let (input, output) = (Claim::new(Input::new()), Output::new(member));
        let (cookie, health) = (cookie(&socket), AtomicU8::new(Health::Sound as u8));
        Self { socket, cookie, life: Life::now(), member, health, input, output, flush }
    }

    /// The session's name.
    pub(crate) fn member(&self) -> &MemberName {
        &self.member
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.health.load(Ordering::Acquire) == Health::Sound as u8
    }

    /// Whether the program has closed the mailbox by itself, and the number may be that of another file.
    pub(crate) fn is_closed(&self) -> bool {
        cookie(&self.socket) != self.cookie
    }

    /// For a call of the program, which must hand an error on.
    ///
    /// # Errors
    /// When the session is broken: the first time that the connection has ended, unless another call has told,
    /// and then that the session broke earlier.
    pub(crate) fn check(&self) -> Result<(), Code> {
        if self.is_sound() {
            return Ok(());
        }
        let told = self.worsen(Health::Broken, Health::Told);
        Err(if told { Code::ConnectionClosed } else { Code::NetErrorOnSession })
    }

    /// Marks the session as broken, which a call tells the program with this code: from now on, calls fail.
    pub(crate) fn fail(&self, code: Code) -> Code {
        self.health.store(Health::Told as u8, Ordering::Release);
        code
    }

    /// Marks the session as broken where no call can tell the program: the next one does.
    pub(crate) fn fail_untold(&self) {
        self.worsen(Health::Sound, Health::Broken);
    }

    /// Changes its health if it is `from`; says whether it was.
    fn worsen(&self, from: Health, to: Health) -> bool {
        self.health.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Bytes that can be received without waiting.
    pub(crate) fn ready_bytes(&self) -> usize {
        // Somebody who is receiving has the lock; whatever is left after that is in the socket.
        let held = self.input.try_take().map_or(0, |input| input.bytes().len());
        held + ready_bytes(self.socket())
    }

    /// Says goodbye and waits a moment for the daemon to close. A socket closed with bytes unread resets the
    /// connection, and takes with it what the daemon has not read yet.
    fn disconnect(&self) {
        let mut patience = Patience::default();
        if !self.is_sound() || self.output.disconnect(self, &mut patience).is_err() {
            return;
        }
        let _ = shutdown(&self.socket, Shutdown::Write);
        // A receiver in another thread leaves with what comes next, at the latest with the end. One that this
        // call has interrupted finds nothing any more.
        let input = self.input.take_until(Instant::now() + GOODBYE_LIMIT);
        if input.is_none() && !self.input.is_mine() {
            return;
        }
        // Small, as a program's threads may have stacks of 16 KiB.
        let mut ignored = [0; 2 * 1024];
        loop {
            let left = Timespec::try_from(GOODBYE_LIMIT.min(patience.left()));
            let mut socket = [PollFd::new(&self.socket, PollFlags::IN)];
            let readable = left.is_ok_and(|left| poll(&mut socket, Some(&left)) == Ok(1));
            if !readable || !matches!(recv(&self.socket, &mut ignored, RecvFlags::DONTWAIT), Ok((1.., _))) {
                return;
            }
            patience.renew();
        }
    }
}

fn cookie(socket: &OwnedFd) -> Option<u64> {
    socket_cookie(socket).ok()
}

/// Adds a session; its mailbox is the number of its descriptor.
pub(crate) fn open(session: Session) -> Mailbox {
    flusher::arrange();
    let mailbox = session.socket.as_raw_fd();
    let former = lock_all().insert(mailbox, Arc::new(session));
    former.into_iter().for_each(disown);
    mailbox
}

/// Forgets a session without closing its descriptor, whose number has another owner by now.
fn disown(session: Arc<Session>) {
    session.fail(Code::IllegalSession);
    match flusher::while_nobody_looks(|| Arc::try_unwrap(session)) {
        Ok(session) => _ = session.socket.into_raw_fd(),
        // A call of another thread would close it at its end; so it has no end, at the price of its memory.
        Err(used) => std::mem::forget(used),
    }
}

/// Keeps everybody else away from the table of sessions.
pub(crate) fn lock_all() -> RwLockWriteGuard<'static, Sessions> {
    SESSIONS.write().unwrap_or_else(PoisonError::into_inner)
}

/// All sessions.
pub(crate) fn all() -> Vec<Arc<Session>> {
    SESSIONS.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
}

/// The session of a mailbox.
///
/// # Errors
/// When there is none.
pub(crate) fn find(mailbox: Mailbox) -> Result<Arc<Session>, Code> {
    let sessions = SESSIONS.read().unwrap_or_else(PoisonError::into_inner);
    sessions.get(&mailbox).cloned().ok_or(Code::IllegalSession)
}

/// Ends a session in order.
///
/// # Errors
/// When there is none.
pub(crate) fn disconnect(mailbox: Mailbox) -> Result<(), Code> {
    let session = take(mailbox)?;
    session.disconnect();
    session.fail(Code::IllegalSession);
    end_calls(&session);
    Ok(())
}

/// Forgets a session without a word to the daemon. After a fork, the one of the two processes that goes
/// without the session calls this; the other one's session is not touched.
pub(crate) fn kill(mailbox: Mailbox) {
    let Ok(session) = take(mailbox) else { return };
    session.output.flush(&session, &mut Patience::default());
    session.fail(Code::IllegalSession);
    // In a child, calls of the parent's threads seem to be under way, and the parent has the same socket.
    if session.life == Life::now() {
        end_calls(&session);
    }
}

fn take(mailbox: Mailbox) -> Result<Arc<Session>, Code> {
    lock_all().remove(&mailbox).ok_or(Code::IllegalSession)
}

/// Wakes up threads that wait in calls on a session that is over, if there are any.
fn end_calls(session: &Arc<Session>) {
    if flusher::while_nobody_looks(|| Arc::strong_count(session) > 1) {
        let _ = shutdown(&session.socket, Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use rustix::io::{fcntl_dupfd_cloexec, fcntl_getfd};

    use super::*;

    /// Higher than any that the system gives to other tests.
    const NUMBER: Mailbox = 900;

    fn open_with_number() {
        let (_daemon, socket) = UnixStream::pair().expect("a pair");
        let socket = fcntl_dupfd_cloexec(&socket, NUMBER).expect("a descriptor");
        let member = MemberName::parse(b"#me#here").expect("a name");
        assert_eq!(open(Session::new(socket, member, None)), NUMBER);
    }

    #[test]
    fn the_number_of_a_closed_mailbox_is_left_to_its_next_session() {
        for is_in_a_call in [false, true] {
            open_with_number();
            let call = is_in_a_call.then(|| find(NUMBER).expect("it is open"));
            // SAFETY: it is open, and the session that takes it for its own is the matter of this test.
            unsafe { libc::close(NUMBER) };
            open_with_number();
            drop(call);
            let session = find(NUMBER).expect("it is open");
            assert!(
                fcntl_getfd(session.socket()).is_ok(),
                "closed by the former one, in a call: {is_in_a_call}"
            );
            drop(session);
            kill(NUMBER);
        }
    }
}
