//! What a learner is told, whatever its algorithm.

use crate::algo::{OffPolicyConfig, OnPolicyConfig, TrainFreq};
use crate::engine::Role;
use crate::game::{Averaging, Damping, Direction, Rules, StackelbergConfig, UpdateOrder};
use crate::optim::OptimizerKind;

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
    /// Optimiser of both players.
    pub optimizer: OptimizerKind,
    /// Step size of both players.
    pub learning_rate: f64,
    /// Step size of the critic, where it differs.
    pub critic_learning_rate: Option<f64>,
    /// Transitions per update, and remembered; of learners from trajectories neither is used.
    pub batch_size: usize,
    /// See there.
    pub buffer_size: usize,
    /// Who leads; nobody in the baselines.
    pub leader: Option<Role>,
    /// Whether a baseline's gradient takes the length of a leader's.
    pub step_match: bool,
    /// The leader's update.
    pub stackelberg: StackelbergConfig,
    /// In which order the players step.
    pub update_order: UpdateOrder,
    /// Follower steps per update.
    pub unroll: u64,
    /// Of the target networks, where there are such.
    pub averaging: Option<Averaging>,
}

impl LearnerConfig {
    /// Who leads, or would.
    pub fn role(&self) -> Role {
        self.leader.unwrap_or(Role::Actor)
    }

    /// Whether factors of the implicit term have batches of their own.
    pub fn independent(&self) -> bool {
        self.direction() != Direction::Individual && self.stackelberg.independent_minibatches
    }

    /// Step size of `role`.
    pub fn learning_rate(&self, role: Role) -> f64 {
        match role {
            Role::Actor => self.learning_rate,
            Role::Critic => self.critic_learning_rate.unwrap_or(self.learning_rate),
        }
    }

    /// Step sizes of leader and follower.
    pub fn learning_rates(&self) -> [f64; 2] {
        [self.role(), self.role().opponent()].map(|role| self.learning_rate(role))
    }

    fn direction(&self) -> Direction {
        match self.leader {
            Some(_) => Direction::Total,
            None if self.step_match => Direction::Matched,
            None => Direction::Individual,
        }
    }

    /// The rules of the play.
    pub fn rules(&self) -> Rules {
        Rules {
            direction: self.direction(),
            order: self.update_order,
            learning_rates: self.learning_rates(),
            every: [1; 2],
            unroll: self.unroll,
            norm_ratio_clamp: self.stackelberg.norm_ratio_clamp,
            damping: Damping::new(&self.stackelberg),
            averaging: self.averaging,
        }
    }
}

impl From<&OffPolicyConfig> for LearnerConfig {
    fn from(config: &OffPolicyConfig) -> Self {
        Self {
            schedule: Schedule {
                train_freq: config.train_freq,
                gradient_steps: u64::try_from(config.gradient_steps).ok(),
                learning_starts: config.learning_starts,
                random_steps: config.uniform_steps(),
            },
            optimizer: config.optimizer,
            learning_rate: config.learning_rate,
            critic_learning_rate: config.critic_learning_rate,
            batch_size: config.batch_size,
            buffer_size: config.buffer_size,
            leader: config.leader,
            step_match: false,
            stackelberg: config.stackelberg.clone(),
            update_order: config.update_order,
            unroll: config.unroll as u64,
            averaging: Some(Averaging { tau: config.tau, every: config.target_update_interval }),
        }
    }
}

impl From<&OnPolicyConfig> for LearnerConfig {
    fn from(config: &OnPolicyConfig) -> Self {
        Self {
            schedule: Schedule {
                train_freq: TrainFreq::Steps(config.n_steps as u64),
                gradient_steps: Some(1),
                learning_starts: 0,
                random_steps: 0,
            },
            optimizer: config.optimizer,
            learning_rate: config.learning_rate,
            critic_learning_rate: config.critic_learning_rate,
            batch_size: 0,
            buffer_size: 0,
            leader: config.leader,
            step_match: config.step_match,
            stackelberg: config.stackelberg.clone(),
            update_order: UpdateOrder::Simultaneous,
            unroll: config.critic_steps as u64,
            averaging: None,
        }
    }
}
