//! A sweep as tasks of a Ray cluster, which Python starts and waits for.

use super::local::conclude;
use super::state::State;
use super::tasks::{Grid, Tasks};
use crate::failure::Failure;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use signal_hook::consts::SIGINT;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// What starts the tasks.
const SCRIPT: &str = include_str!("ray.py");
/// Variables that a run on another machine needs as well.
const VARIABLES: [&str; 2] = ["PYTHONPATH", "STAC_BENCH_SITE_PACKAGES"];

/// Trains what is left on the cluster at `address`; without one on that of `RAY_ADDRESS`, or on this machine.
///
/// # Errors
/// [`Failure::Scheduler`] if there is no Ray or no cluster, [`Failure::Sweep`] if something failed for good.
pub fn run(grid: &Grid<'_>, address: Option<&str>) -> Result<(), Failure> {
    let failed = |reason: String| Failure::Scheduler { command: "ray", reason };
    let unable = |error: std::io::Error| failed(error.to_string());
    let todo = grid.numbers(&HashSet::new(), State::is_open);
    if todo.is_empty() {
        return conclude(grid.all, grid.quiet);
    }
    let tasks = Tasks::prepare(grid, "ray")?;
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    let command: Vec<String> = tasks.command.iter().map(text).collect();
    let runs = todo.iter().filter_map(|&number| {
        let words: Vec<String> = command.iter().cloned().chain([number.to_string()]).collect();
        Some(json!({"name": grid.all.get(number)?.name(), "command": words}))
    });
    let variables = VARIABLES.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?)));
    let plan = json!({
        "address": address,
        "cwd": std::env::current_dir().map_err(unable)?,
        "variables": variables.collect::<std::collections::HashMap<_, _>>(),
        "threads": grid.threads(),
        "jobs": grid.jobs,
        "runs": runs.collect::<Vec<_>>(),
    });
    let out = if grid.quiet { Stdio::null() } else { Stdio::inherit() };
    let mut messages = tempfile::tempfile().map_err(unable)?;
    bridge::initialize()?;
    let mut driver = Command::new(bridge::python()?)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(messages.try_clone().map_err(unable)?)
        .process_group(0)
        .spawn()
        .map_err(unable)?;
    let pid = Pid::from_raw(driver.id() as i32);
    bridge::relay_signals(move |signal| {
        let signal = if signal == SIGINT { Signal::INT } else { Signal::TERM };
        let _ = pid.map(|pid| kill_process(pid, signal));
    })?;
    if let Some(mut stdin) = driver.stdin.take() {
        // It may have ended at once; its message says why.
        let _ = stdin.write_all(plan.to_string().as_bytes());
    }
    let status = driver.wait().map_err(unable)?;
    bridge::check_signals()?;
    let _ = fs::remove_dir_all(&tasks.folder);
    if !status.success() {
        let mut text = String::new();
        use std::io::{Read as _, Seek as _};
        let _ = messages.rewind().and_then(|()| messages.read_to_string(&mut text));
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        return Err(failed(last.map_or_else(|| status.to_string(), str::to_owned)));
    }
    conclude(grid.all, grid.quiet)
}
