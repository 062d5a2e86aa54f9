//! What a learner is told, whatever its algorithm.

use crate::algo::algorithm::OffPolicy;
use crate::algo::{Common, OffPolicyConfig, OnPolicyConfig, TrainFreq};
use crate::engine::Role;
use crate::game::{Averaging, Damping, Direction, Rules, UpdateOrder};

/// When an agent acts at random, and when it learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Length of a rollout, after which a round of updates comes.
    pub train_freq: TrainFreq,
    /// Updates per round; none for as many as the rollout has environment steps.
    pub gradient_steps: Option<u64>,
    /// Environment steps without updates at the start.
    pub learning_starts: u64,
    /// Environment steps with uniformly random actions at the start.
    pub random_steps: u64,
}

/// Settings of a learner.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnerConfig {
    /// When it acts at random and when it learns.
    pub schedule: Schedule,
    /// What every algorithm has.
    pub common: Common,
    /// Transitions per update; not used by those who learn from trajectories.
    pub batch_size: usize,
    /// In which order the players step.
    pub update_order: UpdateOrder,
    /// The actor steps in every so-manieth update.
    pub actor_every: u64,
    /// Follower steps per update.
    pub unroll: u64,
    /// Of the target networks, where there are such.
    pub averaging: Option<Averaging>,
}

impl LearnerConfig {
    /// Who leads, or would.
    pub fn role(&self) -> Role {
        self.common.leader.unwrap_or(Role::Actor)
    }

    /// Whether factors of the implicit term have batches of their own.
    pub fn independent(&self) -> bool {
        self.direction() != Direction::Individual && self.common.stackelberg.independent_minibatches
    }

    /// Step size of `role`.
    pub fn learning_rate(&self, role: Role) -> f64 {
        match role {
            Role::Actor => self.common.learning_rate,
            Role::Critic => self.common.critic_learning_rate.unwrap_or(self.common.learning_rate),
        }
    }

    /// Step sizes of leader and follower.
    pub fn learning_rates(&self) -> [f64; 2] {
        [self.role(), self.role().opponent()].map(|role| self.learning_rate(role))
    }

    fn direction(&self) -> Direction {
        match self.common.leader {
            Some(_) => Direction::Total,
            None if self.common.step_match => Direction::Matched,
            None if self.common.noise_match => Direction::Noise,
            None => Direction::Individual,
        }
    }

    /// The rules of the play.
    pub fn rules(&self) -> Rules {
        let role = self.role();
        Rules {
            direction: self.direction(),
            order: self.update_order,
            learning_rates: self.learning_rates(),
            every: [role, role.opponent()].map(|role| match role {
                Role::Actor => self.actor_every,
                Role::Critic => 1,
            }),
            unroll: self.unroll,
            norm_ratio_clamp: self.common.stackelberg.norm_ratio_clamp,
            damping: Damping::new(&self.common.stackelberg),
            averaging: self.averaging,
        }
    }

    /// Of an off-policy algorithm.
    pub fn off_policy<A: OffPolicy>(config: &OffPolicyConfig, algorithm: &A) -> Self {
        let random_steps = if algorithm.starts_at_random() { config.random_steps } else { 0 };
        let every = algorithm.target_update_interval();
        Self {
            schedule: Schedule {
                train_freq: config.train_freq,
                gradient_steps: u64::try_from(config.gradient_steps).ok(),
                learning_starts: config.learning_starts,
                random_steps,
            },
            batch_size: config.batch_size,
            update_order: config.update_order,
            actor_every: algorithm.actor_every(),
            unroll: config.unroll as u64,
            averaging: Some(Averaging { tau: config.tau, every }),
            common: config.common.clone(),
        }
    }

    /// Of an on-policy algorithm.
    pub fn on_policy(config: &OnPolicyConfig) -> Self {
        Self {
            schedule: Schedule {
                train_freq: TrainFreq::Steps(config.n_steps as u64),
                gradient_steps: Some(1),
                learning_starts: 0,
                random_steps: 0,
            },
            batch_size: 0,
            update_order: UpdateOrder::Simultaneous,
            actor_every: 1,
            unroll: config.critic_steps as u64,
            averaging: None,
            common: config.common.clone(),
        }
    }
}
