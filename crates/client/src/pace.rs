//! When what was gathered is written, and how much may be on its way to the daemon.
//!
//! A lone message leaves at once. Of many in quick succession, the first leaves at once and the others
//! are written together: when they fill a buffer, when the last write was 100 µs ago, or when the
//! sender goes idle. Writing each by itself would take several times as long.
//!
//! A sender that is held up fills every buffer before its daemon, and its messages are late by what these
//! hold. Where a network is slow that is long, so there they are small; where it is fast, small ones would
//! make sender and daemon take turns too often.
//!
//! The connections of this crate do all this; an event loop of another kind that writes what an
//! [`Outbox`](crate::session::Outbox) holds can do the same.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{SockAddr, SockRef};

/// A body of this size is sent from where it lies instead of being copied.
pub const LARGE_BODY_BYTES: usize = 16 * 1024;
/// A sender that has written nothing for so long, although it has gathered something, is idle.
pub const IDLE: Duration = Duration::from_micros(250);
/// When to write again to a daemon that took no more. The system calls a socket writable only when much of it
/// is free.
pub const RETRY: Duration = Duration::from_millis(5);
/// A sender that has written nothing for so long sends lone messages.
const QUIET: Duration = Duration::from_micros(100);
/// For how long a sender's writes are counted before its speed is judged: long enough for what fills a
/// greater buffer to count for little.
const PERIOD: Duration = Duration::from_millis(50);
/// Who was fast so lately still is. One of many senders on a busy machine may get no time for a while, and
/// with smaller buffers than the others it would get less of the daemon from then on.
const LATELY: Duration = Duration::from_millis(300);
/// Bytes a second above which a sender is fast: somewhat more than a network of 100 Mbit/s takes.
const FAST: u128 = 16 << 20;

/// How much a sender writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Speed {
    /// No more than a slow network takes.
    Slow,
    /// More.
    #[default]
    Fast,
}

impl Speed {
    /// What was gathered is written when it has this many bytes.
    #[must_use]
    pub fn gather_bytes(self) -> usize {
        match self {
            Self::Slow => 8 << 10,
            Self::Fast => 64 << 10,
        }
    }

    /// How large the system's buffer for what was written is to be, in bytes.
    #[must_use]
    pub fn buffer_bytes(self) -> usize {
        match self {
            Self::Slow => 16 << 10,
            Self::Fast => 128 << 10,
        }
    }

    /// Sizes the buffer of a connection to a daemon on the same host. One to another host stays as it is: a
    /// small buffer would hold less than is on its way there, and the sender could never be fast again.
    pub fn adapt(self, socket: &impl AsFd) {
        let socket = SockRef::from(socket);
        let is_near = |peer: SockAddr| match peer.as_socket() {
            Some(address) => address.ip().to_canonical().is_loopback(),
            None => true,
        };
        if socket.peer_addr().is_ok_and(is_near) {
            // A buffer of another size does as well.
            let _ = socket.set_send_buffer_size(self.buffer_bytes());
        }
    }
}

/// The times of one sender's writes.
#[derive(Debug, Default)]
pub struct Pace {
    last_write: Option<Instant>,
    /// Writes so far.
    writes: u64,
    speed: Speed,
    /// The first write that counts for the next judgement.
    since: Option<Instant>,
    written_bytes: usize,
    /// When it was fast last; the first write is taken for that.
    fast_at: Option<Instant>,
}

impl Pace {
    /// Whether so many gathered bytes are to be written without waiting for more.
    #[must_use]
    pub fn is_due(&self, gathered_bytes: usize, now: Instant) -> bool {
        let is_quiet = |last: Instant| now.saturating_duration_since(last) >= QUIET;
        self.is_full(gathered_bytes) || self.last_write.is_none_or(is_quiet)
    }

    /// Whether so many gathered bytes are enough for one write.
    #[must_use]
    pub fn is_full(&self, gathered_bytes: usize) -> bool {
        gathered_bytes >= self.speed.gather_bytes()
    }

    /// Takes note of a write of so many bytes; returns the sender's speed if it has changed.
    pub fn on_write(&mut self, bytes: usize, now: Instant) -> Option<Speed> {
        self.last_write = Some(now);
        self.writes = self.writes.wrapping_add(1);
        self.written_bytes += bytes;
        let since = *self.since.get_or_insert(now);
        let took = now.saturating_duration_since(since);
        if took < PERIOD {
            return None;
        }
        let fast_at = self.fast_at.get_or_insert(since);
        if self.written_bytes as u128 * 1_000_000_000 >= FAST * took.as_nanos() {
            *fast_at = now;
        }
        let is_fast = now.saturating_duration_since(*fast_at) < LATELY;
        let speed = if is_fast { Speed::Fast } else { Speed::Slow };
        self.since = Some(now);
        self.written_bytes = 0;
        let before = std::mem::replace(&mut self.speed, speed);
        (speed != before).then_some(speed)
    }

    /// How often something was written.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_lone_request_is_due_at_once_and_one_close_behind_it_is_not() {
        let mut pace = Pace::default();
        let now = Instant::now();
        assert!(pace.is_due(1, now));
        pace.on_write(1, now);
        assert!(!pace.is_due(1, now + QUIET / 2));
        assert!(pace.is_due(Speed::Fast.gather_bytes(), now + QUIET / 2));
        assert!(pace.is_due(1, now + QUIET));
        assert_eq!(pace.writes(), 1);
    }

    #[test]
    fn what_was_written_for_a_while_decides_about_the_speed() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut write = |bytes: usize, after: Duration| {
            now += after;
            pace.on_write(bytes, now).map(|speed| (speed, pace.is_full(Speed::Slow.gather_bytes())))
        };
        assert_eq!(write(100, Duration::ZERO), None);
        assert_eq!(write(100, LATELY - PERIOD), None, "too early to say");
        assert_eq!(write(100_000, PERIOD), Some((Speed::Slow, true)));
        assert_eq!(write(100_000, PERIOD), None, "as before");
        assert_eq!(write(5_000_000, PERIOD), Some((Speed::Fast, false)));
        assert_eq!(write(100, LATELY - PERIOD), None, "fast a moment ago");
        assert_eq!(write(100_000, PERIOD), Some((Speed::Slow, true)));
    }

    #[test]
    fn the_buffer_to_a_daemon_on_the_same_host_has_the_size_for_the_speed() {
        // The system adds as much again for what it keeps of its own.
        let adapted = |socket: &dyn AsFd, speed: Speed| {
            let socket = socket.as_fd();
            speed.adapt(&socket);
            let bytes = SockRef::from(&socket).send_buffer_size().expect("told");
            assert!((speed.buffer_bytes()..=2 * speed.buffer_bytes()).contains(&bytes), "{bytes} bytes");
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let tcp = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (unix, _daemon) = UnixStream::pair().expect("a pair");
        for speed in [Speed::Slow, Speed::Fast, Speed::Slow] {
            adapted(&tcp, speed);
            adapted(&unix, speed);
        }
    }
}
