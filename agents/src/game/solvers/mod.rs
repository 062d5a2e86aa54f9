//! Solvers of `(D22 f2 + lambda I) x = D2 f1`.

mod cg;
mod dense;
mod neumann;
mod nystrom;
mod ridge;
mod solver;
mod woodbury;

pub use ridge::{LamUnit, Ridge};
pub use solver::{SolveInfo, Solver, SolverConfig, SolverKind};

use super::Game;
use super::curvature::{Curvature, Space, rank};
use crate::error::Result;
use crate::flat::{self, Scalar};
use ridge::Hutchinson;

/// The solve in the implicit term of (15) and (16), with its work space.
pub struct ImplicitTerm<T> {
    method: Method<T>,
    curvature: Curvature,
    b: Vec<T>,
    x: Vec<T>,
    /// `J v` of Gauss-Newton products.
    outputs: Vec<T>,
    unit: LamUnit,
    hutchinson: Hutchinson<T>,
}

enum Method<T> {
    Linear(Box<dyn Solver<T>>),
    Woodbury(Box<woodbury::Woodbury<T>>),
}

impl<T: Scalar> ImplicitTerm<T> {
    /// For systems of any size; work space is taken at the first solve.
    pub fn new(config: &SolverConfig) -> Self {
        let method = match config.kind {
            SolverKind::Cg => Method::Linear(Box::new(cg::Cg::new(config))),
            SolverKind::Neumann => Method::Linear(Box::new(neumann::Neumann::new(config))),
            SolverKind::Nystrom => Method::Linear(Box::new(nystrom::Nystrom::new(config))),
            SolverKind::Dense => Method::Linear(Box::new(dense::Dense)),
            SolverKind::Woodbury => Method::Woodbury(Box::default()),
        };
        let (b, x, outputs) = Default::default();
        let (curvature, unit) = (config.curvature, config.lam_unit);
        let hutchinson = Hutchinson::new(config.seed);
        Self { method, curvature, b, x, outputs, unit, hutchinson }
    }

    /// Where it works on `game`.
    ///
    /// # Errors
    /// [`crate::Error::NoOutputs`] if it needs outputs that the follower does not have.
    pub fn space(&self, game: &mut dyn Game<T>) -> Result<Space> {
        match &self.method {
            Method::Linear(_) => Ok(Space::Parameters),
            Method::Woodbury(_) => woodbury::space(game),
        }
    }

    /// `b`, to be written before [`ImplicitTerm::solve`].
    pub fn right_hand_side(&mut self) -> &mut Vec<T> {
        &mut self.b
    }

    /// `x` of the last solve, from which the next one may start.
    pub fn solution(&self) -> &[T] {
        &self.x
    }

    /// Exchanges the last solution with one that is kept elsewhere.
    pub fn swap_solution(&mut self, x: &mut Vec<T>) {
        std::mem::swap(&mut self.x, x);
    }

    /// Solves `(A + lambda I) x = b` in `space`, where `A` stands for `D22 f2` and lambda is `lam` of the settings' units.
    pub fn solve(&mut self, game: &mut dyn Game<T>, space: Space, lam: T) -> Result<SolveInfo> {
        let Self { method, curvature, b, x, outputs, unit, hutchinson } = self;
        let ridge = Ridge::new(lam, *unit);
        x.resize(b.len(), T::zero());
        let mut solve = match method {
            Method::Woodbury(woodbury) => woodbury.solve(game, space, ridge, b, x)?,
            Method::Linear(solver) => {
                let rank = if ridge.is_relative() { rank(game, outputs)? } else { 0 };
                let mut product = |v: &[T], out: &mut [T]| curvature.product(game, v, outputs, out);
                let mut mean = None;
                let lambda = ridge.lambda(|| {
                    let trace = match solver.trace(&mut product, b.len())? {
                        Some(trace) => trace,
                        None => hutchinson.trace(&mut product, b.len())?,
                    };
                    // A Hessian may have more curvature downwards than upwards.
                    let own = num_traits::Float::abs(trace) / T::of(rank as f64);
                    mean = Some(own.as_f64());
                    Ok(own)
                })?;
                let solve = solver.solve(&mut product, b, lambda, x)?;
                SolveInfo { lambda: lambda.as_f64(), mean_eigenvalue: mean, ..solve }
            }
        };
        solve.fallback |= !(solve.residual.is_finite() && flat::all_finite(x));
        Ok(solve)
    }
}
