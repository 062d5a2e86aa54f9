//! The oracle: the whole matrix, column by column, and an LU factorisation.

use super::solver::{SolveInfo, Solver};
use crate::error::Result;
use crate::flat::Scalar;
use crate::game::operator::{Operator, damped_product, relative, residual};
use crate::room;
use faer::linalg::solvers::Solve as _;

pub(super) struct Dense;

impl<T: Scalar> Solver<T> for Dense {
    fn solve(
        &mut self,
        a: &mut Operator<'_, T>,
        b: &[T],
        lambda: T,
        x: &mut [T],
    ) -> Result<SolveInfo> {
        let n = b.len();
        // The matrix, and its factors.
        let bytes = 2 * size_of::<T>() as u128 * (n as u128).pow(2);
        room::require(&format!("the matrix of {n} x {n}"), bytes, "solver", "dense")?;
        let mut matrix = faer::Mat::<T>::zeros(n, n);
        let (mut unit, mut column) = (vec![T::zero(); n], vec![T::zero(); n]);
        for j in 0..n {
            unit[j] = T::one();
            damped_product(a, lambda, &unit, &mut column)?;
            unit[j] = T::zero();
            for (i, &value) in column.iter().enumerate() {
                matrix[(i, j)] = value;
            }
        }
        let rhs = faer::Mat::from_fn(n, 1, |i, _| b[i]);
        let solution = matrix.partial_piv_lu().solve(&rhs);
        for (i, x) in x.iter_mut().enumerate() {
            *x = solution[(i, 0)];
        }

        residual(a, b, lambda, x, &mut column)?;
        Ok(SolveInfo { residual: relative(&column, b), ..SolveInfo::default() })
    }

    fn trace(&mut self, a: &mut Operator<'_, T>, n: usize) -> Result<Option<T>> {
        let (mut unit, mut column, mut trace) = (vec![T::zero(); n], vec![T::zero(); n], T::zero());
        for j in 0..n {
            unit[j] = T::one();
            a(&unit, &mut column)?;
            unit[j] = T::zero();
            trace += column[j];
        }
        Ok(Some(trace))
    }
}
