//! Sending in order: what the socket does not take waits, and nothing overtakes it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use bytes::Bytes;
use rustix::io::Errno;

use super::TransportStats;
use super::failures::Failures;
use super::rejoin;
use super::socket::Socket;

/// Bytes that may wait for the socket; what comes on top is dropped, as a network would.
const QUEUE_BYTES: usize = 4 << 20;
/// What the system answers to segmented sends that a device cannot do.
const OFFLOAD_REFUSED: [i32; 2] = [Errno::IO.raw_os_error(), Errno::INVAL.raw_os_error()];
/// A datagram is longer than the path takes.
const TOO_LONG: i32 = Errno::MSGSIZE.raw_os_error();

/// The queue in front of a socket.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    queue: VecDeque<Burst>,
    queued_bytes: usize,
    failures: Failures,
    /// Whether, since the group was joined last, something could not be sent to it for want of its interface.
    lost_group: bool,
}

/// Datagrams of one size for one address.
#[derive(Debug)]
struct Burst {
    to: SocketAddr,
    bytes: Bytes,
    segment_bytes: NonZeroUsize,
}

impl Sender {
    /// Sends a burst, or as much of it as the socket takes now.
    pub(crate) fn send(
        &mut self,
        socket: &Socket,
        to: SocketAddr,
        bytes: &Bytes,
        segment_bytes: NonZeroUsize,
        stats: &mut TransportStats,
    ) {
        let mut burst = Burst { to, bytes: bytes.clone(), segment_bytes };
        if !self.queue.is_empty() || !self.transmit(socket, &mut burst, stats) {
            self.enqueue(burst, stats);
        }
    }

    /// Sends what waits, as far as the socket takes it.
    pub(crate) fn resume(&mut self, socket: &Socket, stats: &mut TransportStats) {
        while let Some(mut burst) = self.queue.pop_front() {
            self.queued_bytes = self.queued_bytes.saturating_sub(burst.bytes.len());
            if !self.transmit(socket, &mut burst, stats) {
                self.queued_bytes += burst.bytes.len();
                self.queue.push_front(burst);
                return;
            }
        }
    }

    /// Whether something waits for the socket.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether the group must be joined again.
    pub(crate) fn has_lost_group(&self) -> bool {
        self.lost_group
    }

    /// From now on, a failure tells of the group as it is joined now.
    pub(crate) fn forget_lost_group(&mut self) {
        self.lost_group = false;
    }

    fn enqueue(&mut self, burst: Burst, stats: &mut TransportStats) {
        if self.queued_bytes + burst.bytes.len() > QUEUE_BYTES {
            stats.datagrams_dropped += datagrams(burst.bytes.len(), burst.segment_bytes);
            return;
        }
        self.queued_bytes += burst.bytes.len();
        self.queue.push_back(burst);
    }

    /// Sends a burst in as few calls as possible and takes what was sent off it; false when the
    /// socket would block.
    fn transmit(&mut self, socket: &Socket, burst: &mut Burst, stats: &mut TransportStats) -> bool {
        let segment_bytes = burst.segment_bytes.get();
        while !burst.bytes.is_empty() {
            let length = burst.bytes.len().min(segment_bytes * socket.burst_limit(segment_bytes));
            let contents = burst.bytes.get(..length).unwrap_or(&burst.bytes);
            let count = datagrams(length, burst.segment_bytes);
            stats.send_calls += 1;
            match socket.send(burst.to, contents, segment_bytes) {
                Ok(()) => stats.datagrams_sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The socket has noted the refusal, and takes one datagram a call from now on.
                Err(error) if count > 1 && offload_refused(&error, socket, segment_bytes) => continue,
                Err(error) => self.failed(&error, burst.to, count, stats),
            }
            drop(burst.bytes.split_to(length));
        }
        true
    }

    /// A datagram that cannot be sent is lost like any other.
    fn failed(&mut self, error: &io::Error, to: SocketAddr, count: u64, stats: &mut TransportStats) {
        stats.send_errors += count;
        self.lost_group |= rejoin::is_sign(to, error);
        let code = error.raw_os_error();
        if let Some(times) = self.failures.note(to, code) {
            let hint =
                if code == Some(TOO_LONG) { "; set DatagramBytes to what the network takes" } else { "" };
            tracing::warn!("cannot send to {to} ({times} times so far): {error}{hint}");
        }
    }
}

fn offload_refused(error: &io::Error, socket: &Socket, segment_bytes: usize) -> bool {
    error.raw_os_error().is_some_and(|code| OFFLOAD_REFUSED.contains(&code))
        && socket.burst_limit(segment_bytes) == 1
}

fn datagrams(bytes: usize, segment_bytes: NonZeroUsize) -> u64 {
    bytes.div_ceil(segment_bytes.get()) as u64
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::socket::Slots;
    use super::*;
    use crate::conf::PortReuse;

    fn of(bytes: usize) -> NonZeroUsize {
        NonZeroUsize::new(bytes).expect("some bytes")
    }

    fn socket() -> Socket {
        Socket::bind((Ipv4Addr::LOCALHOST, 0).into(), PortReuse::Auto).expect("a free port")
    }

    #[test]
    fn a_burst_arrives_as_its_datagrams() {
        let (from, to) = (socket(), socket());
        let address = to.io.local_addr().expect("bound");
        let burst: Vec<u8> = (0..100_u8).flat_map(|index| [index; 1400]).chain([200; 10]).collect();
        let mut stats = TransportStats::default();
        Sender::default().send(&from, address, &burst.into(), of(1400), &mut stats);
        assert_eq!((stats.datagrams_sent, stats.send_errors), (101, 0));
        let mut slots = Slots::new();
        let mut seen = Vec::new();
        while slots
            .receive(&to, |_, mut filled| {
                seen.extend(filled.datagrams().map(|datagram| (datagram[0], datagram.len())));
            })
            .is_ok()
        {}
        let expected: Vec<_> = (0..100).map(|index| (index, 1400)).chain([(200, 10)]).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_datagram_that_can_not_be_sent_is_counted_and_forgotten() {
        let from = socket();
        let mut stats = TransportStats::default();
        let mut sender = Sender::default();
        let nowhere = "255.255.255.255:9".parse().expect("an address");
        sender.send(&from, nowhere, &Bytes::from_static(b"x"), of(1), &mut stats);
        assert_eq!((stats.datagrams_sent, stats.send_errors), (0, 1));
        assert!(!sender.is_waiting());
        let error = Some(Errno::ACCESS.raw_os_error());
        assert_eq!(sender.failures.note(nowhere, error), Some(2), "the first one was noted");
    }

    #[test]
    fn what_waits_beyond_the_limit_is_dropped() {
        let mut sender = Sender::default();
        let mut stats = TransportStats::default();
        let burst = || Burst {
            to: (Ipv4Addr::LOCALHOST, 9).into(),
            bytes: Bytes::from(vec![0; QUEUE_BYTES / 2]),
            segment_bytes: of(QUEUE_BYTES / 8),
        };
        for _ in 0..3 {
            sender.enqueue(burst(), &mut stats);
        }
        assert_eq!((sender.queue.len(), stats.datagrams_dropped), (2, 4));
    }
}
