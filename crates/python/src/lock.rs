//! `TimedLock`, which no signal handler leaves locked.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Holds a lock of Python inside `with`, if it could be had in time.
///
/// After `acquire` with a time limit, a signal handler may raise before the `try` whose end would release the
/// lock. CPython runs no handler between a native `__enter__` and the block of `with`.
#[pyclass(frozen, module = "antiphon._antiphon")]
#[derive(Debug)]
pub(crate) struct TimedLock {
    lock: Py<PyAny>,
    timeout: Option<f64>,
    is_held: AtomicBool,
}

#[pymethods]
impl TimedLock {
    /// For one use. The timeout is in seconds, 0 not to wait, `None` to wait for ever.
    #[new]
    fn new(lock: Py<PyAny>, timeout: Option<f64>) -> Self {
        Self { lock, timeout, is_held: AtomicBool::new(false) }
    }

    /// Acquires the lock; whether that was possible in time.
    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        let arguments = (true, self.timeout.unwrap_or(-1.0));
        let is_held = self.lock.bind(py).call_method1("acquire", arguments)?.extract()?;
        self.is_held.store(is_held, Ordering::Relaxed);
        Ok(is_held)
    }

    /// Releases the lock if it is held.
    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        if self.is_held.swap(false, Ordering::Relaxed) {
            self.lock.bind(py).call_method0("release")?;
        }
        Ok(())
    }
}
