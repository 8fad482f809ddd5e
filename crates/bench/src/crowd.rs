//! Many sessions in one thread, for groups of a thousand members and daemons of many connections.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use antiphon::session::Outbox;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::address::Reach;
use crate::error::BenchError;
use crate::load::client_error;
use crate::skim::{Skimmed, Skimmer};

/// What one read may bring.
const READ_BYTES: usize = 256 << 10;

/// Descriptors of a process that are not sessions.
const OTHER_DESCRIPTORS: u64 = 200;

/// Sessions whose frames are counted, not read.
#[derive(Debug)]
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    address: String,
    socket: OwnedFd,
    outbox: Outbox,
    skimmer: Skimmer,
}

impl Crowd {
    pub(crate) fn new() -> Result<Self, BenchError> {
        let poll = Poll::new().map_err(BenchError::system("poll"))?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            buffer: vec![0; READ_BYTES],
            members: Vec::new(),
        })
    }

    /// Opens one more session.
    pub(crate) fn connect(
        &mut self,
        address: &str,
        reach: &Reach,
        membership: bool,
    ) -> Result<(), BenchError> {
        let (socket, session) = reach
            .connector(address)
            .membership(membership)
            .open_session()
            .map_err(|source| client_error(address, source))?;
        let nonblocking = rustix::io::ioctl_fionbio(&socket, true);
        let token = Token(self.members.len());
        nonblocking
            .map_err(std::io::Error::from)
            .and_then(|()| {
                let fd = socket.as_raw_fd();
                self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)
            })
            .map_err(BenchError::system(address))?;
        self.members.push(Member {
            address: address.to_owned(),
            socket,
            outbox: session.outbox,
            skimmer: Skimmer::new(),
        });
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Lets a session ask for something. Requests are small and sessions idle, so they fit the socket.
    pub(crate) fn request(
        &mut self,
        member: usize,
        what: impl FnOnce(&mut Outbox) -> Result<(), antiphon::Error>,
    ) -> Result<(), BenchError> {
        let Some(member) = self.members.get_mut(member) else { return Ok(()) };
        what(&mut member.outbox).map_err(|source| client_error(&member.address, source))?;
        let written = rustix::io::write(&member.socket, member.outbox.pending());
        if written.map_err(|error| BenchError::system(&*member.address)(error.into()))?
            < member.outbox.pending().len()
        {
            return Err(BenchError::RequestNotTaken { address: member.address.to_string() });
        }
        member.outbox.clear();
        Ok(())
    }

    /// Waits until every session has a view of `members`; returns when the last one had it.
    pub(crate) fn await_views(&mut self, members: usize, patience: Duration) -> Result<Instant, BenchError> {
        let wanted = format!("a view of {members} members at each of {}", self.len());
        self.await_frames(&wanted, patience, |frame| frame == Skimmed::Membership(members))
    }

    /// How many views and transitions come first within `patience`.
    pub(crate) fn take_views(&mut self, patience: Duration) -> Result<u64, BenchError> {
        let mut views = 0;
        self.read(patience, |_, frame| views += u64::from(matches!(frame, Skimmed::Membership(_))))?;
        Ok(views)
    }

    /// Waits until every session has a message; returns when the last one had it.
    pub(crate) fn await_messages(&mut self, patience: Duration) -> Result<Instant, BenchError> {
        let wanted = format!("a message at each of {}", self.len());
        self.await_frames(&wanted, patience, |frame| frame == Skimmed::Message)
    }

    fn await_frames(
        &mut self,
        wanted: &str,
        patience: Duration,
        is_it: impl Fn(Skimmed) -> bool,
    ) -> Result<Instant, BenchError> {
        let mut waiting = vec![true; self.len()];
        let mut left = self.len();
        self.read_until(wanted, patience, |member, frame| {
            if is_it(frame)
                && let Some(waiting) = waiting.get_mut(member)
                && std::mem::take(waiting)
            {
                left -= 1;
            }
            left == 0
        })
    }

    /// Reads until `is_enough` says so of a frame, which it is told with the member that got it.
    /// Returns when that was.
    fn read_until(
        &mut self,
        wanted: &str,
        patience: Duration,
        mut is_enough: impl FnMut(usize, Skimmed) -> bool,
    ) -> Result<Instant, BenchError> {
        let deadline = Instant::now() + patience;
        let mut enough = None;
        while enough.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(BenchError::Late { wanted: wanted.to_owned(), seconds: patience.as_secs() });
            }
            self.read(left, |index, frame| {
                if is_enough(index, frame) && enough.is_none() {
                    enough = Some(Instant::now());
                }
            })?;
        }
        Ok(enough.unwrap_or(deadline))
    }

    /// Waits for frames, and tells of those that are there.
    fn read(
        &mut self,
        patience: Duration,
        mut on_frame: impl FnMut(usize, Skimmed),
    ) -> Result<(), BenchError> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            other => other.map_err(BenchError::system("poll"))?,
        }
        for event in &self.events {
            let Token(index) = event.token();
            let Some(member) = self.members.get_mut(index) else { continue };
            member.read_all(&mut self.buffer, |frame| on_frame(index, frame))?;
        }
        Ok(())
    }
}

impl Member {
    /// Reads to the end of what is there, as the poll tells only once of it.
    fn read_all(&mut self, buffer: &mut [u8], mut on_frame: impl FnMut(Skimmed)) -> Result<(), BenchError> {
        loop {
            match rustix::io::read(&self.socket, &mut *buffer) {
                Ok(0) => return Err(client_error(&self.address, antiphon::Error::Closed)),
                Ok(count) => self
                    .skimmer
                    .on_bytes(buffer.get(..count).unwrap_or_default(), &mut on_frame)
                    .map_err(|_| BenchError::Foreign(self.address.clone()))?,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(BenchError::system(&*self.address)(error.into())),
            }
        }
    }
}

/// Lets this process, and those that it starts, have so many sessions open. Returns how many of them the
/// system allows.
pub(crate) fn allow_sessions(sessions: usize) -> usize {
    let wanted = sessions as u64 + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    let more = Rlimit { current: Some(wanted), maximum: limit.maximum.map(|maximum| maximum.max(wanted)) };
    let enough = limit.current.is_none_or(|current| current >= wanted);
    if !enough && setrlimit(Resource::Nofile, more).is_err() {
        // Without the right to more than the hard limit, that much; the new limit is looked at below.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    let granted = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    sessions.min(usize::try_from(granted.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(usize::MAX))
}
