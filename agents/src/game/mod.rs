//! The paper: a two-player game, its total derivative, how the players move, and the solvers that takes.
//!
//! Nothing here knows what an actor or a critic is made of. Equation numbers are those of
//! arXiv 2109.12286. Both objectives are losses; the paper's names mean
//!
//! | here | the actor leads | the critic leads |
//! |---|---|---|
//! | `x1`, `f1`: the leader | theta, -J | w, L |
//! | `x2`, `f2`: the follower | w, L | theta, -J |
//!
//! so that with the critic as leader the damping belongs to the Hessian of -J, hence the sign of (16).

pub mod curvature;
mod independent;
mod leader;
pub mod operator;
mod play;
pub mod solvers;
pub mod spectrum;
mod total_derivative;

pub use curvature::{Composite, Curvature};
pub use independent::{IndependentBatches, Parts};
pub use leader::{Damping, LambdaDecay, StackelbergConfig};
pub use play::{Arena, Averaging, Direction, Play, PlayState, Players, Report, Rules, UpdateOrder};
pub use solvers::{ImplicitTerm, LamUnit, SolveInfo, SolverConfig};
pub use total_derivative::{LeaderGradient, LeaderNorms, Norms, total_derivative};

use crate::error::Result;
use crate::flat::Scalar;

/// Leader (index 1 in the paper) or follower (index 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// Moves first and anticipates the follower's best response.
    Leader,
    /// Follows its own gradient.
    Follower,
}

/// A two-player game frozen at one parameter point and one batch. `f1` is the leader's loss, `f2`
/// the follower's; both are minimised.
///
/// Methods write into `out`, whose length is the dimension of the player they differentiate by,
/// and may cache what they compute.
pub trait Game<T: Scalar> {
    /// Number of parameters of `player`.
    fn dim(&self, player: Player) -> usize;

    /// `D_wrt f_of`
    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [T]) -> Result<()>;

    /// `D22 f2 v`
    fn follower_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()>;

    /// `D1 (D2 f2 . x)`
    fn cross_vjp(&mut self, x: &[T], out: &mut [T]) -> Result<()>;

    /// `D11 f1 v`, for diagnostics.
    fn leader_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()>;

    /// `f_of`
    fn objective(&mut self, of: Player) -> Result<f64>;

    /// The follower's objective as a function of its outputs, where it is one.
    fn composite(&mut self) -> Option<&mut dyn Composite<T>> {
        None
    }

    /// Whether the implicit term can be estimated: not from a batch that is too small to be split.
    fn has_implicit_term(&self) -> bool {
        true
    }
}

impl<T: Scalar, G: Game<T> + ?Sized> Game<T> for &mut G {
    fn dim(&self, player: Player) -> usize {
        (**self).dim(player)
    }

    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [T]) -> Result<()> {
        (**self).gradient(of, wrt, out)
    }

    fn follower_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        (**self).follower_hvp(v, out)
    }

    fn cross_vjp(&mut self, x: &[T], out: &mut [T]) -> Result<()> {
        (**self).cross_vjp(x, out)
    }

    fn leader_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        (**self).leader_hvp(v, out)
    }

    fn objective(&mut self, of: Player) -> Result<f64> {
        (**self).objective(of)
    }

    fn composite(&mut self) -> Option<&mut dyn Composite<T>> {
        (**self).composite()
    }

    fn has_implicit_term(&self) -> bool {
        (**self).has_implicit_term()
    }
}
