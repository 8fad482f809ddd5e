//! The connection of a client, over TCP or a Unix socket.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use bytes::Buf;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token as PollToken};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// Most pieces of an outbox that one write takes.
const PIECES_MAX: usize = 64;
/// Most reads from a client that is being closed; of 64 KiB, they take more than the system holds of a client.
const CLOSING_READS: usize = 8;

/// A connected client.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// How far a write got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// Nothing is left.
    All,
    /// Everything that one call takes, and there is more.
    Some,
    /// Less than was offered: the client must read first.
    Blocked,
    /// The connection is gone.
    Broken,
}

impl Stream {
    /// Writes once from a buffer and advances it.
    pub(crate) fn write_once(&mut self, buffer: &mut impl Buf) -> Written {
        if !buffer.has_remaining() {
            return Written::All;
        }
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let count = buffer.chunks_vectored(&mut pieces);
        let pieces = pieces.get(..count).unwrap_or(&[]);
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        let result = match pieces {
            [single] => self.write(single),
            several => self.write_vectored(several),
        };
        match result {
            Ok(written) => {
                buffer.advance(written.min(offered));
                match (written < offered, buffer.has_remaining()) {
                    (true, _) => Written::Blocked,
                    (false, true) => Written::Some,
                    (false, false) => Written::All,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Written::Blocked,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Written::Some,
            Err(_) => Written::Broken,
        }
    }

    /// Whether nothing can be read any more.
    pub(crate) fn is_at_end(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = match self {
            Self::Tcp(stream) => recv(stream, &mut [0], flags),
            Self::Unix(stream) => recv(stream, &mut [0], flags),
        };
        !matches!(peeked, Ok((1.., _)) | Err(Errno::AGAIN | Errno::INTR))
    }

    /// Says that nothing more will be written; what is written all the same fails.
    pub(crate) fn end_writing(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Says that nothing more will be written, and takes unread bytes away: closing over them would
    /// make TCP discard what the client has not read yet. `scratch` is for them, and not too small; a client
    /// that goes on sending is not waited for.
    pub(crate) fn finish(&mut self, scratch: &mut [u8]) {
        if self.end_writing().is_err() {
            return;
        }
        for _ in 0..CLOSING_READS {
            if !matches!(self.read(scratch), Ok(1..)) {
                return;
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(pieces),
            Self::Unix(stream) => stream.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: PollToken, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interests),
            Self::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: PollToken, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interests),
            Self::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;

    #[test]
    fn a_write_stops_where_the_reader_does_and_goes_on_there() {
        let (near, mut far) = std::os::unix::net::UnixStream::pair().expect("a pair");
        near.set_nonblocking(true).expect("non-blocking");
        let mut near = Stream::Unix(UnixStream::from_std(near));
        let all: Vec<u8> = (0..4_000_000_u32).map(|index| (index % 251) as u8).collect();
        // `Chain` gives two pieces, as an outbox with small and large frames does.
        let mut buffer = Bytes::copy_from_slice(&all[..100]).chain(Bytes::copy_from_slice(&all[100..]));
        let mut seen = BytesMut::new();
        let mut chunk = vec![0; 1 << 16];
        loop {
            match near.write_once(&mut buffer) {
                Written::All => break,
                Written::Some => {}
                Written::Blocked => {
                    let length = far.read(&mut chunk).expect("readable");
                    seen.extend_from_slice(&chunk[..length]);
                }
                Written::Broken => panic!("broken"),
            }
        }
        drop(near);
        while let Ok(length @ 1..) = far.read(&mut chunk) {
            seen.extend_from_slice(&chunk[..length]);
        }
        assert!(seen == all);
    }

    #[test]
    fn a_connection_without_a_reader_is_broken() {
        let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair");
        drop(far);
        let mut near = Stream::Unix(UnixStream::from_std(near));
        assert_eq!(near.write_once(&mut Bytes::from_static(b"x")), Written::Broken);
        assert_eq!(near.write_once(&mut Bytes::new()), Written::All);
    }
}
