//! The oracle: the whole matrix, column by column, and an LU factorisation.

use super::{LinearSolver, Operator, Solve};
use crate::error::Result;
use crate::flat::{self, Scalar};
use faer::linalg::solvers::Solve as _;

pub(super) struct Dense;

impl<T: Scalar> LinearSolver<T> for Dense {
    fn solve(&mut self, a: &mut Operator<'_, T>, b: &[T], lambda: T, x: &mut [T]) -> Result<Solve> {
        let n = b.len();
        let mut matrix = faer::Mat::<T>::zeros(n, n);
        let (mut unit, mut column) = (vec![T::zero(); n], vec![T::zero(); n]);
        for j in 0..n {
            unit[j] = T::one();
            a(&unit, &mut column)?;
            unit[j] = T::zero();
            column[j] += lambda;
            for (i, &value) in column.iter().enumerate() {
                matrix[(i, j)] = value;
            }
        }
        let rhs = faer::Mat::from_fn(n, 1, |i, _| b[i]);
        let solution = matrix.partial_piv_lu().solve(&rhs);
        for (i, x) in x.iter_mut().enumerate() {
            *x = solution[(i, 0)];
        }

        // residual = |A x - b| / |b|
        a(x, &mut column)?;
        flat::axpy(lambda, x, &mut column);
        flat::axpy(-T::one(), b, &mut column);
        let b_norm = flat::norm(b).as_f64();
        let residual = if b_norm > 0.0 { flat::norm(&column).as_f64() / b_norm } else { 0.0 };
        Ok(Solve { residual, fallback: !flat::all_finite(x), ..Solve::default() })
    }
}
