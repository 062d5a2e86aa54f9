//! The embedded interpreter: where its packages lie, and which they are.

use crate::error::attached;
use agents::Result;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Names the folder of Python packages, at build time and, with precedence, at run time.
const SITE_PACKAGES: &str = "STAC_BENCH_SITE_PACKAGES";

/// Whether a Python that was there before has loaded this code, with packages of its own.
static HOSTED: AtomicBool = AtomicBool::new(false);

/// Says that this code is an extension module: [`initialize`] then leaves the host's path alone.
pub fn host() {
    HOSTED.store(true, Ordering::Relaxed);
}

/// What runs this program: itself, or the Python that has loaded it.
pub fn executable() -> Result<PathBuf> {
    if !HOSTED.load(Ordering::Relaxed) {
        return std::env::current_exe().map_err(|error| agents::Error::External(Box::new(error)));
    }
    attached("the start of Python", |py| py.import("sys")?.getattr("executable")?.extract())
}

/// The folder of the project's Python packages, if it has one of its own.
pub fn site_packages() -> Option<PathBuf> {
    let at_run_time = std::env::var_os(SITE_PACKAGES).map(PathBuf::from);
    at_run_time.or(option_env!("STAC_BENCH_SITE_PACKAGES").map(PathBuf::from))
}

/// Adds the project's Python packages, and the current folder, to the interpreter's path. Calling it
/// again does nothing more.
///
/// # Errors
/// [`agents::Error::Env`] if Gymnasium cannot be imported.
pub fn initialize() -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_some() {
        return Ok(());
    }
    attached("the start of Python", |py| {
        if let Some(folder) = site_packages()
            && !HOSTED.load(Ordering::Relaxed)
        {
            py.import("site")?.call_method1("addsitedir", (folder,))?;
        }
        // As `python -m` does, so that `--env-import` finds the user's modules.
        let path = py.import("sys")?.getattr("path")?.cast_into::<PyList>()?;
        if !path.contains("")? {
            path.insert(0, "")?;
        }
        // One line per warning, without the place in somebody else's code and without its colours.
        let format = c"lambda message, category, *_: __import__('re').sub('\x1b.*?m', '', f'{category.__name__}: {message}\\n')";
        py.import("warnings")?.setattr("formatwarning", py.eval(format, None, None)?)?;
        py.import("gymnasium").map(drop)
    })?;
    DONE.get_or_init(|| ());
    Ok(())
}

/// From now on Ctrl-C, SIGTERM and the terminal's end raise `KeyboardInterrupt` in whatever Python code the main
/// thread runs, which comes back as [`agents::Error::Interrupted`]. Call it on the main thread.
pub fn handle_interrupts() -> Result<()> {
    attached("the start of Python", |py| {
        let signal = py.import("signal")?;
        let handler = signal.getattr("default_int_handler")?;
        let ignored = signal.getattr("SIG_IGN")?;
        for name in ["SIGINT", "SIGTERM", "SIGHUP"] {
            let kind = signal.getattr(name)?;
            // Under `nohup` a run outlives its terminal.
            if name == "SIGHUP" && signal.call_method1("getsignal", (&kind,))?.eq(&ignored)? {
                continue;
            }
            signal.call_method1("signal", (kind, &handler))?;
        }
        Ok(())
    })
}

/// [`agents::Error::Interrupted`] if a signal has come while no Python code was running.
pub fn check_signals() -> Result<()> {
    attached("a signal", |py| py.check_signals())
}

/// When to ask for signals in the midst of updates: every tenth of a second, since asking waits for
/// the interpreter.
pub struct Signals(Instant);

impl Default for Signals {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Signals {
    const INTERVAL: Duration = Duration::from_millis(100);

    /// Whether it is time to ask.
    pub fn due(&mut self) -> bool {
        let due = self.0.elapsed() >= Self::INTERVAL;
        if due {
            self.0 = Instant::now();
        }
        due
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
