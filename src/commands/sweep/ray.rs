//! A sweep as tasks of a Ray cluster, which Python starts and waits for.

use super::local::conclude;
use super::state::State;
use super::tasks::{Grid, Tasks};
use crate::commands::script::Script;
use crate::failure::Failure;
use serde_json::json;
use std::ffi::OsString;
use std::fs;
use std::process::Stdio;

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
    let todo = grid.numbers(State::is_open);
    if todo.is_empty() {
        return conclude(grid.all, grid.queued, grid.quiet);
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
    let ended = Script::start(SCRIPT, &[], &plan, out)?.end(failed);
    let _ = fs::remove_dir_all(&tasks.folder);
    ended?;
    conclude(grid.all, grid.queued, grid.quiet)
}
