//! The embedded interpreter: where its packages are, and their versions.

use crate::error::attached;
use agents::Result;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The variable that names the folder of Python packages. Its value at run time overrides that at build time.
const SITE_PACKAGES: &str = "STAC_BENCH_SITE_PACKAGES";

/// Whether this code was loaded by a running Python, which has its own packages.
static HOSTED: AtomicBool = AtomicBool::new(false);

/// Whether [`initialize`] has done its work.
static INITIALIZED: OnceLock<()> = OnceLock::new();

/// Declares that this code is an extension module: [`initialize`] then leaves the host's path unchanged.
pub fn host() {
    HOSTED.store(true, Ordering::Relaxed);
}

/// The program that is running: this one, or the Python that has loaded it.
pub fn executable() -> Result<PathBuf> {
    if !HOSTED.load(Ordering::Relaxed) {
        return std::env::current_exe().map_err(|error| agents::Error::External(Box::new(error)));
    }
    attached("the start of Python", |py| py.import("sys")?.getattr("executable")?.extract())
}

/// The words that start this program again: its own name, or that of Python and of the module that is this program.
pub fn program() -> Result<Vec<OsString>> {
    let mut words = vec![executable()?.into_os_string()];
    if HOSTED.load(Ordering::Relaxed) {
        words.extend(["-m".into(), "stac_bench".into()]);
    }
    Ok(words)
}

/// A Python that has the project's packages: the host, or that of the environment in which they are.
pub fn python() -> Result<PathBuf> {
    if HOSTED.load(Ordering::Relaxed) {
        return executable();
    }
    Ok(installed("python").unwrap_or_else(|| "python3".into()))
}

/// A program of the environment that the project's Python packages are in, if it is there.
pub fn installed(program: &str) -> Option<PathBuf> {
    // <environment>/lib/pythonX.Y/site-packages
    let path = site_packages()?.ancestors().nth(3)?.join("bin").join(program);
    path.is_file().then_some(path)
}

/// The folder of the project's own Python packages, if there is one.
pub fn site_packages() -> Option<PathBuf> {
    let at_run_time = std::env::var_os(SITE_PACKAGES).map(PathBuf::from);
    at_run_time.or(option_env!("STAC_BENCH_SITE_PACKAGES").map(PathBuf::from))
}

/// Adds the project's Python packages, and at the end the current folder, to the interpreter's path. Further calls do
/// nothing.
///
/// # Errors
/// [`agents::Error::Env`] if Gymnasium cannot be imported.
pub fn initialize() -> Result<()> {
    if INITIALIZED.get().is_some() {
        return Ok(());
    }
    attached("the start of Python", |py| {
        if let Some(folder) = site_packages()
            && !HOSTED.load(Ordering::Relaxed)
        {
            py.import("site")?.call_method1("addsitedir", (folder,))?;
        }
        // So that `--env-import` finds the user's modules. Last, so that a file there stands in for nothing else.
        let path = py.import("sys")?.getattr("path")?.cast_into::<PyList>()?;
        if !path.contains("")? {
            path.append("")?;
        }
        // One line per warning, without file name, line number and colours.
        let format = c"lambda message, category, *_: __import__('re').sub('\x1b.*?m', '', f'{category.__name__}: {message}\\n')";
        py.import("warnings")?.setattr("formatwarning", py.eval(format, None, None)?)?;
        py.import("gymnasium").map(drop)
    })?;
    INITIALIZED.get_or_init(|| ());
    Ok(())
}

/// Does what Python does at its end: waits for threads that are no daemons, calls what `atexit` has registered (which
/// also ends daemonic processes), and writes what is buffered. Call it last; it does nothing where Python never
/// began, or goes on by itself.
pub fn finalize() {
    if INITIALIZED.get().is_none() || HOSTED.load(Ordering::Relaxed) {
        return;
    }
    let finished = attached("the end of Python", |py| {
        py.import("threading")?.call_method0("_shutdown")?;
        py.import("atexit")?.call_method0("_run_exitfuncs")?;
        let sys = py.import("sys")?;
        for stream in ["stdout", "stderr"] {
            sys.getattr(stream)?.call_method0("flush")?;
        }
        Ok(())
    });
    if let Err(error) = finished {
        tracing::warn!("{error}");
    }
}

/// Versions of Python and of the packages that matter to a run, by name.
pub fn versions() -> Result<Vec<(String, String)>> {
    attached("reading versions", |py| {
        let mut versions = vec![(
            "python".into(),
            py.import("platform")?.call_method0("python_version")?.extract()?,
        )];
        let metadata = py.import("importlib.metadata")?;
        for package in ["gymnasium", "mujoco", "numpy"] {
            if let Ok(version) = metadata.call_method1("version", (package,)) {
                versions.push((package.into(), version.extract()?));
            }
        }
        Ok(versions)
    })
}
