//! What the paper proves about its update, as tests. Equation numbers are its own.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod common;

use agents::algo::algorithm::OffPolicy;
use agents::algo::ddpg::Ddpg;
use agents::engine::autograd::Autograd;
use agents::engine::{Engine, Role};
use agents::flat;
use agents::game::solvers::{ImplicitTerm, SolverConfig, SolverKind};
use agents::game::{Game, Player};
use agents::rng::{Purpose, Rng};
use common::quadratic::*;
use common::shipped::family;
use common::{Fixture, assert_close, relative_error};
use faer::{Mat, c64};
use serde_json::json;
use std::f64::consts::TAU;
use tch::Device;

fn exact() -> ImplicitTerm<f64> {
    ImplicitTerm::new(&SolverConfig { kind: SolverKind::Dense, ..SolverConfig::default() })
}

#[test]
fn the_total_derivative_of_a_quadratic_game_is_its_closed_form() {
    for seed in 0..10 {
        let game = Quadratic::random(seed, 3, 5);
        let (x1, x2) = (&game.x1, &game.x2);
        for lambda in [0.0, 0.7] {
            // P x1 + B x2 + p - C'(A + lambda I)^-1 (B'x1 + D x2 + q)                 (15), (16)
            let d1 = sum(&sum(&times(&game.p_matrix, x1), &times(&game.b_matrix, x2)), &game.p);
            let d2 = sum(&sum(&times_t(&game.b_matrix, x1), &times(&game.d_matrix, x2)), &game.q);
            let x = solve(&damped(&game.a_matrix, lambda), &d2);
            let mut want = d1.clone();
            flat::axpy(-1.0, &times_t(&game.c_matrix, &x), &mut want);
            for kind in [SolverKind::Dense, SolverKind::Cg] {
                let config = SolverConfig { kind, tolerance: 1e-13, ..SolverConfig::default() };
                let (got, _) = led(&mut game.clone(), &mut ImplicitTerm::new(&config), lambda);
                assert_close(&got.total, &want, 1e-9);
                assert_close(&got.individual, &d1, 1e-12);
            }
        }
    }
}

/// (11): with the follower at its best response, the leader descends `f1(x1, argmin f2(x1, .))`.
#[test]
fn the_total_derivative_is_the_slope_of_the_loss_along_the_best_response() {
    for seed in 0..10 {
        let mut game = Quadratic::random(seed, 4, 6);
        game.x2 = game.best_response(&game.x1);
        let (gradient, _) = led(&mut game, &mut exact(), 0.0);
        let h = 1e-3; // no truncation error: the loss along the best response is quadratic
        let slope: Vec<f64> = (0..4)
            .map(|i| {
                let loss = |step: f64| {
                    let mut x1 = game.x1.clone();
                    x1[i] += step;
                    game.leader_loss(&x1, &game.best_response(&x1))
                };
                (loss(h) - loss(-h)) / (2.0 * h)
            })
            .collect();
        assert_close(&gradient.total, &slope, 1e-6);
        assert!(relative_error(&gradient.individual, &slope) > 1e-2, "nothing to tell apart");
    }
}

/// Proposition 2, `lambda -> 0`: the regularised total derivative becomes the total derivative, at
/// rate `lambda`.
#[test]
fn proposition_2_without_damping_the_implicit_term_is_exact() {
    for seed in 0..5 {
        let game = Quadratic::random(seed, 3, 5);
        let implicit = |lambda| led(&mut game.clone(), &mut exact(), lambda).0.implicit;
        let limit = implicit(0.0);
        let errors = [1e-4, 1e-5, 1e-6].map(|lambda| relative_error(&implicit(lambda), &limit));
        assert!(errors[2] < 1e-5, "{errors:?}");
        for pair in errors.windows(2) {
            assert!((pair[0] / pair[1] - 10.0).abs() < 0.1, "{errors:?}");
        }
    }
}

/// Proposition 2, `lambda -> infinity`: it becomes the individual gradient, at rate `1 / lambda`.
/// More exactly, `lambda (D1 f1 - D f1)` tends to `D12 f2 D2 f1`.
#[test]
fn proposition_2_with_infinite_damping_only_the_individual_gradient_is_left() {
    let check = |game: &mut dyn Game<f64>, lambda: f64| {
        let mut b = vec![0.0; game.dim(Player::Follower)];
        let mut limit = vec![0.0; game.dim(Player::Leader)];
        game.gradient(Player::Leader, Player::Follower, &mut b).unwrap();
        game.cross_vjp(&b, &mut limit).unwrap();

        let mut scaled_error = |lambda: f64| {
            let (mut gradient, solve) = led(game, &mut exact(), lambda);
            assert!(!solve.fallback);
            let gap = relative_error(&gradient.total, &gradient.individual);
            flat::scale(lambda, &mut gradient.implicit);
            (gap, relative_error(&gradient.implicit, &limit))
        };
        let results = [lambda, 10.0 * lambda, 100.0 * lambda].map(&mut scaled_error);
        for pair in results.windows(2) {
            let [(gap, error), (next_gap, next_error)] = [pair[0], pair[1]];
            assert!((gap / next_gap - 10.0).abs() < 0.1, "{results:?}");
            assert!((error / next_error - 10.0).abs() < 0.1, "{results:?}");
        }
    };
    for seed in 0..5 {
        check(&mut Quadratic::random(seed, 3, 5), 1e4);
    }
    for leader in [Role::Actor, Role::Critic] {
        let networks = json!({"policy_kwargs": {"net_arch": [7, 5], "activation_fn": "tanh"}});
        let family: Ddpg = family("stddpg-al", &networks, 3, 2);
        let at = Fixture::new(1, [family.actor().dim(), family.critic().dim()], 3, 2, 8);
        let mut engine = Autograd::new(family, Device::Cpu);
        check(&mut engine.freeze(at.point(), leader).unwrap(), 1e5);
    }
}

/// Turns by `OMEGA` times a right angle.
const OMEGA: f64 = 2.0;

/// A game with a differential Stackelberg equilibrium that simultaneous play never finds. With the
/// rotation `B = OMEGA [0 1; -1 0]`,
///
/// ```text
/// f1 = x1'B x2 + |x2|^2 / 2        f2 = |x2|^2 / 2 + x2'x1
/// ```
///
/// The follower's best response is `x2 = -x1`, along which `f1 = |x1|^2 / 2`, since `x'B x = 0`: the
/// origin is the equilibrium, `D f1 = 0`, `D2 f2 = 0`, `D22 f2 = I`, `D^2 f1 = I`. The individual
/// gradient along the best response is `B x2 = -B x1`, a pure rotation.
fn rotation() -> Quadratic {
    let (zero, one) = (Mat::zeros(2, 2), Mat::<f64>::identity(2, 2));
    Quadratic {
        p_matrix: zero,
        b_matrix: Mat::from_fn(2, 2, |i, j| OMEGA * (j as f64 - i as f64)),
        d_matrix: one.clone(),
        a_matrix: one.clone(),
        c_matrix: one,
        p: vec![0.0; 2],
        q: vec![0.0; 2],
        a: vec![0.0; 2],
        x1: vec![0.0; 2],
        x2: vec![0.0; 2],
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Play {
    Simultaneous,
    Stackelberg,
}

/// The leader's and the follower's direction, one after the other.
fn field(play: Play, game: &mut Quadratic, implicit_term: &mut ImplicitTerm<f64>) -> Vec<f64> {
    let (gradient, _) = led(game, implicit_term, 0.0);
    let mut field = match play {
        Play::Simultaneous => gradient.individual,
        Play::Stackelberg => gradient.total,
    };
    let mut follower = vec![0.0; 2];
    game.gradient(Player::Follower, Player::Follower, &mut follower).unwrap();
    field.extend(follower);
    field
}

/// The eigenvalues behind Theorem 2: of minus the field's Jacobian at the origin, with the leader
/// `ratio` times slower than the follower.
fn eigenvalues(play: Play, ratio: f64) -> Vec<c64> {
    let columns: Vec<Vec<f64>> = (0..4)
        .map(|j| {
            let mut game = rotation();
            let players = [&mut game.x1, &mut game.x2];
            players.into_iter().flatten().nth(j).map(|x| *x = 1.0).unwrap();
            field(play, &mut game, &mut exact()) // linear: the field at a unit vector is a column
        })
        .collect();
    let jacobian = Mat::from_fn(4, 4, |i, j| -columns[j][i] * if i < 2 { ratio } else { 1.0 });
    jacobian.eigenvalues().unwrap()
}

#[test]
fn the_equilibrium_attracts_stackelberg_play_and_repels_simultaneous_play() {
    for ratio in [1.0, 0.1, 0.01] {
        let stable = eigenvalues(Play::Stackelberg, ratio);
        assert!(stable.iter().all(|s| s.re < 0.0), "ratio {ratio}: {stable:?}");
        // s^2 + s = +-i OMEGA ratio: one root of either sign has a positive real part, at any ratio
        let unstable = eigenvalues(Play::Simultaneous, ratio);
        let outward: Vec<_> = unstable.iter().filter(|s| s.re > 0.0).collect();
        assert_eq!(outward.len(), 2, "ratio {ratio}: {unstable:?}");
        assert!(outward.iter().all(|s| s.im.abs() > s.re), "ratio {ratio}: {unstable:?}");
    }
}

/// Distance to the origin after `STEPS` steps, and turns of `x1` about it.
fn noisy_play(play: Play, start: [f64; 4], seed: u64) -> (f64, f64) {
    const STEPS: u32 = 20_000;
    let mut rng = Rng::new(seed, Purpose::Exploration);
    let (mut game, mut implicit_term) = (rotation(), ImplicitTerm::new(&SolverConfig::default()));
    game.x1 = start[..2].to_vec();
    game.x2 = start[2..].to_vec();
    let mut turns = 0.0;
    for k in 0..STEPS {
        // Assumption 1: alpha_theta = o(alpha_w), sums diverge, sums of squares do not.
        let k = f64::from(k + 1);
        let steps = [0.2 * k.powf(-0.8), k.powf(-0.6)];

        // (17), (18) with martingale differences of variance 0.09 (1 + |x|)
        let direction = field(play, &mut game, &mut implicit_term);
        let size = (flat::dot(&game.x1, &game.x1) + flat::dot(&game.x2, &game.x2)).sqrt();
        let noise = 0.3 * (1.0 + size).sqrt();
        let before = game.x1[1].atan2(game.x1[0]);
        for (i, x) in [&mut game.x1, &mut game.x2].into_iter().flatten().enumerate() {
            *x -= steps[i / 2] * (direction[i] + noise * rng.normal::<f64>());
        }
        let angle = game.x1[1].atan2(game.x1[0]) - before;
        turns += (angle - TAU * (angle / TAU).round()) / TAU;
    }
    ((flat::dot(&game.x1, &game.x1) + flat::dot(&game.x2, &game.x2)).sqrt(), turns)
}

/// Theorem 2, from every corner, edge and face of a box around the equilibrium.
#[test]
fn theorem_2_noisy_stackelberg_play_reaches_the_equilibrium_where_simultaneous_play_cycles() {
    let grid = (0..81u32).map(|i| [i, i / 3, i / 9, i / 27].map(|d| f64::from(d % 3) - 1.0));
    for (seed, start) in grid.enumerate().filter(|(_, start)| start.iter().any(|&x| x != 0.0)) {
        let (distance, _) = noisy_play(Play::Stackelberg, start, seed as u64);
        assert!(distance < 0.05, "from {start:?} to a distance of {distance}");
        let (distance, turns) = noisy_play(Play::Simultaneous, start, seed as u64);
        assert!(distance > 0.2 && turns.abs() > 1.0, "from {start:?}: {distance}, {turns} turns");
    }
}
