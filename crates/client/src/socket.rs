//! What every TCP connection to a daemon is set to.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::pace::Speed;

/// A connection on which nothing came for so long is probed: the other host may have vanished.
const PROBE_AFTER: Duration = Duration::from_secs(10);
/// The time from one probe to the next.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// A host that does not answer so many probes has vanished.
const PROBES: u32 = 3;
/// For how long a daemon may leave what was written, or the probes, unacknowledged. No probes are sent while bytes are
/// on the way. The system counts the time in which a daemon takes nothing and its buffers are full as well, so this
/// must be longer than any that works stands still.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Sets the options of a connection that was just opened.
pub(crate) fn prepare_tcp(stream: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let probing =
        TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    socket.set_tcp_keepalive(&probing)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    // Left to itself the system lets these grow to megabytes, and messages wait in them.
    socket.set_send_buffer_size(Speed::Fast.buffer_bytes())?;
    socket.set_recv_buffer_size(Speed::Fast.buffer_bytes())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::net::{SendFlags, send};

    use super::*;

    /// Makes the system give up a peer that reads nothing, as it does a host that has vanished.
    pub(crate) fn lose(stream: &impl AsFd) {
        SockRef::from(stream).set_tcp_user_timeout(Some(Duration::from_millis(100))).expect("set");
        while send(stream, &[0; 4096], SendFlags::DONTWAIT).is_ok() {}
    }

    fn prepared() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        prepare_tcp(&stream).expect("set");
        stream
    }

    #[test]
    fn a_small_write_does_not_wait_for_the_answer_to_the_one_before() {
        assert!(prepared().nodelay().expect("told"));
    }

    #[test]
    fn a_host_that_vanishes_is_noticed_within_a_minute() {
        let stream = prepared();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("told"));
        let (after, interval) = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
        let probes = socket.tcp_keepalive_retries().expect("told");
        assert_eq!(
            socket.tcp_user_timeout().expect("told"),
            Some(UNACKNOWLEDGED),
            "with bytes on the way too"
        );
        assert!(after.expect("told") + interval.expect("told") * probes <= UNACKNOWLEDGED);
    }
}
