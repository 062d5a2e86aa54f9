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
    #[error("{} holds a run already: `--overwrite` replaces it, another `--seed` or `--out` goes beside it", .0.display())]
    RunExists(PathBuf),
    /// A folder that should hold a run does not.
    #[error("{} holds no run that can be evaluated: {reason}", path.display())]
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
    /// Some of several seeds failed.
    #[error("{failed} of {seeds} seeds failed")]
    Seeds {
        /// How many failed.
        failed: u64,
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
            Self::Config(_) | Self::Usage(_) | Self::RunExists(_) | Self::NoRun { .. } => 2,
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
            Self::File { .. } | Self::Agents(_) | Self::Seeds { .. } => 1,
        }
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
