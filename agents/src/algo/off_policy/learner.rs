//! The players of an off-policy agent: what belongs to each, and its step.

use crate::algo::config::OffPolicyConfig;
use crate::engine::{Point, Role};
use crate::flat;
use crate::memory::Batch;
use crate::optim::Optimizer;
use crate::threads;

/// One player: parameters, their Polyak average, optimiser.
pub(super) struct Learner {
    pub(super) params: Vec<f32>,
    pub(super) target: Vec<f32>,
    pub(super) optimizer: Optimizer<f32>,
    pub(super) learning_rate: f64,
}

impl Learner {
    /// From its first parameters.
    pub(super) fn new(params: Vec<f32>, role: Role, config: &OffPolicyConfig) -> Self {
        Self {
            target: params.clone(),
            optimizer: Optimizer::new(config.common.optimizer, params.len()),
            params,
            learning_rate: config.common.learning_rate(role),
        }
    }

    /// One step along `gradient`; with `tau`, the Polyak average follows in the same pass.
    pub(super) fn step(&mut self, gradient: &[f32], tau: Option<f32>) {
        let Self { params, target, optimizer, learning_rate } = self;
        let average = tau.map(|tau| (tau, &mut target[..]));
        optimizer.step_and_average(*learning_rate, gradient, params, average).run(threads::count());
    }

    /// target <- (1 - tau) target + tau params
    pub(super) fn average(&mut self, tau: f32) {
        flat::polyak(tau, &self.params, &mut self.target);
    }
}

/// Where the game is frozen.
pub(super) fn point<'a>(
    actor: &'a Learner,
    critic: &'a Learner,
    ent_coef: f64,
    batch: &'a Batch<f32>,
) -> Point<'a, f32> {
    Point {
        actor: &actor.params,
        critic: &critic.params,
        target_actor: &actor.target,
        target_critic: &critic.target,
        batch,
        ent_coef,
    }
}

/// The player of `role`.
pub(super) fn learner<'a>(
    actor: &'a mut Learner,
    critic: &'a mut Learner,
    role: Role,
) -> &'a mut Learner {
    match role {
        Role::Actor => actor,
        Role::Critic => critic,
    }
}
