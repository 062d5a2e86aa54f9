//! The randomised Nystrom approximation (Frangella, Tropp & Udell, 2021; for implicit gradients:
//! Hataya & Yamada, 2023). From products with a random orthonormal test matrix `Omega`,
//!
//! ```text
//! Y = A Omega,   A ~ Y (Omega'Y)^-1 Y' = U S U'
//! (A + lambda I)^-1 b ~ U (S + lambda I)^-1 U'b + (b - U U'b) / lambda
//! ```
//!
//! It is exact once the rank of `Omega` reaches that of `A`, and has no defence against a spectrum
//! that does not decay: see the residual. Directions of negative curvature within the sketch are
//! left out of the approximation, which then is positive semi-definite.

use super::solver::{SolveInfo, Solver, SolverConfig};
use crate::error::Result;
use crate::flat::Scalar;
use crate::game::operator::{Operator, relative, residual};
use crate::rng::{Purpose, Rng};
use faer::linalg::solvers::Svd;
use faer::{ColRef, Mat, Side};
use num_traits::Float;

pub(super) struct Nystrom<T> {
    rank: usize,
    seed: u64,
    /// `Omega`, drawn once per size: the solver then has no state that a resumed run would miss.
    omega: Mat<T>,
    r: Vec<T>,
}

impl<T: Scalar> Nystrom<T> {
    pub(super) fn new(config: &SolverConfig) -> Self {
        Self { rank: config.rank, seed: config.seed, omega: Mat::new(), r: Vec::new() }
    }

    fn resize(&mut self, n: usize) {
        if self.omega.nrows() != n {
            let mut rng = Rng::new(self.seed, Purpose::Solver);
            let gaussian = Mat::<T>::from_fn(n, self.rank.min(n), |_, _| rng.normal());
            self.omega = gaussian.qr().compute_thin_Q();
            self.r.resize(n, T::zero());
        }
    }

    /// `U`, `S` of the approximation, and whether `Omega'A Omega` has a non-positive eigenvalue
    /// beyond rounding. None if a factorisation fails.
    fn sketch(&self, a: &mut Operator<'_, T>) -> Result<Option<(Svd<T>, bool)>> {
        let mut y = Mat::<T>::zeros(self.omega.nrows(), self.omega.ncols());
        let (mut column, mut product) = (self.r.clone(), self.r.clone());
        for j in 0..y.ncols() {
            column.iter_mut().zip(self.omega.col(j).iter()).for_each(|(c, &o)| *c = o);
            a(&column, &mut product)?;
            y.col_mut(j).iter_mut().zip(&product).for_each(|(y, &p)| *y = p);
        }
        if !y.is_all_finite() {
            return Ok(None);
        }
        // Omega'Y = Z diag(c) Z';  B = Y Z diag(c)^-1/2 over c > 0;  A ~ B B' = U S U'
        let core = self.omega.transpose() * &y;
        let Ok(eigen) = core.self_adjoint_eigen(Side::Lower) else { return Ok(None) };
        let c = eigen.S().column_vector();
        let largest = c.iter().fold(T::zero(), |max, c| max.max(Float::abs(*c)));
        let rounding = largest * T::epsilon() * T::of(y.nrows() as f64);
        let first = c.iter().take_while(|&&c| c <= rounding).count();
        let mut factor = y * eigen.U().subcols(first, c.nrows() - first);
        for j in 0..factor.ncols() {
            let scale = Float::sqrt(c[first + j]).recip();
            factor.col_mut(j).iter_mut().for_each(|f| *f *= scale);
        }
        let negative = c.iter().any(|&c| c < -rounding);
        Ok(factor.thin_svd().ok().map(|svd| (svd, negative)))
    }
}

impl<T: Scalar> Solver<T> for Nystrom<T> {
    fn solve(
        &mut self,
        a: &mut Operator<'_, T>,
        b: &[T],
        lambda: T,
        x: &mut [T],
    ) -> Result<SolveInfo> {
        self.resize(b.len());
        let iterations = self.omega.ncols();
        let failed =
            SolveInfo { residual: 1.0, iterations, fallback: true, ..SolveInfo::default() };
        let Some((svd, negative_curvature)) = self.sketch(a)? else { return Ok(failed) };
        let (u, singular) = (svd.U(), svd.S().column_vector());

        // x = b / lambda + U ((S + lambda I)^-1 - I / lambda) U'b, and without the second and the
        // last term where U spans everything
        let b_col = ColRef::from_slice(b);
        let mut coordinates = u.transpose() * b_col;
        let complete = u.ncols() == b.len();
        let outside = if complete { T::zero() } else { lambda.recip() };
        for (coordinate, &s) in coordinates.iter_mut().zip(singular.iter()) {
            *coordinate *= (s * s + lambda).recip() - outside;
        }
        let inside = u * coordinates;
        for ((x, &b), &inside) in x.iter_mut().zip(b).zip(inside.iter()) {
            *x = outside * b + inside;
        }

        residual(a, b, lambda, x, &mut self.r)?;
        Ok(SolveInfo {
            residual: relative(&self.r, b),
            iterations,
            negative_curvature,
            ..SolveInfo::default()
        })
    }
}
