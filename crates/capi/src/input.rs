//! Bytes from the daemon, read so that `select` on the mailbox tells the truth.
//!
//! A program waits for its mailbox to become readable and then receives one message, so a message that
//! the library holds back must keep the socket readable. The rule: *whenever there is a whole frame in the
//! buffer, the socket still has a byte*. A read therefore takes everything but the last byte that is there,
//! or else no more than the frame in hand lacks; and the last byte of a frame is taken only by the call
//! that delivers the frame. Many small messages cost two system calls for all, one message two or three.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{RecvFlags, recv};
use rustix::time::Timespec;

use crate::codes::Code;

/// Bytes that a buffer has unless a frame needs more.
const BUFFER_BYTES: usize = 64 * 1024;
/// Buffers larger than this are given back when they are empty.
const KEPT_BYTES: usize = 1024 * 1024;

/// What was read from a socket and not delivered yet. Always begins with a frame.
#[derive(Debug)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 }
    }

    /// What is here.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Waits until at least `wanted` bytes are here. They must not be more than the first frame has, and
    /// not all of it unless it is about to be consumed. Calls `before_waiting` when it has to wait.
    ///
    /// # Errors
    /// When the connection has ended or is broken, and what `before_waiting` says; what is here stays.
    pub(crate) fn fill(
        &mut self,
        socket: BorrowedFd<'_>,
        wanted: usize,
        before_waiting: impl Fn() -> Result<(), Code>,
    ) -> Result<(), Code> {
        let mut surely_ready = false;
        loop {
            let missing = wanted.saturating_sub(self.end - self.start);
            if missing == 0 {
                return Ok(());
            }
            let room = self.make_room(missing);
            // One byte that was left in the socket can be taken without asking.
            let ready = if surely_ready && missing == 1 { 1 } else { ready_bytes(socket) };
            if ready == 0 {
                before_waiting()?;
            }
            let all_but_one = ready.saturating_sub(1).min(room);
            let count = if all_but_one >= missing { all_but_one } else { missing.min(room) };
            let read = receive(socket, self.buffer.get_mut(self.end..self.end + count).unwrap_or_default())?;
            self.end += read;
            surely_ready = read < ready;
        }
    }

    /// Forgets the first frame.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > KEPT_BYTES {
                self.buffer = vec![0; BUFFER_BYTES];
            }
        }
    }

    /// Makes room for some of the missing bytes, at least one, and says for how many. A length is believed
    /// only as far as the bytes have come: the buffer at most doubles.
    fn make_room(&mut self, missing: usize) -> usize {
        if self.buffer.len() - self.end < missing && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        self.buffer.len() - self.end
    }
}

/// Bytes that can be read from a socket without waiting.
pub(crate) fn ready_bytes(socket: impl AsFd) -> usize {
    ioctl_fionread(socket).ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

/// Reads at least one byte, also if the program made the socket non-blocking.
///
/// # Errors
/// At the end of the stream, and when the connection is broken.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Code> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Err(Code::ConnectionClosed),
            Ok((count, _)) => return Ok(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for(socket, PollFlags::IN, None)?,
            Err(_) => return Err(Code::ConnectionClosed),
        }
    }
}

/// Waits until a socket can be read or written, or is broken, or a signal has come, or the time is over.
///
/// # Errors
/// When waiting is not possible.
pub(crate) fn wait_for(
    socket: BorrowedFd<'_>,
    readiness: PollFlags,
    limit: Option<Duration>,
) -> Result<(), Code> {
    let limit = limit.map(Timespec::try_from).transpose().map_err(|_| Code::ConnectionClosed)?;
    match poll(&mut [PollFd::from_borrowed_fd(socket, readiness)], limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(_) => Err(Code::ConnectionClosed),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    /// Whether `select` would call the socket readable.
    fn is_readable(socket: &UnixStream) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).expect("polls") == 1
    }

    #[test]
    fn the_socket_stays_readable_while_a_whole_frame_is_held() {
        let (mut daemon, socket) = UnixStream::pair().expect("a pair");
        daemon.write_all(&[7; 300]).expect("written");
        let mut input = Input::new();
        // Frames of 100 bytes, the header being the first ten of them.
        for frame in 1..=3 {
            input.fill(socket.as_fd(), 10, || Ok(())).expect("the header is there");
            assert!(is_readable(&socket), "before the end of frame {frame} is taken");
            input.fill(socket.as_fd(), 100, || Ok(())).expect("the frame is there");
            input.consume(100);
            assert_eq!(is_readable(&socket), frame < 3, "after frame {frame}");
        }
        assert!(input.bytes().is_empty());
    }

    #[test]
    fn large_frames_grow_the_buffer_as_they_come_and_give_it_back() {
        const LARGE: usize = 3 << 20;
        let (mut daemon, socket) = UnixStream::pair().expect("a pair");
        let writer = thread::spawn(move || daemon.write_all(&vec![1; LARGE]));
        let mut input = Input::new();
        input.fill(socket.as_fd(), LARGE, || Ok(())).expect("all of it comes");
        assert_eq!(input.bytes().len(), LARGE);
        input.consume(LARGE);
        assert_eq!(input.buffer.len(), BUFFER_BYTES);
        writer.join().expect("no panic").expect("written");
        assert_eq!(input.fill(socket.as_fd(), 1, || Ok(())), Err(Code::ConnectionClosed));
    }

    #[test]
    fn a_socket_made_non_blocking_is_waited_for() {
        let (mut daemon, socket) = UnixStream::pair().expect("a pair");
        socket.set_nonblocking(true).expect("set");
        let writer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            daemon.write_all(&[1; 5])
        });
        let mut input = Input::new();
        input.fill(socket.as_fd(), 5, || Ok(())).expect("they come");
        assert_eq!(input.bytes(), [1; 5]);
        writer.join().expect("no panic").expect("written");
    }
}
