//! What a solver of linear systems is, its settings, and how a solve went.

use super::ridge::LamUnit;
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
    /// Lambda as it was added to the diagonal.
    pub lambda: f64,
    /// Mean eigenvalue of the damped matrix, where it is known.
    pub mean_eigenvalue: Option<f64>,
    /// `(sum of the eigenvalues)^2 / sum of their squares`: how many count, where it is known.
    pub effective_rank: Option<f64>,
    /// Share of the follower's outputs in which its objective is curved upwards, of solvers that weigh outputs.
    pub positive_curvature: Option<f64>,
    /// Share of the outputs that the system has, likewise.
    pub rows_kept: Option<f64>,
}

impl SolveInfo {
    /// Of a direct solve.
    pub(super) fn new<T: Scalar>(lambda: T, residual: f64) -> Self {
        Self { residual, lambda: lambda.as_f64(), ..Self::default() }
    }

    /// Of a solve without a solution.
    pub(super) fn failed<T: Scalar>(lambda: T) -> Self {
        Self { fallback: true, ..Self::new(lambda, 1.0) }
    }

    pub(super) fn with_spectrum(self, mean_eigenvalue: f64, effective_rank: Option<f64>) -> Self {
        Self { mean_eigenvalue: Some(mean_eigenvalue), effective_rank, ..self }
    }

    pub(super) fn with_rows(self, positive: f64, kept: f64) -> Self {
        Self { positive_curvature: Some(positive), rows_kept: Some(kept), ..self }
    }

    /// Lambda in units of the mean eigenvalue.
    pub fn relative_lambda(&self) -> Option<f64> {
        self.mean_eigenvalue.filter(|&mean| mean > 0.0).map(|mean| self.lambda / mean)
    }
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

    /// The trace of `A`, of size `n`, by a solver that can have the whole matrix; others leave it to an estimate.
    fn trace(&mut self, _a: &mut Operator<'_, T>, _n: usize) -> Result<Option<T>> {
        Ok(None)
    }
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
    /// The unit of lambda.
    pub lam_unit: LamUnit,
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
    /// Seed of `nystrom`'s test matrix and of estimated traces.
    pub seed: u64,
}

impl Default for SolverConfig {
    /// The paper's solver: ten conjugate gradient iterations on the Hessian.
    fn default() -> Self {
        Self {
            kind: SolverKind::Cg,
            curvature: Curvature::Hessian,
            lam_unit: LamUnit::Absolute,
            iterations: 10,
            tolerance: 1e-6,
            curvature_stop: true,
            warm_start: false,
            rank: 10,
            seed: 0,
        }
    }
}
