//! `Message`, whose attributes are made when they are asked for.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyMemoryView, PySlice, PyString, PyTuple};

use crate::event::{name_text, service_level};

/// A message shows at most so many bytes of its body in its `repr`.
const SHOWN_BYTES: usize = 60;

/// A message that a client sent.
///
/// `body` is a bytes object of its own; `view` shares memory with what was read from the daemon at the
/// same time, and copies nothing.
#[pyclass(frozen, module = "antiphon")]
pub(crate) struct Message {
    message: antiphon::Message,
    /// What was read from the socket, and where in it the body begins; `None` when the message came in
    /// several pieces.
    source: Option<(Py<PyBytes>, usize)>,
    body: PyOnceLock<Py<PyBytes>>,
}

impl Message {
    /// A message whose bytes possibly stand in `piece`, what was read last.
    pub(crate) fn new(py: Python<'_>, message: antiphon::Message, piece: Option<&Py<PyBytes>>) -> Self {
        let source = piece.and_then(|piece| {
            let start = position(piece.bind(py).as_bytes(), &message.body)?;
            Some((piece.clone_ref(py), start))
        });
        Self { message, source, body: PyOnceLock::new() }
    }
}

#[pymethods]
impl Message {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str) {
        ("sender", "body")
    }

    /// Who sent it; also where to send an answer for the sender alone.
    #[getter]
    fn sender<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        name_text(py, self.message.sender.as_bytes())
    }

    /// How it was sent.
    #[getter]
    fn service<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        service_level(py, self.message.service)
    }

    /// Every group that it was sent to, in the order of the sender.
    #[getter]
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let names = self.message.groups.iter().map(|group| name_text(py, group.as_bytes()));
        PyTuple::new(py, names.collect::<PyResult<Vec<_>>>()?)
    }

    /// The application's message type, from -32768 to 32767.
    #[getter]
    fn message_type(&self) -> i16 {
        self.message.message_type
    }

    /// Whether the sender's host has another byte order than this one. Bodies are never converted.
    #[getter]
    fn endian_mismatch(&self) -> bool {
        self.message.endian_mismatch
    }

    /// All bits of the flag word but the endian mark.
    #[getter]
    fn flags(&self) -> u32 {
        self.message.flags
    }

    /// What was sent.
    #[getter]
    fn body(&self, py: Python<'_>) -> Py<PyBytes> {
        self.body.get_or_init(py, || PyBytes::new(py, &self.message.body).unbind()).clone_ref(py)
    }

    /// What was sent, without a copy if it came in one piece. It keeps in memory what was read at the
    /// same time: for messages that are kept for long, `body` takes less.
    #[getter]
    fn view<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some((piece, start)) = &self.source else {
            return Ok(PyMemoryView::from(self.body(py).bind(py))?.into_any());
        };
        let bytes = piece.bind(py);
        let end = start.saturating_add(self.message.body.len());
        let slice = PySlice::new(py, start.cast_signed(), end.cast_signed(), 1);
        PyMemoryView::from(bytes)?.get_item(slice)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shown = self.message.body.get(..SHOWN_BYTES).unwrap_or(&self.message.body);
        let rest = match self.message.body.len() - shown.len() {
            0 => String::new(),
            more => format!(" + {more} bytes"),
        };
        Ok(format!(
            "<Message sender={} service={} groups={} message_type={} body={}{rest}>",
            self.sender(py)?.repr()?,
            self.message.service.name(),
            self.groups(py)?.repr()?,
            self.message.message_type,
            PyBytes::new(py, shown).repr()?,
        ))
    }
}

/// Where in `whole` the memory of `part` begins; `None` when it is other memory.
fn position(whole: &[u8], part: &[u8]) -> Option<usize> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    (start.checked_add(part.len())? <= whole.len()).then_some(start)
}
