//! What the training loop, evaluation and checkpoints need of an agent.

use crate::env::{Spaces, Step};
use crate::error::{Error, Result};
use crate::game::{Solve, StackelbergConfig};
use crate::memory::{Batch, Normalizer, Replay, Rollout};
use crate::metrics::Metrics;
use crate::params::{Moments, Parameter};
use std::any::Any;

/// How actions are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As in training: random at the start, noisy or sampled later.
    Explore,
    /// The policy's mean, or its most likely action; no noise.
    Deterministic,
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

/// A learner that acts. Object-safe: the registry builds it, everybody else drives it.
pub trait Agent: Any + Send {
    /// The spaces this agent was built for.
    fn spaces(&self) -> &Spaces;

    /// Writes one action (`n x action_dim`) per observation (`n x obs_dim`), within the
    /// environment's bounds.
    fn act(&mut self, obs: &[f32], mode: Mode, actions: &mut [f32]) -> Result<()>;

    /// Stores what `actions` in `obs` led to. Returns how many updates are due now.
    fn store(&mut self, obs: &[f32], actions: &[f32], step: &Step) -> Result<u64>;

    /// Makes one update from what is stored.
    fn learn(&mut self) -> Result<()>;

    /// Stores, and makes the updates that are due.
    fn observe(&mut self, obs: &[f32], actions: &[f32], step: &Step) -> Result<()> {
        for _ in 0..self.store(obs, actions, step)? {
            self.learn()?;
        }
        Ok(())
    }

    /// Takes the settings of `new`, an agent of the same networks, and goes on where it is: with its
    /// parameters, optimisers, memory, generators and counts.
    fn configure(&mut self, new: Box<dyn Agent>) -> Result<()>;

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

    /// What the next update learns from, where that is a rollout.
    fn rollout(&self) -> Option<&Rollout> {
        None
    }

    /// What an adaptive damping has come to, in units of its start.
    fn damping(&self) -> f64 {
        1.0
    }

    /// Replaces it.
    fn set_damping(&mut self, _factor: f64) {}

    /// New generators, as those of a fresh agent of `seed`.
    fn reseed(&mut self, seed: u64);

    /// Counts environment steps on from `steps`, with a new rollout.
    fn set_steps(&mut self, _steps: u64) {}

    /// Follows a schedule: the step size from now on. A `critic_learning_rate` of its own stays.
    fn set_learning_rate(&mut self, _learning_rate: f64) {}

    /// Standardises what the policy sees and what is sampled, but not what is remembered. Returns
    /// what did so before.
    fn set_normalizer(&mut self, _normalizer: Option<Normalizer>) -> Option<Normalizer> {
        None
    }

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
