//! A matrix that is known by its products alone, damped.

use crate::error::Result;
use crate::flat::{self, Scalar};

/// `out = A v`
pub type Operator<'a, T> = dyn FnMut(&[T], &mut [T]) -> Result<()> + 'a;

/// `out = (A + lambda I) v`
pub(super) fn damped_product<T: Scalar>(
    a: &mut Operator<'_, T>,
    lambda: T,
    v: &[T],
    out: &mut [T],
) -> Result<()> {
    a(v, out)?;
    flat::axpy(lambda, v, out);
    Ok(())
}

/// `r = b - (A + lambda I) x`
pub(super) fn residual<T: Scalar>(
    a: &mut Operator<'_, T>,
    b: &[T],
    lambda: T,
    x: &[T],
    r: &mut [T],
) -> Result<()> {
    damped_product(a, lambda, x, r)?;
    for (r, &b) in r.iter_mut().zip(b) {
        *r = b - *r;
    }
    Ok(())
}

/// `|r| / |b|`; 0 if `b` is zero, for then so is the solution.
pub(super) fn relative<T: Scalar>(r: &[T], b: &[T]) -> f64 {
    let b_norm = flat::norm(b);
    if b_norm == T::zero() { 0.0 } else { (flat::norm(r) / b_norm).as_f64() }
}
