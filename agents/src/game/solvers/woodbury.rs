//! Exact Gauss-Newton solve for followers that are a function of outputs, in the space of those outputs (or of the
//! parameters, where they are fewer).
//!
//! With `G = s J'J` (`s = 2/B` of mean squares) and the push-through identity, the only thing the implicit term needs of
//! `x = (G + lambda I)^-1 D2 f1` are the outputs
//!
//! ```text
//! u = J x = (s K + lambda I)^-1 J D2 f1,      K = J J'
//! ```
//!
//! so that one Cholesky factorisation of the size of the batch replaces the `P x P` system. With a weight for each output,
//! `G = J' S^2 J` with a diagonal `S`,
//!
//! ```text
//! x = (D2 f1 - J' S y) / lambda,             (S K S + lambda I) y = S J D2 f1
//! ```
//!
//! where rows whose share of the curvature, `S_r^2 K_rr`, is lost in the rounding of lambda are left out. Leaving out a
//! share of `e` in all moves `x` by at most `e / lambda |x|`.

use super::ridge::Ridge;
use super::solver::SolveInfo;
use crate::error::Result;
use crate::flat::{self, Scalar};
use crate::game::curvature::{Composite, Space, composite};
use crate::game::{Game, Player};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::reborrow::{Reborrow as _, ReborrowMut as _};
use faer::{MatMut, Par};
use std::ops::Range;

/// Who asks for outputs.
const ASKED: &str = "solver: woodbury";

/// The space of the smaller system; with weights, the solve gives `x` from a system in the outputs.
pub(super) fn space<T: Scalar>(game: &mut dyn Game<T>) -> Result<Space> {
    let parameters = game.dim(Player::Follower);
    let game = composite(game, ASKED)?;
    let few = game.rows() <= parameters / game.blocks();
    Ok(if game.uniform().is_some() && few { Space::Outputs } else { Space::Parameters })
}

/// Work space for one system, with room for the largest.
pub(super) struct Woodbury<T> {
    /// The matrix, of which only the part on and above the diagonal is used, and its Cholesky factor.
    k: Vec<T>,
    factor: Vec<T>,
    scratch: Option<(usize, MemBuffer)>,
    /// Per output: `S^2`, the diagonal of `S K S`, and `J D2 f1` or `S y`.
    weights: Vec<T>,
    diagonal: Vec<T>,
    outputs: Vec<T>,
    /// Rows of a block that count, and per such row: `S`, `S J D2 f1` and `y`.
    kept: Vec<usize>,
    root: Vec<T>,
    right: Vec<T>,
    y: Vec<T>,
    residual: Vec<T>,
}

impl<T> Default for Woodbury<T> {
    fn default() -> Self {
        let (k, factor, weights, diagonal, outputs) = Default::default();
        let (kept, root, right, y, residual) = Default::default();
        let scratch = None;
        Self { k, factor, scratch, weights, diagonal, outputs, kept, root, right, y, residual }
    }
}

/// Sums over the blocks of a system.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Of the matrix, and of its squared entries: the sums of its eigenvalues and of their squares.
    trace: f64,
    squares: f64,
    /// Squared residual and right-hand side.
    residual: f64,
    right: f64,
}

impl Sums {
    fn relative_residual(&self) -> f64 {
        if self.right > 0.0 { (self.residual / self.right).sqrt() } else { 0.0 }
    }

    /// How many equal eigenvalues have this sum and this sum of squares.
    fn effective_rank(&self) -> Option<f64> {
        (self.squares > 0.0).then(|| self.trace * self.trace / self.squares)
    }
}

impl<T: Scalar> Woodbury<T> {
    /// Writes `u` or `x` to `x`. A damping below the rounding of `G` is raised to it, so that `lambda = 0` means the limit
    /// and not the inverse of a singular matrix.
    pub(super) fn solve(
        &mut self,
        game: &mut dyn Game<T>,
        space: Space,
        ridge: Ridge<T>,
        b: &[T],
        x: &mut [T],
    ) -> Result<SolveInfo> {
        let parameters = game.dim(Player::Follower);
        let game = composite(game, ASKED)?;
        match game.uniform() {
            Some(s) => self.solve_uniform(game, (space, s), (ridge, parameters), b, x),
            None => self.solve_weighted(game, (ridge, parameters), b, x),
        }
    }

    /// `x = (s K + lambda I)^-1 b`, or with `J'J` in the place of `K`.
    fn solve_uniform(
        &mut self,
        game: &mut dyn Composite<T>,
        (space, s): (Space, T),
        (ridge, parameters): (Ridge<T>, usize),
        b: &[T],
        x: &mut [T],
    ) -> Result<SolveInfo> {
        let (rows, blocks) = (game.rows(), game.blocks());
        let rank = parameters.min(rows * blocks);
        let lambda = ridge.lambda(|| {
            self.diagonal.resize(rows, T::zero());
            let mut trace = T::zero();
            for block in 0..blocks {
                game.gram_diagonal(block, &mut self.diagonal)?;
                trace += s * self.diagonal.iter().copied().sum::<T>();
            }
            Ok(trace / T::of(rank as f64))
        })?;
        let n = b.len() / blocks;
        self.reserve(n);
        x.copy_from_slice(b);
        let mut sums = Sums::default();
        for block in 0..blocks {
            let of = block * n..(block + 1) * n;
            match space {
                Space::Outputs => game.gram(block, &mut self.k[..n * n])?,
                Space::Parameters => game.normal(block, &mut self.k[..n * n])?,
            }
            flat::scale(s, &mut self.k[..n * n]);
            self.measure(n, &mut sums);
            self.damp(lambda, n);
            let x = &mut x[of.clone()];
            if !self.factor_and_solve(x) {
                return Ok(SolveInfo::failed(lambda));
            }
            self.add_residual(&b[of], x, &mut sums);
        }
        let info = SolveInfo::new(lambda, sums.relative_residual());
        Ok(info.with_spectrum(sums.trace / rank as f64, sums.effective_rank()))
    }

    /// `x = (b - J' S y) / lambda`.
    fn solve_weighted(
        &mut self,
        game: &mut dyn Composite<T>,
        (ridge, parameters): (Ridge<T>, usize),
        b: &[T],
        x: &mut [T],
    ) -> Result<SolveInfo> {
        let (rows, blocks) = (game.rows(), game.blocks());
        let all = rows * blocks;
        self.weights.clear();
        self.weights.resize(all, T::one());
        game.times_outer_hessian(&mut self.weights)?;
        self.diagonal.resize(all, T::zero());
        for (block, diagonal) in self.diagonal.chunks_exact_mut(rows).enumerate() {
            game.gram_diagonal(block, diagonal)?;
        }
        for (k, &h) in self.diagonal.iter_mut().zip(&self.weights) {
            *k *= h;
        }
        let positive = self.weights.iter().filter(|&&h| h > T::zero()).count();
        let trace: T = self.diagonal.iter().copied().sum();
        let rank = positive.min(parameters).max(1);
        let mean = trace / T::of(rank as f64);
        let lambda = raised(ridge.lambda(|| Ok(mean))?, trace);

        // J D2 f1
        self.outputs.resize(all, T::zero());
        game.jacobian(b, &mut self.outputs)?;
        self.reserve(rows);
        let (mut sums, mut kept) = (Sums::default(), 0);
        for block in 0..blocks {
            let of = block * rows..(block + 1) * rows;
            self.choose(of.clone(), lambda);
            let n = self.kept.len();
            kept += n;
            if n > 0 {
                game.gram_of(block, &self.kept, &mut self.k[..n * n])?;
                scale_upper(&mut self.k[..n * n], &self.root);
                self.measure(n, &mut sums);
                self.damp(lambda, n);
                let mut y = std::mem::take(&mut self.y);
                y.clone_from(&self.right);
                let solved = self.factor_and_solve(&mut y);
                let right = std::mem::take(&mut self.right);
                self.add_residual(&right, &y, &mut sums);
                (self.right, self.y) = (right, y);
                if !solved {
                    return Ok(SolveInfo::failed(lambda));
                }
            }
            // S y
            let outputs = &mut self.outputs[of];
            outputs.fill(T::zero());
            for ((&row, &s), &y) in self.kept.iter().zip(&self.root).zip(&self.y) {
                outputs[row] = s * y;
            }
        }
        // x = (D2 f1 - J' S y) / lambda
        game.jacobian_transpose(&self.outputs, x)?;
        for (x, &b) in x.iter_mut().zip(b) {
            *x = (b - *x) / lambda;
        }
        let info = SolveInfo::new(lambda, sums.relative_residual());
        let info = info.with_spectrum(mean.as_f64(), sums.effective_rank());
        Ok(info.with_rows(positive as f64 / all as f64, kept as f64 / all as f64))
    }

    /// The rows of a block that count with `lambda`, `S` and `S J D2 f1` there.
    fn choose(&mut self, of: Range<usize>, lambda: T) {
        let negligible = T::of(8.0) * T::epsilon() * lambda;
        for own in [&mut self.root, &mut self.right] {
            own.clear();
        }
        self.kept.clear();
        let rows = self.weights[of.clone()].iter().zip(&self.diagonal[of.clone()]);
        for (row, ((&h, &share), &output)) in rows.zip(&self.outputs[of]).enumerate() {
            // What is not a number is kept: the solve is to fail.
            if !(h <= T::zero() || share < negligible) {
                let s = T::sqrt(h);
                self.kept.push(row);
                self.root.push(s);
                self.right.push(s * output);
            }
        }
    }

    /// Adds the trace of the matrix of `n` rows and the sum of its squared entries.
    fn measure(&self, n: usize, sums: &mut Sums) {
        for (i, row) in self.k[..n * n].chunks_exact(n).enumerate() {
            let (diagonal, above) = (row[i].as_f64(), &row[i + 1..]);
            sums.trace += diagonal;
            sums.squares += diagonal * diagonal + 2.0 * flat::dot(above, above).as_f64();
        }
    }

    /// Adds the damping to the diagonal.
    fn damp(&mut self, lambda: T, n: usize) {
        let trace = self.k[..n * n].iter().step_by(n + 1).copied().sum();
        let damping = raised(lambda, trace);
        self.k[..n * n].iter_mut().step_by(n + 1).for_each(|diagonal| *diagonal += damping);
    }

    fn reserve(&mut self, n: usize) {
        if self.scratch.as_ref().is_none_or(|(size, _)| *size < n) {
            self.k.resize(n * n, T::zero());
            self.factor.resize(n * n, T::zero());
            let request =
                llt::factor::cholesky_in_place_scratch::<T>(n, Par::Seq, Default::default());
            self.scratch = Some((n, MemBuffer::new(request)));
            for own in [&mut self.root, &mut self.right, &mut self.y, &mut self.residual] {
                own.reserve(n);
            }
            self.kept.reserve(n);
        }
    }

    /// Replaces `u` by the solution of `k u = u`, through the Cholesky factorisation `k = LL'`.
    /// False if `k` is not positive definite.
    fn factor_and_solve(&mut self, u: &mut [T]) -> bool {
        let n = u.len();
        let Some((_, scratch)) = &mut self.scratch else { return false };
        let stack = MemStack::new(scratch);
        let factor = &mut self.factor[..n * n];
        factor.copy_from_slice(&self.k[..n * n]);
        // Above the diagonal of rows is below it of columns.
        let mut l = MatMut::from_column_major_slice_mut(factor, n, n);
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

    /// Adds `|k u - b|^2` and `|b|^2`.
    fn add_residual(&mut self, b: &[T], u: &[T], sums: &mut Sums) {
        let Self { k, residual, .. } = self;
        let n = u.len();
        residual.clear();
        residual.extend(b.iter().map(|&b| -b));
        // Below the diagonal each row is the column above it.
        for (i, row) in k[..n * n].chunks_exact(n).enumerate() {
            residual[i] += flat::dot(&row[i..], &u[i..]);
            flat::axpy(u[i], &row[i + 1..], &mut residual[i + 1..]);
        }
        sums.residual += flat::dot(residual, residual).as_f64();
        sums.right += flat::dot(b, b).as_f64();
    }
}

/// `lambda`, at least the rounding of a matrix of this trace.
fn raised<T: Scalar>(lambda: T, trace: T) -> T {
    let rounding = T::epsilon() * trace;
    if lambda < rounding { rounding } else { lambda }
}

/// `k <- S k S`, on and above the diagonal.
fn scale_upper<T: Scalar>(k: &mut [T], root: &[T]) {
    for (i, (row, &s)) in k.chunks_exact_mut(root.len()).zip(root).enumerate() {
        flat::vectorised(|| {
            row[i..].iter_mut().zip(&root[i..]).for_each(|(k, &t)| *k *= s * t);
        });
    }
}
