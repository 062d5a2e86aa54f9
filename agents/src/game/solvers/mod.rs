//! Solvers of `(D22 f2 + lambda I) x = D2 f1`.

mod cg;
mod dense;
mod neumann;
mod nystrom;
mod woodbury;

use super::operator::Operator;
use super::{Game, Player};
use crate::error::Result;
use crate::flat::{self, Scalar};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a solve went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Solve {
    /// `|(A + lambda I) x - b| / |b|`
    pub residual: f64,
    /// Iterations; of `nystrom`, products with `A` that went into its sketch.
    pub iterations: usize,
    /// Whether a direction of non-positive curvature was met.
    pub negative_curvature: bool,
    /// Whether the result was unusable, so that the plain gradient was taken.
    pub fallback: bool,
}

/// Solves `(A + lambda I) x = b` from products with `A` alone.
pub trait LinearSolver<T: Scalar>: Send {
    /// Writes the solution to `x`, whose former content may serve as a start. What is wrong with a
    /// solution beyond its not being finite is for [`Solve::fallback`] to tell.
    fn solve(&mut self, a: &mut Operator<'_, T>, b: &[T], lambda: T, x: &mut [T]) -> Result<Solve>;
}

/// Which solver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SolverKind {
    /// Conjugate gradients.
    Cg,
    /// Truncated Neumann series.
    Neumann,
    /// Randomised low-rank approximation.
    Nystrom,
    /// Exact Gauss-Newton solve through batch Gram matrices.
    Woodbury,
    /// LU factorisation of the whole matrix, column by column: an oracle for tests.
    Dense,
}

/// Which matrix stands for `D22 f2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Curvature {
    /// The Hessian itself; may be indefinite.
    Hessian,
    /// `(2/B) J'J`, positive semi-definite; for least-squares followers.
    GaussNewton,
}

/// Settings of a solver. A solver reads what concerns it.
#[derive(Clone, Debug, PartialEq)]
pub struct SolverConfig {
    /// Which solver.
    pub kind: SolverKind,
    /// Which matrix.
    pub curvature: Curvature,
    /// Iterations at most.
    pub iterations: usize,
    /// Stop when `|residual| <= tolerance |b|`.
    pub tolerance: f64,
    /// Stop at the first direction of non-positive curvature.
    pub curvature_stop: bool,
    /// Start from the previous solution instead of zero.
    pub warm_start: bool,
    /// Rank of `nystrom`'s approximation, at most.
    pub rank: usize,
    /// Seed of `nystrom`'s test matrix.
    pub seed: u64,
}

impl Default for SolverConfig {
    /// The paper's solver: ten conjugate gradient iterations on the Hessian.
    fn default() -> Self {
        Self {
            kind: SolverKind::Cg,
            curvature: Curvature::Hessian,
            iterations: 10,
            tolerance: 1e-6,
            curvature_stop: true,
            warm_start: false,
            rank: 10,
            seed: 0,
        }
    }
}

/// A solver with its work space.
pub struct Solver<T> {
    method: Method<T>,
    curvature: Curvature,
    b: Vec<T>,
    x: Vec<T>,
    /// `J v` of Gauss-Newton products.
    outputs: Vec<T>,
}

enum Method<T> {
    Linear(Box<dyn LinearSolver<T>>),
    Woodbury(woodbury::Woodbury<T>),
}

impl<T: Scalar> Solver<T> {
    /// A solver for systems of any size; work space is taken at the first solve.
    pub fn new(config: &SolverConfig) -> Self {
        let method = match config.kind {
            SolverKind::Cg => Method::Linear(Box::new(cg::Cg::new(config))),
            SolverKind::Neumann => Method::Linear(Box::new(neumann::Neumann::new(config))),
            SolverKind::Nystrom => Method::Linear(Box::new(nystrom::Nystrom::new(config))),
            SolverKind::Dense => Method::Linear(Box::new(dense::Dense)),
            SolverKind::Woodbury => Method::Woodbury(woodbury::Woodbury::default()),
        };
        let (b, x, outputs) = Default::default();
        Self { method, curvature: config.curvature, b, x, outputs }
    }

    /// Writes `D12 f2 (D22 f2 + lambda I)^-1 D2 f1` to `out`; zeros if the solve failed.
    pub fn implicit_term(
        &mut self,
        game: &mut dyn Game<T>,
        lambda: T,
        out: &mut [T],
    ) -> Result<Solve> {
        let solver = match &mut self.method {
            Method::Woodbury(woodbury) => return woodbury.implicit_term(game, lambda, out),
            Method::Linear(solver) => solver,
        };
        let dim = game.dim(Player::Follower);
        self.b.resize(dim, T::zero());
        self.x.resize(dim, T::zero());

        // b = D2 f1;  (D22 f2 + lambda I) x = b;  D12 f2 x
        game.gradient(Player::Leader, Player::Follower, &mut self.b)?;
        let (curvature, outputs) = (self.curvature, &mut self.outputs);
        let mut product = |v: &[T], out: &mut [T]| match curvature {
            Curvature::Hessian => game.follower_hvp(v, out),
            Curvature::GaussNewton => gauss_newton_product(game, v, outputs, out),
        };
        let mut solve = solver.solve(&mut product, &self.b, lambda, &mut self.x)?;
        solve.fallback |= !(solve.residual.is_finite() && flat::all_finite(&self.x));
        if solve.fallback {
            out.fill(T::zero());
        } else {
            game.cross_vjp(&self.x, out)?;
        }
        Ok(solve)
    }
}

/// `out = (2/B) J'J v`
fn gauss_newton_product<T: Scalar>(
    game: &mut dyn Game<T>,
    v: &[T],
    outputs: &mut Vec<T>,
    out: &mut [T],
) -> Result<()> {
    let least_squares = woodbury::least_squares(game)?;
    let samples = least_squares.samples();
    outputs.resize(least_squares.blocks() * samples, T::zero());
    least_squares.jacobian(v, outputs)?;
    flat::scale(T::of(2.0 / samples as f64), outputs);
    least_squares.jacobian_transpose(outputs, out)
}
