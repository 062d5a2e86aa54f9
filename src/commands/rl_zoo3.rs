//! Training by RL Baselines3 Zoo: Stable-Baselines3's own algorithm, with the settings that ours of that name would have.

use super::job::Job;
use super::manifest::Manifest;
use super::pool::lines;
use super::script::{self, Script};
use crate::display::{self, Display};
use crate::failure::Failure;
use crate::harness::Harness;
use crate::host::Host;
use crate::run_dir::{self, RunDir, Start};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Instant;

/// The Python module that does it.
const MODULE: &str = "stac_bench.baselines";

/// Trains one run and leaves a run folder behind.
///
/// # Errors
/// [`Failure::Harness`] if RL Zoo is not there or ends with an error.
pub fn train(job: &Job, start: Start) -> Result<(), Failure> {
    if let Start::New { overwrite } = start {
        run_dir::refuse(&job.folder, overwrite)?;
    }
    check(job)?;
    bridge::initialize()?;
    let host = Host::here()?;
    let dir = match start {
        Start::New { overwrite } => RunDir::create(&job.folder, overwrite)?,
        Start::Again(dir) => dir,
    };
    dir.clear()?;
    let settings = &job.config.prepared.settings;
    let mut manifest = Manifest::start(&dir, host, settings, Harness::RlZoo3.name(), job.threads)?;
    let result = go(job, &mut manifest);
    manifest.end(result)
}

/// An error if Stable-Baselines3 cannot be made equal to the settings of `job`, or is not there.
pub fn check(job: &Job) -> Result<(), Failure> {
    begin(job, &["--check"])?.end(|reason| Failure::Usage(format!("RL Zoo: {reason}")))
}

fn go(job: &Job, manifest: &mut Manifest<'_>) -> Result<(), Failure> {
    job.record()?;
    job.record_command()?;
    let began = Instant::now();
    let mut display = Display::new(job.config.run.n_timesteps, job.quiet, job.report);
    let mut harness = begin(job, &[])?;
    let (mut steps, mut last) = (0, String::new());
    for line in lines(harness.out()) {
        match display::reported(&line) {
            Some((now, last_return)) => {
                steps = now;
                display.step(now, Some(last_return));
            }
            None => last = line,
        }
    }
    display.finish();
    let ended = harness.end(Failure::Harness);
    let whole = if ended.is_ok() { job.config.run.n_timesteps } else { steps };
    manifest.reached(whole, began.elapsed().as_secs_f64(), 0.0);
    ended?;
    if job.report || !job.quiet {
        say!("{last}");
    }
    if !job.report && !job.quiet {
        say!("run: {}", job.shown.display());
    }
    Ok(())
}

/// RL Zoo at work on `job`.
fn begin(job: &Job, options: &[&str]) -> Result<Script, Failure> {
    let parent = std::process::id().to_string();
    let words = [&["--parent", &parent], options].concat();
    Script::start(&script::module(MODULE), &words, &what(job)?, Stdio::piped())
}

/// What the module is told.
fn what(job: &Job) -> Result<Value, Failure> {
    Ok(json!({
        "algo": job.algo,
        "env": job.config.env,
        "seed": job.seed,
        "folder": job.folder,
        "threads": job.threads,
        "env_import": job.env_import,
        "settings": job.config.all()?,
    }))
}
