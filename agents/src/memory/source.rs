//! Where an agent's batches come from, as the agent sees it.

use super::{Replay, Rollout};
use crate::env::Step;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What an agent remembers: all of it is part of the agent's state.
pub trait Memory: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// Adds what the actions `drawn` in `obs` led to: a row per environment.
    fn store(&mut self, obs: &[f32], drawn: &[f32], step: &Step);

    /// Forgets a rollout that was begun.
    fn begin_rollout(&mut self);

    /// Goes on in a memory of the size of `fresh`.
    fn resize_to(&mut self, fresh: &Self);

    /// For those who know which memory it is.
    fn as_mut(&mut self) -> MemoryMut<'_>;
}

/// A memory by its kind.
pub enum MemoryMut<'m> {
    /// Transitions.
    Replay(&'m mut Replay),
    /// Trajectories since the last update.
    Rollout(&'m mut Rollout),
}

impl<'m> MemoryMut<'m> {
    /// The replay memory, if it is one.
    pub fn replay(self) -> Option<&'m mut Replay> {
        match self {
            Self::Replay(replay) => Some(replay),
            Self::Rollout(_) => None,
        }
    }

    /// The rollout, if it is one.
    pub fn rollout(self) -> Option<&'m mut Rollout> {
        match self {
            Self::Replay(_) => None,
            Self::Rollout(rollout) => Some(rollout),
        }
    }
}

impl Memory for Replay {
    fn store(&mut self, obs: &[f32], drawn: &[f32], step: &Step) {
        let (n, m) = (self.obs_dim(), self.action_dim());
        self.set_stride(step.rewards.len());
        let rows =
            obs.chunks_exact(n).zip(drawn.chunks_exact(m)).zip(step.next_obs.chunks_exact(n));
        for (i, ((obs, action), next_obs)) in rows.enumerate() {
            let end = (step.terminated[i], step.truncated[i] && !step.terminated[i]);
            self.push(obs, action, step.rewards[i] as f32, next_obs, end);
        }
    }

    /// Transitions are of no rollout.
    fn begin_rollout(&mut self) {}

    fn resize_to(&mut self, fresh: &Self) {
        if self.capacity() != fresh.capacity() {
            *self = self.resized(fresh.capacity());
        }
    }

    fn as_mut(&mut self) -> MemoryMut<'_> {
        MemoryMut::Replay(self)
    }
}

impl Memory for Rollout {
    fn store(&mut self, obs: &[f32], drawn: &[f32], step: &Step) {
        self.push(obs, drawn, step);
    }

    fn begin_rollout(&mut self) {
        self.clear();
    }

    /// It has no size of its own.
    fn resize_to(&mut self, _fresh: &Self) {}

    fn as_mut(&mut self) -> MemoryMut<'_> {
        MemoryMut::Rollout(self)
    }
}
