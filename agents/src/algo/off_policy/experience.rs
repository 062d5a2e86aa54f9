//! How an off-policy agent acts, what it remembers of that, and when it learns.

use super::OffPolicy;
use crate::agent::Mode;
use crate::algo::off_policy::Family;
use crate::engine::Engine;
use crate::env::Step;

impl<F: Family, E: Engine<f32> + Clone> OffPolicy<F, E> {
    /// Writes an action, within the bounds, for each row of observations.
    pub(super) fn choose(&mut self, obs: &[f32], mode: Mode, actions: &mut [f32]) {
        let starting = self.family.starts_at_random() && self.steps < self.config.random_steps;
        let random = mode == Mode::Explore && starting;
        let (n, m) = (self.spaces.obs_dim, self.low.len());
        let sde = self.family.sde().filter(|_| mode == Mode::Explore);
        if let Some(sde) = sde {
            let (steps, envs) = (self.rollout.0 as usize, obs.len() / n);
            self.matrices.renew(sde, &self.actor.params, steps, envs, &mut self.exploration);
        }
        self.seen.clear();
        self.seen.extend_from_slice(obs);
        if let Some(normalizer) = &self.normalizer {
            normalizer.standardize(&mut self.seen);
        }
        let rows = self.seen.chunks_exact(n).zip(actions.chunks_exact_mut(m));
        for (env, (obs, action)) in rows.enumerate() {
            if random {
                self.unit_action.fill_with(|| self.exploration.uniform(-1.0, 1.0));
            } else {
                self.family.actor().forward(
                    &self.actor.params,
                    obs,
                    &mut self.scratch,
                    &mut self.output,
                );
                match (mode, sde) {
                    (Mode::Deterministic, _) => self.noise.fill(0.0),
                    (Mode::Explore, None) => self.noise.fill_with(|| self.exploration.normal()),
                    (Mode::Explore, Some(sde)) => {
                        self.matrices.noise(sde, env, &self.scratch[1], &mut self.noise);
                    }
                }
                self.family.action(&self.output, &self.noise, &mut self.unit_action);
            }
            // a = low + (u + 1) (high - low) / 2
            let bounds = self.low.iter().zip(&self.high).zip(&self.half_range);
            let rows = action.iter_mut().zip(&self.unit_action).zip(bounds);
            for ((a, &u), ((&low, &high), &half)) in rows {
                *a = (low + (u + 1.0) * half).clamp(low, high);
            }
        }
    }

    /// Adds a transition per environment to the memory. Returns how many updates are due.
    pub(super) fn remember(&mut self, obs: &[f32], actions: &[f32], step: &Step) -> u64 {
        let (n, m) = (self.spaces.obs_dim, self.low.len());
        let rows =
            obs.chunks_exact(n).zip(actions.chunks_exact(m)).zip(step.next_obs.chunks_exact(n));
        for (i, ((obs, action), next_obs)) in rows.enumerate() {
            let bounds = self.low.iter().zip(&self.half_range);
            for ((u, &a), (&low, &half)) in self.unit_action.iter_mut().zip(action).zip(bounds) {
                *u = if half > 0.0 { (a - low) / half - 1.0 } else { 0.0 };
            }
            let end = (step.terminated[i], step.truncated[i] && !step.terminated[i]);
            self.replay.push(obs, &self.unit_action, step.rewards[i] as f32, next_obs, end);
        }
        let envs = step.rewards.len();
        self.steps += envs as u64;
        self.rollout.0 += 1;
        self.rollout.1 += (0..envs).filter(|&i| step.ended(i)).count() as u64;
        if !self.config.train_freq.due(self.rollout.0, self.rollout.1) {
            return 0;
        }
        let (steps, _) = std::mem::take(&mut self.rollout);
        if self.steps <= self.config.learning_starts {
            return 0;
        }
        u64::try_from(self.config.gradient_steps).unwrap_or(steps * envs as u64)
    }
}
