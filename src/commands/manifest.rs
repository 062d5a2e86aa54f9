//! `manifest.json`: what ran, where, and how it ended.

use crate::failure::Failure;
use crate::run_dir::write_whole;
use agents::algo::EngineKind;
use agents::settings::Settings;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The file, written at the start of a run and again at its end.
#[derive(Debug, Serialize)]
pub struct Manifest {
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    start: Instant,
    stac_bench: &'static str,
    commit: &'static str,
    /// Of libtorch, Python and the Python packages that matter.
    versions: BTreeMap<String, String>,
    machine: Machine,
    /// Where gradients are computed, and by what.
    device: String,
    engine: &'static str,
    threads: u16,
    /// Seconds since 1970.
    started: f64,
    seconds: f64,
    steps: u64,
    /// `running`, `done`, `interrupted` or `failed`
    status: &'static str,
    /// What the process returns; none while it is running.
    exit_status: Option<u8>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Machine {
    os: &'static str,
    architecture: &'static str,
    cpu: Option<String>,
    cores: Option<usize>,
}

impl Manifest {
    /// Writes the manifest of a run that starts now in `folder`; `engine` is the one that runs.
    pub fn start(
        folder: &Path,
        settings: &Settings,
        engine: EngineKind,
        threads: u16,
    ) -> Result<Self, Failure> {
        let setting =
            |key: &str| settings.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let mut versions: BTreeMap<_, _> = bridge::versions()?.into_iter().collect();
        versions.insert("libtorch".into(), crate::LIBTORCH.into());
        let manifest = Self {
            path: folder.join("manifest.json"),
            start: Instant::now(),
            stac_bench: env!("CARGO_PKG_VERSION"),
            commit: env!("STAC_BENCH_COMMIT"),
            versions,
            machine: Machine {
                os: std::env::consts::OS,
                architecture: std::env::consts::ARCH,
                cpu: cpu(),
                cores: std::thread::available_parallelism().ok().map(Into::into),
            },
            device: setting("device"),
            engine: engine.name(),
            threads,
            started: SystemTime::UNIX_EPOCH.elapsed().as_ref().map_or(0.0, Duration::as_secs_f64),
            seconds: 0.0,
            steps: 0,
            status: "running",
            exit_status: None,
            error: None,
        };
        manifest.write()?;
        Ok(manifest)
    }

    /// Writes how the run ended after `steps` environment steps, and passes its result on.
    pub fn end<T>(mut self, steps: u64, result: Result<T, Failure>) -> Result<T, Failure> {
        self.seconds = self.start.elapsed().as_secs_f64();
        self.steps = steps;
        let exit_status = result.as_ref().map_or_else(Failure::exit_status, |_| 0);
        self.exit_status = Some(exit_status);
        self.status = match exit_status {
            0 => "done",
            130 | 143 => "interrupted",
            _ => "failed",
        };
        self.error = result.as_ref().err().map(ToString::to_string);
        let written = self.write();
        result.and_then(|value| written.map(|()| value))
    }

    fn write(&self) -> Result<(), Failure> {
        let json = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        write_whole(&self.path, &json.map_err(Failure::file("write", &self.path))?)
    }
}

/// The processor's name, where Linux tells it.
fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
