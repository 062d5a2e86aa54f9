//! `stac_bench._native`: Rust agents, and the command line.

#![forbid(unsafe_code)]

use agents::registry;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use stac_bench::config::{self, Config, ConfigError, Overrides, Preset};

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

/// The environments that `configs/{algo}.yml` has an entry for.
#[pyfunction]
fn environments(algo: &str) -> PyResult<Vec<String>> {
    let algorithm = registry::find(algo).map_err(bridge::exception)?;
    config::environments(algorithm).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The presets' names.
#[pyfunction]
fn presets() -> Vec<String> {
    Preset::names()
}

/// The settings of `algo` on `env`, those of the run too, as JSON: `configs/{algo}.yml`, with `preset`
/// laid over it.
#[pyfunction]
#[pyo3(signature = (algo, env="default", preset=None))]
fn settings(algo: &str, env: &str, preset: Option<&str>) -> PyResult<String> {
    let config = resolve(algo, env, preset)?;
    Ok(serde_json::Value::Object(config.all().map_err(invalid)?).to_string())
}

/// The defaults of all settings of `algo`, without those of the run, as JSON: those that do not apply by default too, and
/// `null` where a value follows from another setting.
#[pyfunction]
#[pyo3(signature = (algo, env="default", preset=None))]
fn defaults(algo: &str, env: &str, preset: Option<&str>) -> PyResult<String> {
    let algorithm = registry::find(algo).map_err(bridge::exception)?;
    let preset = preset.map(Preset::find).transpose().map_err(invalid)?;
    let settings = config::defaults(algorithm, env, preset).map_err(invalid)?;
    Ok(serde_json::Value::Object(settings).to_string())
}

fn resolve(algo: &str, env: &str, preset: Option<&str>) -> PyResult<Config> {
    let algorithm = registry::find(algo).map_err(bridge::exception)?;
    let preset = preset.map(Preset::find).transpose().map_err(invalid)?;
    let overrides = Overrides { preset, ..Overrides::default() };
    Config::resolve(algorithm, env, &overrides).map_err(invalid)
}

fn invalid(error: ConfigError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// What can be set of `algo` and of a run of it, as JSON schema: names, documentation, types, ranges and
/// defaults.
#[pyfunction]
fn declared(algo: &str) -> PyResult<String> {
    let algorithm = registry::find(algo).map_err(bridge::exception)?;
    Ok(config::declared(algorithm).to_string())
}

/// Runs `stac-bench` with these arguments, its name first; returns the exit status.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<String>) -> u8 {
    py.detach(|| stac_bench::run::main(arguments))
}

/// The extension module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    bridge::host();
    module.add_class::<bridge::PyAgent>()?;
    module.add("DivergedError", module.py().get_type::<bridge::DivergedError>())?;
    module.add_function(wrap_pyfunction!(libtorch, module)?)?;
    module.add_function(wrap_pyfunction!(algorithms, module)?)?;
    module.add_function(wrap_pyfunction!(environments, module)?)?;
    module.add_function(wrap_pyfunction!(presets, module)?)?;
    module.add_function(wrap_pyfunction!(settings, module)?)?;
    module.add_function(wrap_pyfunction!(defaults, module)?)?;
    module.add_function(wrap_pyfunction!(declared, module)?)?;
    module.add_function(wrap_pyfunction!(main, module)?)
}
