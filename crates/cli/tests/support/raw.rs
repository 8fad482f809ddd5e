//! A client without a library: bytes out, bytes in.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::Socket;

/// How long an answer may take.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A connection of either kind.
#[derive(Debug)]
pub(crate) struct Raw {
    socket: Socket,
    /// What was put back, to be read again before anything else.
    pending: Vec<u8>,
}

impl Raw {
    pub(crate) fn tcp(address: (Ipv4Addr, u16)) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { socket: stream.into(), pending: Vec::new() })
    }

    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        Ok(Self { socket: UnixStream::connect(path)?.into(), pending: Vec::new() })
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Puts bytes back in front of what is read next.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        self.pending.splice(..0, bytes.iter().copied());
    }

    /// Reads `count` bytes; fewer when the daemon closes or `limit` is over.
    pub(crate) fn read(&mut self, count: usize, limit: Duration) -> Vec<u8> {
        let deadline = Instant::now() + limit;
        let mut bytes = vec![0; count];
        let mut length = 0;
        while length < count {
            match self.read_some(&mut bytes[length..], deadline) {
                Ok(0) | Err(_) => break,
                Ok(more) => length += more,
            }
        }
        bytes.truncate(length);
        bytes
    }

    /// Whether the daemon has closed the connection within `limit`, without another byte.
    pub(crate) fn is_closed(&mut self, limit: Duration) -> bool {
        match self.read_some(&mut [0], Instant::now() + limit) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn read_some(&mut self, bytes: &mut [u8], deadline: Instant) -> io::Result<usize> {
        if !self.pending.is_empty() {
            let count = bytes.len().min(self.pending.len());
            bytes[..count].copy_from_slice(&self.pending[..count]);
            self.pending.drain(..count);
            return Ok(count);
        }
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(left))?;
        self.socket.read(bytes)
    }

    /// Opens a session as library 4.4.0 with membership messages.
    pub(crate) fn log_in(&mut self, name: &str) {
        let length = u8::try_from(name.len()).expect("a short name");
        self.send(&[&[4, 4, 0, 1, length], name.as_bytes()].concat()).expect("a hello");
        assert_eq!(self.read(6, ANSWER_LIMIT), b"\x05NULL ");
        let mut choice = [0; 90];
        choice[..4].copy_from_slice(b"NULL");
        self.send(&choice).expect("a choice");
        let accept = self.read(5, ANSWER_LIMIT);
        assert_eq!(accept.first(), Some(&1), "{name} is refused: {accept:?}");
        let length = accept.last().copied().map_or(0, usize::from);
        assert_eq!(self.read(length, ANSWER_LIMIT).len(), length);
    }

    /// Reads one message, header, groups and body.
    pub(crate) fn message(&mut self, limit: Duration) -> Option<Vec<u8>> {
        let mut bytes = self.read(48, limit);
        let word = |at: usize| {
            bytes.get(at..at + 4).and_then(|word| Some(u32::from_le_bytes(word.try_into().ok()?)))
        };
        let rest = word(36)? as usize * 32 + word(44)? as usize;
        bytes.extend(self.read(rest, ANSWER_LIMIT));
        Some(bytes)
    }
}

/// A message as library 4.4.0 on a little-endian machine sends it.
pub(crate) fn message(flags: u32, sender: &str, groups: &[&str], kind: i16, body: &[u8]) -> Vec<u8> {
    let mark = 0x8000_0080_u32;
    let mut bytes = Vec::new();
    bytes.extend((flags | mark).to_le_bytes());
    bytes.extend(field(sender));
    bytes.extend(u32::try_from(groups.len()).expect("few groups").to_le_bytes());
    bytes.extend((mark | u32::from(kind.cast_unsigned()) << 8).to_le_bytes());
    bytes.extend(u32::try_from(body.len()).expect("a short body").to_le_bytes());
    for group in groups {
        bytes.extend(field(group));
    }
    bytes.extend(body);
    bytes
}

fn field(name: &str) -> [u8; 32] {
    let mut field = [0; 32];
    field[..name.len()].copy_from_slice(name.as_bytes());
    field
}
