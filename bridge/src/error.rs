//! Python exceptions as typed errors.

use agents::Error;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

/// Translates an exception raised while `during` was going on.
pub(crate) fn translate(py: Python<'_>, error: &PyErr, during: &'static str) -> Error {
    if error.is_instance_of::<PyKeyboardInterrupt>(py) {
        return Error::Interrupted;
    }
    let traceback = error.traceback(py).and_then(|t| t.format().ok());
    // `PyErr` prints itself as "Type: message".
    Error::Env { during, message: error.to_string(), traceback }
}

/// Runs `f` with the interpreter attached; an exception becomes [`Error::Env`].
pub(crate) fn attached<T>(
    during: &'static str,
    f: impl FnOnce(Python<'_>) -> PyResult<T>,
) -> agents::Result<T> {
    Python::attach(|py| f(py).map_err(|error| translate(py, &error, during)))
}
