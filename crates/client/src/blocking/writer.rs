//! What a sender has gathered, and the thread that writes it when the sender goes idle.

use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::stream::Stream;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::pace::{IDLE, LARGE_BODY_BYTES, Pace, RETRY};
use crate::patience::Patience;
use crate::session::Outbox;

/// When requests are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gathering {
    /// At once if they come alone, else together.
    WhileBusy,
    /// By a call of flush, or when they are many.
    UntilFlush,
}

/// Shared by a sender and its flusher.
#[derive(Debug)]
pub(super) struct Writer {
    state: Mutex<State>,
    /// Told when the flusher waits and there is something for it to do.
    gathered: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    stream: Stream,
    pub(super) outbox: Outbox,
    pub(super) gathering: Gathering,
    pace: Pace,
    flusher: Flusher,
    broken: bool,
}

/// How far writing without waiting has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// All is written.
    Done,
    /// The daemon takes no more at present.
    Full,
}

/// The thread that writes what an idle sender has gathered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flusher {
    /// It was not needed so far, or could not be started.
    NotStarted,
    /// It sleeps until it is told that something was gathered.
    Waiting,
    /// It looks again soon.
    Watching,
    /// The sender is gone, and so the thread has to end.
    Closed,
}

impl Writer {
    pub(super) fn new(stream: Stream, outbox: Outbox) -> Self {
        let state = State {
            stream,
            outbox,
            gathering: Gathering::WhileBusy,
            pace: Pace::default(),
            flusher: Flusher::NotStarted,
            broken: false,
        };
        Self { state: Mutex::new(state), gathered: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes when what was gathered is written. What waited for a flush alone need not wait for it any more.
    pub(super) fn gather(self: &Arc<Self>, gathering: Gathering) {
        let mut state = self.lock();
        state.gathering = gathering;
        if gathering != Gathering::UntilFlush {
            self.push_or_wake_flusher(&mut state);
        }
    }

    /// Adds requests and writes what the daemon takes now; the flusher sees to the rest, of which the size is
    /// returned.
    pub(super) fn post(
        self: &Arc<Self>,
        add: impl FnOnce(&mut Outbox) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut state = self.lock();
        add(&mut state.outbox)?;
        self.push_or_wake_flusher(&mut state);
        Ok(state.outbox.pending().len())
    }

    /// Sends a message whose body is all pieces together.
    pub(super) fn send(self: &Arc<Self>, envelope: &Envelope, body: &[IoSlice<'_>]) -> Result<(), Error> {
        let mut state = self.lock();
        let body_bytes = body.iter().map(|piece| piece.len()).sum();
        state.outbox.send_head(envelope, body_bytes)?;
        if body_bytes >= LARGE_BODY_BYTES {
            return state.write(body);
        }
        body.iter().for_each(|piece| state.outbox.add_body(piece));
        self.after_request(state)
    }

    /// Writes what was gathered, or leaves that to later.
    pub(super) fn after_request(self: &Arc<Self>, mut state: MutexGuard<'_, State>) -> Result<(), Error> {
        let bytes = state.outbox.pending().len();
        let is_due = match state.gathering {
            Gathering::UntilFlush => state.pace.is_full(bytes),
            Gathering::WhileBusy => state.pace.is_due(bytes, Instant::now()),
        };
        let is_later = !is_due
            && !state.broken
            && (state.gathering == Gathering::UntilFlush || self.wake_flusher(&mut state));
        if is_later { Ok(()) } else { state.flush() }
    }

    fn push_or_wake_flusher(self: &Arc<Self>, state: &mut State) {
        // What goes wrong, the sender learns by its next call.
        if matches!(state.push(), Ok(Progress::Full)) {
            self.wake_flusher(state);
        }
    }

    /// Ends the flusher.
    pub(super) fn close(&self) {
        self.lock().flusher = Flusher::Closed;
        self.gathered.notify_one();
    }

    /// Sees to it that the flusher looks; false if there is none.
    fn wake_flusher(self: &Arc<Self>, state: &mut State) -> bool {
        match state.flusher {
            Flusher::Watching => return true,
            Flusher::Closed => return false,
            Flusher::Waiting => self.gathered.notify_one(),
            Flusher::NotStarted => {
                let writer = Arc::clone(self);
                let thread = thread::Builder::new().name("antiphon-flusher".to_owned());
                if thread.spawn(move || writer.flush_when_idle()).is_err() {
                    return false;
                }
            }
        }
        state.flusher = Flusher::Watching;
        true
    }

    /// Never waits for the daemon: who has the lock can be waited for.
    fn flush_when_idle(&self) {
        let mut pause = IDLE;
        let mut state = self.lock();
        while state.flusher != Flusher::Closed {
            if state.outbox.pending().is_empty() || state.gathering == Gathering::UntilFlush {
                state.flusher = Flusher::Waiting;
                state = self.gathered.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let writes = state.pace.writes();
            drop(state);
            thread::sleep(pause);
            pause = IDLE;
            state = self.lock();
            if state.pace.writes() == writes && state.gathering != Gathering::UntilFlush {
                // What goes wrong, the sender learns by its next call.
                pause = if matches!(state.push(), Ok(Progress::Full)) { RETRY } else { IDLE };
            }
        }
    }
}

impl State {
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if self.outbox.pending().is_empty() && !self.broken { Ok(()) } else { self.write(&[]) }
    }

    /// Writes what the daemon takes now; the rest stays.
    pub(super) fn push(&mut self) -> Result<Progress, Error> {
        while !self.broken && !self.outbox.pending().is_empty() {
            match self.stream.write_now(self.outbox.pending()) {
                Ok(count) => {
                    self.outbox.advance(count);
                    self.note_write(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Full),
                Err(error) => return Err(self.break_off(error)),
            }
        }
        if self.broken { Err(self.refuse()) } else { Ok(Progress::Done) }
    }

    /// Writes what was gathered, as long as there is patience with the daemon.
    pub(super) fn flush_last(&mut self, mut patience: Patience) -> Result<(), Error> {
        loop {
            let before = self.outbox.pending().len();
            if self.push()? == Progress::Done {
                return Ok(());
            }
            if self.outbox.pending().len() < before {
                patience.renew();
            }
            if patience.is_over() {
                return Err(self.give_up());
            }
            self.stream.wait_writable(RETRY).map_err(|error| self.break_off(error))?;
        }
    }

    /// Writes what the daemon takes now of what comes last; returns how many bytes are left.
    pub(super) fn push_last(&mut self) -> Result<usize, Error> {
        if self.push()? == Progress::Done {
            // The daemon closes when it reads the goodbye, if not for this.
            let _ = self.stream.end_writing();
        }
        Ok(self.outbox.pending().len())
    }

    /// Forgets what a daemon that stands still has not taken.
    pub(super) fn give_up(&mut self) -> Error {
        self.break_off(io::ErrorKind::TimedOut.into())
    }

    /// Says goodbye, as long as there is patience with the daemon.
    pub(super) fn disconnect(&mut self, patience: Patience) -> Result<(), Error> {
        self.outbox.disconnect();
        let written = self.flush_last(patience);
        let _ = self.stream.end_writing();
        written
    }

    /// Writes what was gathered and, right behind it, a body in pieces.
    fn write(&mut self, body: &[IoSlice<'_>]) -> Result<(), Error> {
        if self.broken {
            return Err(self.refuse());
        }
        let gathered = IoSlice::new(self.outbox.pending());
        let mut pieces: Vec<IoSlice<'_>> = std::iter::once(gathered).chain(body.iter().copied()).collect();
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        let written = self.stream.write_all_vectored(&mut pieces);
        self.outbox.clear();
        self.note_write(bytes);
        written.map_err(|error| self.break_off(error))
    }

    fn note_write(&mut self, bytes: usize) {
        if let Some(speed) = self.pace.on_write(bytes, Instant::now()) {
            self.stream.adapt(speed);
        }
    }

    /// After half a request, the next one would be taken for the rest of it. The daemon learns of the end, so
    /// that it closes as well.
    fn break_off(&mut self, error: io::Error) -> Error {
        self.broken = true;
        self.outbox.clear();
        let _ = self.stream.end_writing();
        Error::from_io(error)
    }

    fn refuse(&mut self) -> Error {
        self.outbox.clear();
        Error::Closed
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use antiphon_wire::names::MemberName;
    use antiphon_wire::service::ServiceLevel;
    use std::time::Duration;

    use super::*;
    use crate::patience::{LAST_LIMIT, STALL_LIMIT};

    /// A writer with something gathered, whose daemon reads nothing and has no room for more; and what it has.
    fn held_up() -> (Writer, UnixStream, usize) {
        let (daemon, client) = UnixStream::pair().expect("a pair");
        let member = MemberName::parse(b"#alice#d1").expect("legal");
        let writer = Writer::new(Stream::Unix(client), Outbox::new(member));
        let mut state = writer.lock();
        let mut filled = 0;
        while let Ok(count) = state.stream.write_now(&[0; 4096]) {
            filled += count;
        }
        let envelope = Envelope::new(ServiceLevel::Agreed).to("grp").expect("legal");
        state.outbox.send(&envelope, b"text").expect("gathered");
        drop(state);
        (writer, daemon, filled)
    }

    #[test]
    fn what_a_daemon_does_not_take_now_is_written_later() {
        let (writer, mut daemon, filled) = held_up();
        let expected = writer.lock().outbox.pending().to_vec();
        assert!(matches!(writer.lock().push(), Ok(Progress::Full)));
        assert_eq!(writer.lock().outbox.pending(), expected);
        daemon.read_exact(&mut vec![0; filled]).expect("what was there");
        assert!(matches!(writer.lock().push(), Ok(Progress::Done)));
        let mut read = vec![0; expected.len()];
        daemon.read_exact(&mut read).expect("the rest");
        assert_eq!(read, expected);
    }

    #[test]
    fn a_daemon_that_is_only_slow_gets_the_goodbye() {
        let (writer, mut daemon, filled) = held_up();
        let expected = filled + writer.lock().outbox.pending().len();
        let reading = thread::spawn(move || {
            let (mut taken, mut piece) = (0, [0; 4096]);
            while let Ok(count @ 1..) = daemon.read(&mut piece) {
                taken += count;
                // Long before the system calls the socket writable, the limit has passed.
                thread::sleep(Duration::from_millis(if taken < filled { 60 } else { 0 }));
            }
            taken
        });
        writer
            .lock()
            .disconnect(Patience::within(Duration::from_secs(1), LAST_LIMIT))
            .expect("it takes something all the time");
        drop(writer);
        assert!(reading.join().expect("no panic") > expected, "the goodbye too");
    }

    #[test]
    fn a_daemon_that_is_slow_for_ever_does_not_hold_up_a_goodbye() {
        let (writer, mut daemon, _) = held_up();
        let envelope = Envelope::new(ServiceLevel::Agreed).to("grp").expect("legal");
        writer.lock().outbox.send(&envelope, &[0; 100_000]).expect("gathered");
        let reading = thread::spawn(move || {
            while let Ok(1..) = daemon.read(&mut [0; 4096]) {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let late = writer.lock().disconnect(Patience::within(STALL_LIMIT, Duration::from_millis(20)));
        assert!(
            matches!(&late, Err(Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut),
            "{late:?}"
        );
        drop(writer);
        reading.join().expect("no panic");
    }

    #[test]
    fn a_goodbye_waits_no_longer_than_it_may_and_ends_the_session() {
        let (writer, _daemon, _) = held_up();
        let late = writer.lock().disconnect(Patience::within(Duration::from_millis(10), LAST_LIMIT));
        assert!(
            matches!(&late, Err(Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut),
            "{late:?}"
        );
        assert!(matches!(writer.lock().flush(), Err(Error::Closed)));
        assert!(writer.lock().outbox.pending().is_empty());
    }
}
