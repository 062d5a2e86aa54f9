//! What others need of an agent, each what it needs: the loop, observers, saved models, Python.

use crate::env::Step;
use crate::error::Result;
use crate::game::{SolveInfo, StackelbergConfig};
use crate::memory::{Batch, MemoryMut, Normalizer};
use crate::metrics::Metrics;
use crate::params::{Moments, Parameter};
use crate::spaces::Spaces;
use serde::{Deserialize, Serialize};
use std::any::Any;

/// How actions are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As in training: random at the start, noisy or sampled later.
    Explore,
    /// The policy's mean, or its most likely action; no noise.
    Deterministic,
}

/// The actions of one step, a row per environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Actions {
    /// What the environments are sent, within their bounds: `n x action_dim`.
    pub env: Vec<f32>,
    /// What the policy drew for that, which is what the agent stores: `n x action_dim`, in the unit box off policy.
    pub drawn: Vec<f32>,
}

impl Actions {
    /// Room for `len` numbers.
    pub fn new(len: usize) -> Self {
        Self { env: vec![0.0; len], drawn: vec![0.0; len] }
    }
}

/// What the training loop needs.
pub trait Agent {
    /// Chooses an action for each row of observations (`n x obs_dim`).
    fn act(&mut self, obs: &[f32], mode: Mode, actions: &mut Actions) -> Result<()>;

    /// Stores what the actions `drawn` in `obs` led to. Returns how many updates are due now.
    fn store(&mut self, obs: &[f32], drawn: &[f32], step: &Step) -> Result<u64>;

    /// Makes one update from what is stored.
    fn learn(&mut self) -> Result<()>;

    /// Stores, and makes the updates that are due.
    fn observe(&mut self, obs: &[f32], drawn: &[f32], step: &Step) -> Result<()> {
        for _ in 0..self.store(obs, drawn, step)? {
            self.learn()?;
        }
        Ok(())
    }
}

/// What observers read.
pub trait Introspect {
    /// The spaces this agent was built for.
    fn spaces(&self) -> &Spaces;

    /// Gradient updates so far.
    fn updates(&self) -> u64;

    /// Means of the metrics since the last call; empty if there was no update.
    fn metrics(&mut self) -> Metrics;

    /// Metrics too dear for every update, taken at evaluations (extreme eigenvalues).
    fn diagnostics(&mut self) -> Result<Metrics>;
}

/// Parameters and optimiser state by name.
pub trait StateDict {
    /// All parameters, targets included.
    fn parameters(&self) -> Vec<Parameter>;

    /// Replaces all parameters. Names and shapes must be those of [`StateDict::parameters`].
    fn set_parameters(&mut self, parameters: &[Parameter]) -> Result<()>;

    /// Optimiser state by parameter; empty where the optimiser has none or has taken no step.
    fn moments(&self) -> Vec<Moments>;

    /// Replaces the optimisers' state; nothing given is a fresh start.
    fn set_moments(&mut self, moments: &[Moments]) -> Result<()>;
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
    pub solve: SolveInfo,
}

/// An agent of the registry, whatever its algorithm and engine.
pub trait Learn: Agent + Introspect + StateDict + Any + Send {
    /// Takes the settings of `new`, an agent of the same networks, and goes on where it is: with its
    /// parameters, optimisers, memory, generators and counts.
    fn configure(&mut self, new: Box<dyn Learn>) -> Result<()>;

    /// What it remembers.
    fn memory(&mut self) -> MemoryMut<'_>;

    /// All that it has learnt, drawn and counted, but for what it remembers: bytes for
    /// [`Learn::load_state`].
    fn save_state(&self) -> Result<Vec<u8>>;

    /// Goes on from what [`Learn::save_state`] wrote of an agent of the same settings.
    ///
    /// # Errors
    /// [`crate::Error::State`] if `state` is of another agent; nothing has changed then.
    fn load_state(&mut self, state: &[u8]) -> Result<()>;

    /// What an adaptive damping has come to, in units of its start.
    fn damping(&self) -> f64;

    /// Replaces it.
    fn set_damping(&mut self, factor: f64);

    /// New generators, as those of a fresh agent of `seed`.
    fn reseed(&mut self, seed: u64);

    /// Counts environment steps on from `steps`, with a new rollout.
    fn set_steps(&mut self, steps: u64);

    /// Follows a schedule: the step size from now on. A `critic_learning_rate` of its own stays.
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// Standardises what the policy sees and what is sampled, but not what is remembered. Returns
    /// what did so before.
    fn set_normalizer(&mut self, normalizer: Option<Normalizer>) -> Option<Normalizer>;

    /// The game's gradients at the current parameters on `batch`, whose actions are in `[-1, 1]`.
    /// Without a leader of its own, the actor leads.
    ///
    /// # Errors
    /// [`crate::Error::NoMinibatch`] of algorithms that learn from whole trajectories.
    fn game_gradients(
        &mut self,
        batch: &Batch<f32>,
        stackelberg: &StackelbergConfig,
    ) -> Result<GameGradients>;
}
