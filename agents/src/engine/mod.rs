//! Engines compute what a [`Game`] needs of actor and critic.
//!
//! `autograd` is the specification: libtorch differentiates the two objectives as an algorithm
//! states them, on any device. `fused` computes the same on the CPU in closed form, for networks and
//! objectives that it knows.

pub mod autograd;
pub mod fused;

use crate::error::Result;
use crate::flat::Scalar;
use crate::game::Game;
use crate::memory::Batch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The two players of actor-critic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Parameters theta, loss `-J`.
    Actor,
    /// Parameters w, loss `L`.
    Critic,
}

impl Role {
    /// The other player.
    pub fn opponent(self) -> Self {
        match self {
            Self::Actor => Self::Critic,
            Self::Critic => Self::Actor,
        }
    }
}

/// The parameters and the minibatch at which a game is frozen.
#[derive(Clone, Copy)]
pub struct Point<'a, T> {
    /// theta
    pub actor: &'a [T],
    /// w; twin critics one after the other
    pub critic: &'a [T],
    /// Polyak average of theta
    pub target_actor: &'a [T],
    /// Polyak average of w, the parameters of `Q_0`
    pub target_critic: &'a [T],
    /// The minibatch.
    pub batch: &'a Batch<T>,
    /// eta, the weight of the policy's entropy; 0 where there is none
    pub ent_coef: f64,
}

/// The share of `|a|` above this is the policy's saturation.
pub const SATURATED: f64 = 0.99;

/// Bounds of the logarithm of a Gaussian policy's standard deviation.
pub const LOG_STD: [f64; 2] = [-20.0, 2.0];

/// A game that also reports its losses.
pub trait FrozenGame<T: Scalar>: Game<T> {
    /// `-J` of the actor, `L` of the critic.
    fn loss(&mut self, of: Role) -> Result<f64>;

    /// Share of the policy's actions on the batch with `|a| > 0.99` in the unit box.
    fn policy_saturation(&mut self) -> Result<f64>;

    /// Mean of `-log pi` over the batch; none for deterministic policies.
    fn entropy(&mut self) -> Result<Option<f64>>;
}

/// Freezes games.
pub trait Engine<T: Scalar>: Send + 'static {
    /// The game at one point, for as long as the point lives.
    type Frozen<'a>: FrozenGame<T>
    where
        Self: 'a;

    /// The game at `point` with `leader` leading.
    fn freeze<'a>(&'a mut self, point: Point<'a, T>, leader: Role) -> Result<Self::Frozen<'a>>;
}
