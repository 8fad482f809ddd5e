//! One UDP socket: how it is opened, and batches in and out of it.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token as PollToken};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};

use crate::buffers::Buffers;
use crate::conf::PortReuse;

/// What is asked of the system for each direction: some milliseconds of a fast network.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// Receive buffers that one call can fill; each may take as many datagrams as the system has
/// coalesced.
const SLOTS: usize = 8;
/// Longest content of one sending call: with headers, what IP can carry.
const CALL_BYTES: usize = 65_000;

/// A UDP socket with its offload state.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) io: UdpSocket,
    state: UdpSocketState,
    /// Whether it may hold unread datagrams.
    pub(crate) ready: bool,
    /// What the poller is asked about it.
    asked: Option<Interest>,
}

impl Socket {
    /// A socket of this daemon alone.
    pub(crate) fn bind(address: SocketAddr, reuse: PortReuse) -> io::Result<Self> {
        let socket = raw(address)?;
        socket.set_reuse_address(reuse == PortReuse::On)?;
        socket.bind(&address.into())?;
        Self::new(socket)
    }

    /// A socket that hears what is sent to `group`, which other daemons of this machine may share.
    pub(crate) fn bind_shared(group: SocketAddr) -> io::Result<Self> {
        let socket = raw(group)?;
        socket.set_reuse_address(true)?;
        socket.bind(&group.into())?;
        Self::new(socket)
    }

    fn new(socket: RawSocket) -> io::Result<Self> {
        enlarge(&socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        forgo_records(&socket);
        Ok(Self { io: UdpSocket::from_std(socket.into()), state, ready: true, asked: None })
    }

    /// Asks the poller about this and nothing else. It tells at once of what is there already.
    pub(crate) fn ask(
        &mut self,
        registry: &Registry,
        token: PollToken,
        interest: Option<Interest>,
    ) -> io::Result<()> {
        match (self.asked, interest) {
            (before, wanted) if before == wanted => return Ok(()),
            (None, Some(wanted)) => registry.register(&mut self.io, token, wanted)?,
            (Some(_), Some(wanted)) => registry.reregister(&mut self.io, token, wanted)?,
            (_, None) => registry.deregister(&mut self.io)?,
        }
        self.asked = interest;
        Ok(())
    }

    /// The raw face, for options.
    pub(crate) fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.io)
    }

    /// What the system granted for receiving, in bytes.
    pub(crate) fn receive_buffer_bytes(&self) -> usize {
        self.options().recv_buffer_size().unwrap_or_default()
    }

    /// How many datagrams of that size the receive buffer has room for, at least.
    pub(crate) fn room_for_datagrams(&self, datagram_bytes: usize) -> usize {
        self.receive_buffer_bytes() / charged_bytes(datagram_bytes)
    }

    /// How many datagrams of that size that cannot leave yet the send buffer has room for, at least.
    pub(crate) fn room_to_hold_datagrams(&self, datagram_bytes: usize) -> usize {
        self.options().send_buffer_size().unwrap_or_default() / charged_bytes(datagram_bytes)
    }

    /// How many datagrams of that size one call may carry.
    pub(crate) fn burst_limit(&self, segment_bytes: usize) -> usize {
        self.state.max_gso_segments().min(CALL_BYTES / segment_bytes.max(1)).max(1)
    }

    /// Sends datagrams that stand one after the other in one call.
    pub(crate) fn send(&self, to: SocketAddr, contents: &[u8], segment_bytes: usize) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: Some(segment_bytes),
            src_ip: None,
        };
        self.io.try_io(|| self.state.try_send(UdpSockRef::from(&self.io), &transmit))
    }
}

/// What the system charges a socket's buffer for a datagram, at most: the memory that it takes for it, which
/// is a power of two up to 16 KiB and whole pages beyond, and its own record of it.
fn charged_bytes(datagram_bytes: usize) -> usize {
    /// Headers around the datagram, and the end of the memory, which describes it.
    const AROUND_BYTES: usize = 512;
    const RECORD_BYTES: usize = 256;
    const LONGEST_IN_ONE_BYTES: usize = 16 << 10;
    const PAGE_BYTES: usize = 4096;
    let bytes = datagram_bytes + AROUND_BYTES;
    if bytes <= LONGEST_IN_ONE_BYTES {
        bytes.next_power_of_two() + RECORD_BYTES
    } else {
        datagram_bytes + PAGE_BYTES
    }
}

/// Forgoes what the system would write down of each datagram and nobody reads: the address that it was sent to, when
/// it came, and its type of service. Where it cannot be forgone it only takes time.
fn forgo_records(socket: &RawSocket) {
    use nix::sys::socket::{setsockopt, sockopt};
    let forgone = [
        setsockopt(socket, sockopt::Ipv4PacketInfo, &false).is_ok(),
        setsockopt(socket, sockopt::ReceiveTimestampns, &false).is_ok(),
        socket.set_recv_tos_v4(false).is_ok(),
    ];
    if forgone.contains(&false) {
        tracing::debug!("the system goes on to tell more of each datagram than is read");
    }
}

fn raw(address: SocketAddr) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Asks for large buffers, past the system's limit where the process may. Less is reported later.
fn enlarge(socket: &RawSocket) {
    use rustix::net::sockopt;
    let forced = sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER_BYTES);
    if forced.is_err() && socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).is_err() {
        tracing::debug!("the receive buffer cannot be enlarged");
    }
    let forced = sockopt::set_socket_send_buffer_size_force(socket, SOCKET_BUFFER_BYTES);
    if forced.is_err() && socket.set_send_buffer_size(SOCKET_BUFFER_BYTES).is_err() {
        tracing::debug!("the send buffer cannot be enlarged");
    }
}

/// Memory for arriving datagrams.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: [BytesMut; SLOTS],
    buffers: Buffers,
    meta: [RecvMeta; SLOTS],
}

/// Datagrams of one source that stand one after the other.
#[derive(Debug)]
pub(crate) struct Filled<'a> {
    buffers: &'a mut Buffers,
    slot: &'a mut BytesMut,
    length: usize,
    /// Size of each; only the last may be shorter.
    pub(crate) stride: usize,
}

impl Filled<'_> {
    /// Bytes of all of them.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The first of them.
    pub(crate) fn first(&self) -> &[u8] {
        self.slot.get(..self.length.min(self.stride)).unwrap_or_default()
    }

    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.length.div_ceil(self.stride)
    }

    /// Each of them, where it lies.
    pub(crate) fn datagrams(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.slot.get_mut(..self.length).unwrap_or_default().chunks_mut(self.stride)
    }

    /// All of them, out of the buffer.
    pub(crate) fn take(self) -> Bytes {
        self.buffers.take(self.slot, self.length)
    }
}

/// What one call received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Received {
    /// Whether the socket had nothing more.
    pub(crate) drained: bool,
}

impl Slots {
    pub(crate) fn new() -> Self {
        let mut buffers = Buffers::default();
        Self { slots: std::array::from_fn(|_| buffers.spare()), buffers, meta: Default::default() }
    }

    /// Receives one batch; gives each run of datagrams from one source.
    ///
    /// A call that fills fewer slots than it could has emptied the socket, and whatever comes later
    /// is announced by the poller again, so no further call is needed to find that out.
    pub(crate) fn receive(
        &mut self,
        socket: &Socket,
        mut each: impl FnMut(SocketAddr, Filled<'_>),
    ) -> io::Result<Received> {
        let mut slices = self.slots.each_mut().map(|slot| IoSliceMut::new(slot));
        let udp = UdpSockRef::from(&socket.io);
        let count = socket.io.try_io(|| socket.state.recv(udp, &mut slices, &mut self.meta))?;
        for (slot, meta) in self.slots.iter_mut().zip(&self.meta).take(count) {
            let filled =
                Filled { buffers: &mut self.buffers, slot, length: meta.len, stride: meta.stride.max(1) };
            each(meta.addr, filled);
        }
        Ok(Received { drained: count < SLOTS })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_system_tells_nothing_of_datagrams_that_nobody_reads() {
        use nix::sys::socket::{getsockopt, sockopt};
        let socket = Socket::bind((Ipv4Addr::LOCALHOST, 0).into(), PortReuse::Auto).expect("a free port");
        assert_eq!(getsockopt(&socket.io, sockopt::Ipv4PacketInfo), Ok(false));
        assert_eq!(getsockopt(&socket.io, sockopt::ReceiveTimestampns), Ok(false));
        assert!(!socket.options().recv_tos_v4().expect("known"));
    }

    #[test]
    fn a_receive_buffer_holds_as_many_datagrams_as_it_is_said_to() {
        let open = || Socket::bind((Ipv4Addr::LOCALHOST, 0).into(), PortReuse::Auto).expect("a free port");
        for datagram_bytes in [508, 1472, 1600, 4000, 8972, 15_000, 16_000, 30_000, 65_000] {
            let (from, to) = (open(), open());
            to.options().set_recv_buffer_size(1 << 20).expect("settable");
            let (address, room) = (to.io.local_addr().expect("bound"), to.room_for_datagrams(datagram_bytes));
            for _ in 0..room {
                from.send(address, &vec![0; datagram_bytes], datagram_bytes).expect("sent");
            }
            let (mut slots, mut received) = (Slots::new(), 0);
            while slots.receive(&to, |_, filled| received += filled.count()).is_ok() {}
            assert_eq!(received, room, "datagrams of {datagram_bytes} bytes");
        }
    }
}
