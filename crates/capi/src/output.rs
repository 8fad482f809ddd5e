//! Requests to the daemon.

use std::io::IoSlice;
use std::sync::Mutex;

use antiphon_wire::client::flags::{HEADER_BYTES, KILL};
use antiphon_wire::client::header::{Header, Hint};
use antiphon_wire::names::{MemberName, NAME_FIELD_BYTES};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use crate::codes::Code;
use crate::input::wait_for;
use crate::session::{Session, lock};

/// A request to a daemon, without its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) flags: u32,
    pub(crate) message_type: i16,
    pub(crate) groups: &'a [[u8; NAME_FIELD_BYTES]],
}

/// The sending half of a session.
#[derive(Debug)]
pub(crate) struct Output {
    member: MemberName,
    turn: Mutex<()>,
}

impl Output {
    pub(crate) fn new(member: MemberName) -> Self {
        Self { member, turn: Mutex::new(()) }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the session is or becomes broken.
    pub(crate) fn send(&self, session: &Session, request: &Request<'_>, body: &[&[u8]]) -> Result<(), Code> {
        session.check()?;
        let head = self.head(request, body);
        let mut parts: Vec<IoSlice<'_>> = Vec::with_capacity(2 + body.len());
        parts.push(IoSlice::new(&head));
        parts.push(IoSlice::new(request.groups.as_flattened()));
        parts.extend(body.iter().map(|piece| IoSlice::new(piece)));
        let _turn = lock(&self.turn);
        write_all(session, &mut parts).map_err(|code| session.fail(code))
    }

    /// Sends requests that are encoded already.
    ///
    /// # Errors
    /// When the session is or becomes broken.
    pub(crate) fn send_encoded(&self, session: &Session, requests: &[u8]) -> Result<(), Code> {
        session.check()?;
        let _turn = lock(&self.turn);
        write_all(session, &mut [IoSlice::new(requests)]).map_err(|code| session.fail(code))
    }

    pub(crate) fn flush(&self, _: &Session) -> Result<(), Code> {
        Ok(())
    }

    /// Sends the request that ends the session.
    ///
    /// # Errors
    /// When the session is or becomes broken.
    pub(crate) fn disconnect(&self, session: &Session) -> Result<(), Code> {
        let groups = [*self.member.as_field()];
        self.send(session, &Request { flags: KILL, message_type: 0, groups: &groups }, &[])
    }

    fn head(&self, request: &Request<'_>, body: &[&[u8]]) -> [u8; HEADER_BYTES] {
        let body_bytes: usize = body.iter().map(|piece| piece.len()).sum();
        let header = Header {
            flags: request.flags,
            name: *self.member.as_field(),
            group_count: u32::try_from(request.groups.len()).unwrap_or(u32::MAX),
            hint: Hint::new(request.message_type),
            body_bytes: u32::try_from(body_bytes).unwrap_or(u32::MAX),
            little_endian: true,
        };
        header.encode()
    }
}

fn write_all(session: &Session, mut parts: &mut [IoSlice<'_>]) -> Result<(), Code> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match sendmsg(session.socket(), parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL) {
            Ok(count) => IoSlice::advance_slices(&mut parts, count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for(session.socket(), PollFlags::OUT)?,
            Err(_) => return Err(Code::ConnectionClosed),
        }
    }
    Ok(())
}
