//! How sockets to daemons are connected, for threads that may wait.
//!
//! A signal does not end an attempt: it goes on for what is left of its time.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::connector::{left, no_address, share};
use crate::socket::prepare_tcp;

/// Connects to the first of a host's addresses that answers, until `deadline` if there is one. What is left of
/// the time is shared equally by the addresses that are left.
///
/// # Errors
/// That of the last address; [`io::ErrorKind::NotFound`] if there is none.
pub fn tcp(addresses: &[SocketAddr], deadline: Option<Instant>) -> io::Result<TcpStream> {
    let mut last = no_address();
    for (index, address) in addresses.iter().enumerate() {
        let connected = match left(share(deadline, addresses.len() - index))? {
            Some(left) => TcpStream::connect_timeout(address, left),
            None => TcpStream::connect(address),
        };
        match connected {
            Ok(stream) => {
                prepare_tcp(&stream)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to a Unix socket. One whose queue of connections is full is waited for, until `deadline` if there is
/// one.
///
/// # Errors
/// When nobody listens there, or the time is over.
pub fn unix(path: &Path, deadline: Option<Instant>) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    loop {
        // The time limit of writes also limits how long connecting waits.
        socket.set_write_timeout(left(deadline)?)?;
        match socket.connect(&address) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            connected => break connected?,
        }
    }
    socket.set_write_timeout(None)?;
    Ok(OwnedFd::from(socket).into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use rustix::net::listen;

    use super::*;

    #[test]
    fn an_address_that_swallows_everything_leaves_time_for_the_next() {
        let [full, free] = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let addresses = [&full, &free].map(|listener| listener.local_addr().expect("bound"));
        listen(&full, 0).expect("a queue of one");
        let _in_the_way = TcpStream::connect(addresses[0]).expect("the first fits");
        let begun = Instant::now();
        let deadline = begun.checked_add(Duration::from_millis(400));
        let stream = tcp(&addresses, deadline).expect("the second answers");
        assert_eq!(stream.peer_addr().expect("connected"), addresses[1]);
        assert!(begun.elapsed() >= Duration::from_millis(200), "the first got its share");
    }
}
