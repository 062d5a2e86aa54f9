//! Solvers of `(D22 f2 + lambda I) x = D2 f1`.

mod cg;
mod dense;
mod neumann;
mod nystrom;
mod solver;
mod woodbury;

pub use solver::{SolveInfo, Solver, SolverConfig, SolverKind};

use super::Game;
use super::curvature::{Curvature, Space};
use crate::error::Result;
use crate::flat::{self, Scalar};

/// The solve in the implicit term of (15) and (16), with its work space.
pub struct ImplicitTerm<T> {
    method: Method<T>,
    curvature: Curvature,
    b: Vec<T>,
    x: Vec<T>,
    /// `J v` of Gauss-Newton products.
    outputs: Vec<T>,
}

enum Method<T> {
    Linear(Box<dyn Solver<T>>),
    Woodbury(woodbury::Woodbury<T>),
}

impl<T: Scalar> ImplicitTerm<T> {
    /// For systems of any size; work space is taken at the first solve.
    pub fn new(config: &SolverConfig) -> Self {
        let method = match config.kind {
            SolverKind::Cg => Method::Linear(Box::new(cg::Cg::new(config))),
            SolverKind::Neumann => Method::Linear(Box::new(neumann::Neumann::new(config))),
            SolverKind::Nystrom => Method::Linear(Box::new(nystrom::Nystrom::new(config))),
            SolverKind::Dense => Method::Linear(Box::new(dense::Dense)),
            SolverKind::Woodbury => Method::Woodbury(woodbury::Woodbury::default()),
        };
        let (b, x, outputs) = Default::default();
        Self { method, curvature: config.curvature, b, x, outputs }
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

    /// Solves `(A + lambda I) x = b` in `space`, where `A` stands for `D22 f2`.
    pub fn solve(&mut self, game: &mut dyn Game<T>, space: Space, lambda: T) -> Result<SolveInfo> {
        let Self { method, curvature, b, x, outputs } = self;
        x.resize(b.len(), T::zero());
        let mut solve = match method {
            Method::Woodbury(woodbury) => woodbury.solve(game, space, lambda, b, x)?,
            Method::Linear(solver) => {
                let mut product = |v: &[T], out: &mut [T]| curvature.product(game, v, outputs, out);
                solver.solve(&mut product, b, lambda, x)?
            }
        };
        solve.fallback |= !(solve.residual.is_finite() && flat::all_finite(x));
        Ok(solve)
    }
}
