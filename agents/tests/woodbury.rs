//! Woodbury's solve against every other solver on a follower whose Jacobian is a matrix, in float64.
#![allow(clippy::unwrap_used)]

mod common;

use agents::error::Result;
use agents::game::solvers::{ImplicitTerm, SolverConfig, SolverKind};
use agents::game::{Composite, Curvature, Game, LamUnit, Player};
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
        let mut outputs = vec![0.0; self.rows() * self.blocks()];
        self.jacobian(v, &mut outputs)?;
        self.times_outer_hessian(&mut outputs)?;
        self.jacobian_transpose(&outputs, out)
    }

    fn cross_vjp(&mut self, x: &[f64], out: &mut [f64]) -> Result<()> {
        let mut outputs = vec![0.0; self.rows() * self.blocks()];
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
    fn uniform(&self) -> Option<f64> {
        self.weights.is_none().then(|| 2.0 / self.rows() as f64)
    }

    fn times_outer_hessian(&mut self, u: &mut [f64]) -> Result<()> {
        let uniform = vec![2.0 / self.rows() as f64; u.len()];
        u.iter_mut().zip(self.weights.as_ref().unwrap_or(&uniform)).for_each(|(u, h)| *u *= h);
        Ok(())
    }

    fn rows(&self) -> usize {
        self.targets.nrows()
    }

    fn blocks(&self) -> usize {
        self.jacobians.len()
    }

    fn gram(&mut self, block: usize, k: &mut [f64]) -> Result<()> {
        let n = self.rows();
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
        let (n, width) = (self.rows(), self.width());
        let blocks = self.jacobians.iter().zip(v.chunks(width)).zip(out.chunks_mut(n));
        for ((j, v), out) in blocks {
            out.copy_from_slice(&times(j, v));
        }
        Ok(())
    }

    fn jacobian_transpose(&mut self, u: &[f64], out: &mut [f64]) -> Result<()> {
        let (n, width) = (self.rows(), self.width());
        let blocks = self.jacobians.iter().zip(u.chunks(n)).zip(out.chunks_mut(width));
        for ((j, u), out) in blocks {
            out.copy_from_slice(&times_t(j, u));
        }
        Ok(())
    }

    fn cross_vjp_of_outputs(&mut self, u: &[f64], out: &mut [f64]) -> Result<()> {
        let scale = -2.0 / self.rows() as f64;
        out.fill(0.0);
        for u in u.chunks(self.rows()) {
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

/// Rows that are lost in the rounding of lambda make no difference that can be seen, whatever they would have answered.
#[test]
fn rows_that_cannot_matter_are_left_out() {
    let lambda = 1.0;
    let mut game = LinearFit::random(1, 12, 1, 20);
    let heavy = [3, 8];
    let weight = |row| if heavy.contains(&row) { 1.0 } else { 1e-17 };
    game.weights = Some((0..12).map(weight).collect());
    let config =
        SolverConfig { curvature: Curvature::GaussNewton, ..exact(SolverKind::Woodbury, 0) };
    let (fast, solve) = led(&mut game, &mut ImplicitTerm::new(&config), lambda);
    assert_eq!((solve.positive_curvature, solve.rows_kept), (Some(1.0), Some(2.0 / 12.0)));
    assert_close(&fast.implicit, &implicit(&mut game, SolverKind::Dense, lambda), 1e-12);

    // Leaving out a share e of the curvature moves x by at most e / lambda |x|: here e is one row's.
    let x = |game: &mut LinearFit| {
        let mut term = ImplicitTerm::new(&config);
        led(game, &mut term, lambda);
        term.solution().to_vec()
    };
    let with = x(&mut game);
    for share in [1e-3, 1e-9] {
        game.weights =
            Some((0..12).map(|row| if row == 0 { share } else { weight(row) }).collect());
        let row: f64 = (0..20).map(|j| game.jacobians[0][(0, j)].powi(2)).sum();
        let moved: Vec<f64> = x(&mut game).iter().zip(&with).map(|(a, b)| a - b).collect();
        let bound = share * row / lambda * agents::flat::norm(&with);
        let moved = agents::flat::norm(&moved);
        assert!(0.0 < moved && moved <= bound, "{moved} of {bound}");
    }
}

/// Without curvature `x = D2 f1 / lambda`; without damping besides, there is no answer.
#[test]
fn without_curvature_the_solution_is_the_gradient_over_lambda() {
    let mut game = LinearFit::random(1, 6, 1, 15);
    game.weights = Some(vec![0.0; 6]);
    let mut term = ImplicitTerm::new(&exact(SolverKind::Woodbury, 0));
    let (_, solve) = led(&mut game, &mut term, 4.0);
    assert_eq!((solve.positive_curvature, solve.fallback), (Some(0.0), false));
    assert_close(term.solution(), &game.c.clone().map_scale(0.25), 1e-14);
    for lam_unit in [LamUnit::Absolute, LamUnit::MeanEigenvalue] {
        let config = SolverConfig { lam_unit, ..exact(SolverKind::Woodbury, 0) };
        let lambda = if lam_unit == LamUnit::Absolute { 0.0 } else { 1.0 };
        let (gradient, solve) = led(&mut game, &mut ImplicitTerm::new(&config), lambda);
        assert!(solve.fallback && gradient.total == vec![1.0; 3], "{lam_unit:?}: {solve:?}");
    }
}

/// As lambda grows, `lambda x` goes to the response itself, Proposition 2.
#[test]
fn with_much_damping_the_solution_is_the_gradient_over_lambda() {
    for weighted in [false, true] {
        let mut game = LinearFit::random(1, 6, 1, 15);
        game.weights = weighted.then(|| vec![0.3; 6]);
        let lambda = 1e9;
        let got = implicit(&mut game, SolverKind::Woodbury, lambda).map_scale(lambda);
        let mut limit = vec![0.0; 3];
        let c = game.c.clone();
        game.cross_vjp(&c, &mut limit).unwrap();
        assert_close(&got, &limit, 1e-7);
    }
}

/// Lambda in units of the matrix's mean eigenvalue: every solver that can have the trace has the same; the solution
/// times the factor does not change when the follower's objective is multiplied by it.
#[test]
fn lambda_in_units_of_the_mean_eigenvalue_is_the_same_to_every_solver() {
    for (samples, blocks, width) in SIZES {
        let mut game = LinearFit::random(1, samples, blocks, width);
        // trace (2/B J J') / rank
        let squares = |j: &Mat<f64>| j.squared_norm_l2();
        let trace = 2.0 / samples as f64 * game.jacobians.iter().map(squares).sum::<f64>();
        let mean = trace / (samples * blocks).min(width * blocks) as f64;
        let mut by = |kind, lam_unit, lam| {
            let config = SolverConfig {
                curvature: Curvature::GaussNewton,
                lam_unit,
                ..exact(kind, game.c.len())
            };
            led(&mut game, &mut ImplicitTerm::new(&config), lam)
        };
        let (want, _) = by(SolverKind::Dense, LamUnit::Absolute, 0.3 * mean);
        for kind in [SolverKind::Dense, SolverKind::Woodbury] {
            let (got, solve) = by(kind, LamUnit::MeanEigenvalue, 0.3);
            assert_close(&got.implicit, &want.implicit, 1e-8);
            assert_close(&[solve.lambda], &[0.3 * mean], 1e-12);
            assert_close(&[solve.relative_lambda().unwrap()], &[0.3], 1e-12);
        }
        // Elsewhere the trace is an estimate, whose expectation is the trace.
        let estimates = (0..400).map(|seed| {
            let config = SolverConfig {
                curvature: Curvature::GaussNewton,
                lam_unit: LamUnit::MeanEigenvalue,
                seed,
                ..exact(SolverKind::Cg, 0)
            };
            led(&mut game, &mut ImplicitTerm::new(&config), 0.3).1.mean_eigenvalue.unwrap()
        });
        let estimate = estimates.sum::<f64>() / 400.0;
        assert!((estimate / mean - 1.0).abs() < 0.15, "{estimate} for {mean}");
    }
}

/// The effective rank of equal eigenvalues is their number, and that of one large one is 1.
#[test]
fn the_effective_rank_counts_the_eigenvalues_that_matter() {
    let mut game = LinearFit::random(1, 4, 1, 6);
    let rank = |game: &mut LinearFit| {
        let mut term = ImplicitTerm::new(&exact(SolverKind::Woodbury, 0));
        led(game, &mut term, 0.1).1.effective_rank.unwrap()
    };
    game.jacobians[0] = Mat::from_fn(4, 6, |i, j| if i == j { 3.0 } else { 0.0 });
    assert_close(&[rank(&mut game)], &[4.0], 1e-12);
    game.weights = Some(vec![0.5; 4]);
    assert_close(&[rank(&mut game)], &[4.0], 1e-12);
    game.weights = Some(vec![1e6, 1.0, 1.0, 1.0]);
    assert_close(&[rank(&mut game)], &[1.0], 1e-5);
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
