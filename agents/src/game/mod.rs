//! The paper: a two-player game, its total derivative, and the solvers it needs.
//!
//! Nothing here knows what an actor or a critic is made of. Equation numbers are those of
//! arXiv 2109.12286.

mod independent;
mod leader;
pub mod operator;
pub mod solvers;
pub mod spectrum;
mod total_derivative;

pub use independent::Independent;
pub(crate) use leader::Damping;
pub use leader::{LambdaDecay, StackelbergConfig};
pub use solvers::{Curvature, Solve, Solver, SolverConfig};
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

    /// The follower's objective as a sum of squares, where it is one.
    fn least_squares(&mut self) -> Option<&mut dyn LeastSquares<T>> {
        None
    }
}

/// A follower that fits targets: `f2 = sum_b (1/B) sum_i omega_i (q_bi - y_i)^2`.
///
/// Importance weights `omega_i` are 1, but depend on a leader that draws the samples. Outputs `q_b`
/// depend on block `b` of the follower's parameters alone (twin critics are two blocks, laid out one
/// after the other), targets `y` on the leader's alone. With `J` the block diagonal `(blocks B) x P`
/// Jacobian of the outputs, the Gauss-Newton Hessian of `f2` is `G = (2/B) J'J`.
pub trait LeastSquares<T: Scalar> {
    /// `B`, the number of samples.
    fn samples(&self) -> usize;

    /// Number of parameter blocks.
    fn blocks(&self) -> usize;

    /// `K = J_b J_b'` (`B x B`, row-major) of block `b`.
    fn gram(&mut self, block: usize, k: &mut [T]) -> Result<()>;

    /// `N = J_b'J_b` of block `b`, symmetric, of the size of its parameters.
    fn normal(&mut self, block: usize, n: &mut [T]) -> Result<()> {
        // Column by column: N e_j = J'(J e_j).
        let width = n.len().isqrt();
        let first = block * width;
        let mut unit = vec![T::zero(); self.blocks() * width];
        let mut product = unit.clone();
        let mut outputs = vec![T::zero(); self.blocks() * self.samples()];
        for (j, column) in n.chunks_exact_mut(width).enumerate() {
            unit[first + j] = T::one();
            self.jacobian(&unit, &mut outputs)?;
            self.jacobian_transpose(&outputs, &mut product)?;
            unit[first + j] = T::zero();
            column.copy_from_slice(&product[first..first + width]);
        }
        Ok(())
    }

    /// `J D2 f1`, length `blocks B`.
    fn jacobian_leader_gradient(&mut self, out: &mut [T]) -> Result<()>;

    /// `J v`, length `blocks B`.
    fn jacobian(&mut self, v: &[T], out: &mut [T]) -> Result<()>;

    /// `J' u` for `u` of length `blocks B`.
    fn jacobian_transpose(&mut self, u: &[T], out: &mut [T]) -> Result<()>;

    /// `D1 (D2 f2 . x)` for every `x` with `J x = u`, that is
    /// `(2/B) sum_bi u_bi (D1 omega_i (q_bi - y_i) - D1 y_i)`.
    fn cross_vjp_of_outputs(&mut self, u: &[T], out: &mut [T]) -> Result<()>;
}
