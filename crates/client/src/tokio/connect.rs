//! Connecting and shaking hands.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ::tokio::net::lookup_host;
use ::tokio::time::timeout_at;

use super::queue::Queue;
use super::socket::Socket;
use super::{Connection, Receiver, Sender};
use crate::address::Address;
use crate::connector::{Connector, all_failed, no_address, share};
use crate::error::{Attempt, Error};
use crate::session::{HANDSHAKE_READ_BYTES, Handshake, Options, Session, Step};

impl Connector {
    /// As [`Connector::connect`], for a program that uses tokio. Has to be called in a runtime with I/O
    /// and time.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub async fn connect_tokio(&self) -> Result<Connection, Error> {
        let plan = self.plan()?;
        let mut failed = Vec::new();
        for address in plan.addresses {
            match self.connect_tokio_to(&address, &plan.options).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failed.push(Attempt { address, error }),
            }
        }
        Err(all_failed(failed))
    }

    async fn connect_tokio_to(&self, address: &Address, options: &Options) -> Result<Connection, Error> {
        let deadline = self.deadline();
        let opened = match address {
            Address::Unix { port } => within(deadline, Socket::unix(&self.unix_socket(*port))).await,
            Address::Tcp { host, port } => open_tcp(host, *port, deadline).await,
        };
        let socket = opened.map_err(|source| self.unanswered(address, source))?;
        let on_time = |error: Error| match error {
            Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => Error::Timeout,
            error => error,
        };
        let shaken = async { Ok(shake_hands(&socket, options).await) };
        let session = within(deadline, shaken).await.map_err(Error::from_io).flatten().map_err(on_time)?;
        let socket = Arc::new(socket);
        let queue = Queue::start(Arc::clone(&socket), session.outbox);
        Ok(Connection {
            daemon: session.daemon,
            sender: Sender::new(Arc::clone(&queue)),
            receiver: Receiver::new(socket, session.inbox, queue),
        })
    }
}

/// Connects to the first address of the host that answers.
async fn open_tcp(host: &str, port: u16, deadline: Option<Instant>) -> io::Result<Socket> {
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    open_one_of(&addresses, deadline).await
}

/// Connects to the first of these that answers.
pub(super) async fn open_one_of(addresses: &[SocketAddr], deadline: Option<Instant>) -> io::Result<Socket> {
    let mut last = no_address();
    for (index, address) in addresses.iter().enumerate() {
        let deadline = share(deadline, addresses.len() - index);
        match within(deadline, Socket::tcp(*address)).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Lets something take until the deadline.
async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline.into(), future).await?,
        None => future.await,
    }
}

async fn shake_hands(socket: &Socket, options: &Options) -> Result<Session, Error> {
    let mut buffer = [0; HANDSHAKE_READ_BYTES];
    let (mut handshake, hello) = Handshake::begin(options);
    // A daemon at its limit refuses without reading the hello: its answer counts, not the write.
    let greeted = socket.write_all(&hello).await;
    let mut step = Step::Read;
    loop {
        step = match step {
            Step::Open(session) => return Ok(*session),
            Step::Write(bytes) => {
                socket.write_all(&bytes).await.map_err(Error::from_io)?;
                handshake.on_bytes(&[])?
            }
            Step::Read => match poll_fn(|cx| socket.poll_read(cx, &mut buffer)).await {
                Ok(0) => return greeted.map_err(Error::from_io).and(Err(Error::Closed)),
                Ok(count) => handshake.on_bytes(buffer.get(..count).unwrap_or_default())?,
                Err(error) => return Err(Error::from_io(error)),
            },
        };
    }
}
