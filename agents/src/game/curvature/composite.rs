//! A follower that is an outer function of outputs.

use crate::error::Result;
use crate::flat::{self, Scalar};

/// A follower `f2 = h(z; x1)` whose outputs `z` depend on its parameters alone: `blocks` vectors of `rows` numbers, block
/// `b` on block `b` of the parameters (twin critics are two blocks, laid out one after the other). `J` is the block
/// diagonal `(blocks rows) x P` Jacobian of the outputs, `h''` the Hessian of `h` by them, a diagonal whose negative numbers
/// are taken for zero.
///
/// The critic that fits targets has a row per sample, `h = sum_b (1/B) sum_i omega_i (q_bi - y_i)^2`, with importance
/// weights `omega_i` and targets `y_i` that depend on the leader alone. The actor has a row per sample and component of the
/// action, `h = -(1/B) sum_i V(s_i; z_i)`, with `z` the actions before `tanh` and critics whose slope by the action is
/// piecewise constant.
pub trait Composite<T: Scalar> {
    /// Outputs per block: `B` of critics, `B m` of an actor.
    fn rows(&self) -> usize;

    /// Number of parameter blocks.
    fn blocks(&self) -> usize;

    /// The number that `h''` has everywhere on its diagonal, if it is one: `2/B` of mean squares.
    fn uniform(&self) -> Option<T>;

    /// `u <- h'' u`, for `u` of length `blocks rows`.
    fn times_outer_hessian(&mut self, u: &mut [T]) -> Result<()> {
        if let Some(h) = self.uniform() {
            flat::scale(h, u);
        }
        Ok(())
    }

    /// `K = J_b J_b'` (`rows x rows`, row-major) of block `b`.
    fn gram(&mut self, block: usize, k: &mut [T]) -> Result<()>;

    /// The diagonal of `K`, block `b`; where `h''` is zero it may be left at zero.
    fn gram_diagonal(&mut self, block: usize, out: &mut [T]) -> Result<()> {
        let rows = self.rows();
        let mut k = vec![T::zero(); rows * rows];
        self.gram(block, &mut k)?;
        out.iter_mut().zip(k.iter().step_by(rows + 1)).for_each(|(out, &k)| *out = k);
        Ok(())
    }

    /// The rows and columns `kept` (increasing) of `K`, block `b`; `h''` is not zero there.
    fn gram_of(&mut self, block: usize, kept: &[usize], k: &mut [T]) -> Result<()> {
        select(self, block, kept, k)
    }

    /// `N = J_b'J_b` of block `b`, symmetric, of the size of its parameters.
    fn normal(&mut self, block: usize, n: &mut [T]) -> Result<()> {
        // Column by column: N e_j = J'(J e_j).
        let width = n.len().isqrt();
        let first = block * width;
        let mut unit = vec![T::zero(); self.blocks() * width];
        let mut product = unit.clone();
        let mut outputs = vec![T::zero(); self.blocks() * self.rows()];
        for (j, column) in n.chunks_exact_mut(width).enumerate() {
            unit[first + j] = T::one();
            self.jacobian(&unit, &mut outputs)?;
            self.jacobian_transpose(&outputs, &mut product)?;
            unit[first + j] = T::zero();
            column.copy_from_slice(&product[first..first + width]);
        }
        Ok(())
    }

    /// `J D2 f1`, length `blocks rows`.
    fn jacobian_leader_gradient(&mut self, out: &mut [T]) -> Result<()>;

    /// `J v`, length `blocks rows`.
    fn jacobian(&mut self, v: &[T], out: &mut [T]) -> Result<()>;

    /// `J' u` for `u` of length `blocks rows`.
    fn jacobian_transpose(&mut self, u: &[T], out: &mut [T]) -> Result<()>;

    /// `D1 (D2 f2 . x)` for every `x` with `J x = u`, that is `D1 (D_z h . u)` with the outputs held.
    fn cross_vjp_of_outputs(&mut self, u: &[T], out: &mut [T]) -> Result<()>;
}

/// The rows and columns `kept` of `K`, out of the whole.
pub fn select<T: Scalar, C: Composite<T> + ?Sized>(
    game: &mut C,
    block: usize,
    kept: &[usize],
    k: &mut [T],
) -> Result<()> {
    let rows = game.rows();
    let mut all = vec![T::zero(); rows * rows];
    game.gram(block, &mut all)?;
    for (k, &r) in k.chunks_exact_mut(kept.len()).zip(kept) {
        k.iter_mut().zip(kept).for_each(|(k, &c)| *k = all[r * rows + c]);
    }
    Ok(())
}
