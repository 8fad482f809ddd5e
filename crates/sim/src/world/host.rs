//! One host: a daemon or none, its sockets, its clock.

use std::collections::VecDeque;
use std::time::Duration;

use antiphon_proto::time::Instant;
use antiphon_proto::{Channel, Node, Outputs};
use antiphon_wire::ids::SessionId;
use bytes::Bytes;

use super::streams::{StreamInput, Streams};
use super::writes::Writes;

/// The monotonic clock of a host: an offset and a rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Clock {
    /// What it shows when the world begins, in nanoseconds.
    pub(super) offset: u64,
    /// By how many millionths it runs fast; more than -1,000,000.
    pub(super) ppm: i64,
}

impl Clock {
    /// What the clock shows at a time of the world.
    pub(super) fn local(self, world: Instant) -> Instant {
        let gained = i128::from(world.0) * i128::from(self.ppm) / 1_000_000;
        let shown = i128::from(world.0) + i128::from(self.offset) + gained;
        Instant(u64::try_from(shown).unwrap_or(0))
    }

    /// Shows that much more from now on.
    pub(super) fn leap(&mut self, by: Duration) {
        self.offset += u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    }

    /// The first time of the world at which the clock shows at least `local`.
    pub(super) fn world(self, local: Instant) -> Instant {
        let elapsed = i128::from(local.0) - i128::from(self.offset);
        let scaled = elapsed * 1_000_000 / i128::from(1_000_000 + self.ppm);
        let mut world = Instant(u64::try_from(scaled - 2).unwrap_or(0));
        while self.local(world) < local {
            world = Instant(world.0 + 1);
        }
        world
    }
}

/// A receive buffer of limited size.
#[derive(Debug, Default)]
pub(super) struct Socket {
    waiting: VecDeque<Bytes>,
    bytes: usize,
}

impl Socket {
    /// Takes a datagram in; false when there is no room and it is lost.
    pub(super) fn push(&mut self, datagram: Bytes, limit_bytes: usize) -> bool {
        let fits = self.bytes + datagram.len() <= limit_bytes;
        if fits {
            self.bytes += datagram.len();
            self.waiting.push_back(datagram);
        }
        fits
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let datagram = self.waiting.pop_front()?;
        self.bytes -= datagram.len();
        Some(datagram)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// See the module documentation.
pub(super) struct Host {
    /// The daemon; `None` while it is down.
    pub(super) node: Option<Node>,
    pub(super) out: Outputs,
    /// Position in the trace of the daemon's current or last run.
    pub(super) process: usize,
    pub(super) incarnation: u64,
    /// How many daemons its configuration file lists.
    pub(super) listed: usize,
    pub(super) clock: Clock,
    /// By how much the calendar's clock is late.
    pub(super) calendar_late: Duration,
    pub(super) data: Socket,
    pub(super) control: Socket,
    pub(super) streams: Streams,
    pub(super) writes: Writes,
    /// When datagrams were taken last.
    pub(super) ring_served: Instant,
    pub(super) paused_until: Option<Instant>,
    pub(super) busy_until: Instant,
    pub(super) turn_at: Option<Instant>,
    pub(super) wake_at: Option<Instant>,
    /// Turns in which timers waited for datagrams.
    pub(super) starved: u32,
    /// The daemon crashes in this turn, after sending that many of its bursts.
    pub(super) doomed: Option<usize>,
    pub(super) stopping: bool,
    pub(super) stopped: bool,
    /// Extra processor time of every turn.
    pub(super) slowness: Duration,
}

impl Host {
    pub(super) fn new(clock: Clock, incarnation: u64, listed: usize) -> Self {
        Self {
            node: None,
            out: Outputs { trace: Some(Vec::new()), ..Outputs::default() },
            process: usize::MAX,
            incarnation,
            listed,
            clock,
            calendar_late: Duration::ZERO,
            data: Socket::default(),
            control: Socket::default(),
            streams: Streams::default(),
            writes: Writes::default(),
            ring_served: Instant(0),
            paused_until: None,
            busy_until: Instant(0),
            turn_at: None,
            wake_at: None,
            starved: 0,
            doomed: None,
            stopping: false,
            stopped: false,
            slowness: Duration::ZERO,
        }
    }

    /// Forgets the daemon and everything that dies with it. The clock and the incarnation stay.
    pub(super) fn down(&mut self) {
        let (slowness, calendar_late) = (self.slowness, self.calendar_late);
        *self = Self {
            process: self.process,
            slowness,
            calendar_late,
            ..Self::new(self.clock, self.incarnation, self.listed)
        };
    }

    /// Takes the next datagram, from the socket that the daemon prefers if it has one.
    pub(super) fn receive(&mut self) -> Option<Bytes> {
        let preferred = self.node.as_ref()?.receive_preference();
        let (first, second) = match preferred {
            Channel::Data => (&mut self.data, &mut self.control),
            Channel::Control => (&mut self.control, &mut self.data),
        };
        first.pop().or_else(|| second.pop())
    }

    pub(super) fn has_datagrams(&self) -> bool {
        !self.data.is_empty() || !self.control.is_empty()
    }

    pub(super) fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// Whether it runs: up and not paused.
    pub(super) fn is_running(&self) -> bool {
        self.node.is_some() && self.paused_until.is_none()
    }

    /// The time of the world at which the daemon wants to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let (local, _) = self.node.as_ref()?.next_timeout()?;
        Some(self.clock.world(local))
    }

    /// Whether the daemon reads a client's stream now.
    fn reads(node: &Node, session: SessionId) -> bool {
        node.room_for(session) > 0
    }

    /// Whether some client said something that the daemon reads.
    pub(super) fn has_streams(&self) -> bool {
        self.node.as_ref().is_some_and(|node| self.streams.has_any(|session| Self::reads(node, session)))
    }

    /// The next thing of a client that the daemon reads.
    pub(super) fn read_stream(&mut self) -> Option<(SessionId, StreamInput)> {
        let node = self.node.as_ref()?;
        self.streams.pop(|session| Self::reads(node, session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_read_both_ways() {
        for ppm in [-10_000, 0, 9_999] {
            let clock = Clock { offset: 77, ppm };
            for world in [0, 1, 999_999, 5_000_000_000] {
                let local = clock.local(Instant(world));
                let back = clock.world(local);
                assert!(clock.local(back) >= local && back <= Instant(world), "{ppm} {world}");
                assert!(back == Instant(0) || clock.local(Instant(back.0 - 1)) < local);
            }
        }
    }

    #[test]
    fn a_full_socket_loses_datagrams() {
        let mut socket = Socket::default();
        assert!(socket.push(Bytes::from_static(b"1234"), 6));
        assert!(!socket.push(Bytes::from_static(b"567"), 6));
        assert_eq!(socket.pop().as_deref(), Some(b"1234".as_slice()));
        assert!(socket.is_empty());
    }
}
