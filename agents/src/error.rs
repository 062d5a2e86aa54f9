//! The one error type of this crate.

use crate::spaces::Spaces;

/// What can go wrong in an agent, its engine or its training loop.
///
/// Each variant carries the value that was wrong and says what would be right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration value that an algorithm cannot take.
    #[error("`{key}` is {value}: {reason}")]
    Config {
        /// The configuration key, dotted where nested.
        key: String,
        /// The value as the user wrote it.
        value: String,
        /// What the key accepts.
        reason: String,
    },
    /// No algorithm has this name.
    #[error(
        "unknown algorithm `{name}`: the nearest is `{nearest}` (`stac-bench algos` lists all)"
    )]
    UnknownAlgorithm {
        /// The name that was asked for.
        name: String,
        /// The registered name closest to it.
        nearest: &'static str,
    },
    /// The algorithm needs other spaces than the environment has.
    #[error("`{algo}` needs {needs}, but the environment has {has}")]
    Spaces {
        /// The algorithm.
        algo: &'static str,
        /// The spaces it takes.
        needs: &'static str,
        /// The spaces at hand.
        has: Spaces,
    },
    /// The environment failed. The message is the environment's own.
    #[error("the environment failed in {during}: {message}")]
    Env {
        /// The call that failed: `make`, `reset`, `step`, …
        during: &'static str,
        /// One line: the exception's type and message.
        message: String,
        /// The traceback, where there is one; shown at `-v`.
        traceback: Option<String>,
    },
    /// An environment's state was asked for, but nothing was recorded.
    #[error("an environment's state is not there: call `record` before its first reset")]
    NotRecorded,
    /// There are more or fewer saved states than environments.
    #[error("{found} saved environments do not fit {expected}: go on with as many as were saved")]
    EnvCount {
        /// How many environments there are.
        expected: usize,
        /// How many were saved.
        found: usize,
    },
    /// The saved state of an environment cannot be read.
    #[error(
        "the saved state of an environment cannot be read ({0}): go on from another checkpoint"
    )]
    EnvState(String),
    /// The environment returned a number that agents cannot compute with: NaN, or one whose square is too large for
    /// float32.
    #[error(
        "the environment returned {what} of {value} at step {step}{}",
        if value.is_finite() { ": its square is too large for float32, so scale it down" } else { "" }
    )]
    OutOfRange {
        /// `a reward` or `an observation`.
        what: &'static str,
        /// The offending number.
        value: f64,
        /// Environment step at which it came.
        step: u64,
    },
    /// The same in a replay memory that was filled from elsewhere.
    #[error(
        "row {row} of the replay memory has {what} of {value}: look at where it was loaded from"
    )]
    Remembered {
        /// `a reward`, `an observation` or `an action`.
        what: &'static str,
        /// The offending number.
        value: f64,
        /// Which transition, from 0.
        row: usize,
    },
    /// The environment of an evaluation failed.
    #[error("in the evaluation after {steps} steps of training: {error}")]
    Evaluation {
        /// Environment steps of training.
        steps: u64,
        /// What failed; its step count is that of the evaluation.
        error: Box<Error>,
    },
    /// Weights or losses are no longer finite, so training cannot go on.
    #[error(
        "{what} became non-finite at update {update}: lower `learning_rate` (it is {learning_rate:e}), or set back what was set \
         far from its default"
    )]
    Diverged {
        /// The quantity that is no longer finite.
        what: &'static str,
        /// Gradient update at which it was found.
        update: u64,
        /// The learning rate in force.
        learning_rate: f64,
    },
    /// The device cannot be used.
    #[error("device `{device}` is not available: {reason}")]
    Device {
        /// The device asked for.
        device: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// Something needs the follower's outputs, and the follower has none.
    #[error(
        "`{asked}` needs a follower that is a function of outputs: a critic that fits targets, or an actor whose critics are \
         piecewise linear and whose noise does not depend on the state; take `solver: cg` with `curvature: hessian`"
    )]
    NoOutputs {
        /// The setting that asks for them.
        asked: &'static str,
    },
    /// An update was asked for before there was anything to learn from.
    #[error("the replay memory is empty: there is nothing to learn from")]
    NothingRemembered,
    /// A batch without rows was given.
    #[error("the batch is empty; it must have at least one row")]
    EmptyBatch,
    /// A minibatch was given to an algorithm that takes none.
    #[error("this algorithm learns from whole trajectories, not from a minibatch")]
    NoMinibatch,
    /// An agent cannot go on as another kind of agent.
    #[error("an agent keeps its algorithm, engine and device: make a new one")]
    AnotherKind,
    /// Stored parameters do not fit the agent.
    #[error("parameters do not fit: {0}")]
    Parameters(String),
    /// A saved state does not fit what should go on from it.
    #[error("the saved state of {of} does not fit: {reason}")]
    State {
        /// `the agent`, `an environment`, …
        of: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint cannot be written or read.
    #[error("checkpoint {}: {reason}", path.display())]
    Checkpoint {
        /// The file or folder.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The user interrupted the run.
    #[error("interrupted")]
    Interrupted,
    /// A signal other than the user's Ctrl-C ended the run.
    #[error("terminated by a signal")]
    Terminated,
    /// libtorch reported an error.
    #[cfg(feature = "torch")]
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// Code outside this crate failed, such as an observer; the message is its own.
    #[error("{0}")]
    External(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether a signal is the reason.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Terminated)
    }

    /// A configuration error about `key`, whose value is `value`.
    pub fn config(key: impl Into<String>, value: impl ToString, reason: impl Into<String>) -> Self {
        Self::Config { key: key.into(), value: value.to_string(), reason: reason.into() }
    }
}
