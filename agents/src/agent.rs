//! What the training loop, evaluation and checkpoints need of an agent.

use crate::algo::StackelbergConfig;
use crate::env::{Spaces, Step};
use crate::error::{Error, Result};
use crate::game::Solve;
use crate::memory::{Batch, Normalizer, Replay};

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

/// Adam's state for one named tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// The [`Parameter`]'s name.
    pub name: String,
    /// Steps taken.
    pub step: i32,
    /// Exponential mean of gradients.
    pub mean: Vec<f32>,
    /// Exponential mean of squared gradients.
    pub square: Vec<f32>,
}

/// Both players' gradients at one point, by parameter; both objectives are losses.
#[derive(Clone, Debug, PartialEq)]
pub struct GameGradients {
    /// `D1 f1`
    pub leader: Vec<Parameter>,
    /// `D12 f2 (D22 f2 + lambda I)^-1 D2 f1`
    pub implicit: Vec<Parameter>,
    /// `D f1`, their difference.
    pub total: Vec<Parameter>,
    /// `D2 f2`
    pub follower: Vec<Parameter>,
    /// How the implicit term's solve went.
    pub solve: Solve,
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

    /// Optimiser state by parameter; empty where the optimiser has none or has taken no step.
    fn moments(&self) -> Vec<Moments> {
        Vec::new()
    }

    /// Replaces the optimisers' state; nothing given is a fresh start.
    fn set_moments(&mut self, _moments: &[Moments]) -> Result<()> {
        Ok(())
    }

    /// What the agent remembers, where it samples from a memory.
    fn replay(&mut self) -> Option<&mut Replay> {
        None
    }

    /// Counts environment steps on from `steps`, with a new round or batch.
    fn set_steps(&mut self, _steps: u64) {}

    /// Follows a schedule: the step size from now on. A `critic_learning_rate` of its own stays.
    fn set_learning_rate(&mut self, _learning_rate: f64) {}

    /// Standardises what the policy sees and what is sampled, but not what is remembered.
    fn set_normalizer(&mut self, _normalizer: Option<Normalizer>) {}

    /// The game's gradients at the current parameters on `batch`, whose actions are in `[-1, 1]`.
    /// Without a leader of its own, the actor leads.
    fn game_gradients(
        &mut self,
        _batch: &Batch<f32>,
        _stackelberg: &StackelbergConfig,
    ) -> Result<GameGradients> {
        Err(Error::config("batch", "a minibatch", "this algorithm learns from whole trajectories"))
    }
}
