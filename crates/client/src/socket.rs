//! What every TCP connection to a daemon is set to.

use std::io;
use std::os::fd::AsFd;

use socket2::SockRef;

use crate::pace::Speed;

/// Sets the options of a connection that was just opened.
pub(crate) fn prepare_tcp(stream: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    // Left to itself the system lets these grow to megabytes, and messages wait in them.
    socket.set_send_buffer_size(Speed::Fast.buffer_bytes())?;
    socket.set_recv_buffer_size(Speed::Fast.buffer_bytes())
}
