//! A sweep as job arrays of SLURM: each task trains one run, and goes back to the queue when its time is up.
//!
//! What a task does must not change while it waits, so the grid is copied to `<out>/<name>/slurm/<number>/`, beside what
//! its tasks print. Nothing is asked of SLURM's accounting, which many clusters lack: a run is done when its manifest says so.

use super::plan;
use super::state::State;
use super::tasks::{self, Grid, Tasks};
use crate::config::grid::GridFile;
use crate::failure::Failure;
use crate::files;
use crate::run_dir::write_whole;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of submissions, below that of the grid.
const PLACE: &str = "slurm";
/// The file of a submission that says which arrays it was.
const JOBS: &str = "jobs.json";
/// What every task runs.
const SCRIPT: &str = include_str!("slurm.sh");
/// The most tasks of an array, as SLURM comes (`MaxArraySize`).
const LARGEST: usize = 1_000;
/// How long before its time limit a task is told; the user may say `signal=B:USR1@SECONDS`.
const WARNING: &str = "B:USR1@120";
/// The states of a task that has not ended.
const WAITING: &str = "pending,configuring,running,suspended,completing";
/// Options of `sbatch` that need no value.
const BARE: [&str; 6] =
    ["contiguous", "exclusive", "hold", "overcommit", "oversubscribe", "spread-job"];
/// Options of `sbatch` that are the sweep's own.
const OWN: [&str; 9] = [
    "array",
    "export",
    "no-requeue",
    "open-mode",
    "parsable",
    "requeue",
    "test-only",
    "wait",
    "wrap",
];

/// An array that SLURM has taken.
#[derive(Serialize, Deserialize)]
struct Array {
    /// Its job's number, and its cluster's name where there are several.
    job: String,
    /// The run of the plan that is task 0.
    first: usize,
}

/// Submits what is neither done nor on its way; `options` are the user's, of `sbatch`.
///
/// # Errors
/// [`Failure::Usage`] for an option that is not the user's, [`Failure::Scheduler`] if SLURM refuses.
pub fn submit(grid: &Grid<'_>, options: &[String]) -> Result<(), Failure> {
    let options = as_words(options)?;
    let todo = grid.numbers(State::is_left);
    if todo.is_empty() {
        if !grid.quiet {
            say!("{} runs: none that is not done, running or queued", grid.all.len());
        }
        return Ok(());
    }
    let tasks = Tasks::prepare(grid, PLACE)?;
    let script = tasks.folder.join("run.sh");
    write_whole(&script, SCRIPT.as_bytes())?;
    let mut arrays: Vec<Array> = Vec::new();
    for numbers in todo.chunk_by(|a, b| a / LARGEST == b / LARGEST) {
        let first = numbers.first().map_or(0, |first| first / LARGEST * LARGEST);
        let mut words = own_words(grid, &tasks.folder, first, numbers);
        words.extend(options.iter().map(Into::into));
        words.extend([script.clone().into(), first.to_string().into()]);
        words.extend(tasks.command.iter().cloned());
        let said = match ask("sbatch", &words) {
            Ok(said) => said,
            Err(failure) if arrays.is_empty() => {
                let _ = fs::remove_dir_all(&tasks.folder);
                return Err(failure);
            }
            Err(failure) => {
                let reason =
                    format!("{failure}; {}, and the same command submits the rest", jobs(&arrays));
                return Err(Failure::Scheduler { command: "sbatch", reason });
            }
        };
        arrays.push(Array { job: said.trim().to_owned(), first });
        let json = serde_json::to_vec(&arrays).map_err(std::io::Error::from);
        let path = tasks.folder.join(JOBS);
        let written = json.map_err(Failure::file("write", &path));
        written.and_then(|json| write_whole(&path, &json)).map_err(|failure| {
            let reason = format!("{failure}; {}: nothing will remember that", jobs(&arrays));
            Failure::Scheduler { command: "sbatch", reason }
        })?;
    }
    if !grid.quiet {
        say!("{} runs submitted: {}", todo.len(), jobs(&arrays));
        say!("what they print: {}", tasks.folder.display());
    }
    Ok(())
}

/// Which arrays SLURM has taken, in words.
fn jobs(arrays: &[Array]) -> String {
    let jobs: Vec<&str> = arrays.iter().map(|array| array.job.as_str()).collect();
    format!("job array {}", jobs.join(", "))
}

/// The sweep's own options of `sbatch`, which those of the user follow.
fn own_words(grid: &Grid<'_>, folder: &Path, first: usize, numbers: &[usize]) -> Vec<OsString> {
    let numbers: Vec<String> = numbers.iter().map(|number| (number - first).to_string()).collect();
    let at_a_time = grid.jobs.map_or_else(String::new, |jobs| format!("%{jobs}"));
    let output = folder.to_string_lossy().replace('%', "%%");
    [
        "--parsable".to_owned(),
        "--requeue".to_owned(),
        "--open-mode=append".to_owned(),
        "--export=ALL".to_owned(),
        format!("--array={}{at_a_time}", numbers.join(",")),
        format!("--job-name={}", grid.file.grid.name),
        format!("--output={output}/%A_%a.log"),
        format!("--signal={WARNING}"),
        format!("--cpus-per-task={}", grid.threads()),
    ]
    .map(Into::into)
    .into()
}

/// The folders of runs that jobs are to train.
///
/// # Errors
/// [`Failure::Scheduler`] if SLURM does not tell, or nobody knows which jobs there were.
pub fn queued(file: &GridFile, out: &Path) -> Result<HashSet<PathBuf>, Failure> {
    let mut queued = HashSet::new();
    let submissions =
        fs::read_dir(tasks::folder(file, out, PLACE)?).into_iter().flatten().flatten();
    for folder in submissions.map(|entry| entry.path()) {
        let path = folder.join(JOBS);
        if !path.is_file() {
            continue;
        }
        let arrays = files::read(&path, files::WRITTEN).map_err(Failure::file("read", &path))?;
        let arrays: Vec<Array> = serde_json::from_slice(&arrays).map_err(|error| {
            let reason = format!(
                "{} does not say which jobs there were ({error}): once they have ended, remove it",
                path.display()
            );
            Failure::Scheduler { command: "squeue", reason }
        })?;
        let mut numbers = Vec::new();
        for array in &arrays {
            numbers.extend(array.waiting()?);
        }
        if !numbers.is_empty() {
            let grid = GridFile::read(&folder.join(tasks::GRID))?;
            queued.extend(numbers.iter().filter_map(|&number| plan::folder(&grid, out, number)));
        }
    }
    Ok(queued)
}

impl Array {
    /// The runs whose tasks have not ended. SLURM knows nothing of jobs that ended long ago.
    fn waiting(&self) -> Result<Vec<usize>, Failure> {
        // "number", or "number;cluster".
        let mut parts = self.job.split(';');
        let (job, cluster) = (parts.next().unwrap_or_default(), parts.next());
        let states = format!("--states={WAITING}");
        let words = ["--noheader", "--array", "--format=%K", &states, "--jobs", job];
        let mut words: Vec<OsString> = words.map(Into::into).into();
        words.extend(cluster.map(|cluster| format!("--clusters={cluster}").into()));
        let said = match ask("squeue", &words) {
            Err(Failure::Scheduler { reason, .. }) if reason.contains("Invalid job id") => {
                return Ok(Vec::new());
            }
            said => said?,
        };
        let tasks = said.lines().filter_map(|line| line.trim().parse::<usize>().ok());
        Ok(tasks.map(|task| self.first + task).collect())
    }
}

/// The user's `key=value` as options of `sbatch`.
fn as_words(given: &[String]) -> Result<Vec<String>, Failure> {
    let wrong =
        |option: &str, reason: &str| Err(Failure::Usage(format!("--slurm {option}: {reason}")));
    given
        .iter()
        .map(|option| {
            let key = option.split('=').next().unwrap_or_default();
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            if key.is_empty() || key.starts_with('-') || !key.chars().all(plain) {
                return wrong(
                    option,
                    "say KEY=VALUE, as `sbatch` has it: partition=long, time=04:00:00",
                );
            }
            if !(option.contains('=') || BARE.contains(&key)) {
                return wrong(option, "it needs a value: KEY=VALUE");
            }
            // `sbatch` takes abbreviations.
            if OWN.iter().any(|own| own.starts_with(key)) {
                return wrong(option, "that is the sweep's own business");
            }
            if "signal".starts_with(key) && !option.starts_with("signal=B:USR1@") {
                return wrong(option, "a run listens to USR1: say signal=B:USR1@SECONDS");
            }
            Ok(format!("--{option}"))
        })
        .collect()
}

/// What a command of SLURM prints.
fn ask(command: &'static str, words: &[OsString]) -> Result<String, Failure> {
    let failed = |reason| Failure::Scheduler { command, reason };
    let done = Command::new(command).args(words).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed(
            "it is not on the PATH: `--on slurm` works where SLURM's commands are".to_owned(),
        ),
        _ => failed(error.to_string()),
    })?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let said = said.lines().map(|line| line.trim_start_matches("sbatch: error: ").trim());
        return Err(failed(said.collect::<Vec<_>>().join("; ")));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
