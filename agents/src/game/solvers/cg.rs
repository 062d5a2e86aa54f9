//! Conjugate gradients (Hestenes & Stiefel, 1952), as in the paper, with two guards: a relative
//! tolerance, and a stop at the first direction of non-positive curvature (Steihaug, 1983), where
//! the quadratic model has no minimum and further steps would run away.

use super::solver::{SolveInfo, Solver, SolverConfig};
use crate::error::Result;
use crate::flat::{self, Scalar};
use crate::game::operator::{Operator, damped_product, relative, residual};

pub(super) struct Cg<T> {
    iterations: usize,
    tolerance: f64,
    curvature_stop: bool,
    warm_start: bool,
    r: Vec<T>,
    p: Vec<T>,
    ap: Vec<T>,
}

impl<T: Scalar> Cg<T> {
    pub(super) fn new(config: &SolverConfig) -> Self {
        Self {
            iterations: config.iterations,
            tolerance: config.tolerance,
            curvature_stop: config.curvature_stop,
            warm_start: config.warm_start,
            r: Vec::new(),
            p: Vec::new(),
            ap: Vec::new(),
        }
    }
}

impl<T: Scalar> Solver<T> for Cg<T> {
    fn solve(
        &mut self,
        a: &mut Operator<'_, T>,
        b: &[T],
        lambda: T,
        x: &mut [T],
    ) -> Result<SolveInfo> {
        let Self { r, p, ap, .. } = self;
        for work in [&mut *r, &mut *p, &mut *ap] {
            work.resize(b.len(), T::zero());
        }
        let mut solve = SolveInfo::default();

        // r = b - (A + lambda I) x;  p = r
        if self.warm_start && flat::all_finite(x) {
            residual(a, b, lambda, x, r)?;
        } else {
            x.fill(T::zero());
            r.copy_from_slice(b);
        }
        p.copy_from_slice(r);
        let stop = T::of(self.tolerance) * flat::norm(b);
        let mut rr = flat::dot(r, r);

        while solve.iterations < self.iterations && rr > stop * stop {
            // alpha = r'r / p'(A + lambda I)p
            damped_product(a, lambda, p, ap)?;
            let curvature = flat::dot(p, ap);
            if curvature <= T::zero() {
                solve.negative_curvature = true;
                if self.curvature_stop {
                    break;
                }
            }
            let alpha = rr / curvature;

            // x += alpha p;  r -= alpha (A + lambda I) p
            flat::axpy(alpha, p, x);
            flat::axpy(-alpha, ap, r);

            // p = r + (r'r / previous r'r) p
            let previous = std::mem::replace(&mut rr, flat::dot(r, r));
            let beta = rr / previous;
            for (p, &r) in p.iter_mut().zip(&*r) {
                *p = r + beta * *p;
            }
            solve.iterations += 1;
        }
        solve.residual = relative(r, b);
        // Stopped before the first step: there is no solution, only the start.
        solve.fallback = solve.negative_curvature && solve.iterations == 0;
        Ok(solve)
    }
}
