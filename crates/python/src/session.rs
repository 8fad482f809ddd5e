//! `Handshake` and `Session`, which have the state of the protocol.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use antiphon::error::ProtocolError;
use antiphon::session::{self, Inbox, Options, Outbox, Step};
use antiphon::{AuthMethod, Envelope, Error, Event, PrivateName, ServiceLevel, Version};
use bytes::Bytes;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyMemoryView, PySlice, PyString};

use crate::error::{illegal_private_name, no_service, to_python};
use crate::event::{name_text, to_python as event_to_python};

/// A connection whose session is not open yet.
#[pyclass(frozen, module = "antiphon._antiphon")]
#[derive(Debug)]
pub(crate) struct Handshake {
    handshake: Mutex<session::Handshake>,
    hello: Bytes,
}

#[pymethods]
impl Handshake {
    /// Begins a handshake. With an empty name the daemon makes one up.
    #[new]
    fn new(name: &str, membership: bool, priority: u8, auth: &Bound<'_, PyAny>) -> PyResult<Self> {
        let name = match name {
            "" => None,
            given => Some(PrivateName::new(given.as_bytes()).map_err(illegal_private_name)?),
        };
        let auth = auth_methods(auth)?;
        let (handshake, hello) = session::Handshake::begin(&Options { name, membership, priority, auth });
        Ok(Self { handshake: Mutex::new(handshake), hello })
    }

    /// What to send first, in one write.
    #[getter]
    fn hello<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.hello)
    }

    /// Goes on with the next bytes from the daemon. Returns bytes: send them, and call again without
    /// any; or `None`: call again with the next bytes; or the open session.
    fn on_bytes(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<Py<PyAny>> {
        let step = locked(&self.handshake).on_bytes(bytes).map_err(to_python)?;
        match step {
            Step::Read => Ok(py.None()),
            Step::Write(bytes) => Ok(PyBytes::new(py, &bytes).into_any().unbind()),
            Step::Open(session) => Ok(Py::new(py, Session::new(*session))?.into_any()),
        }
    }
}

/// The methods of those names. One name alone is iterable too, which nobody means.
fn auth_methods(names: &Bound<'_, PyAny>) -> PyResult<Vec<AuthMethod>> {
    if names.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "auth is a list of names of methods, as in ['IP'], and not one name",
        ));
    }
    names.try_iter()?.map(|name| auth_method(&name?.extract::<PyBackedStr>()?)).collect()
}

fn auth_method(name: &str) -> PyResult<AuthMethod> {
    AuthMethod::from_name(name.as_bytes())
        .ok_or_else(|| PyValueError::new_err(format!("'{name}' is no authentication method: NULL or IP is")))
}

/// An open session: bytes from the daemon become events, requests become bytes.
#[pyclass(frozen, module = "antiphon._antiphon")]
#[derive(Debug)]
pub(crate) struct Session {
    daemon: Version,
    inbound: Mutex<Inbound>,
    outbound: Mutex<Outbound>,
}

#[derive(Debug)]
struct Inbound {
    inbox: Inbox,
    /// How the daemon broke the protocol. Nothing after that is read.
    failed: Option<ProtocolError>,
    /// What was pushed last. Messages that stand in it can be looked at without a copy.
    piece: Option<Py<PyBytes>>,
    /// Events that came before `parked` and are still to be taken.
    converted: VecDeque<Py<PyAny>>,
    /// An event whose conversion was ended, as a signal handler that raises does.
    parked: Option<Event>,
}

impl Inbound {
    fn new(inbox: Inbox) -> Self {
        Self { inbox, failed: None, piece: None, converted: VecDeque::new(), parked: None }
    }

    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        if let Some(event) = self.parked.take() {
            return Ok(Some(event));
        }
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        let event = self.inbox.next_event();
        if let Err(Error::Protocol(error)) = &event {
            self.failed = Some(error.clone());
        }
        event
    }
}

#[derive(Debug)]
struct Outbound {
    /// What comes after the chunk.
    outbox: Outbox,
    chunk: Option<Chunk>,
}

/// What is being written.
#[derive(Debug)]
struct Chunk {
    bytes: Py<PyBytes>,
    /// How many of them were written.
    written: usize,
}

impl Chunk {
    fn left(&self, py: Python<'_>) -> usize {
        self.bytes.bind(py).as_bytes().len().saturating_sub(self.written)
    }
}

impl Session {
    fn new(session: session::Session) -> Self {
        Self {
            daemon: session.daemon,
            inbound: Mutex::new(Inbound::new(session.inbox)),
            outbound: Mutex::new(Outbound { outbox: session.outbox, chunk: None }),
        }
    }

    /// Whether what is wrong is said by every later call too.
    fn has_failed(&self) -> bool {
        let inbound = locked(&self.inbound);
        inbound.failed.is_some() && inbound.parked.is_none()
    }
}

#[pymethods]
impl Session {
    /// The session's name, `#private#daemon`.
    #[getter]
    fn member<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let member = locked(&self.inbound).inbox.member();
        name_text(py, member.as_bytes())
    }

    /// The version that the daemon reports.
    #[getter]
    fn daemon_version(&self) -> (u8, u8, u8) {
        (self.daemon.major, self.daemon.minor, self.daemon.patch)
    }

    /// Adds the next bytes from the daemon, cut anywhere. They are not copied.
    fn push(&self, bytes: &Bound<'_, PyBytes>) {
        let shared = Bytes::from_owner(PyBackedBytes::from(bytes.clone()));
        let mut inbound = locked(&self.inbound);
        inbound.inbox.push(shared);
        inbound.piece = Some(bytes.clone().unbind());
    }

    /// Takes the next event; `None` when more bytes are needed.
    fn next_event(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let (event, piece) = {
            let mut inbound = locked(&self.inbound);
            if let Some(event) = inbound.converted.pop_front() {
                return Ok(Some(event));
            }
            let event = inbound.next_event().map_err(to_python)?;
            (event, inbound.piece.as_ref().map(|piece| piece.clone_ref(py)))
        };
        let Some(event) = event else { return Ok(None) };
        // Classes of the Python half are called for all others, and with them signal handlers.
        let kept = (!matches!(event, Event::Message(_))).then(|| event.clone());
        let converted = event_to_python(py, event, piece.as_ref());
        if converted.is_err() {
            locked(&self.inbound).parked = kept;
        }
        converted.map(Some)
    }

    /// Takes the events that are there, at most `limit`. How the daemon broke the protocol after some of them
    /// is raised by the next call, and by every later one. What a signal handler raises is raised at once, and
    /// the next call takes the events.
    fn take_events(&self, py: Python<'_>, limit: usize) -> PyResult<Vec<Py<PyAny>>> {
        let mut events = Vec::new();
        while events.len() < limit {
            match self.next_event(py) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) if events.is_empty() => return Err(error),
                Err(_) if self.has_failed() => break,
                Err(error) => {
                    locked(&self.inbound).converted.extend(events);
                    return Err(error);
                }
            }
        }
        Ok(events)
    }

    /// Bytes that are missing from the next event, as far as that is known.
    #[getter]
    fn missing_bytes(&self) -> usize {
        locked(&self.inbound).inbox.missing_bytes()
    }

    /// Adds a request to join a group.
    fn join(&self, group: &str) -> PyResult<()> {
        locked(&self.outbound).outbox.join(group).map_err(to_python)
    }

    /// Adds a request to leave a group.
    fn leave(&self, group: &str) -> PyResult<()> {
        locked(&self.outbound).outbox.leave(group).map_err(to_python)
    }

    /// Adds a message. The flags name one service level; all other bits that are the application's are
    /// carried along.
    fn multicast(
        &self,
        flags: u32,
        groups: &Bound<'_, PyAny>,
        body: &Bound<'_, PyAny>,
        message_type: i16,
    ) -> PyResult<()> {
        let service = ServiceLevel::from_flags(flags).ok_or_else(|| no_service(flags))?;
        let empty = Envelope::new(service).message_type(message_type).add_flags(flags);
        let envelope = addressed(empty, groups)?;
        let Ok(bytes) = body.cast::<PyBytes>() else {
            let copy = PyMemoryView::from(body)?.call_method0("tobytes")?;
            return self.send(&envelope, copy.cast::<PyBytes>()?.as_bytes()).map_err(to_python);
        };
        self.send(&envelope, bytes.as_bytes()).map_err(to_python)
    }

    /// Adds the request that ends the session.
    fn disconnect(&self) {
        locked(&self.outbound).outbox.disconnect();
    }

    /// Bytes that are to be written.
    #[getter]
    fn unsent(&self, py: Python<'_>) -> usize {
        let outbound = locked(&self.outbound);
        outbound.chunk.as_ref().map_or(0, |chunk| chunk.left(py)) + outbound.outbox.pending().len()
    }

    /// Writes some of what is to be written with a socket's `send`; whether anything is left. That it was
    /// written is noted before a signal handler may raise, so nothing is written twice.
    fn send_some(&self, send: &Bound<'_, PyAny>, flags: i32) -> PyResult<bool> {
        let py = send.py();
        let Some(chunk) = self.chunk(py)? else { return Ok(false) };
        let count = send.call1((chunk, flags))?.extract()?;
        self.wrote(py, count);
        Ok(self.unsent(py) > 0)
    }

    /// Adds what a socket's `recv` returns for so many bytes at most; false when there is nothing more to
    /// come. It is added before a signal handler may raise, so nothing is lost.
    fn receive_some(&self, recv: &Bound<'_, PyAny>, most: usize) -> PyResult<bool> {
        let received = recv.call1((most,))?;
        let bytes = received.cast::<PyBytes>()?;
        if !bytes.as_bytes().is_empty() {
            self.push(bytes);
        }
        Ok(!bytes.as_bytes().is_empty())
    }
}

impl Session {
    /// What is to be written next, until `wrote` says that some of it was; `None` when
    /// all is written.
    fn chunk<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (chunk, written) = {
            let mut outbound = locked(&self.outbound);
            if outbound.chunk.is_none() && !outbound.outbox.pending().is_empty() {
                let bytes = PyBytes::new(py, outbound.outbox.pending()).unbind();
                outbound.chunk = Some(Chunk { bytes, written: 0 });
                outbound.outbox.clear();
            }
            let Some(chunk) = &outbound.chunk else { return Ok(None) };
            (chunk.bytes.bind(py).clone(), chunk.written)
        };
        if written == 0 {
            return Ok(Some(chunk.into_any()));
        }
        let rest = PySlice::new(py, written.cast_signed(), isize::MAX, 1);
        PyMemoryView::from(&chunk)?.get_item(rest).map(Some)
    }

    /// That so many bytes of the chunk were written.
    fn wrote(&self, py: Python<'_>, count: usize) {
        let mut outbound = locked(&self.outbound);
        if let Some(chunk) = &mut outbound.chunk {
            chunk.written = chunk.written.saturating_add(count);
        }
        outbound.chunk.take_if(|chunk| chunk.left(py) == 0);
    }

    fn send(&self, envelope: &Envelope, body: &[u8]) -> Result<(), Error> {
        locked(&self.outbound).outbox.send(envelope, body)
    }
}

/// Writes one name, or several, on the envelope.
fn addressed(mut envelope: Envelope, groups: &Bound<'_, PyAny>) -> PyResult<Envelope> {
    if let Ok(group) = groups.cast::<PyString>() {
        return with_group(envelope, group);
    }
    if groups.is_instance_of::<PyBytes>() {
        return Err(no_group(groups));
    }
    for group in groups.try_iter()? {
        let group = group?;
        envelope = with_group(envelope, group.cast::<PyString>().map_err(|_| no_group(&group))?)?;
    }
    Ok(envelope)
}

fn no_group(given: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("a group is a str, and not {}", given.get_type()))
}

fn with_group(envelope: Envelope, group: &Bound<'_, PyString>) -> PyResult<Envelope> {
    envelope.to(&*group.to_cow()?).map_err(|error| to_python(error.into()))
}

/// What a thread that panicked left is as it was: no change here is made in two steps.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
