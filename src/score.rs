//! The result of one evaluation.

use serde::{Deserialize, Serialize};

/// Mean and deviation of an evaluation, and the step it was made at.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Score {
    /// Environment steps before it.
    pub steps: u64,
    /// Mean return.
    pub mean: f64,
    /// Standard deviation of the returns.
    pub std: f64,
}
