//! The replay buffer: a ring of transitions, sampled uniformly with replacement.

use crate::flat::Scalar;
use crate::rng::Rng;

/// A minibatch of `size` transitions, row-major. Actions are in `[-1, 1]` per dimension.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch<T> {
    /// Number of rows.
    pub size: usize,
    /// `size x obs_dim`
    pub obs: Vec<T>,
    /// `size x action_dim`
    pub actions: Vec<T>,
    /// `size`
    pub rewards: Vec<T>,
    /// `size x obs_dim`
    pub next_obs: Vec<T>,
    /// `size`; 1 where the task terminated, 0 elsewhere. Truncation does not count.
    pub dones: Vec<T>,
    /// Standard normal draws for the policy at `obs`, `size x action_dim`; empty if deterministic.
    pub noise: Vec<T>,
    /// Standard normal draws for the policy at `next_obs`; empty if deterministic.
    pub next_noise: Vec<T>,
}

/// A ring of at most `capacity` transitions. Memory is taken as it fills.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    capacity: usize,
    obs_dim: usize,
    action_dim: usize,
    next: usize,
    obs: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    next_obs: Vec<f32>,
    dones: Vec<f32>,
}

impl Replay {
    /// An empty ring.
    pub fn new(capacity: usize, obs_dim: usize, action_dim: usize) -> Self {
        Self {
            capacity,
            obs_dim,
            action_dim,
            next: 0,
            obs: Vec::new(),
            actions: Vec::new(),
            rewards: Vec::new(),
            next_obs: Vec::new(),
            dones: Vec::new(),
        }
    }

    /// Transitions held.
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.rewards.is_empty()
    }

    /// Adds one transition, in place of the oldest when full.
    pub fn push(
        &mut self,
        obs: &[f32],
        action: &[f32],
        reward: f32,
        next_obs: &[f32],
        terminated: bool,
    ) {
        let done = f32::from(u8::from(terminated));
        if self.len() < self.capacity {
            self.obs.extend_from_slice(obs);
            self.actions.extend_from_slice(action);
            self.rewards.push(reward);
            self.next_obs.extend_from_slice(next_obs);
            self.dones.push(done);
        } else {
            let (i, n, m) = (self.next, self.obs_dim, self.action_dim);
            self.obs[i * n..(i + 1) * n].copy_from_slice(obs);
            self.actions[i * m..(i + 1) * m].copy_from_slice(action);
            self.rewards[i] = reward;
            self.next_obs[i * n..(i + 1) * n].copy_from_slice(next_obs);
            self.dones[i] = done;
        }
        self.next = (self.next + 1) % self.capacity;
    }

    /// Fills `batch` with `size` transitions drawn uniformly with replacement; its noise is left
    /// alone. The buffer must not be empty.
    pub fn sample<T: Scalar>(&self, size: usize, rng: &mut Rng, batch: &mut Batch<T>) {
        let (n, m) = (self.obs_dim, self.action_dim);
        batch.size = size;
        for buffer in [
            &mut batch.obs,
            &mut batch.actions,
            &mut batch.rewards,
            &mut batch.next_obs,
            &mut batch.dones,
        ] {
            buffer.clear();
        }
        let widen = |x: &f32| T::of((*x).into());
        for _ in 0..size {
            let i = rng.index(self.len());
            batch.obs.extend(self.obs[i * n..(i + 1) * n].iter().map(widen));
            batch.actions.extend(self.actions[i * m..(i + 1) * m].iter().map(widen));
            batch.rewards.push(widen(&self.rewards[i]));
            batch.next_obs.extend(self.next_obs[i * n..(i + 1) * n].iter().map(widen));
            batch.dones.push(widen(&self.dones[i]));
        }
    }
}
