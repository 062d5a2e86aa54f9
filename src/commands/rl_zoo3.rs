//! Training by RL Baselines3 Zoo: Stable-Baselines3's own algorithm, with the settings that ours of that name would have.

use super::job::Job;
use super::manifest::Manifest;
use super::train::Start;
use crate::display::Display;
use crate::failure::Failure;
use crate::host::Host;
use crate::run_dir::{self, RunDir};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use signal_hook::consts::SIGINT;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::process::{Child, Command, Stdio};
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
    let mut manifest = Manifest::start(&dir, host, settings, "rl_zoo3", job.threads)?;
    let result = go(job, &mut manifest);
    manifest.end(result)
}

/// An error if Stable-Baselines3 cannot be made equal to the settings of `job`, or is not there.
pub fn check(job: &Job) -> Result<(), Failure> {
    bridge::initialize()?;
    let mut harness = Running::start(job, &["--check"])?;
    harness.child.stdout.take();
    harness.end()
}

fn go(job: &Job, manifest: &mut Manifest<'_>) -> Result<(), Failure> {
    job.record()?;
    job.record_command()?;
    let began = Instant::now();
    let mut display = Display::new(job.config.run.n_timesteps, job.quiet, job.report);
    let mut harness = Running::start(job, &[])?;
    let (mut steps, mut last) = (0, String::new());
    let out = harness.child.stdout.take();
    for line in out.into_iter().flat_map(|out| BufReader::new(out).split(b'\n')) {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).into_owned();
        match line.split_once(' ').map(|(steps, last)| (steps.parse(), last.parse())) {
            Some((Ok(now), Ok(last_return))) => {
                steps = now;
                display.step(now, Some(last_return));
            }
            _ => last = line,
        }
    }
    display.finish();
    let ended = harness.end();
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

/// The process of the harness.
struct Running {
    child: Child,
    messages: File,
}

impl Running {
    fn start(job: &Job, options: &[&str]) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::Harness(error.to_string());
        let messages = tempfile::tempfile().map_err(failed)?;
        let mut child = Command::new(bridge::python()?)
            .args(["-m", MODULE, "--parent", &std::process::id().to_string()])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(messages.try_clone().map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        let pid = Pid::from_raw(child.id() as i32);
        bridge::relay_signals(move |signal| {
            let signal = if signal == SIGINT { Signal::INT } else { Signal::TERM };
            let _ = pid.map(|pid| kill_process(pid, signal));
        })?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may have ended at once; its message says why.
            let _ = stdin.write_all(what(job)?.to_string().as_bytes());
        }
        Ok(Self { child, messages })
    }

    /// Waits for its end.
    fn end(mut self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::Harness(error.to_string());
        let status = self.child.wait().map_err(failed)?;
        bridge::check_signals()?;
        if status.success() {
            return Ok(());
        }
        let mut text = String::new();
        self.messages
            .rewind()
            .and_then(|()| self.messages.read_to_string(&mut text))
            .map_err(failed)?;
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        Err(Failure::Harness(last.map_or_else(|| status.to_string(), str::to_owned)))
    }
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
