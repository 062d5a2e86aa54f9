//! Every solver against dense algebra in float64, and what it does where there is no solution.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use agents::game::SolveInfo;
use agents::game::solvers::{ImplicitTerm, SolverConfig, SolverKind};
use common::quadratic::*;
use common::{assert_close, relative_error};
use faer::Mat;

/// Solvers that need products with the matrix and nothing else.
fn linear() -> impl Iterator<Item = SolverKind> {
    SolverKind::ALL.into_iter().filter(|&kind| kind != SolverKind::Woodbury)
}

/// Settings under which each solver is exact on a well-conditioned system of size `n`.
fn exact(kind: SolverKind, n: usize) -> SolverConfig {
    SolverConfig { kind, iterations: 20_000, tolerance: 1e-12, rank: n, ..SolverConfig::default() }
}

/// Solves `(A + lambda I) x = b`.
fn solution(
    implicit_term: &mut ImplicitTerm<f64>,
    a: &Mat<f64>,
    b: &[f64],
    lambda: f64,
) -> (Vec<f64>, SolveInfo) {
    let (gradient, solve) = led(&mut Quadratic::system(a.clone(), b), implicit_term, lambda);
    (gradient.implicit, solve)
}

/// `|(A + lambda I) x - b| / |b|`
fn residual(a: &Mat<f64>, b: &[f64], lambda: f64, x: &[f64]) -> f64 {
    relative_error(&times(&damped(a, lambda), x), b)
}

/// Eigenvalues spaced evenly on a log scale from `low` to `high`.
fn log_spaced(n: usize, low: f64, high: f64) -> Vec<f64> {
    (0..n).map(|i| low * (high / low).powf(i as f64 / (n.max(2) - 1) as f64)).collect()
}

#[test]
fn every_solver_equals_dense_algebra_on_positive_definite_systems() {
    for seed in 0..20 {
        let n = 1 + (7 * seed as usize) % 23;
        let a = with_spectrum(seed, &log_spaced(n, 0.02, 30.0));
        let b = normals(seed, n);
        for lambda in [0.5, 10.0] {
            let want = solve(&damped(&a, lambda), &b);
            for kind in linear() {
                let (x, solve) = solution(&mut ImplicitTerm::new(&exact(kind, n)), &a, &b, lambda);
                assert!(!solve.fallback && !solve.negative_curvature, "{kind:?}: {solve:?}");
                assert_close(&x, &want, 1e-9);
            }
        }
    }
}

#[test]
fn cg_ends_after_as_many_steps_as_there_are_distinct_eigenvalues() {
    for (eigenvalues, steps) in [
        (vec![3.0; 9], 1),
        ([[1.0, 4.0, 9.0], [1.0, 4.0, 9.0], [1.0, 4.0, 9.0]].concat(), 3),
        (vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 7),
    ] {
        let (a, b) = (with_spectrum(1, &eigenvalues), normals(2, eigenvalues.len()));
        let (x, solve) = solution(&mut ImplicitTerm::new(&exact(SolverKind::Cg, 0)), &a, &b, 0.0);
        assert_eq!(solve.iterations, steps, "{eigenvalues:?}");
        assert!(residual(&a, &b, 0.0, &x) < 1e-11);
    }
}

#[test]
fn the_tolerance_is_relative_to_the_right_hand_side() {
    let a = with_spectrum(0, &log_spaced(30, 0.1, 100.0));
    let b = normals(0, 30);
    for kind in [SolverKind::Cg, SolverKind::Neumann] {
        let config = SolverConfig { tolerance: 1e-3, ..exact(kind, 0) };
        let iterations = |scale: f64| {
            let b: Vec<f64> = b.iter().map(|b| b * scale).collect();
            let (_, solve) = solution(&mut ImplicitTerm::new(&config), &a, &b, 0.0);
            assert!(solve.residual <= 1e-3, "{solve:?}");
            solve.iterations
        };
        // A power of two changes no rounding.
        assert_eq!(iterations(1.0), iterations(2f64.powi(-40)), "{kind:?}");
        let loose = SolverConfig { tolerance: 0.3, ..config.clone() };
        let (_, solve) = solution(&mut ImplicitTerm::new(&loose), &a, &b, 0.0);
        assert!(solve.iterations < iterations(1.0), "{kind:?}");
    }
}

#[test]
fn the_residual_reported_is_that_of_the_solution_returned() {
    let a = with_spectrum(3, &log_spaced(40, 0.1, 200.0));
    let b = normals(3, 40);
    for kind in linear() {
        for effort in [1, 3, 8] {
            let config = SolverConfig { iterations: effort, rank: effort, ..exact(kind, 0) };
            let (x, solve) = solution(&mut ImplicitTerm::new(&config), &a, &b, 0.5);
            let recomputed = residual(&a, &b, 0.5, &x);
            assert!(
                (solve.residual - recomputed).abs() < 1e-10 * recomputed.max(1.0),
                "{kind:?}: {} reported, {recomputed} recomputed",
                solve.residual
            );
            if kind != SolverKind::Dense {
                assert!(recomputed > 1e-3, "{kind:?}: nothing was truncated");
                assert_eq!(solve.iterations, effort, "{kind:?}");
            }
        }
    }
}

#[test]
fn cg_stops_at_negative_curvature_with_what_it_has() {
    let eigenvalues = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, -0.4];
    let (a, b) = (with_spectrum(5, &eigenvalues), normals(5, eigenvalues.len()));
    let cg = |curvature_stop| SolverConfig { curvature_stop, ..exact(SolverKind::Cg, 0) };

    let (x, solve) = solution(&mut ImplicitTerm::new(&cg(true)), &a, &b, 0.0);
    assert!(solve.negative_curvature && !solve.fallback, "{solve:?}");
    assert!((1..eigenvalues.len()).contains(&solve.iterations));
    // Every step before the stop lowered the model 1/2 x'Ax - b'x.
    let model = |x: &[f64]| 0.5 * dot(x, &times(&a, x)) - dot(&b, x);
    let mut previous = 0.0;
    for iterations in 1..=solve.iterations {
        let config = SolverConfig { iterations, ..cg(true) };
        let value = model(&solution(&mut ImplicitTerm::new(&config), &a, &b, 0.0).0);
        assert!(value < previous);
        previous = value;
    }
    assert_eq!(previous, model(&x));

    // Without the stop the saddle point is found; with enough damping there is nothing to stop at.
    let (saddle, solve) = solution(&mut ImplicitTerm::new(&cg(false)), &a, &b, 0.0);
    assert!(solve.negative_curvature);
    assert_close(&saddle, &common::quadratic::solve(&a, &b), 1e-8);
    let (x, solve) = solution(&mut ImplicitTerm::new(&cg(true)), &a, &b, 0.5);
    assert!(!solve.negative_curvature);
    assert_close(&x, &common::quadratic::solve(&damped(&a, 0.5), &b), 1e-9);
}

#[test]
fn neumann_stops_where_the_series_would_run_away() {
    let mut eigenvalues = vec![5.0; 7];
    eigenvalues.push(-1.0);
    let (a, b) = (with_spectrum(5, &eigenvalues), normals(5, 8));
    let neumann = |curvature_stop| SolverConfig { curvature_stop, ..exact(SolverKind::Neumann, 0) };
    let (_, solve) = solution(&mut ImplicitTerm::new(&neumann(true)), &a, &b, 0.0);
    assert!(solve.negative_curvature && !solve.fallback && solve.iterations < 100, "{solve:?}");
    let (x, solve) = solution(&mut ImplicitTerm::new(&neumann(false)), &a, &b, 0.0);
    assert!(solve.fallback && x.iter().all(|&x| x == 0.0), "{solve:?}");
}

#[test]
fn nystrom_is_exact_from_the_matrix_rank_on_and_better_with_every_rank_below() {
    let n = 40;
    let mut eigenvalues = vec![0.0; n];
    for (i, eigenvalue) in eigenvalues.iter_mut().take(6).enumerate() {
        *eigenvalue = 100.0 * 0.4f64.powi(i as i32);
    }
    let (a, b) = (with_spectrum(8, &eigenvalues), normals(8, n));
    let want = solve(&damped(&a, 0.1), &b);
    let at_rank = |rank| {
        let config = SolverConfig { rank, ..exact(SolverKind::Nystrom, 0) };
        let (x, solve) = solution(&mut ImplicitTerm::new(&config), &a, &b, 0.1);
        assert!(!solve.fallback && !solve.negative_curvature, "{rank}: {solve:?}");
        relative_error(&x, &want)
    };
    let errors: Vec<f64> = [1, 3, 5, 6, 12, 100].map(at_rank).to_vec();
    assert!(errors[0] > errors[1] && errors[1] > errors[2] && errors[2] > 1e-4, "{errors:?}");
    assert!(errors[3..].iter().all(|&error| error < 1e-8), "{errors:?}");
}

#[test]
fn nystrom_leaves_negative_curvature_out() {
    let (a, b) = (with_spectrum(2, &[4.0, 3.0, -2.0, 1.0]), normals(2, 4));
    let (x, solve) = solution(&mut ImplicitTerm::new(&exact(SolverKind::Nystrom, 4)), &a, &b, 1.0);
    assert!(solve.negative_curvature && !solve.fallback);
    // The approximation is positive semi-definite: no component of x exceeds that of b / lambda.
    assert!(dot(&x, &b) > 0.0 && dot(&x, &x) <= dot(&b, &b) * (1.0 + 1e-12));
}

#[test]
fn nystrom_draws_from_its_seed_alone() {
    let (a, b) = (with_spectrum(4, &log_spaced(30, 0.1, 10.0)), normals(4, 30));
    let x = |seed| {
        let config = SolverConfig { seed, ..exact(SolverKind::Nystrom, 5) };
        let mut implicit_term = ImplicitTerm::new(&config);
        let first = solution(&mut implicit_term, &a, &b, 1.0).0;
        assert_eq!(first, solution(&mut implicit_term, &a, &b, 1.0).0);
        first
    };
    assert_eq!(x(1), x(1));
    assert_ne!(x(1), x(2));
}

#[test]
fn a_warm_start_takes_fewer_iterations_on_a_nearby_system() {
    let n = 60;
    let spectrum = log_spaced(n, 0.1, 100.0);
    let (a, b) = (with_spectrum(6, &spectrum), normals(6, n));
    let nearby: Vec<f64> = spectrum.iter().map(|e| e * 1.0001).collect();
    let (a2, b2) = (with_spectrum(6, &nearby), sum(&b, &normals(7, n).map_scale(1e-4)));
    for kind in [SolverKind::Cg, SolverKind::Neumann] {
        let run = |warm_start| {
            let config = SolverConfig { tolerance: 1e-8, warm_start, ..exact(kind, 0) };
            let mut implicit_term = ImplicitTerm::new(&config);
            let first = solution(&mut implicit_term, &a, &b, 0.5).1;
            let (_, again) = solution(&mut implicit_term, &a, &b, 0.5);
            let (x, second) = solution(&mut implicit_term, &a2, &b2, 0.5);
            assert_close(&x, &solve(&damped(&a2, 0.5), &b2), 1e-6);
            [first.iterations, again.iterations, second.iterations]
        };
        let (cold, warm) = (run(false), run(true));
        assert_eq!(cold[0], warm[0]);
        assert_eq!(cold[1], cold[0]);
        assert!(warm[1] <= 1, "{kind:?}: the solution is known, yet it took {}", warm[1]);
        assert!(5 * warm[2] < 4 * cold[2], "{kind:?}: warm {warm:?}, cold {cold:?}");
    }
}

#[test]
fn a_warm_start_recovers_from_a_solution_that_was_not_finite() {
    let (a, b) = (with_spectrum(6, &[1.0, 2.0, 3.0]), normals(6, 3));
    let config = SolverConfig { warm_start: true, ..exact(SolverKind::Cg, 0) };
    let mut implicit_term = ImplicitTerm::new(&config);
    let poisoned = Mat::from_fn(3, 3, |_, _| f64::NAN);
    assert!(solution(&mut implicit_term, &poisoned, &b, 0.5).1.fallback);
    let (x, solve) = solution(&mut implicit_term, &a, &b, 0.5);
    assert!(!solve.fallback);
    assert_close(&x, &common::quadratic::solve(&damped(&a, 0.5), &b), 1e-9);
}

/// A failed solve never reaches the weights.
#[test]
fn without_a_usable_solution_the_total_derivative_is_the_plain_gradient() {
    let zero = Mat::<f64>::zeros(4, 4);
    let good = with_spectrum(0, &[1.0, 2.0, 3.0, 4.0]);
    let with = |value: f64| {
        let mut a = good.clone();
        a[(1, 2)] = value;
        a[(2, 1)] = value;
        a
    };
    let b = vec![1.0, -2.0, 3.0, 0.5];
    let nan_b = vec![1.0, f64::NAN, 3.0, 0.5];
    for kind in linear() {
        for curvature_stop in [true, false] {
            for (name, a, b, lambda) in [
                ("zero matrix", &zero, &b, 0.0),
                ("NaN in the matrix", &with(f64::NAN), &b, 0.1),
                ("infinity in the matrix", &with(f64::INFINITY), &b, 0.1),
                ("NaN on the right", &good, &nan_b, 0.1),
                ("NaN damping", &good, &b, f64::NAN),
            ] {
                let config = SolverConfig { curvature_stop, rank: 2, ..exact(kind, 0) };
                let mut game = Quadratic::system(a.clone(), b);
                let (gradient, solve) = led(&mut game, &mut ImplicitTerm::new(&config), lambda);
                assert!(solve.fallback, "{kind:?}, {name}: {solve:?}");
                assert_eq!(gradient.implicit, vec![0.0; 4], "{kind:?}, {name}");
                assert_eq!(gradient.total, gradient.individual, "{kind:?}, {name}");
                assert_eq!(gradient.individual, vec![1.0; 4]);
            }
        }
    }
}

#[test]
fn a_right_hand_side_of_zero_needs_no_solve() {
    let a = with_spectrum(0, &[1.0, 2.0, 3.0]);
    for kind in linear() {
        let (x, solve) = solution(&mut ImplicitTerm::new(&exact(kind, 3)), &a, &[0.0; 3], 0.1);
        assert_eq!((x, solve.residual, solve.fallback), (vec![0.0; 3], 0.0, false), "{kind:?}");
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
