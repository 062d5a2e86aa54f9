//! Engines compute what a [`Game`] needs of actor and critic.
//!
//! `autograd` is the specification: libtorch differentiates the two objectives as an algorithm
//! states them, on any device. `fused` computes the same on the CPU in closed form, for networks and
//! objectives that it knows.

#[cfg(feature = "torch")]
pub mod autograd;
pub mod fused;

use crate::error::Result;
use crate::flat::Scalar;
use crate::game::Game;
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

/// The parameters and the batch at which a game is frozen.
pub struct Point<'a, T, B> {
    /// theta
    pub actor: &'a [T],
    /// w; twin critics one after the other
    pub critic: &'a [T],
    /// Polyak average of theta; empty where targets have none
    pub target_actor: &'a [T],
    /// Polyak average of w, the parameters of `Q_0`; empty likewise
    pub target_critic: &'a [T],
    /// What the update learns from.
    pub batch: &'a B,
    /// eta, the weight of the policy's entropy; 0 where there is none
    pub ent_coef: f64,
}

/// The share of `|a|` above this is the policy's saturation.
pub const SATURATED: f64 = 0.99;

/// Bounds of the logarithm of a Gaussian policy's standard deviation.
pub const LOG_STD: [f64; 2] = [-20.0, 2.0];

/// A game of actor and critic.
pub trait FrozenGame<T: Scalar>: Game<T> {
    /// Share of the policy's actions on the batch that are at their bounds: `|a| > 0.99` in the unit box. None where they
    /// have no bounds.
    fn policy_saturation(&mut self) -> Result<Option<f64>>;

    /// Mean of `-log pi` over the batch; none for deterministic policies.
    fn entropy(&mut self) -> Result<Option<f64>>;
}

/// Freezes games on batches `B`.
pub trait Engine<T: Scalar, B>: Send + 'static {
    /// The game at one point, for as long as the point lives.
    type Frozen<'a>: FrozenGame<T>
    where
        Self: 'a,
        B: 'a;

    /// The game at `point` with `leader` leading.
    fn freeze<'a>(&'a mut self, point: Point<'a, T, B>, leader: Role) -> Result<Self::Frozen<'a>>;

    /// The side of it that does not lead, which may be cheaper.
    fn freeze_follower<'a>(
        &'a mut self,
        point: Point<'a, T, B>,
        leader: Role,
    ) -> Result<Self::Frozen<'a>> {
        self.freeze(point, leader)
    }
}
