//! What the machine can do at best: datagrams through sockets, bytes through a Unix socket.

use std::io::{self, IoSliceMut, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use serde::{Deserialize, Serialize};

/// Buffers of one receiving call; what was coalesced needs 64 KiB of each.
const SLOTS: usize = 16;
const SLOT_BYTES: usize = 64 << 10;

/// Receive buffer that is asked for.
const SOCKET_BYTES: usize = 8 << 20;

/// Longest content of one sending call.
const CALL_BYTES: usize = 65_000;

/// How long a sink waits for its first datagram: the source may start late on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Until the sink looks at the clock again although nothing came.
const LOOK: Duration = Duration::from_millis(50);

/// What a sink received.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Arrived {
    /// Datagrams a second.
    pub datagrams_per_second: f64,
    /// Payload bits a second, in millions.
    pub mbit_per_second: f64,
}

/// Sends datagrams of `bytes` as fast as the system takes them, up to `segments` of them with each call.
///
/// # Errors
/// When the socket fails for another reason than a full queue.
pub fn udp_source(to: SocketAddr, bytes: usize, segments: usize, time: Duration) -> io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    // The library makes it non-blocking; here waiting for room is what is wanted.
    socket.set_nonblocking(false)?;
    let most = (CALL_BYTES / bytes.max(1)).min(state.max_gso_segments()).max(1);
    let contents = vec![0; bytes * segments.clamp(1, most)];
    let transmit =
        Transmit { destination: to, ecn: None, contents: &contents, segment_size: Some(bytes), src_ip: None };
    let begun = Instant::now();
    while begun.elapsed() < time {
        match state.try_send(UdpSockRef::from(&socket), &transmit) {
            Ok(()) => {}
            // Nobody listens yet, or the queue of the device is full.
            Err(error)
                if matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::NOBUFS.raw_os_error())
                    || error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Counts datagrams for so long, from the first one on.
///
/// # Errors
/// When the socket fails, or nothing comes for ten seconds.
pub fn udp_sink(at: SocketAddr, time: Duration) -> io::Result<Arrived> {
    let socket = UdpSocket::bind(at)?;
    let reference = socket2::SockRef::from(&socket);
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BYTES).is_err() {
        reference.set_recv_buffer_size(SOCKET_BYTES)?;
    }
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(LOOK))?;
    let mut slots = vec![vec![0; SLOT_BYTES]; SLOTS];
    let mut meta = vec![RecvMeta::default(); SLOTS];
    let (opened, mut first) = (Instant::now(), None);
    let (mut datagrams, mut bytes) = (0, 0);
    loop {
        let mut slices: Vec<IoSliceMut<'_>> = slots.iter_mut().map(|slot| IoSliceMut::new(slot)).collect();
        let received = match state.recv(UdpSockRef::from(&socket), &mut slices, &mut meta) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };
        for meta in meta.iter().take(received) {
            datagrams += meta.len.div_ceil(meta.stride.max(1));
            bytes += meta.len;
        }
        if first.is_none() && opened.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if received > 0 && first.is_none() {
            (first, datagrams, bytes) = (Some(Instant::now()), 0, 0);
        }
        if let Some(seconds) = first.map(|first| first.elapsed()).filter(|passed| *passed >= time) {
            return Ok(Arrived {
                datagrams_per_second: datagrams as f64 / seconds.as_secs_f64(),
                mbit_per_second: bytes as f64 * 8.0 / 1e6 / seconds.as_secs_f64(),
            });
        }
    }
}

/// Megabits a second through a Unix stream socket from one thread to another, written `bytes` at a time.
///
/// # Errors
/// When there are no more sockets.
pub fn unix_mbit_per_second(bytes: usize, time: Duration) -> io::Result<f64> {
    let (mut reading, mut writing) = UnixStream::pair()?;
    let writer = thread::spawn(move || {
        let piece = vec![0; bytes];
        let begun = Instant::now();
        while begun.elapsed() < time && writing.write_all(&piece).is_ok() {}
    });
    let (mut buffer, mut total, begun) = (vec![0; 256 << 10], 0, Instant::now());
    loop {
        match reading.read(&mut buffer)? {
            0 => break,
            count => total += count,
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    // The writer has dropped its end, so it is over.
    let _ = writer.join();
    Ok(total as f64 * 8.0 / 1e6 / seconds)
}

/// Messages of one measurement of hops, and the time between two, in which all processors go to sleep.
const HOP_MESSAGES: usize = 60;
const HOP_GAP: Duration = Duration::from_millis(20);

/// Median time in microseconds that a message takes to a sleeping thread through so many others, each
/// of which sleeps until it has something to pass on: what waking up costs here, whoever is woken.
///
/// # Errors
/// When there are no more sockets.
pub fn unix_hops_us(relays: usize, bytes: usize) -> io::Result<f64> {
    let (mut first, mut last) = UnixStream::pair()?;
    for _ in 0..relays {
        let (mut to, next) = UnixStream::pair()?;
        let mut from = std::mem::replace(&mut last, next);
        thread::spawn(move || {
            let mut message = vec![0; bytes];
            while from.read_exact(&mut message).is_ok() && to.write_all(&message).is_ok() {}
        });
    }
    let clock = Instant::now();
    let receiver = thread::spawn(move || {
        let mut message = vec![0; bytes];
        let mut arrived = Vec::with_capacity(HOP_MESSAGES);
        while last.read_exact(&mut message).is_ok() {
            arrived.push(clock.elapsed());
        }
        arrived
    });
    let message = vec![0; bytes];
    let mut sent = Vec::with_capacity(HOP_MESSAGES);
    for _ in 0..HOP_MESSAGES {
        thread::sleep(HOP_GAP);
        sent.push(clock.elapsed());
        first.write_all(&message)?;
    }
    drop(first);
    let arrived = receiver.join().unwrap_or_default();
    let mut taken: Vec<Duration> =
        arrived.iter().zip(&sent).map(|(arrived, sent)| arrived.saturating_sub(*sent)).collect();
    taken.sort_unstable();
    Ok(taken.get(taken.len() / 2).map_or(0.0, |median| median.as_secs_f64() * 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_and_bytes_are_counted() {
        let at = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
        let time = Duration::from_millis(100);
        let sink = thread::spawn(move || udp_sink(at, time));
        udp_source(at, 1000, 10, time * 2).expect("sent");
        let arrived = sink.join().expect("no panic").expect("received");
        assert!(arrived.datagrams_per_second > 0.0);
        let bytes = arrived.mbit_per_second * 1e6 / 8.0 / arrived.datagrams_per_second;
        assert!((bytes - 1000.0).abs() < 1.0, "{arrived:?}");
        assert!(unix_mbit_per_second(8192, time).expect("sockets") > 0.0);
        assert!(unix_hops_us(2, 1000).expect("sockets") > 0.0);
    }
}
