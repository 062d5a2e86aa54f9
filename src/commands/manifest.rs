//! `manifest.json`: what ran, where, and how it ended.

use crate::failure::Failure;
use crate::files;
use crate::host::Host;
use crate::run_dir::{self, RunDir, write_somehow};
use agents::Restored;
use agents::settings::Settings;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// The file, written at the start of a run and again at its end.
#[derive(Debug, Serialize)]
pub struct Manifest<'d> {
    #[serde(skip)]
    dir: &'d RunDir,
    #[serde(skip)]
    start: Instant,
    #[serde(flatten)]
    host: Host,
    /// Where gradients are computed, and by what.
    device: String,
    engine: &'static str,
    threads: u16,
    #[serde(flatten)]
    record: Record,
}

/// What changes, and what other processes read.
#[derive(Debug, Deserialize, Serialize)]
pub struct Record {
    /// Seconds since 1970.
    started: f64,
    /// Of training, over all processes.
    pub seconds: f64,
    /// Of them, those in which training waited for checkpoints.
    #[serde(default)]
    checkpoint_seconds: f64,
    /// Environment steps.
    pub steps: u64,
    /// `running`, `done`, `interrupted` or `failed`; `running` without a live owner is `interrupted`.
    pub status: String,
    /// What the process returns; none while it is running.
    exit_status: Option<u8>,
    /// Why it did not end well.
    pub error: Option<String>,
    /// Where processes went on from a checkpoint, in order.
    #[serde(default)]
    resumes: Vec<Resume>,
}

/// How a process went on.
#[derive(Debug, Serialize, Deserialize)]
pub struct Resume {
    /// Environment steps at the checkpoint.
    pub step: u64,
    /// `exact`; `episode`: an environment could not go on within its episode; `own-state`: one was asked for its state and
    /// only it knows whether that is all; `other-cpu`, `other-version`: the bytes that follow may differ.
    pub resumed: String,
    /// What differs: `name: before -> now`.
    pub changed: Vec<String>,
}

impl<'d> Manifest<'d> {
    /// Writes the manifest of a run that starts now in `dir`, or goes on there; `engine` is the one that runs.
    pub fn start(
        dir: &'d RunDir,
        host: Host,
        settings: &Settings,
        engine: &'static str,
        threads: u16,
    ) -> Result<Self, Failure> {
        let device = settings.get("device").and_then(Value::as_str).unwrap_or("").to_owned();
        let mut record = read(dir.path()).unwrap_or_else(|| Record {
            started: SystemTime::UNIX_EPOCH.elapsed().as_ref().map_or(0.0, Duration::as_secs_f64),
            seconds: 0.0,
            checkpoint_seconds: 0.0,
            steps: 0,
            status: String::new(),
            exit_status: None,
            error: None,
            resumes: Vec::new(),
        });
        (record.exit_status, record.error) = (None, None);
        record.status = "running".to_owned();
        let manifest = Self { dir, start: Instant::now(), host, device, engine, threads, record };
        manifest.write()?;
        Ok(manifest)
    }

    /// This process went on from a checkpoint of `earlier`. `processes` tells whether others step the environments now, and
    /// `how` how those came back.
    pub fn resumed(
        &mut self,
        step: u64,
        earlier: &Host,
        processes: Option<String>,
        how: Restored,
    ) -> Result<(), Failure> {
        let machine: Vec<_> = self.host.other_cpu(earlier).into_iter().chain(processes).collect();
        let versions = self.host.other_versions(earlier);
        let resumed = match how {
            Restored::NewEpisode => "episode",
            Restored::OwnState => "own-state",
            Restored::Exact if !machine.is_empty() => "other-cpu",
            Restored::Exact if !versions.is_empty() => "other-version",
            Restored::Exact => "exact",
        };
        let changed: Vec<_> = machine.into_iter().chain(versions).collect();
        if !changed.is_empty() {
            tracing::warn!(
                "from step {step} on the results may differ in their last digits: {}",
                changed.join(", ")
            );
        }
        self.record.resumes.push(Resume { step, resumed: resumed.to_owned(), changed });
        self.write()
    }

    /// Takes down how far the run has come: environment steps, seconds of training, and those of them in which this
    /// process waited for checkpoints.
    pub fn reached(&mut self, steps: u64, seconds: f64, checkpoint_seconds: f64) {
        (self.record.steps, self.record.seconds) = (steps, seconds);
        self.record.checkpoint_seconds += checkpoint_seconds;
    }

    /// Writes how the run ended, and passes its result on.
    pub fn end<T>(mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        let exit_status = result.as_ref().map_or_else(Failure::exit_status, |_| 0);
        self.record.exit_status = Some(exit_status);
        self.record.status = match exit_status {
            0 => "done",
            130 | 143 => "interrupted",
            _ => "failed",
        }
        .to_owned();
        self.record.error = result.as_ref().err().map(ToString::to_string);
        let written = self.write();
        result.and_then(|value| written.map(|()| value))
    }

    fn write(&self) -> Result<(), Failure> {
        // Another run may be where this one was.
        self.dir.check()?;
        let path = self.dir.path().join(run_dir::MANIFEST);
        let json = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        let json = json.map_err(Failure::file("write", &path))?;
        write_somehow(&path, &json)
    }
}

impl Drop for Manifest<'_> {
    /// A panic is an end too.
    fn drop(&mut self) {
        if self.record.status == "running" {
            self.record.seconds = self.record.seconds.max(self.start.elapsed().as_secs_f64());
            self.record.status = "failed".to_owned();
            self.record.error = Some("the program broke off".to_owned());
            let _ = self.write();
        }
    }
}

/// What the manifest of the run in `folder` says, if it has one.
pub fn read(folder: &Path) -> Option<Record> {
    let bytes = files::read(&folder.join(run_dir::MANIFEST), files::WRITTEN).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_panic_during_a_run_leaves_a_manifest_that_says_failed() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(&folder.path().join("run"), false).unwrap();
        let host: Host = serde_json::from_value(serde_json::json!({
            "stac_bench": "1", "commit": "2", "versions": {},
            "machine": {"os": "", "architecture": "", "cpu": null, "cores": null},
        }))
        .unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let settings = Settings::default();
            let _manifest = Manifest::start(&run, host, &settings, "fused", 1).unwrap();
            assert_eq!(read(run.path()).unwrap().status, "running");
            panic!("in the middle of a step");
        }));
        assert!(panicked.is_err());
        let record = read(run.path()).unwrap();
        assert_eq!(record.status, "failed");
        assert_eq!(record.error.as_deref(), Some("the program broke off"));
    }
}
