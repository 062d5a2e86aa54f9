//! What the training loop, evaluation and checkpoints need of an agent.

use crate::env::{Spaces, Step};
use crate::error::Result;

/// How actions are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As in training: random at the start, noisy or sampled later.
    Explore,
    /// The policy's mean, or its most likely action; no noise.
    Deterministic,
}

/// One named tensor of an agent, named and shaped as in Stable-Baselines3's `state_dict`.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// For instance `actor.mu.0.weight`.
    pub name: String,
    /// For instance `[256, 17]`.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// Means of an agent's measures since they were last asked for, by TensorBoard tag.
pub type Metrics = Vec<(&'static str, f64)>;

/// A learner that acts. Object-safe: the registry builds it, everybody else drives it.
pub trait Agent: Send {
    /// The spaces this agent was built for.
    fn spaces(&self) -> &Spaces;

    /// Writes one action (`n x action_dim`) per observation (`n x obs_dim`), within the
    /// environment's bounds.
    fn act(&mut self, obs: &[f32], mode: Mode, actions: &mut [f32]) -> Result<()>;

    /// Stores what `actions` in `obs` led to, and learns when an update is due.
    fn observe(&mut self, obs: &[f32], actions: &[f32], step: &Step) -> Result<()>;

    /// Gradient updates so far.
    fn updates(&self) -> u64;

    /// Measures since the last call, averaged; empty if there was no update.
    fn metrics(&mut self) -> Metrics;

    /// Measures too dear for every update, taken at evaluations (extreme eigenvalues).
    fn diagnostics(&mut self) -> Result<Metrics> {
        Ok(Metrics::new())
    }

    /// All parameters, targets included.
    fn parameters(&self) -> Vec<Parameter>;

    /// Replaces all parameters. Names and shapes must be those of [`Agent::parameters`].
    fn set_parameters(&mut self, parameters: &[Parameter]) -> Result<()>;
}
