//! The truncated Neumann series (for implicit gradients: Lorraine, Vicol & Duvenaud, 2020)
//!
//! ```text
//! (A + lambda I)^-1 b = alpha sum_k (I - alpha (A + lambda I))^k b
//! ```
//!
//! which converges for positive definite matrices if `alpha` is below 2 / (largest eigenvalue).
//! Its partial sums are the iterates of `x += alpha r`, and in this form a start is possible.

use super::solver::{SolveInfo, Solver, SolverConfig};
use crate::error::Result;
use crate::flat::{self, Scalar};
use crate::game::operator::{Operator, damped_product, relative, residual};
use crate::game::spectrum::extremes;

/// Products that go into the estimate of the largest eigenvalue.
const PROBES: usize = 4;

pub(super) struct Neumann<T> {
    iterations: usize,
    tolerance: f64,
    curvature_stop: bool,
    warm_start: bool,
    r: Vec<T>,
    ar: Vec<T>,
}

impl<T: Scalar> Neumann<T> {
    pub(super) fn new(config: &SolverConfig) -> Self {
        Self {
            iterations: config.iterations,
            tolerance: config.tolerance,
            curvature_stop: config.curvature_stop,
            warm_start: config.warm_start,
            r: Vec::new(),
            ar: Vec::new(),
        }
    }
}

impl<T: Scalar> Solver<T> for Neumann<T> {
    fn solve(
        &mut self,
        a: &mut Operator<'_, T>,
        b: &[T],
        lambda: T,
        x: &mut [T],
    ) -> Result<SolveInfo> {
        let Self { r, ar, .. } = self;
        r.resize(b.len(), T::zero());
        ar.resize(b.len(), T::zero());
        let mut solve = SolveInfo::default();

        // r = b - (A + lambda I) x
        if self.warm_start && flat::all_finite(x) {
            residual(a, b, lambda, x, r)?;
        } else {
            x.fill(T::zero());
            r.copy_from_slice(b);
        }
        let stop = self.tolerance;
        if relative(r, b) <= stop {
            return Ok(SolveInfo { residual: relative(r, b), ..solve });
        }

        // alpha = 1 / largest eigenvalue, of which a few Lanczos steps from r give an upper bound:
        // the series never leaves the subspace that r spans.
        let spectrum = extremes(a, r, PROBES, 0.0)?;
        let alpha = (T::of(spectrum.max + spectrum.remainder) + lambda).recip();

        while solve.iterations < self.iterations && relative(r, b) > stop {
            damped_product(a, lambda, r, ar)?;
            if flat::dot(r, ar) <= T::zero() {
                solve.negative_curvature = true;
                if self.curvature_stop {
                    break;
                }
            }
            // x += alpha r;  r -= alpha (A + lambda I) r
            flat::axpy(alpha, r, x);
            flat::axpy(-alpha, ar, r);
            solve.iterations += 1;
        }
        solve.residual = relative(r, b);
        // Nothing was summed, or the series diverges: on definite matrices |r| falls at every term.
        solve.fallback =
            solve.negative_curvature && (solve.iterations == 0 || solve.residual > 1.0);
        Ok(solve)
    }
}
