//! What is wrong with a configuration.

use super::origin::Origin;
use std::path::PathBuf;

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not YAML, or YAML that says nothing a setting can be.
    #[error("{origin}: {reason}")]
    Syntax {
        /// The file.
        origin: Origin,
        /// The parser's message.
        reason: String,
    },
    /// A file that says nothing about this environment.
    #[error("{origin}: it has neither `default` nor `{env}`; the nearest is `{nearest}`")]
    NoEntry {
        /// The file.
        origin: Origin,
        /// Gymnasium id.
        env: String,
        /// The entry closest to either.
        nearest: String,
    },
    /// An argument of `--set` that is no assignment.
    #[error("--set {text}: {reason}; write `--set key=value`")]
    Assignment {
        /// The argument.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that the algorithm does not have.
    #[error("{origin}: unknown key `{key}`; the nearest is `{nearest}`")]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The dotted key.
        key: String,
        /// The known key closest to it.
        nearest: String,
    },
    /// A value of the wrong type or out of its range.
    #[error(
        "{}`{key}` is {value}: {reason}",
        origin.as_ref().map(|o| format!("{o}: ")).unwrap_or_default()
    )]
    Invalid {
        /// Where it stands.
        origin: Option<Origin>,
        /// The dotted key.
        key: String,
        /// The value as JSON.
        value: String,
        /// What the key accepts, and the name closest to the value where names are accepted.
        reason: String,
    },
    /// A run of a grid that cannot be.
    #[error("{origin}: run `{label}` on {env}: {reason}")]
    Column {
        /// Where it stands.
        origin: Origin,
        /// The run's label.
        label: String,
        /// Gymnasium id.
        env: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<agents::Error> for ConfigError {
    fn from(error: agents::Error) -> Self {
        let (key, value, reason) = match error {
            agents::Error::Config { key, value, reason } => (key, value, reason),
            other => ("settings".to_owned(), String::new(), other.to_string()),
        };
        Self::Invalid { origin: None, key, value, reason }
    }
}
