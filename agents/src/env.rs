//! What an agent sees: a batch of environments that reset themselves.

use crate::error::Result;
use crate::spaces::Spaces;
use serde::{Deserialize, Serialize};

/// The result of one step of `n` environments; row `i` is environment `i`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Observations to act on next, `n x obs_dim`: of a new episode where the last one ended.
    pub obs: Vec<f32>,
    /// True successor observations, `n x obs_dim`: equal to `obs` except where an episode ended.
    pub next_obs: Vec<f32>,
    /// Rewards, length `n`.
    pub rewards: Vec<f64>,
    /// Whether the task ended (no bootstrapping), length `n`.
    pub terminated: Vec<bool>,
    /// Whether the episode was cut short (bootstrapping goes on), length `n`. Both may be true.
    pub truncated: Vec<bool>,
}

impl Step {
    /// Room for `n` environments with `obs_dim` numbers per observation.
    pub fn new(n: usize, obs_dim: usize) -> Self {
        Self {
            obs: vec![0.0; n * obs_dim],
            next_obs: vec![0.0; n * obs_dim],
            rewards: vec![0.0; n],
            terminated: vec![false; n],
            truncated: vec![false; n],
        }
    }

    /// Copies the rows of `from` to the rows from `first` on.
    pub fn copy_rows(&mut self, first: usize, from: &Self) {
        let n = from.rewards.len();
        let obs_dim = from.obs.len() / n.max(1);
        let (rows, numbers) = (first..first + n, first * obs_dim..(first + n) * obs_dim);
        self.obs[numbers.clone()].copy_from_slice(&from.obs);
        self.next_obs[numbers].copy_from_slice(&from.next_obs);
        self.rewards[rows.clone()].copy_from_slice(&from.rewards);
        self.terminated[rows.clone()].copy_from_slice(&from.terminated);
        self.truncated[rows].copy_from_slice(&from.truncated);
    }

    /// Whether environment `i`'s episode ended, for either reason.
    pub fn ended(&self, i: usize) -> bool {
        self.terminated[i] || self.truncated[i]
    }
}

/// `n` environments stepped together. An environment whose episode ends resets itself at once.
pub trait Env {
    /// The spaces all `n` share.
    fn spaces(&self) -> &Spaces;

    /// How many environments this is.
    fn num_envs(&self) -> usize {
        1
    }

    /// Starts new episodes and writes the first observations (`n x obs_dim`). With a seed,
    /// environment `i` is seeded with `seed + i`.
    fn reset(&mut self, seed: Option<u64>, obs: &mut [f32]) -> Result<()>;

    /// Takes one action per environment (`n x action_dim`) and fills `step`.
    fn step(&mut self, actions: &[f32], step: &mut Step) -> Result<()>;
}

/// All that is needed to bring one environment back; only its own kind reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnvState(pub Vec<u8>);

/// How an environment came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Restored {
    /// It goes on as if it had never stopped: it has answered as before.
    Exact,
    /// It was handed the state that it gave itself, which nobody else can check.
    OwnState,
    /// Its episode could not be played again, so it has begun a new one.
    NewEpisode,
}

/// Environments whose state can be saved.
pub trait Resumable: Env {
    /// From now on what is needed is recorded; call it before the first reset. Runs without checkpoints do not pay for
    /// it.
    fn record(&mut self) -> Result<()>;

    /// The state of each environment, in their order, whatever process steps it.
    ///
    /// # Errors
    /// [`crate::Error::NotRecorded`] without [`record`](Self::record).
    fn save(&mut self) -> Result<Vec<EnvState>>;

    /// Brings freshly made environments to `states` (one per environment) and writes the current observations
    /// (`n x obs_dim`). Recording is on afterwards.
    ///
    /// # Errors
    /// [`crate::Error::EnvCount`] for another number of states, [`crate::Error::EnvState`] for one that cannot be read.
    fn restore(&mut self, states: &[EnvState], obs: &mut [f32]) -> Result<Vec<Restored>>;
}
