//! `stac_bench._native`: Rust agents, and the command line.

#![forbid(unsafe_code)]

use agents::registry::{self, Algorithm};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::Value;
use stac_bench::config::{self, Config, ConfigError, Overrides, Preset};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// The version of PyTorch whose libtorch this was linked with.
#[pyfunction]
fn libtorch() -> &'static str {
    stac_bench::LIBTORCH
}

/// The algorithms' names.
#[pyfunction]
fn algorithms() -> Vec<&'static str> {
    registry::ALGORITHMS.iter().map(|algorithm| algorithm.name).collect()
}

/// The names of the baseline of `algo` and of its Stackelberg forms, `algo` among them.
#[pyfunction]
fn forms(algo: &str) -> PyResult<Vec<&'static str>> {
    Ok(algorithm(algo)?.forms().map(|form| form.name).collect())
}

/// The environments that the file of `algo` in `configs/` has an entry for.
#[pyfunction]
fn environments(algo: &str) -> PyResult<Vec<String>> {
    config::environments(algorithm(algo)?).map_err(invalid)
}

/// The presets' names.
#[pyfunction]
fn presets() -> Vec<String> {
    Preset::names()
}

/// The settings of a run of `algo` on `env`, with `preset` laid over them, as JSON: all that apply.
#[pyfunction]
#[pyo3(signature = (algo, env="default", preset=None))]
fn settings(algo: &str, env: &str, preset: Option<&str>) -> PyResult<String> {
    let overrides = Overrides { preset: find(preset)?, ..Overrides::default() };
    let config = Config::resolve(algorithm(algo)?, env, &overrides).map_err(invalid)?;
    Ok(Value::Object(config.all().map_err(invalid)?).to_string())
}

/// As `settings`, but without those of the run, with all that may apply once others are changed, and with
/// null for what then follows from them.
#[pyfunction]
#[pyo3(signature = (algo, env="default", preset=None))]
fn defaults(algo: &str, env: &str, preset: Option<&str>) -> PyResult<String> {
    let defaults = config::defaults(algorithm(algo)?, env, find(preset)?).map_err(invalid)?;
    Ok(Value::Object(defaults).to_string())
}

/// What can be set of `algo` and of a run of it, as JSON schema: names, documentation, types, ranges and
/// defaults.
#[pyfunction]
fn declared(algo: &str) -> PyResult<String> {
    Ok(config::declared(algorithm(algo)?).to_string())
}

/// What of `settings` (JSON) does not apply to `algo`, and why.
#[pyfunction]
fn foreign(algo: &str, settings: &str) -> PyResult<HashMap<String, String>> {
    let settings =
        serde_json::from_str(settings).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(algorithm(algo)?.foreign(&settings).into_iter().collect())
}

fn algorithm(name: &str) -> PyResult<&'static Algorithm> {
    registry::find(name).map_err(bridge::exception)
}

fn invalid(error: ConfigError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn find(preset: Option<&str>) -> PyResult<Option<Preset>> {
    let unknown = |name: &str| {
        let names = Preset::names().join(", ");
        PyValueError::new_err(format!("preset={name:?}: it must be one of {names}"))
    };
    preset.map(|name| Preset::find(name).ok_or_else(|| unknown(name))).transpose()
}

/// What was said of the checkpoint in `folder`, as JSON, and the bytes of its parts by name.
#[pyfunction]
fn read_checkpoint(py: Python<'_>, folder: PathBuf) -> PyResult<(String, Bound<'_, PyDict>)> {
    let (about, parts) = bridge::read_checkpoint(&folder).map_err(bridge::exception)?;
    let dict = PyDict::new(py);
    for (name, bytes) in parts {
        dict.set_item(name, PyBytes::new(py, &bytes))?;
    }
    Ok((about, dict))
}

/// An error about `key`, whose value is `value`, if `what` of so many bytes is more than the machine has free.
#[pyfunction]
fn require_room(what: &str, bytes: u128, key: &str, value: &str) -> PyResult<()> {
    agents::room::require(what, bytes, key, value).map_err(bridge::exception)
}

/// Whether [`main`] was called.
static CALLED: AtomicBool = AtomicBool::new(false);

/// Runs `stac-bench` with these arguments, its name first; returns the exit status. Once in a process: what a run sets up,
/// logging and threads, lasts as long as that.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<String>) -> PyResult<u8> {
    if CALLED.swap(true, SeqCst) {
        let message = "main() runs once in a process: start another one";
        return Err(PyRuntimeError::new_err(message));
    }
    Ok(py.detach(|| stac_bench::run::main(arguments)))
}

/// The extension module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    bridge::host();
    module.add_class::<bridge::PyAgent>()?;
    module.add("DivergedError", module.py().get_type::<bridge::DivergedError>())?;
    module.add_function(wrap_pyfunction!(libtorch, module)?)?;
    module.add_function(wrap_pyfunction!(algorithms, module)?)?;
    module.add_function(wrap_pyfunction!(forms, module)?)?;
    module.add_function(wrap_pyfunction!(environments, module)?)?;
    module.add_function(wrap_pyfunction!(presets, module)?)?;
    module.add_function(wrap_pyfunction!(settings, module)?)?;
    module.add_function(wrap_pyfunction!(defaults, module)?)?;
    module.add_function(wrap_pyfunction!(declared, module)?)?;
    module.add_function(wrap_pyfunction!(foreign, module)?)?;
    module.add_function(wrap_pyfunction!(read_checkpoint, module)?)?;
    module.add_function(wrap_pyfunction!(require_room, module)?)?;
    module.add_function(wrap_pyfunction!(main, module)?)
}
