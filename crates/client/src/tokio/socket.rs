//! A connected socket of either kind.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::task::{Context, Poll};

use ::tokio::net::{TcpStream, UnixStream};
use ::tokio::time::sleep;
use rustix::net::{SendFlags, send};
use socket2::SockRef;

use super::RETRY;
use crate::pace::Speed;
use crate::socket::prepare_tcp;

/// A connected socket. Both halves of a connection use it, each its own direction.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(super) async fn tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        prepare_tcp(&stream)?;
        Ok(Self::Tcp(stream))
    }

    pub(super) async fn unix(path: &Path) -> io::Result<Self> {
        loop {
            match UnixStream::connect(path).await {
                // The daemon's queue of connections is full; the system does not say when it no longer is.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(RETRY).await,
                connected => return connected.map(Self::Unix),
            }
        }
    }

    /// Sizes the buffer for what is written.
    pub(super) fn adapt(&self, speed: Speed) {
        match self {
            Self::Tcp(stream) => speed.adapt(stream),
            Self::Unix(stream) => speed.adapt(stream),
        }
    }

    /// Remembers one task at a time.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Remembers one task at a time.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Writes what the socket takes now, whatever is known of its readiness.
    pub(super) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(match self {
            Self::Tcp(stream) => send(stream, bytes, flags)?,
            Self::Unix(stream) => send(stream, bytes, flags)?,
        })
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    pub(super) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(pieces),
            Self::Unix(stream) => stream.try_write_vectored(pieces),
        }
    }

    pub(super) fn end_writing(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            Self::Unix(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
        }
    }

    /// Reads what is there, at least one byte; 0 at the end of the stream.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            // Asked first, because it counts what a task does, so that it lets others do something too.
            std::task::ready!(self.poll_read_ready(cx))?;
            match self.try_read(buffer) {
                Err(error) if is_spurious(&error) => {}
                read => return Poll::Ready(read),
            }
        }
    }

    /// Writes all of it; only for the handshake, as dropping this tells nobody how far it came.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            poll_fn(|cx| self.poll_write_ready(cx)).await?;
            match self.try_write_vectored(&[IoSlice::new(bytes)]) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if is_spurious(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether an operation has to be tried again.
pub(super) fn is_spurious(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
