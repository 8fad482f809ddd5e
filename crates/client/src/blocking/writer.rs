//! What a sender has gathered, and the thread that writes it when the sender goes idle.

use std::io::IoSlice;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::stream::Stream;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::pace::{LARGE_BODY_BYTES, Pace};
use crate::session::Outbox;

/// A sender that has written nothing for so long, although it has gathered something, is idle.
const IDLE: Duration = Duration::from_micros(250);

/// When requests are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gathering {
    /// At once if they come alone, else together.
    WhileBusy,
    /// By a call of flush, or when they are many.
    UntilFlush,
    /// Always at once.
    Never,
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
            Gathering::Never => true,
            Gathering::UntilFlush => state.pace.is_full(bytes),
            Gathering::WhileBusy => state.pace.is_due(bytes, Instant::now()),
        };
        let is_later = !is_due
            && !state.broken
            && (state.gathering == Gathering::UntilFlush || self.wake_flusher(&mut state));
        if is_later { Ok(()) } else { state.flush() }
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

    fn flush_when_idle(&self) {
        let mut state = self.lock();
        while state.flusher != Flusher::Closed {
            if state.outbox.pending().is_empty() || state.gathering == Gathering::UntilFlush {
                state.flusher = Flusher::Waiting;
                state = self.gathered.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let writes = state.pace.writes();
            drop(state);
            thread::sleep(IDLE);
            state = self.lock();
            if state.pace.writes() == writes && state.gathering != Gathering::UntilFlush {
                // The sender learns of it by its next call.
                let _ = state.flush();
            }
        }
    }
}

impl State {
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if self.outbox.pending().is_empty() && !self.broken { Ok(()) } else { self.write(&[]) }
    }

    pub(super) fn disconnect(&mut self) -> Result<(), Error> {
        self.outbox.disconnect();
        let written = self.flush();
        let _ = self.stream.end_writing();
        written
    }

    /// Writes what was gathered and, right behind it, a body in pieces.
    fn write(&mut self, body: &[IoSlice<'_>]) -> Result<(), Error> {
        if self.broken {
            self.outbox.clear();
            return Err(Error::Closed);
        }
        let gathered = IoSlice::new(self.outbox.pending());
        let mut pieces: Vec<IoSlice<'_>> = std::iter::once(gathered).chain(body.iter().copied()).collect();
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        let written = self.stream.write_all_vectored(&mut pieces);
        self.outbox.clear();
        if let Some(speed) = self.pace.on_write(bytes, Instant::now()) {
            self.stream.adapt(speed);
        }
        // After half a request, the next one would be taken for the rest of it.
        self.broken = written.is_err();
        written.map_err(Error::from_io)
    }
}
