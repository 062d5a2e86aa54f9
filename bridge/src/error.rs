//! Python exceptions as typed errors, and back.

use crate::stop;
use agents::Error;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

pyo3::create_exception!(
    stac_bench,
    DivergedError,
    PyRuntimeError,
    "Weights, gradients or losses are no longer finite: training cannot go on."
);

/// The [`Error`] for a Python exception that was raised during `during`.
pub(crate) fn translate(py: Python<'_>, error: &PyErr, during: &'static str) -> Error {
    // After an interruption, an environment may raise whatever it likes.
    if error.is_instance_of::<PyKeyboardInterrupt>(py) || stop::interrupting() {
        return stop::ended();
    }
    let traceback = error.traceback(py).and_then(|t| t.format().ok());
    // `PyErr` prints itself as "Type: message".
    Error::Env { during, message: error.to_string(), traceback }
}

/// Runs `f` with the GIL; an exception becomes [`Error::Env`].
pub(crate) fn attached<T>(
    during: &'static str,
    f: impl FnOnce(Python<'_>) -> PyResult<T>,
) -> agents::Result<T> {
    Python::attach(|py| f(py).map_err(|error| translate(py, &error, during)))
}

/// Runs `f` with the GIL, for callers in Python: an exception becomes [`Error::External`], and [`exception`] turns it
/// back into the same exception.
pub(crate) fn passing<T>(f: impl FnOnce(Python<'_>) -> PyResult<T>) -> agents::Result<T> {
    Python::attach(f).map_err(|error| Error::External(Box::new(error)))
}

/// The Python exception for `error`: the original one if it came from Python, `DivergedError` where training
/// diverged, `ValueError` for wrong input from the user or the environment, `RuntimeError` otherwise.
pub fn exception(error: Error) -> PyErr {
    match error {
        Error::Interrupted | Error::Terminated => PyKeyboardInterrupt::new_err(()),
        Error::Diverged { .. } => DivergedError::new_err(error.to_string()),
        Error::Torch(_) | Error::Env { .. } => PyRuntimeError::new_err(error.to_string()),
        Error::External(inner) => match inner.downcast::<PyErr>() {
            Ok(error) => *error,
            Err(other) => PyRuntimeError::new_err(other.to_string()),
        },
        other => PyValueError::new_err(other.to_string()),
    }
}
