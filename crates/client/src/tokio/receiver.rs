//! The receiving half of a connection.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use antiphon_wire::names::MemberName;
use bytes::Bytes;
use futures_core::Stream;

use super::queue::Queue;
use super::socket::Socket;
use crate::error::Error;
use crate::message::Event;
use crate::session::{Inbox, READ_BYTES};

/// The receiving half of a [`Connection`](super::Connection). As a stream it ends after an error.
#[derive(Debug)]
pub struct Receiver {
    socket: Arc<Socket>,
    inbox: Inbox,
    queue: Arc<Queue>,
    buffer: Box<[u8]>,
    ended: bool,
}

impl Receiver {
    pub(super) fn new(socket: Arc<Socket>, inbox: Inbox, queue: Arc<Queue>) -> Self {
        Self { socket, inbox, queue, buffer: vec![0; READ_BYTES].into(), ended: false }
    }

    /// The session's name.
    #[must_use]
    pub fn member(&self) -> MemberName {
        self.inbox.member()
    }

    /// Waits for the next event. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the daemon closed the connection or broke the protocol, or the connection is broken;
    /// [`Error::Ended`] when the [`Sender`](super::Sender) had said goodbye.
    pub async fn receive(&mut self) -> Result<Event, Error> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Takes an event that was read together with an earlier one; `None` when the next one would have
    /// to be waited for. Makes no system call.
    ///
    /// # Errors
    /// When the daemon broke the protocol.
    pub fn receive_ready(&mut self) -> Result<Option<Event>, Error> {
        self.inbox.next_event()
    }

    /// Reads and forgets what comes next; returns how many bytes, 0 at the end of the stream.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) async fn discard(&mut self) -> Result<usize, Error> {
        poll_fn(|cx| self.socket.poll_read(cx, &mut self.buffer)).await.map_err(Error::from_io)
    }

    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        loop {
            if let Some(event) = self.inbox.next_event()? {
                return Poll::Ready(Ok(event));
            }
            match ready!(self.socket.poll_read(cx, &mut self.buffer)) {
                Ok(0) if self.queue.has_said_goodbye() => return Poll::Ready(Err(Error::Ended)),
                Ok(0) => return Poll::Ready(Err(Error::Closed)),
                Ok(count) => {
                    self.inbox.push(Bytes::copy_from_slice(self.buffer.get(..count).unwrap_or_default()));
                }
                // A host that answers no more.
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Poll::Ready(Err(Error::Closed));
                }
                Err(error) => return Poll::Ready(Err(Error::from_io(error))),
            }
        }
    }
}

impl Stream for Receiver {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let event = ready!(self.poll_receive(cx));
        self.ended = event.is_err();
        Poll::Ready(Some(event))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::blocking::tests::{daemon, stand_still};
    use crate::socket::tests::lose;
    use crate::tokio::tests::{block_on, connect};

    #[test]
    fn a_host_that_answers_no_more_has_closed_the_connection() {
        let (done, over) = mpsc::channel();
        let (address, playing) = daemon(move |stream| stand_still(stream, &over));
        let ended = block_on(async {
            let mut receiver = connect(&address).await.receiver;
            let Socket::Tcp(stream) = receiver.socket.as_ref() else { panic!("not a TCP connection") };
            lose(stream);
            receiver.receive().await
        });
        assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
        done.send(()).expect("listens");
        playing.join().expect("played");
    }
}
