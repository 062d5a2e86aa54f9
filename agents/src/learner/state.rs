//! What a learner has learnt, drawn and counted: all that another one needs to go on where it is.

use super::config::{LearnerConfig, Schedule};
use crate::algo::sde::NoiseMatrices;
use crate::algo::temperature::Temperature;
use crate::engine::Role;
use crate::env::Step;
use crate::game::PlayState;
use crate::memory::Memory;
use crate::metrics::RunningMean;
use crate::rng::{Purpose, Rng};
use crate::train_state::TrainState;
use serde::{Deserialize, Serialize};

/// The state of a learner with a memory `M`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State<M> {
    /// The actor.
    pub actor: TrainState<f32>,
    /// The critic, or several, one after the other.
    pub critic: TrainState<f32>,
    /// The entropy coefficient.
    pub(crate) temperature: Option<Temperature>,
    /// Updates, damping, the solver's last solution.
    pub play: PlayState<f32>,
    /// What is remembered.
    pub memory: M,
    /// All generators.
    pub generators: Generators,
    /// The matrices of state-dependent noise that are in use.
    pub(crate) noise_matrices: NoiseMatrices,
    /// Environment steps so far.
    pub progress: Progress,
    /// Metrics since they were last asked for.
    pub metrics: RunningMean,
}

/// The generators of a learner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generators {
    /// Actions.
    pub exploration: Rng,
    /// Which transitions are learnt from.
    pub sampling: Rng,
    /// Noise within updates.
    pub policy: Rng,
    /// Measures beside training.
    pub diagnostics: Rng,
}

impl Generators {
    /// Of a fresh learner.
    pub fn new(seed: u64) -> Self {
        Self {
            exploration: Rng::new(seed, Purpose::Exploration),
            sampling: Rng::new(seed, Purpose::Replay),
            policy: Rng::new(seed, Purpose::Policy),
            diagnostics: Rng::new(seed, Purpose::Diagnostics),
        }
    }
}

/// Environment steps, and how far the current rollout has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Over all environments.
    pub steps: u64,
    /// Of each environment, since the rollout began.
    pub rollout_steps: u64,
    /// Finished since then.
    pub rollout_episodes: u64,
}

impl Progress {
    /// Counts one step of every environment. Returns how many updates are due after it.
    pub fn count(&mut self, step: &Step, schedule: &Schedule) -> u64 {
        let envs = step.rewards.len();
        self.steps += envs as u64;
        self.rollout_steps += 1;
        self.rollout_episodes += (0..envs).filter(|&i| step.ended(i)).count() as u64;
        if !schedule.train_freq.due(self.rollout_steps, self.rollout_episodes) {
            return 0;
        }
        let rollout_steps = self.rollout_steps;
        (self.rollout_steps, self.rollout_episodes) = (0, 0);
        if self.steps <= schedule.learning_starts {
            return 0;
        }
        schedule.gradient_steps.unwrap_or(rollout_steps * envs as u64)
    }
}

impl<M> State<M> {
    /// The player of `role`.
    pub fn player(&self, role: Role) -> &TrainState<f32> {
        match role {
            Role::Actor => &self.actor,
            Role::Critic => &self.critic,
        }
    }

    /// The player of `role`.
    pub fn player_mut(&mut self, role: Role) -> &mut TrainState<f32> {
        match role {
            Role::Actor => &mut self.actor,
            Role::Critic => &mut self.critic,
        }
    }

    /// A copy of all but the memory, which is large and is saved in its own way.
    pub(super) fn without_memory(&self) -> State<()> {
        State {
            actor: self.actor.clone(),
            critic: self.critic.clone(),
            temperature: self.temperature.clone(),
            play: self.play.clone(),
            memory: (),
            generators: self.generators.clone(),
            noise_matrices: self.noise_matrices.clone(),
            progress: self.progress,
            metrics: self.metrics.clone(),
        }
    }

    /// Goes on from `saved` with its own memory.
    pub(super) fn learn_from(&mut self, saved: State<()>) {
        (self.actor, self.critic) = (saved.actor, saved.critic);
        (self.temperature, self.play) = (saved.temperature, saved.play);
        (self.generators, self.noise_matrices) = (saved.generators, saved.noise_matrices);
        (self.progress, self.metrics) = (saved.progress, saved.metrics);
    }
}

impl<M: Memory> State<M> {
    /// Updates whose warm start no longer fits begin from zero; what depends on settings comes from `fresh`.
    pub(super) fn follow(&mut self, fresh: Self, old: &LearnerConfig, new: &LearnerConfig) {
        if old.common.optimizer != new.common.optimizer {
            self.actor.optimizer = fresh.actor.optimizer;
            self.critic.optimizer = fresh.critic.optimizer;
        }
        match (&mut self.temperature, fresh.temperature) {
            (Some(own), Some(new)) => own.attach(new),
            (own, new) => *own = new,
        }
        self.memory.resize_to(&fresh.memory);
        if old.common.leader != new.common.leader
            || old.common.stackelberg != new.common.stackelberg
        {
            self.play.solution.clear();
        }
    }
}
