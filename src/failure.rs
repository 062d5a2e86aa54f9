//! What a command can fail with, and the exit status that says so.

use crate::config::ConfigError;
use std::path::{Path, PathBuf};

/// Why a command ended before its work was done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An option's value is wrong in a way that only this command knows.
    #[error("{0}")]
    Usage(String),
    /// A run of the same algorithm, environment and seed is there.
    #[error("{} holds a run already: `--resume` goes on with it, `--overwrite` replaces it, another `--seed` or `--out` goes beside it", .0.display())]
    RunExists(PathBuf),
    /// Another process owns the folder.
    #[error("{} belongs to a run that is going on (process {owner}): wait for its end, or stop it", path.display())]
    Running {
        /// The folder.
        path: PathBuf,
        /// The owner's process id, as it wrote it.
        owner: String,
    },
    /// A folder that is to be replaced is no run.
    #[error("{} is not empty and holds no run (`manifest.json` is not in it), so it is not replaced: take another `--out`, or empty it", .0.display())]
    NoRunToReplace(PathBuf),
    /// The folder of a run is no longer where it was.
    #[error("{} was moved or deleted while the run was going on{}", path.display(), now.as_ref().map_or(String::new(), |now| format!("; what there is lies in {}", now.display())))]
    Moved {
        /// Where it was.
        path: PathBuf,
        /// Where it is now, if it still is.
        now: Option<PathBuf>,
    },
    /// A run cannot go on with other settings.
    #[error("{} cannot go on with other settings: {}", path.display(), differences.join(", "))]
    OtherSettings {
        /// The run's folder.
        path: PathBuf,
        /// Each setting with both values.
        differences: Vec<String>,
    },
    /// A run has nothing to go on from.
    #[error("{} {}{} and left no checkpoint: {}", path.display(), if *done { "is done" } else { "stopped" }, if *steps > 0 { format!(" after {steps} steps") } else { String::new() }, if *done { "runs with `--keep-checkpoint` can be extended" } else { "its command line begins it again with `--overwrite`" })]
    NoCheckpoint {
        /// The run's folder.
        path: PathBuf,
        /// Environment steps; 0 if its process was killed before it could say.
        steps: u64,
        /// Whether it came to its end.
        done: bool,
    },
    /// A file asks for what may run code.
    #[error("the environment of {} {asks}, which can run code and change what is measured; if you trust it, add {options}", path.display())]
    Consent {
        /// The file or folder.
        path: PathBuf,
        /// What it asks for.
        asks: String,
        /// The options that allow it.
        options: String,
    },
    /// A folder that should hold a run does not.
    #[error("{} holds no run: {reason}", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// A file could not be written or read.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `write`, `create`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The agent, the environment or the training loop.
    #[error(transparent)]
    Agents(#[from] agents::Error),
    /// Folders of a grid's runs hold other runs.
    #[error("{} of the grid's folders hold something else; take another `--out` or another `name`:\n{}", .0.len(), .0.join("\n"))]
    OtherRuns(Vec<String>),
    /// Some runs of a grid failed.
    #[error("{failed} of {runs} runs failed: the same command tries them again")]
    Sweep {
        /// How many failed.
        failed: usize,
        /// How many there are.
        runs: usize,
    },
    /// A scheduler's task was told to end before its run had come any further.
    #[error("{} wrote no checkpoint in the time that it had: give it more (`--slurm time=…`), or let it write them more often (`--checkpoint-freq`); runs of RL Zoo write none", .0.display())]
    NoProgress(PathBuf),
    /// A command of the scheduler failed.
    #[error("`{command}` failed: {reason}")]
    Scheduler {
        /// The command.
        command: &'static str,
        /// What it said, or why it could not be run.
        reason: String,
    },
    /// The report was not written; it has said why. The exit status.
    #[error("there is no report")]
    Report(u8),
    /// Another harness could not train, and why.
    #[error("RL Zoo: {0}")]
    Harness(String),
    /// Some of several seeds failed.
    #[error("{} of {seeds} seeds failed: {}", failed.len(), failed.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))]
    Seeds {
        /// Which failed.
        failed: Vec<u64>,
        /// How many there were.
        seeds: u64,
    },
}

impl Failure {
    /// For `map_err`: `action` on `path` failed.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// 1: the run failed, 2: the command or configuration was wrong, 130: interrupted,
    /// 143: terminated by another signal.
    pub fn exit_status(&self) -> u8 {
        use agents::Error as E;
        match self {
            Self::Config(_)
            | Self::Usage(_)
            | Self::RunExists(_)
            | Self::NoRunToReplace(_)
            | Self::Running { .. }
            | Self::OtherSettings { .. }
            | Self::NoCheckpoint { .. }
            | Self::NoRun { .. }
            | Self::OtherRuns(_)
            | Self::Scheduler { .. }
            | Self::Consent { .. } => 2,
            Self::Agents(E::External(inner)) => {
                inner.downcast_ref::<Self>().map_or(1, Self::exit_status)
            }
            Self::Agents(E::Interrupted) => 130,
            Self::Agents(E::Terminated) => 143,
            Self::Agents(
                E::Config { .. }
                | E::UnknownAlgorithm { .. }
                | E::Spaces { .. }
                | E::Device { .. }
                | E::Env { during: "make", .. },
            ) => 2,
            Self::Report(status) => *status,
            Self::File { .. }
            | Self::Moved { .. }
            | Self::Harness(_)
            | Self::NoProgress(_)
            | Self::Agents(_)
            | Self::Seeds { .. }
            | Self::Sweep { .. } => 1,
        }
    }

    /// Whether a signal ended the run.
    pub fn is_interruption(&self) -> bool {
        matches!(self.exit_status(), 130 | 143)
    }

    /// The Python traceback behind this failure, where there is one.
    pub fn traceback(&self) -> Option<&str> {
        match self {
            Self::Agents(agents::Error::Env { traceback, .. }) => traceback.as_deref(),
            _ => None,
        }
    }
}

/// A failure inside the training loop keeps its type on the way through `agents`.
impl From<Failure> for agents::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Agents(error) => error,
            other => Self::External(Box::new(other)),
        }
    }
}
