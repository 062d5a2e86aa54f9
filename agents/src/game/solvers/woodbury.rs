//! Exact Gauss-Newton solve for followers that are a function of outputs, in the space of the batch or of the parameters.
//!
//! With `G = s J'J` (`s = 2/B` of mean squares) and the push-through identity, the only thing the implicit term needs of
//! `x = (G + lambda I)^-1 D2 f1` are the outputs
//!
//! ```text
//! u = J x = (s K + lambda I)^-1 J D2 f1,      K = J J'
//! ```
//!
//! so that one `B x B` Cholesky factorisation per block replaces the `P x P` system. Where a block has
//! fewer parameters than the batch has samples, the `P x P` system is the smaller one. With a weight for each output,
//! `G = J' S^2 J`,
//!
//! ```text
//! u = (J D2 f1 - K S y) / lambda,             (S K S + lambda I) y = S J D2 f1
//! ```

use super::solver::SolveInfo;
use crate::error::Result;
use crate::flat::{self, Scalar};
use crate::game::curvature::{OuterHessian, Space, composite};
use crate::game::{Game, Player};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::reborrow::{Reborrow as _, ReborrowMut as _};
use faer::{MatMut, Par};

/// Who asks for outputs.
const ASKED: &str = "solver: woodbury";

/// The space of the smaller system.
pub(super) fn space<T: Scalar>(game: &mut dyn Game<T>) -> Result<Space> {
    let parameters = game.dim(Player::Follower);
    let game = composite(game, ASKED)?;
    let uniform = matches!(game.outer_hessian()?, OuterHessian::Uniform(_));
    let by_samples = game.samples() <= parameters / game.blocks();
    Ok(if by_samples || !uniform { Space::Outputs } else { Space::Parameters })
}

/// Work space for one system.
pub(super) struct Woodbury<T> {
    k: Vec<T>,
    factor: Vec<T>,
    scratch: Option<MemBuffer>,
}

impl<T> Default for Woodbury<T> {
    fn default() -> Self {
        Self { k: Vec::new(), factor: Vec::new(), scratch: None }
    }
}

impl<T: Scalar> Woodbury<T> {
    /// Writes `u` or `x` to `x`. A damping below the rounding of `G` is raised to it, so that `lambda = 0` means the limit
    /// and not the inverse of a singular matrix.
    pub(super) fn solve(
        &mut self,
        game: &mut dyn Game<T>,
        space: Space,
        lambda: T,
        b: &[T],
        x: &mut [T],
    ) -> Result<SolveInfo> {
        let game = composite(game, ASKED)?;
        let n = b.len() / game.blocks();
        self.resize(n);
        x.copy_from_slice(b);
        let outer = game.outer_hessian()?;
        let mut squared_residual = T::zero();
        for block in 0..game.blocks() {
            let rows = block * n..(block + 1) * n;
            match space {
                Space::Outputs => game.gram(block, &mut self.k)?,
                Space::Parameters => game.normal(block, &mut self.k)?,
            }
            let (b, x) = (&b[rows.clone()], &mut x[rows.clone()]);
            let residual = match &outer {
                OuterHessian::Uniform(s) => self.solve_uniform(*s, lambda, b, x),
                OuterHessian::Diagonal(h) => self.solve_weighted(&h[rows], lambda, b, x),
            };
            let Some(residual) = residual else {
                return Ok(SolveInfo { fallback: true, residual: 1.0, ..SolveInfo::default() });
            };
            squared_residual += residual;
        }
        let b_norm = flat::norm(b).as_f64();
        let residual = squared_residual.as_f64().sqrt();
        Ok(SolveInfo {
            residual: if b_norm > 0.0 { residual / b_norm } else { 0.0 },
            ..SolveInfo::default()
        })
    }

    /// `x = (s K + lambda I)^-1 x`; the squared residual, or none if the matrix is not positive definite.
    fn solve_uniform(&mut self, s: T, lambda: T, b: &[T], x: &mut [T]) -> Option<T> {
        flat::scale(s, &mut self.k);
        self.damp(lambda, x.len());
        self.factor_and_solve(x).then(|| self.squared_residual(b, x))
    }

    /// `x = (b - K S (S K S + lambda I)^-1 S b) / lambda`; the squared residual of the system, or none as above.
    fn solve_weighted(&mut self, h: &[T], lambda: T, b: &[T], x: &mut [T]) -> Option<T> {
        let root: Vec<T> = h.iter().map(|&h| T::sqrt(h)).collect();
        let k = self.k.clone();
        for (row, &s) in self.k.chunks_exact_mut(root.len()).zip(&root) {
            row.iter_mut().zip(&root).for_each(|(k, &t)| *k *= s * t);
        }
        let damping = self.damp(lambda, root.len());
        x.iter_mut().zip(&root).for_each(|(x, &s)| *x *= s);
        let scaled = x.to_vec();
        if !self.factor_and_solve(x) {
            return None;
        }
        let residual = self.squared_residual(&scaled, x);
        let sy: Vec<T> = x.iter().zip(&root).map(|(&y, &s)| s * y).collect();
        for ((x, &b), row) in x.iter_mut().zip(b).zip(k.chunks_exact(root.len())) {
            *x = (b - flat::dot(row, &sy)) / damping;
        }
        Some(residual)
    }

    /// Adds the damping to the diagonal of `k`; returns it.
    fn damp(&mut self, lambda: T, n: usize) -> T {
        let trace: T = self.k.iter().step_by(n + 1).copied().sum();
        let rounding = T::epsilon() * trace;
        let damping = if lambda < rounding { rounding } else { lambda };
        self.k.iter_mut().step_by(n + 1).for_each(|diagonal| *diagonal += damping);
        damping
    }

    fn resize(&mut self, n: usize) {
        if self.k.len() != n * n {
            self.k.resize(n * n, T::zero());
            self.factor.resize(n * n, T::zero());
            let request =
                llt::factor::cholesky_in_place_scratch::<T>(n, Par::Seq, Default::default());
            self.scratch = Some(MemBuffer::new(request));
        }
    }

    /// Replaces `u` by the solution of `k u = u`, through the Cholesky factorisation `k = LL'`.
    /// False if `k` is not positive definite.
    fn factor_and_solve(&mut self, u: &mut [T]) -> bool {
        let n = u.len();
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
        let u = MatMut::from_column_major_slice_mut(u, n, 1);
        llt::solve::solve_in_place(l.rb(), u, Par::Seq, stack);
        factored.is_ok()
    }

    /// `|k u - b|^2`
    fn squared_residual(&self, b: &[T], u: &[T]) -> T {
        let residuals = self.k.chunks_exact(u.len()).zip(b).map(|(row, &b)| flat::dot(row, u) - b);
        residuals.map(|r| r * r).sum()
    }
}
