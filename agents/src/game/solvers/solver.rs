//! What a solver of linear systems is, its settings, and how a solve went.

use crate::error::Result;
use crate::flat::Scalar;
use crate::game::curvature::Curvature;
use crate::game::operator::Operator;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a solve went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SolveInfo {
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
pub trait Solver<T: Scalar>: Send {
    /// Writes the solution to `x`, whose former content may serve as a start. What is wrong with a
    /// solution beyond its not being finite is for [`SolveInfo::fallback`] to tell.
    fn solve(
        &mut self,
        a: &mut Operator<'_, T>,
        b: &[T],
        lambda: T,
        x: &mut [T],
    ) -> Result<SolveInfo>;
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

impl SolverKind {
    /// All solvers.
    pub const ALL: [Self; 5] =
        [Self::Cg, Self::Neumann, Self::Nystrom, Self::Woodbury, Self::Dense];
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
