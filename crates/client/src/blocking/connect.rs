//! Connecting and shaking hands.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::stream::Stream;
use super::{Connection, Receiver, Sender};
use crate::address::Address;
use crate::connector::{Connector, all_failed, left};
use crate::dial;
use crate::error::{Attempt, Error};
use crate::session::{HANDSHAKE_READ_BYTES, Handshake, Options, Session, Step};

impl Connector {
    /// Connects and waits until the session is open. The daemons are tried in their order; each may
    /// take as long as [`Connector::timeout`] says.
    ///
    /// # Errors
    /// When an address or the name is not legal, nobody answers in time, or the daemon refuses the
    /// session. Of several daemons, [`Error::NoDaemon`] has the error of each.
    pub fn connect(&self) -> Result<Connection, Error> {
        let (stream, session) = self.open()?;
        let writing = stream.try_clone().map_err(Error::from_io)?;
        let said_goodbye = Arc::new(AtomicBool::new(false));
        Ok(Connection {
            daemon: session.daemon,
            receives_membership: self.wants_membership(),
            sender: Sender::new(writing, session.outbox, Arc::clone(&said_goodbye)),
            receiver: Receiver::new(stream, session.inbox, said_goodbye),
        })
    }

    /// Connects as [`Connector::connect`] does, and hands over socket and session to an event loop of
    /// another kind, which is to read into the inbox and to write from the outbox. The socket blocks.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub fn open_session(&self) -> Result<(OwnedFd, Session), Error> {
        let (stream, session) = self.open()?;
        Ok((stream.into(), session))
    }

    fn open(&self) -> Result<(Stream, Session), Error> {
        let plan = self.plan()?;
        let mut failed = Vec::new();
        for address in plan.addresses {
            match self.open_to(&address, &plan.options) {
                Ok(opened) => return Ok(opened),
                Err(error) => failed.push(Attempt { address, error }),
            }
        }
        Err(all_failed(failed))
    }

    fn open_to(&self, address: &Address, options: &Options) -> Result<(Stream, Session), Error> {
        let deadline = self.deadline();
        let opened = match address {
            Address::Unix { port } => dial::unix(&self.unix_socket(*port), deadline).map(Stream::Unix),
            Address::Tcp { host, port } => open_tcp(host, *port, deadline).map(Stream::Tcp),
        };
        let mut stream = opened.map_err(|source| self.unanswered(address, source))?;
        let session = shake_hands(&mut stream, options, deadline)?;
        stream.set_read_timeout(None).map_err(Error::from_io)?;
        stream.set_write_timeout(None).map_err(Error::from_io)?;
        Ok((stream, session))
    }
}

/// Whether an operation ended because its time limit had passed.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn open_tcp(host: &str, port: u16, deadline: Option<Instant>) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    dial::tcp(&addresses, deadline)
}

fn shake_hands(stream: &mut Stream, options: &Options, deadline: Option<Instant>) -> Result<Session, Error> {
    let on_error = |error| if is_timeout(&error) { Error::Timeout } else { Error::from_io(error) };
    let mut buffer = [0; HANDSHAKE_READ_BYTES];
    stream.set_write_timeout(left(deadline).map_err(on_error)?).map_err(on_error)?;
    let (mut handshake, hello) = Handshake::begin(options);
    // A daemon at its limit refuses without reading the hello: its answer counts, not the write.
    let greeted = stream.write_all(&hello);
    let mut step = Step::Read;
    loop {
        step = match step {
            Step::Open(session) => return Ok(*session),
            Step::Write(bytes) => {
                stream.write_all(&bytes).map_err(on_error)?;
                handshake.on_bytes(&[])?
            }
            Step::Read => {
                stream.set_read_timeout(left(deadline).map_err(on_error)?).map_err(on_error)?;
                match stream.read(&mut buffer) {
                    Ok(0) => return greeted.map_err(on_error).and(Err(Error::Closed)),
                    Ok(count) => handshake.on_bytes(buffer.get(..count).unwrap_or_default())?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Read,
                    Err(error) => return Err(on_error(error)),
                }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::blocking::tests::{accept_alice, daemon};

    #[test]
    fn the_time_limit_of_connecting_does_not_outlive_the_handshake() {
        let (address, playing) = daemon(|mut stream| accept_alice(&mut stream));
        let connector = Connector::new(&address).name("alice").timeout(Duration::from_secs(20));
        let (socket, _) = connector.open_session().expect("accepted");
        let socket = TcpStream::from(socket);
        assert_eq!(socket.read_timeout().expect("told"), None);
        assert_eq!(socket.write_timeout().expect("told"), None);
        playing.join().expect("played");
    }
}
