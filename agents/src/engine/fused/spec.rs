//! What the engine has to know of an algorithm.

use super::pass::Net;
use crate::nn::Mlp;
use std::ops::Range;

/// The networks of an algorithm, and the constants of its objectives.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// From observations to the policy's parameters.
    pub actor: Mlp,
    /// From `[observation, action]` to a value; every critic has this shape.
    pub critic: Mlp,
    /// How many critics there are.
    pub critics: usize,
    /// Discount factor.
    pub gamma: f64,
    /// Whether the policy is a squashed Gaussian; else it is `tanh` of the output.
    pub stochastic: bool,
    /// Whether targets use the current policy instead of the target policy.
    pub current_policy: bool,
    /// Of TD3, whose actor's objective takes the first critic instead of the least: standard deviation and bound of the
    /// noise on target actions.
    pub blur: Option<[f64; 2]>,
}

impl Spec {
    pub(super) fn obs_dim(&self) -> usize {
        self.actor.inputs()
    }

    pub(super) fn action_dim(&self) -> usize {
        self.critic.inputs() - self.actor.inputs()
    }

    /// The columns of the critic's inputs that hold actions.
    pub(super) fn action_columns(&self) -> Range<usize> {
        self.actor.inputs()..self.critic.inputs()
    }

    /// Critic `block`, with its part of `params`.
    pub(super) fn critic_net<'a, T>(&'a self, block: usize, params: &'a [T]) -> Net<'a, T> {
        let dim = self.critic.dim();
        Net { shape: &self.critic, params: &params[block * dim..(block + 1) * dim] }
    }
}
