//! The motivating examples against finite differences, the recursion written out, and the paper's figures.
#![allow(clippy::unwrap_used)]

use agents::Error;
use agents::game::solvers::SolverKind;
use agents::game::{ImplicitTerm, LeaderGradient, Player, SolverConfig, total_derivative};
use agents::rng::{Purpose, Rng};
use agents::toy::{Deterministic, Entropic, Leading, Point, Toy, Trajectory, play, vector_field};

const INDIVIDUAL: Leading = Leading::Individual;
const STACKELBERG: Leading = Leading::Stackelberg { lambda: 0.0 };
const REGULARISED: Leading = Leading::Stackelberg { lambda: 0.04 };

fn deterministic(how: Leading) -> Trajectory {
    play(&mut Deterministic::default(), how, 0.01, 50_000).unwrap()
}

fn entropic(how: Leading, seed: u64) -> Trajectory {
    play(&mut Entropic::new(Rng::new(seed, Purpose::Policy)), how, 0.01, 2_000).unwrap()
}

/// Distances that the paper's settings lead to, and how often theta crosses zero on the way.
#[test]
fn reference_values_of_the_deterministic_example() {
    for (how, distance, half_digit, crossings) in [
        (INDIVIDUAL, 0.0733, 5e-5, 12),
        (STACKELBERG, 0.0316, 5e-5, 0),
        (REGULARISED, 0.00778, 5e-6, 1),
    ] {
        let trajectory = deterministic(how);
        assert_eq!(trajectory.points[0], Point { theta: -1.0, sigma: 0.0, w: 1.0 });
        assert_eq!(trajectory.points.len(), 50_001);
        let error = trajectory.points[49_999].error();
        assert!((error - distance).abs() < half_digit, "{how:?}: {error}");
        assert_eq!(trajectory.crossings(), crossings, "{how:?}");
        assert_eq!(trajectory.fallbacks, 0);
    }
}

/// The total derivative by hand: `-w - (4 w theta + 6/5 theta^2) (-theta) / (2 theta^2 + lambda)`.
#[test]
fn updates_are_those_of_the_recursion_written_out() {
    for lambda in [0.0, 0.04, 3.0] {
        let points = deterministic(Leading::Stackelberg { lambda }).points;
        for pair in points[..10_000].windows(2) {
            let Point { theta, w, .. } = pair[0];
            let implicit =
                -(4.0 * w * theta + 1.2 * theta * theta) * theta / (2.0 * theta * theta + lambda);
            let next_theta = theta - 0.01 * (-w - implicit);
            let next_w = w - 0.01 * 2.0 * theta * (w * theta + 0.2 * theta * theta);
            let got = pair[1];
            assert!((got.theta - next_theta).abs() < 1e-14, "{got:?}, {next_theta}");
            assert!((got.w - next_w).abs() < 1e-14, "{got:?}, {next_w}");
        }
    }
}

/// Both losses of an example at any point: `x = (leader's parameters, w)`.
trait Losses: Toy + Clone {
    fn loss(&self, of: Player, x: &[f64]) -> f64;
}

impl Losses for Deterministic {
    fn loss(&self, of: Player, x: &[f64]) -> f64 {
        let [theta, w] = x else { unreachable!() };
        match of {
            Player::Leader => -w * theta,
            Player::Follower => (w * theta + theta * theta / 5.0).powi(2),
        }
    }
}

impl Losses for Entropic {
    /// The density of a squashed Gaussian from its definition: that of `u = artanh a`, over `da/du`.
    fn loss(&self, of: Player, x: &[f64]) -> f64 {
        let [theta, sigma, w] = x else { unreachable!() };
        let term = |eps: &f64| {
            let u = theta + sigma * eps;
            let a = u.tanh();
            let density = (-0.5 * ((u - theta) / sigma).powi(2)).exp()
                / (sigma * std::f64::consts::TAU.sqrt())
                * u.cosh().powi(2);
            match of {
                Player::Leader => 0.2 * density.ln() - w * a,
                Player::Follower => (w * a + a * a / 5.0).powi(2),
            }
        };
        self.noise.iter().map(term).sum::<f64>() / 3.0
    }
}

const STEP: f64 = 1e-5;

/// Central difference of `f` along the `i`-th of all parameters.
fn difference(x: &[f64], i: usize, mut f: impl FnMut(&[f64]) -> f64) -> f64 {
    let mut at = |shift: f64| {
        let mut moved = x.to_vec();
        moved[i] += shift;
        f(&moved)
    };
    (at(STEP) - at(-STEP)) / (2.0 * STEP)
}

fn put<G: Toy>(game: &mut G, x: &[f64]) {
    let [leader, follower] = game.parameters();
    let (theta, w) = x.split_at(leader.len());
    leader.copy_from_slice(theta);
    follower.copy_from_slice(w);
}

fn gradient<G: Toy>(game: &mut G, of: Player, wrt: Player) -> Vec<f64> {
    let mut out = vec![f64::NAN; game.dim(wrt)];
    game.gradient(of, wrt, &mut out).unwrap();
    out
}

#[track_caller]
fn assert_near(got: f64, want: f64) {
    assert!((got - want).abs() < 1e-8 * want.abs().max(1.0), "{got}, expected {want}");
}

/// Every derivative of `game` at `x`.
fn check_derivatives<G: Losses>(mut game: G, x: &[f64]) {
    let split = x.len() - 1;
    put(&mut game, x);
    for of in [Player::Leader, Player::Follower] {
        let mut all = gradient(&mut game, of, Player::Leader);
        all.extend(gradient(&mut game, of, Player::Follower));
        for (i, &got) in all.iter().enumerate() {
            assert_near(got, difference(x, i, |x| game.loss(of, x)));
        }
    }

    // Second derivatives as differences of gradients.
    let (mut hvp, mut vjp) = ([f64::NAN], vec![f64::NAN; split]);
    game.follower_hvp(&[1.7], &mut hvp).unwrap();
    game.cross_vjp(&[1.7], &mut vjp).unwrap();
    let mut moved = game.clone();
    let mut follower = |x: &[f64]| {
        put(&mut moved, x);
        1.7 * gradient(&mut moved, Player::Follower, Player::Follower)[0]
    };
    assert_near(hvp[0], difference(x, split, &mut follower));
    for (i, &got) in vjp.iter().enumerate() {
        assert_near(got, difference(x, i, &mut follower));
    }
    for i in 0..split {
        let v: Vec<f64> = (0..split).map(|j| if i == j { 1.7 } else { 0.0 }).collect();
        let mut column = vec![f64::NAN; split];
        game.leader_hvp(&v, &mut column).unwrap();
        for (j, &got) in column.iter().enumerate() {
            let mut moved = game.clone();
            let want = difference(x, i, |x| {
                put(&mut moved, x);
                1.7 * gradient(&mut moved, Player::Leader, Player::Leader)[j]
            });
            assert_near(got, want);
        }
    }
}

#[test]
fn derivatives_are_those_of_the_losses() {
    for (theta, w) in [(-1.0, 1.0), (0.7, -0.4), (0.3, 0.9), (0.0, 0.5)] {
        check_derivatives(Deterministic::default(), &[theta, w]);
        for (seed, sigma) in [(0, 1.0), (1, 0.4), (2, 1.6)] {
            let game = Entropic::new(Rng::new(seed, Purpose::Policy));
            check_derivatives(game, &[theta, sigma, w]);
        }
    }
}

/// At `theta = 0` the follower's Hessian and the right-hand side vanish together. So close to it that the Hessian alone
/// is zero in float64, the undamped system has no solution.
#[test]
fn a_singular_hessian_leaves_the_individual_gradient() {
    let mut out = LeaderGradient::new(1);
    for (kind, theta, fallback) in [
        (SolverKind::Cg, 0.0, false),
        (SolverKind::Cg, 1e-90, true), // curvature theta D22 f2 theta
        (SolverKind::Dense, 0.0, true),
        (SolverKind::Dense, 1e-170, true), // D22 f2
    ] {
        let mut implicit_term =
            ImplicitTerm::new(&SolverConfig { kind, ..SolverConfig::default() });
        let mut game = Deterministic { theta, w: 0.5 };
        let solve = total_derivative(&mut game, &mut implicit_term, 0.0, None, &mut out).unwrap();
        assert_eq!((out.total[0], out.implicit[0]), (-0.5, 0.0), "{kind:?} at {theta}");
        assert_eq!(solve.fallback, fallback, "{kind:?} at {theta}");
    }
    let fallen = play(&mut Deterministic { theta: 1e-90, w: 0.5 }, STACKELBERG, 0.01, 1).unwrap();
    assert_eq!((fallen.fallbacks, fallen.points[1].theta), (1, 0.005));
}

/// Proposition 2: damping without bound is individual play.
#[test]
fn at_a_large_lambda_regularised_play_is_individual_play() {
    let far = Leading::Stackelberg { lambda: 1e12 };
    for [regularised, individual] in [
        [deterministic(far), deterministic(INDIVIDUAL)],
        [entropic(far, 4), entropic(INDIVIDUAL, 4)],
    ] {
        for (a, b) in regularised.points.iter().zip(&individual.points) {
            let apart = [a.theta - b.theta, a.sigma - b.sigma, a.w - b.w];
            assert!(apart.iter().all(|d| d.abs() < 1e-9), "{a:?} and {b:?}");
        }
    }
    // and it is the damping that does it
    let apart = deterministic(STACKELBERG).points[1].theta - deterministic(far).points[1].theta;
    assert!(apart.abs() > 1e-3, "{apart}");
}

#[test]
fn the_entropic_example_depends_on_its_seed_alone() {
    for how in [INDIVIDUAL, STACKELBERG] {
        assert_eq!(entropic(how, 0), entropic(how, 0));
        assert_ne!(entropic(how, 0), entropic(how, 1));
    }
}

/// Appendix A: both plays reach the equilibrium, much faster than without entropy.
#[test]
fn the_entropic_example_reaches_the_equilibrium_in_the_mean() {
    for how in [INDIVIDUAL, STACKELBERG] {
        let plays: Vec<_> = (0..20).map(|seed| entropic(how, seed)).collect();
        let mean = |from: usize, to: usize| {
            let errors = plays.iter().flat_map(|p| &p.points[from..to]).map(Point::error);
            errors.sum::<f64>() / (plays.len() * (to - from)) as f64
        };
        let start = mean(0, 1);
        assert!((start - 2f64.sqrt()).abs() < 1e-12);
        let (middle, end) = (mean(200, 300), mean(1_500, 2_001));
        assert!(middle < 0.5 * start && end < 0.15 * middle, "{how:?}: {middle}, {end}");
        // No spiral: noise may take theta to and fro at the end, never far past zero.
        let past = plays.iter().flat_map(|p| &p.points).map(|p| p.theta).fold(0.0, f64::max);
        assert!(past < 0.2, "{how:?}: theta overshoots to {past}");
        let slow = deterministic(how).points[2_000].error();
        assert!(end < 0.2 * slow, "{how:?}: {end} with entropy, {slow} without");
    }
}

/// The deterministic field is one update's step; the entropic one, the expectation, by quadrature.
#[test]
fn vector_fields() {
    let grid = [(-0.6, 0.8), (0.5, -0.3)];
    for how in [INDIVIDUAL, REGULARISED] {
        for arrow in vector_field(&mut Deterministic::default(), how, grid, 1).unwrap() {
            let mut game = Deterministic { theta: arrow.theta, w: arrow.w };
            let next = play(&mut game, how, 1.0, 1).unwrap().points[1];
            assert_near(arrow.theta + arrow.d_theta, next.theta);
            assert_near(arrow.w + arrow.d_w, next.w);
        }
    }

    let mut game = Entropic::new(Rng::new(0, Purpose::Policy));
    for arrow in vector_field(&mut game, INDIVIDUAL, grid, 40_000).unwrap() {
        let expectation = |k: &dyn Fn(f64) -> f64| {
            let steps = 4_000;
            let width = 16.0 / f64::from(steps);
            let terms = (0..=steps).map(|i| {
                let eps = f64::from(i) * width - 8.0;
                (-0.5 * eps * eps).exp() * k((arrow.theta + eps).tanh())
            });
            terms.sum::<f64>() * width / std::f64::consts::TAU.sqrt()
        };
        let w = arrow.w;
        let d_theta = expectation(&|a| w * (1.0 - a * a) - 0.4 * a);
        let d_w = expectation(&|a| -2.0 * (w * a + 0.2 * a * a) * a);
        // Five standard errors of a mean of 120,000 terms whose deviation is below 1.
        let bound = 5.0 / 120_000f64.sqrt();
        assert!((arrow.d_theta - d_theta).abs() < bound, "{arrow:?}, expected {d_theta}");
        assert!((arrow.d_w - d_w).abs() < bound, "{arrow:?}, expected {d_w}");
    }
}

#[test]
fn steps_too_long_are_an_error_that_names_them() {
    let error = play(&mut Deterministic::default(), STACKELBERG, 1e30, 100).unwrap_err();
    assert!(matches!(error, Error::Diverged { learning_rate: 1e30, .. }), "{error}");
}
