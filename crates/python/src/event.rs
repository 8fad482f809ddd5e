//! Views and the other events, which are classes of the Python half.

use antiphon::{Event, GroupId, MemberName, Rejected, ServiceLevel, View};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::message::Message;

/// What is used of `antiphon._types`.
struct Types {
    levels: Vec<Py<PyAny>>,
    cause: Py<PyAny>,
    group_id: Py<PyAny>,
    view: Py<PyAny>,
    transition: Py<PyAny>,
    self_leave: Py<PyAny>,
    rejected: Py<PyAny>,
}

impl Types {
    fn import(py: Python<'_>) -> PyResult<Self> {
        let module = py.import("antiphon._types")?;
        let class = |name| module.getattr(name).map(Bound::unbind);
        let level = module.getattr("ServiceLevel")?;
        let levels =
            ServiceLevel::ALL.into_iter().map(|known| level.call1((known.flag(),)).map(Bound::unbind));
        Ok(Self {
            levels: levels.collect::<PyResult<_>>()?,
            cause: class("Cause")?,
            group_id: class("GroupId")?,
            view: class("View")?,
            transition: class("Transition")?,
            self_leave: class("SelfLeave")?,
            rejected: class("Rejected")?,
        })
    }

    fn of(py: Python<'_>) -> PyResult<&Self> {
        static TYPES: PyOnceLock<Types> = PyOnceLock::new();
        TYPES.get_or_try_init(py, || Self::import(py))
    }
}

/// The Python object of an event. The bytes of a message possibly stand in `piece`, what was read last.
pub(crate) fn to_python(py: Python<'_>, event: Event, piece: Option<&Py<PyBytes>>) -> PyResult<Py<PyAny>> {
    match event {
        Event::Message(message) => Ok(Py::new(py, Message::new(py, message, piece))?.into_any()),
        Event::View(view) => from_view(py, &view),
        Event::Transition(transition) => {
            let group = name_text(py, transition.group.as_bytes())?;
            Types::of(py)?.transition.call1(py, (group, from_id(py, transition.id)?))
        }
        Event::SelfLeave(group) => Types::of(py)?.self_leave.call1(py, (name_text(py, group.as_bytes())?,)),
        Event::Rejected(rejected) => from_rejected(py, &rejected),
    }
}

/// The member of the Python enumeration.
pub(crate) fn service_level(py: Python<'_>, service: ServiceLevel) -> PyResult<Bound<'_, PyAny>> {
    match Types::of(py)?.levels.get(usize::from(service.rank())) {
        Some(level) => Ok(level.bind(py).clone()),
        None => Ok(py.None().into_bound(py)),
    }
}

/// A name as text. Daemons do not check the bytes of group names: those that are no text become
/// surrogates, as in the names of files.
pub(crate) fn name_text<'py>(py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyString>> {
    match std::str::from_utf8(name) {
        Ok(text) => Ok(PyString::new(py, text)),
        Err(_) => {
            PyString::from_encoded_object(&PyBytes::new(py, name), Some(c"utf-8"), Some(c"surrogateescape"))
        }
    }
}

fn from_view(py: Python<'_>, view: &View) -> PyResult<Py<PyAny>> {
    let types = Types::of(py)?;
    let sets = view.vs_sets.iter().map(|set| names(py, set)).collect::<PyResult<Vec<_>>>()?;
    types.view.call1(
        py,
        (
            name_text(py, view.group.as_bytes())?,
            from_id(py, view.id)?,
            types.cause.call1(py, (view.change.cause().flag(),))?,
            view.change.member().map(|member| name_text(py, member.as_bytes())).transpose()?,
            names(py, &view.members)?,
            view.my_index,
            PyTuple::new(py, sets)?,
            view.my_vs_set,
        ),
    )
}

fn from_rejected(py: Python<'_>, rejected: &Rejected) -> PyResult<Py<PyAny>> {
    let groups = rejected.groups.iter().map(|group| name_text(py, group.as_bytes()));
    let groups = PyTuple::new(py, groups.collect::<PyResult<Vec<_>>>()?)?;
    let body = PyBytes::new(py, &rejected.body);
    Types::of(py)?.rejected.call1(py, (rejected.flags, groups, rejected.message_type, body))
}

fn from_id(py: Python<'_>, id: GroupId) -> PyResult<Py<PyAny>> {
    Types::of(py)?.group_id.call1(py, (id.leader, id.time, id.counter))
}

fn names<'py>(py: Python<'py>, members: &[MemberName]) -> PyResult<Bound<'py, PyTuple>> {
    let names = members.iter().map(|member| name_text(py, member.as_bytes()));
    PyTuple::new(py, names.collect::<PyResult<Vec<_>>>()?)
}
