//! A follower that is an outer function of outputs.

use crate::error::Result;
use crate::flat::{self, Scalar};

/// A follower `f2 = h(q; x1)` whose outputs `q` depend on its parameters alone: `blocks` vectors of `samples` numbers, block
/// `b` on block `b` of the parameters (twin critics are two blocks, laid out one after the other). `J` is the block
/// diagonal `(blocks B) x P` Jacobian of the outputs, `h''` the diagonal Hessian of `h` by them.
///
/// The critic that fits targets is `h = sum_b (1/B) sum_i omega_i (q_bi - y_i)^2`, with importance weights `omega_i` and
/// targets `y_i` that depend on the leader alone.
pub trait Composite<T: Scalar> {
    /// `B`, the number of samples.
    fn samples(&self) -> usize;

    /// Number of parameter blocks.
    fn blocks(&self) -> usize;

    /// `h''`
    fn outer_hessian(&mut self) -> Result<OuterHessian<T>>;

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

    /// `D1 (D2 f2 . x)` for every `x` with `J x = u`, that is `D1 (D_q h . u)` with the outputs held.
    fn cross_vjp_of_outputs(&mut self, u: &[T], out: &mut [T]) -> Result<()>;
}

/// The diagonal of `h''`.
#[derive(Clone, Debug, PartialEq)]
pub enum OuterHessian<T> {
    /// The same for every output: `2/B` of mean squares.
    Uniform(T),
    /// One number for each, `blocks B`, none below zero.
    Diagonal(Vec<T>),
}

impl<T: Scalar> OuterHessian<T> {
    /// `u <- h'' u`
    pub fn scale(&self, u: &mut [T]) {
        match self {
            Self::Uniform(h) => flat::scale(*h, u),
            Self::Diagonal(h) => u.iter_mut().zip(h).for_each(|(u, &h)| *u *= h),
        }
    }
}
