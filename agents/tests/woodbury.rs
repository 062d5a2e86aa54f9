//! Woodbury's solve against every other solver on a follower whose Jacobian is a matrix, in float64.
#![allow(clippy::unwrap_used)]

mod common;

use agents::error::Result;
use agents::game::solvers::{ImplicitTerm, SolverConfig, SolverKind};
use agents::game::{Composite, Curvature, Game, OuterHessian, Player};
use common::assert_close;
use common::quadratic::*;
use faer::Mat;

/// Solvers that need products with the matrix and nothing else.
fn linear() -> impl Iterator<Item = SolverKind> {
    SolverKind::ALL.into_iter().filter(|&kind| kind != SolverKind::Woodbury)
}

/// Settings under which each solver is exact on a well-conditioned system of size `n`.
fn exact(kind: SolverKind, n: usize) -> SolverConfig {
    SolverConfig { kind, iterations: 20_000, tolerance: 1e-12, rank: n, ..SolverConfig::default() }
}

/// Linear follower `q_b = J_b w_b` that fits linear targets `y = Y theta`; `f1 = c'w + 1'theta`.
struct LinearFit {
    jacobians: Vec<Mat<f64>>,
    targets: Mat<f64>,
    c: Vec<f64>,
    /// One for each output, if they are not alike.
    weights: Option<Vec<f64>>,
}

impl LinearFit {
    fn random(seed: u64, samples: usize, blocks: usize, width: usize) -> Self {
        let matrix = |seed: u64, columns: usize| {
            let values = normals(seed, samples * columns);
            Mat::from_fn(samples, columns, |i, j| values[i * columns + j])
        };
        Self {
            jacobians: (0..blocks as u64).map(|b| matrix(100 * seed + b, width)).collect(),
            targets: matrix(100 * seed + 50, 3),
            c: normals(100 * seed + 60, blocks * width),
            weights: None,
        }
    }

    fn width(&self) -> usize {
        self.jacobians[0].ncols()
    }
}

impl Game<f64> for LinearFit {
    fn dim(&self, player: Player) -> usize {
        match player {
            Player::Leader => self.targets.ncols(),
            Player::Follower => self.c.len(),
        }
    }

    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [f64]) -> Result<()> {
        assert_eq!(of, Player::Leader);
        match wrt {
            Player::Leader => out.fill(1.0),
            Player::Follower => out.copy_from_slice(&self.c),
        }
        Ok(())
    }

    fn follower_hvp(&mut self, v: &[f64], out: &mut [f64]) -> Result<()> {
        let mut outputs = vec![0.0; self.samples() * self.blocks()];
        self.jacobian(v, &mut outputs)?;
        self.outer_hessian()?.scale(&mut outputs);
        self.jacobian_transpose(&outputs, out)
    }

    fn cross_vjp(&mut self, x: &[f64], out: &mut [f64]) -> Result<()> {
        let mut outputs = vec![0.0; self.samples() * self.blocks()];
        self.jacobian(x, &mut outputs)?;
        self.cross_vjp_of_outputs(&outputs, out)
    }

    fn leader_hvp(&mut self, _: &[f64], out: &mut [f64]) -> Result<()> {
        out.fill(0.0);
        Ok(())
    }

    fn objective(&mut self, _: Player) -> Result<f64> {
        Ok(0.0)
    }

    fn composite(&mut self) -> Option<&mut dyn Composite<f64>> {
        Some(self)
    }
}

impl Composite<f64> for LinearFit {
    fn outer_hessian(&mut self) -> Result<OuterHessian<f64>> {
        let uniform = OuterHessian::Uniform(2.0 / self.samples() as f64);
        Ok(self.weights.clone().map_or(uniform, OuterHessian::Diagonal))
    }

    fn samples(&self) -> usize {
        self.targets.nrows()
    }

    fn blocks(&self) -> usize {
        self.jacobians.len()
    }

    fn gram(&mut self, block: usize, k: &mut [f64]) -> Result<()> {
        let n = self.samples();
        let gram = &self.jacobians[block] * self.jacobians[block].transpose();
        for (i, k) in k.iter_mut().enumerate() {
            *k = gram[(i / n, i % n)];
        }
        Ok(())
    }

    fn jacobian_leader_gradient(&mut self, out: &mut [f64]) -> Result<()> {
        self.jacobian(&self.c.clone(), out)
    }

    fn jacobian(&mut self, v: &[f64], out: &mut [f64]) -> Result<()> {
        let (n, width) = (self.samples(), self.width());
        let blocks = self.jacobians.iter().zip(v.chunks(width)).zip(out.chunks_mut(n));
        for ((j, v), out) in blocks {
            out.copy_from_slice(&times(j, v));
        }
        Ok(())
    }

    fn jacobian_transpose(&mut self, u: &[f64], out: &mut [f64]) -> Result<()> {
        let (n, width) = (self.samples(), self.width());
        let blocks = self.jacobians.iter().zip(u.chunks(n)).zip(out.chunks_mut(width));
        for ((j, u), out) in blocks {
            out.copy_from_slice(&times_t(j, u));
        }
        Ok(())
    }

    fn cross_vjp_of_outputs(&mut self, u: &[f64], out: &mut [f64]) -> Result<()> {
        let scale = -2.0 / self.samples() as f64;
        out.fill(0.0);
        for u in u.chunks(self.samples()) {
            let sum = sum(out, &times_t(&self.targets, &u.to_vec().map_scale(scale)));
            out.copy_from_slice(&sum);
        }
        Ok(())
    }
}

/// The implicit term by `kind`, with the Gauss-Newton matrix.
fn implicit(game: &mut LinearFit, kind: SolverKind, lambda: f64) -> Vec<f64> {
    let n = game.dim(Player::Follower);
    let config = SolverConfig { curvature: Curvature::GaussNewton, ..exact(kind, n) };
    let (gradient, solve) = led(game, &mut ImplicitTerm::new(&config), lambda);
    assert!(!solve.fallback && solve.residual < 1e-9, "{kind:?}: {solve:?}");
    gradient.implicit
}

/// Samples, blocks and parameters per block: fewer samples than parameters, more, and twin blocks.
const SIZES: [(usize, usize, usize); 4] = [(6, 1, 15), (15, 1, 6), (7, 2, 9), (1, 1, 1)];

#[test]
fn woodbury_equals_every_solver_on_the_whole_gauss_newton_matrix() {
    for (samples, blocks, width) in SIZES {
        for lambda in [0.1, 3.0] {
            let mut game = LinearFit::random(1, samples, blocks, width);
            let woodbury = implicit(&mut game, SolverKind::Woodbury, lambda);
            for kind in linear() {
                assert_close(&woodbury, &implicit(&mut game, kind, lambda), 1e-8);
            }
        }
    }
}

/// Weights of any size, zero among them.
#[test]
fn woodbury_takes_a_weight_for_each_output() {
    for (samples, blocks, width) in SIZES {
        for lambda in [0.1, 3.0] {
            let mut game = LinearFit::random(1, samples, blocks, width);
            let weights = normals(7, samples * blocks).into_iter().enumerate();
            let weights = weights.map(|(i, w)| if i % 3 == 2 { 0.0 } else { w * w });
            game.weights = Some(weights.collect());
            let [woodbury, dense] = [SolverKind::Woodbury, SolverKind::Dense]
                .map(|kind| implicit(&mut game, kind, lambda));
            assert_close(&woodbury, &dense, 1e-8);
        }
    }
}

/// The outputs `u = J x` have a limit as lambda vanishes even where the matrix is singular: through samples
/// without influence, or through more samples than parameters, or the other way round.
#[test]
fn woodbury_without_damping_is_the_limit() {
    let mut dead = LinearFit::random(1, 2, 1, 4);
    dead.jacobians[0].row_mut(1).fill(0.0);
    let mut redundant = LinearFit::random(1, 9, 1, 4);
    redundant.jacobians[0].col_mut(1).fill(0.0);
    for mut game in [dead, redundant, LinearFit::random(1, 3, 2, 7)] {
        let mut by = |kind, lambda| {
            let config =
                SolverConfig { curvature: Curvature::GaussNewton, ..exact(kind, game.c.len()) };
            let (gradient, solve) = led(&mut game, &mut ImplicitTerm::new(&config), lambda);
            assert!(!solve.fallback, "{kind:?}: {solve:?}");
            gradient.implicit
        };
        let limit = by(SolverKind::Woodbury, 0.0);
        assert_close(&limit, &by(SolverKind::Dense, 1e-8), 1e-6);
    }
}

#[test]
fn woodbury_falls_back_where_the_matrix_is_zero_or_not_finite() {
    // Nothing has influence, undamped; then a NaN in the Jacobian, in the space of samples and parameters.
    let mut dead = LinearFit::random(1, 2, 1, 4);
    dead.jacobians[0].fill(0.0);
    let mut poisoned = LinearFit::random(1, 3, 2, 4);
    poisoned.jacobians[1][(0, 0)] = f64::NAN;
    let mut tall = LinearFit::random(1, 5, 1, 4);
    tall.jacobians[0][(0, 0)] = f64::NAN;
    for (mut game, lambda) in [(dead, 0.0), (poisoned, 0.1), (tall, 0.1)] {
        let mut implicit_term = ImplicitTerm::new(&exact(SolverKind::Woodbury, 0));
        let (gradient, solve) = led(&mut game, &mut implicit_term, lambda);
        assert!(solve.fallback, "{solve:?}");
        assert_eq!(gradient.implicit, vec![0.0; 3]);
        assert_eq!(gradient.total, vec![1.0; 3]);
    }
}

trait Scale {
    fn map_scale(self, by: f64) -> Self;
}

impl Scale for Vec<f64> {
    fn map_scale(self, by: f64) -> Self {
        self.into_iter().map(|x| x * by).collect()
    }
}
