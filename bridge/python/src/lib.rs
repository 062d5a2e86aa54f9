//! `stac_bench._native`: Rust agents, and the command line.

use agents::algo;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use stac_bench::config::{self, Config, Overrides};

/// The version of PyTorch whose libtorch this was linked with.
#[pyfunction]
fn libtorch() -> &'static str {
    stac_bench::LIBTORCH
}

/// The algorithms' names.
#[pyfunction]
fn algorithms() -> Vec<&'static str> {
    algo::ALGORITHMS.iter().map(|algorithm| algorithm.name).collect()
}

/// The environments that `configs/{algo}.yml` has an entry for.
#[pyfunction]
fn environments(algo: &str) -> PyResult<Vec<String>> {
    let algorithm = algo::find(algo).map_err(bridge::exception)?;
    config::environments(algorithm).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The settings of `configs/{algo}.yml` on `env`, those of the run too, as JSON.
#[pyfunction]
fn settings(algo: &str, env: &str) -> PyResult<String> {
    let algorithm = algo::find(algo).map_err(bridge::exception)?;
    let config = Config::resolve(algorithm, env, &Overrides::default())
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(serde_json::Value::Object(config.settings).to_string())
}

/// Runs `stac-bench` with these arguments, its name first; returns the exit status.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<String>) -> u8 {
    py.detach(|| stac_bench::cli::main(arguments))
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
    module.add_function(wrap_pyfunction!(settings, module)?)?;
    module.add_function(wrap_pyfunction!(main, module)?)
}
