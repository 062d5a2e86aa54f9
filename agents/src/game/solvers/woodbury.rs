//! Exact Gauss-Newton solve for least-squares followers, in the space of the batch or of the parameters.
//!
//! With `G = (2/B) J'J` and the push-through identity, the only thing the implicit term needs of
//! `x = (G + lambda I)^-1 D2 f1` are the outputs
//!
//! ```text
//! u = J x = ((2/B) K + lambda I)^-1 J D2 f1,      K = J J'
//! ```
//!
//! so that one `B x B` Cholesky factorisation per block replaces the `P x P` system. Where a block has
//! fewer parameters than the batch has samples, the `P x P` system is the smaller one.

use super::Solve;
use crate::error::{Error, Result};
use crate::flat::{self, Scalar};
use crate::game::{Game, LeastSquares, Player};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::reborrow::{Reborrow as _, ReborrowMut as _};
use faer::{MatMut, Par};

/// Work space for one system, its right-hand sides and solutions, and the outputs of all blocks.
pub(super) struct Woodbury<T> {
    k: Vec<T>,
    factor: Vec<T>,
    b: Vec<T>,
    u: Vec<T>,
    outputs: Vec<T>,
    scratch: Option<MemBuffer>,
}

impl<T> Default for Woodbury<T> {
    fn default() -> Self {
        let (k, factor, b, u, outputs) = Default::default();
        Self { k, factor, b, u, outputs, scratch: None }
    }
}

impl<T: Scalar> Woodbury<T> {
    /// Writes `D12 f2 (G + lambda I)^-1 D2 f1` to `out`. A damping below the rounding of `G` is raised to
    /// it, so that `lambda = 0` means the limit and not the inverse of a singular matrix.
    pub(super) fn implicit_term(
        &mut self,
        game: &mut dyn Game<T>,
        lambda: T,
        out: &mut [T],
    ) -> Result<Solve> {
        let parameters = game.dim(Player::Follower);
        let (samples, blocks) = {
            let game = least_squares(game)?;
            (game.samples(), game.blocks())
        };
        let width = parameters / blocks;
        let by_samples = samples <= width;
        self.resize(samples.min(width), blocks);

        // b = J D2 f1, or D2 f1 itself
        if by_samples {
            least_squares(game)?.jacobian_leader_gradient(&mut self.b)?;
        } else {
            game.gradient(Player::Leader, Player::Follower, &mut self.b)?;
        }
        self.u.copy_from_slice(&self.b);

        let game = least_squares(game)?;
        let n = samples.min(width);
        let mut squared_residual = T::zero();
        for block in 0..blocks {
            // u = ((2/B) K + lambda I)^-1 b, or x = ((2/B) J'J + lambda I)^-1 b
            if by_samples {
                game.gram(block, &mut self.k)?;
            } else {
                game.normal(block, &mut self.k)?;
            }
            flat::scale(T::of(2.0 / samples as f64), &mut self.k);
            let trace: T = self.k.iter().step_by(n + 1).copied().sum();
            let rounding = T::epsilon() * trace;
            let damping = if lambda < rounding { rounding } else { lambda };
            for diagonal in self.k.iter_mut().step_by(n + 1) {
                *diagonal += damping;
            }
            let rows = block * n..(block + 1) * n;
            if !self.factor_and_solve(rows.clone()) {
                return Ok(Solve { fallback: true, residual: 1.0, ..Solve::default() });
            }
            squared_residual += self.squared_residual(rows);
        }
        if by_samples {
            game.cross_vjp_of_outputs(&self.u, out)?;
        } else {
            self.outputs.resize(blocks * samples, T::zero());
            game.jacobian(&self.u, &mut self.outputs)?;
            game.cross_vjp_of_outputs(&self.outputs, out)?;
        }

        let b_norm = flat::norm(&self.b).as_f64();
        let residual = squared_residual.as_f64().sqrt();
        Ok(Solve {
            residual: if b_norm > 0.0 { residual / b_norm } else { 0.0 },
            fallback: !flat::all_finite(&self.u),
            ..Solve::default()
        })
    }

    fn resize(&mut self, n: usize, blocks: usize) {
        if self.k.len() != n * n {
            self.k.resize(n * n, T::zero());
            self.factor.resize(n * n, T::zero());
            let request =
                llt::factor::cholesky_in_place_scratch::<T>(n, Par::Seq, Default::default());
            self.scratch = Some(MemBuffer::new(request));
        }
        self.b.resize(blocks * n, T::zero());
        self.u.resize(blocks * n, T::zero());
    }

    /// Replaces `u[rows]` by the solution of `k u = u`, through the Cholesky factorisation `k = LL'`.
    /// False if `k` is not positive definite.
    fn factor_and_solve(&mut self, rows: std::ops::Range<usize>) -> bool {
        let n = rows.len();
        let Some(scratch) = &mut self.scratch else { return false };
        let stack = MemStack::new(scratch);
        self.factor.copy_from_slice(&self.k);
        let mut l = MatMut::from_column_major_slice_mut(&mut self.factor, n, n);
        let factored = llt::factor::cholesky_in_place(
            l.rb_mut(),
            Default::default(),
            Par::Seq,
            stack,
            Default::default(),
        );
        let u = MatMut::from_column_major_slice_mut(&mut self.u[rows], n, 1);
        llt::solve::solve_in_place(l.rb(), u, Par::Seq, stack);
        factored.is_ok()
    }

    /// `|k u - b|^2` of one block.
    fn squared_residual(&self, rows: std::ops::Range<usize>) -> T {
        let (u, b) = (&self.u[rows.clone()], &self.b[rows]);
        let residuals = self.k.chunks_exact(u.len()).zip(b).map(|(row, &b)| flat::dot(row, u) - b);
        residuals.map(|r| r * r).sum()
    }
}

/// The least-squares structure of `game`, or the error that names what lacks it.
pub(super) fn least_squares<T: Scalar>(game: &mut dyn Game<T>) -> Result<&mut dyn LeastSquares<T>> {
    game.least_squares().ok_or_else(|| {
        Error::config(
            "solver",
            "woodbury",
            "Gauss-Newton needs a follower that fits targets; with the critic as leader take `cg`",
        )
    })
}
