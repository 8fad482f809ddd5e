//! What a sender has gathered, and the task that writes what the sender leaves.
//!
//! Both write to the socket, under one lock. The sender never waits for the socket itself: it leaves
//! that to the task, which wakes it.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use ::tokio::time::{Sleep, sleep};
use bytes::{Buf, Bytes};

use super::RETRY;
use super::socket::{Socket, is_spurious};
use crate::envelope::Envelope;
use crate::error::Error;
use crate::pace::{LARGE_BODY_BYTES, Pace};
use crate::patience::Patience;
use crate::session::Outbox;

/// Most pieces that one write has.
const PIECES: usize = 16;

/// Shared by a sender and its writing task; the receiver asks it what the end of the stream means.
#[derive(Debug)]
pub(super) struct Queue {
    socket: Arc<Socket>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) outbox: Outbox,
    /// What is before the bytes in the outbox, with shared bodies.
    parts: VecDeque<Bytes>,
    parts_bytes: usize,
    pace: Pace,
    end: End,
    /// Waits for room, or for the last byte to be written.
    sender: Option<Waker>,
    /// Waits for something to write.
    task: Option<Waker>,
    /// The same task, while it waits for the socket.
    blocked_task: Option<Waker>,
}

/// How far the end of the sending half is.
#[derive(Debug)]
enum End {
    NotYet,
    /// The task ends when everything is written.
    Dropped,
    /// The same, and then the daemon is told that nothing more comes.
    Goodbye,
    /// The connection is broken; the error is for the first who asks.
    Broken(Option<io::Error>),
}

impl Queue {
    /// Starts the task.
    pub(super) fn start(socket: Arc<Socket>, outbox: Outbox) -> Arc<Self> {
        let state = State {
            outbox,
            parts: VecDeque::new(),
            parts_bytes: 0,
            pace: Pace::default(),
            end: End::NotYet,
            sender: None,
            task: None,
            blocked_task: None,
        };
        let queue = Arc::new(Self { socket, state: Mutex::new(state) });
        ::tokio::spawn(Task { queue: Arc::clone(&queue), last: None });
        queue
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for a request; else the task of `cx` is woken when there is.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.lock();
        state.check()?;
        if state.has_room() {
            return Poll::Ready(Ok(()));
        }
        state.wait_for_task(cx)
    }

    /// Whether all is written; else the task of `cx` is woken when it is.
    pub(super) fn poll_flush(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.lock();
        self.write(&mut state);
        state.check()?;
        if state.waiting_bytes() == 0 {
            return Poll::Ready(Ok(()));
        }
        state.wait_for_task(cx)
    }

    /// Sends a message whose body is all pieces together.
    pub(super) fn send(&self, envelope: &Envelope, body: &[Bytes]) -> Result<(), Error> {
        let mut state = self.lock();
        state.check()?;
        let body_bytes = body.iter().map(Bytes::len).sum();
        state.outbox.send_head(envelope, body_bytes)?;
        if body_bytes >= LARGE_BODY_BYTES {
            let head = state.outbox.take();
            std::iter::once(&head).chain(body).for_each(|piece| state.add_part(piece.clone()));
        } else {
            body.iter().for_each(|piece| state.outbox.add_body(piece));
        }
        self.after_request(&mut state);
        Ok(())
    }

    /// Writes what was gathered, or leaves that to the task.
    pub(super) fn after_request(&self, state: &mut State) {
        if state.pace.is_due(state.waiting_bytes(), Instant::now()) {
            self.write(state);
        }
        state.wake_task();
    }

    /// Writes what can be written now.
    pub(super) fn push(&self) {
        let mut state = self.lock();
        if state.waiting_bytes() > 0 {
            self.write(&mut state);
        }
    }

    pub(super) fn say_goodbye(&self) {
        let mut state = self.lock();
        if matches!(state.end, End::NotYet) {
            state.outbox.disconnect();
            state.end = End::Goodbye;
            self.write(&mut state);
            state.wake_task();
            state.wake_blocked_task();
        }
    }

    /// Whether the connection is not broken.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.lock().check()
    }

    /// Whether the sender has said goodbye, and nothing went wrong with that.
    pub(super) fn has_said_goodbye(&self) -> bool {
        matches!(self.lock().end, End::Goodbye)
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.lock().waiting_bytes()
    }

    /// Forgets what the daemon did not take in time: the task ends.
    pub(super) fn give_up(&self) -> Result<(), Error> {
        let mut state = self.lock();
        self.time_out(&mut state);
        state.wake_task();
        state.wake_blocked_task();
        state.check()
    }

    /// Writes what the socket takes now, also when it is not called writable.
    pub(super) fn push_anyway(&self) {
        self.write_anyway(&mut self.lock());
    }

    pub(super) fn drop_sender(&self) {
        let mut state = self.lock();
        if matches!(state.end, End::NotYet) {
            state.end = End::Dropped;
        }
        // The task may never be polled again: the runtime often ends together with the sender.
        self.write_anyway(&mut state);
        state.wake_task();
        state.wake_blocked_task();
    }

    /// What the task does when all is written or nothing can be: wait for more, or end.
    fn after_all(&self, state: &mut State, cx: &Context<'_>) -> Poll<()> {
        match state.end {
            End::NotYet => {
                state.task = Some(cx.waker().clone());
                return Poll::Pending;
            }
            End::Goodbye => {
                let _ = self.socket.end_writing();
            }
            End::Dropped | End::Broken(_) => {}
        }
        Poll::Ready(())
    }

    fn time_out(&self, state: &mut State) {
        if !matches!(state.end, End::Broken(_)) {
            let _ = self.socket.end_writing();
            state.break_off(io::ErrorKind::TimedOut.into());
        }
    }

    fn write_anyway(&self, state: &mut State) {
        self.write(state);
        while let Some(Ok(count)) = state.parts.front().map(|part| self.socket.send_now(part)) {
            state.remove(count);
        }
    }

    /// Writes until the socket takes no more.
    fn write(&self, state: &mut State) {
        if matches!(state.end, End::Broken(_)) {
            return;
        }
        let gathered = state.outbox.take();
        state.add_part(gathered);
        while !state.parts.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            for (piece, part) in pieces.iter_mut().zip(&state.parts) {
                *piece = IoSlice::new(part);
            }
            match self.socket.try_write_vectored(&pieces) {
                Ok(count) => {
                    state.remove(count);
                    if let Some(speed) = state.pace.on_write(count, Instant::now()) {
                        self.socket.adapt(speed);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_spurious(&error) => return,
                Err(error) => {
                    // The daemon is to close as well.
                    let _ = self.socket.end_writing();
                    return state.break_off(error);
                }
            }
        }
    }
}

impl State {
    fn waiting_bytes(&self) -> usize {
        self.parts_bytes + self.outbox.pending().len()
    }

    fn has_room(&self) -> bool {
        !self.pace.is_full(self.waiting_bytes())
    }

    /// Whether requests can be sent.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        match &mut self.end {
            End::NotYet | End::Goodbye | End::Dropped => Ok(()),
            End::Broken(error) => Err(error.take().map_or(Error::Closed, Error::from_io)),
        }
    }

    fn add_part(&mut self, bytes: Bytes) {
        // A write of nothing but empty parts would look as if it had no effect.
        if !bytes.is_empty() {
            self.parts_bytes += bytes.len();
            self.parts.push_back(bytes);
        }
    }

    /// Forgets so many bytes, which are written.
    fn remove(&mut self, mut count: usize) {
        self.parts_bytes -= count;
        while let Some(first) = self.parts.front_mut() {
            if first.len() > count {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.parts.pop_front();
        }
    }

    fn break_off(&mut self, error: io::Error) {
        self.parts.clear();
        self.parts_bytes = 0;
        self.end = End::Broken(Some(error));
    }

    fn wait_for_task(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.sender = Some(cx.waker().clone());
        self.wake_task();
        Poll::Pending
    }

    fn wake_task(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// For what the task does not see by the socket.
    fn wake_blocked_task(&mut self) {
        if let Some(task) = self.blocked_task.take() {
            task.wake();
        }
    }

    fn wake_sender(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }
}

/// Writes what the sender leaves, and ends with it.
struct Task {
    queue: Arc<Queue>,
    /// From when the sender is gone and bytes are left.
    last: Option<Last>,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { queue, last } = &mut *self;
        loop {
            {
                let mut state = queue.lock();
                queue.write(&mut state);
                if state.has_room() {
                    state.wake_sender();
                }
                if state.waiting_bytes() == 0 || matches!(state.end, End::Broken(_)) {
                    return queue.after_all(&mut state, cx);
                }
                state.blocked_task = Some(cx.waker().clone());
                if matches!(state.end, End::Dropped | End::Goodbye) {
                    let last = last.get_or_insert_with(|| Last::new(state.waiting_bytes()));
                    if last.poll_retry(cx).is_ready() {
                        queue.write_anyway(&mut state);
                        if last.is_over(state.waiting_bytes()) {
                            queue.time_out(&mut state);
                        }
                        continue;
                    }
                }
            }
            if let Err(error) = ready!(queue.socket.poll_write_ready(cx)) {
                queue.lock().break_off(error);
            }
        }
    }
}

impl Drop for Task {
    /// A runtime that ends drops its tasks wherever they are.
    fn drop(&mut self) {
        self.queue.push_anyway();
    }
}

/// How the writing of what comes last gets on.
struct Last {
    left_bytes: usize,
    patience: Patience,
    retry: Pin<Box<Sleep>>,
}

impl Last {
    fn new(left_bytes: usize) -> Self {
        Self { left_bytes, patience: Patience::default(), retry: Box::pin(sleep(RETRY)) }
    }

    /// Whether to write again, whatever the system says.
    fn poll_retry(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.retry.as_mut().poll(cx)
    }

    /// Whether the daemon has stood still for too long, now that so many bytes are left; else there is another retry.
    fn is_over(&mut self, left_bytes: usize) -> bool {
        self.retry.as_mut().reset((Instant::now() + RETRY).into());
        let before = std::mem::replace(&mut self.left_bytes, left_bytes);
        if left_bytes < before {
            self.patience.renew();
        }
        self.patience.is_over()
    }
}
