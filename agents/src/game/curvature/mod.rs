//! Which matrix stands for `D22 f2`: a file each.

mod composite;
mod gauss_newton;
mod hessian;

pub use composite::{Composite, select};

use super::{Game, Player};
use crate::error::{Error, Result};
use crate::flat::Scalar;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Curvature {
    /// The Hessian itself; may be indefinite.
    Hessian,
    /// `J' h'' J`, positive semi-definite where `h` is convex; for followers that are a function `h` of outputs.
    GaussNewton,
}

impl Curvature {
    /// `out = A v`; `outputs` is scratch.
    pub fn product<T: Scalar>(
        self,
        game: &mut dyn Game<T>,
        v: &[T],
        outputs: &mut Vec<T>,
        out: &mut [T],
    ) -> Result<()> {
        match self {
            Self::Hessian => hessian::product(game, v, out),
            Self::GaussNewton => {
                gauss_newton::product(composite(game, "curvature: gauss_newton")?, v, outputs, out)
            }
        }
    }
}

/// The follower as a function of outputs, or the error that names who asked for it.
pub fn composite<'g, T: Scalar>(
    game: &'g mut dyn Game<T>,
    asked: &'static str,
) -> Result<&'g mut dyn Composite<T>> {
    game.composite().ok_or(Error::NoOutputs { asked })
}

/// The rank of the follower's Gauss-Newton matrix: of its outputs, those with curvature upwards, or the number of its
/// parameters, if they are fewer or it has no outputs. `outputs` is scratch.
pub(super) fn rank<T: Scalar>(game: &mut dyn Game<T>, outputs: &mut Vec<T>) -> Result<usize> {
    let parameters = game.dim(Player::Follower);
    let Some(game) = game.composite() else { return Ok(parameters) };
    outputs.clear();
    outputs.resize(game.blocks() * game.rows(), T::one());
    game.times_outer_hessian(outputs)?;
    let positive = outputs.iter().filter(|&&h| h > T::zero()).count();
    Ok(positive.clamp(1, parameters))
}

/// In which space a solver works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// The follower's parameters: `b = D2 f1`, and `x` itself.
    Parameters,
    /// The follower's outputs, blocks x rows: `J b` and `J x`.
    Outputs,
}

impl Space {
    /// `D2 f1`, or `J D2 f1`.
    pub fn response<T: Scalar>(self, game: &mut dyn Game<T>, out: &mut Vec<T>) -> Result<()> {
        match self {
            Self::Parameters => {
                out.resize(game.dim(Player::Follower), T::zero());
                game.gradient(Player::Leader, Player::Follower, out)
            }
            Self::Outputs => {
                let game = composite(game, "a solve in the space of outputs")?;
                out.resize(game.blocks() * game.rows(), T::zero());
                game.jacobian_leader_gradient(out)
            }
        }
    }

    /// `D12 f2 x`, from `x` or from `J x`.
    pub fn cross<T: Scalar>(self, game: &mut dyn Game<T>, x: &[T], out: &mut [T]) -> Result<()> {
        match self {
            Self::Parameters => game.cross_vjp(x, out),
            Self::Outputs => {
                composite(game, "a solve in the space of outputs")?.cross_vjp_of_outputs(x, out)
            }
        }
    }
}
