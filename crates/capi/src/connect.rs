//! How a session is opened.

use std::ffi::OsString;
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use antiphon::{Address, dial};
use antiphon_wire::client::flags::UNIX_DIRECTORY;
use antiphon_wire::client::handshake::{AuthChoice, Hello, ReplyError, ReplyReader, Version};
use antiphon_wire::names::{MemberName, PrivateName};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::time::Timespec;
use socket2::Socket;

use crate::auth;
use crate::codes::Code;
use crate::input::{receive, wait_for};

/// Says where daemons put their Unix sockets, if not in [`UNIX_DIRECTORY`].
const UNIX_DIRECTORY_VARIABLE: &str = "ANTIPHON_UNIX_DIR";

/// After so long, a write that waits says how much the daemon has taken, and goes on.
const WRITE_LIMIT: Duration = Duration::from_millis(500);

/// What a program asks for.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) address: Address,
    pub(crate) name: Result<Option<PrivateName>, Code>,
    pub(crate) priority: u8,
    pub(crate) membership: bool,
    /// `None` to wait for ever.
    pub(crate) timeout: Option<Duration>,
}

/// Opens a session; returns its socket and its name.
///
/// # Errors
/// By cause: no such host, nobody there, too late, refused.
pub(crate) fn connect(wish: &Wish) -> Result<(OwnedFd, MemberName), Code> {
    let deadline = wish.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let socket = match &wish.address {
        Address::Unix { port } => dial_unix(*port, deadline)?,
        Address::Tcp { host, port } => dial_tcp(host, *port, deadline)?,
    };
    let hello = Hello {
        version: Version::REPORTED,
        wants_membership: wish.membership,
        priority: wish.priority,
        name: wish.name?,
    };
    let member = Opening { socket: &socket, deadline, replies: ReplyReader::new() }.shake_hands(&hello)?;
    let limited = socket.set_read_timeout(None).and_then(|()| socket.set_write_timeout(Some(WRITE_LIMIT)));
    limited.map_err(|_| Code::ConnectionClosed)?;
    Ok((socket.into(), member))
}

fn dial_unix(port: u16, deadline: Option<Instant>) -> Result<Socket, Code> {
    let directory = std::env::var_os(UNIX_DIRECTORY_VARIABLE);
    let directory = PathBuf::from(directory.unwrap_or_else(|| OsString::from(UNIX_DIRECTORY)));
    let dialled = dial::unix(&directory.join(port.to_string()), deadline);
    dialled.map(Socket::from).map_err(|_| Code::CouldNotConnect)
}

fn dial_tcp(host: &str, port: u16, deadline: Option<Instant>) -> Result<Socket, Code> {
    let addresses = (host, port).to_socket_addrs().map_err(|_| Code::IllegalSpread)?;
    let dialled = dial::tcp(&addresses.collect::<Vec<_>>(), deadline);
    dialled.map(Socket::from).map_err(|_| Code::CouldNotConnect)
}

/// Time left until a deadline; `None` without one.
///
/// # Errors
/// When it has passed.
fn left(deadline: Option<Instant>) -> Result<Option<Duration>, Code> {
    let Some(deadline) = deadline else { return Ok(None) };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Code::ConnectionClosed) } else { Ok(Some(left)) }
}

/// A connection whose session is not open yet. Reads exactly what belongs to the handshake: what follows,
/// the next one to read the socket must find there.
struct Opening<'a> {
    socket: &'a Socket,
    deadline: Option<Instant>,
    replies: ReplyReader,
}

impl Opening<'_> {
    fn shake_hands(mut self, hello: &Hello) -> Result<MemberName, Code> {
        // A daemon at its limit refuses without reading the hello: its answer counts, not the write.
        let greeted = self.write(&hello.encode());
        let methods = auth::current();
        let length = self.read_byte();
        greeted.or(length.map(drop))?;
        // A negative length is a refusal, and nothing follows it.
        let length = length?;
        self.read(if length < 0x80 { length.into() } else { 0 })?;
        let list = self.replies.method_list().map_err(refusal)?.unwrap_or_default();
        let offered = |name: &str| list.split(|byte| *byte == b' ').any(|offered| offered == name.as_bytes());
        if !methods.iter().all(|method| offered(method.name())) {
            return Err(Code::RejectAuth);
        }
        let names: Vec<&str> = methods.iter().map(auth::Method::name).collect();
        self.write(&AuthChoice::new(&names).encode())?;
        if !methods.iter().all(|method| method.prove(self.socket.as_raw_fd())) {
            return Err(Code::RejectAuth);
        }
        self.accept()
    }

    fn accept(&mut self) -> Result<MemberName, Code> {
        // Code, three bytes of version and the length of the name, if it is not a refusal.
        if self.read_byte()? == 1 {
            self.read(3)?;
            let length = self.read_byte()?;
            self.read(usize::from(length))?;
        }
        let accept = self.replies.accept(Version::REPORTED).map_err(refusal)?;
        accept.map(|accept| accept.member).ok_or(Code::SpBug)
    }

    fn write(&self, mut bytes: &[u8]) -> Result<(), Code> {
        while !bytes.is_empty() {
            let left = left(self.deadline)?;
            self.socket.set_write_timeout(left).map_err(|_| Code::ConnectionClosed)?;
            match send(self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.deadline.is_none() => {
                    wait_for(self.socket.as_fd(), PollFlags::OUT, None)?;
                }
                Err(_) => return Err(Code::ConnectionClosed),
            }
        }
        Ok(())
    }

    fn read_byte(&mut self) -> Result<u8, Code> {
        let mut byte = [0];
        self.read_into(&mut byte)?;
        Ok(byte[0])
    }

    fn read(&mut self, count: usize) -> Result<(), Code> {
        let mut bytes = vec![0; count];
        self.read_into(&mut bytes)
    }

    /// Takes bytes of the handshake, for the caller and for the reader of replies.
    fn read_into(&mut self, bytes: &mut [u8]) -> Result<(), Code> {
        let mut at = 0;
        while at < bytes.len() {
            let left = left(self.deadline)?;
            if !is_readable_within(self.socket, left)? {
                continue;
            }
            at += receive(self.socket.as_fd(), bytes.get_mut(at..).unwrap_or_default())?;
        }
        self.replies.push(bytes);
        Ok(())
    }
}

/// Waits for bytes; false when a signal came instead.
fn is_readable_within(socket: &Socket, left: Option<Duration>) -> Result<bool, Code> {
    let limit = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], limit.as_ref()) {
        Ok(1..) => Ok(true),
        Err(Errno::INTR) => Ok(false),
        Ok(0) | Err(_) => Err(Code::ConnectionClosed),
    }
}

fn refusal(error: ReplyError) -> Code {
    match error {
        ReplyError::Refused(code) => Code::from_reply(code),
        ReplyError::Version(_) => Code::RejectVersion,
        ReplyError::UnknownCode(_) | ReplyError::Name(_) => Code::SpBug,
    }
}
