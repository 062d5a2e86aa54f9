//! The DDPG game of the autograd engine against finite differences and dense algebra, in float64.
#![allow(clippy::unwrap_used)]

mod common;

use agents::algo::ddpg::Ddpg;
use agents::algo::off_policy::Family;
use agents::algo::{OffPolicyConfig, PolicyKwargs, TargetPolicy};
use agents::engine::autograd::Autograd;
use agents::engine::{Engine, Role};
use agents::flat;
use agents::game::solvers::SolverKind;
use agents::game::{
    Curvature, Game, LeaderGradient, Player, Solver, SolverConfig, total_derivative,
};
use agents::nn::Activation;
use common::*;
use tch::Device;

const OBS: usize = 3;
const ACT: usize = 2;

fn setup(activation_fn: Activation, target_policy: TargetPolicy) -> (Autograd<f64, Ddpg>, Fixture) {
    let policy_kwargs = PolicyKwargs { net_arch: vec![7, 5], activation_fn };
    let config = OffPolicyConfig { policy_kwargs, target_policy, ..OffPolicyConfig::default() };
    let family = Ddpg::new(&config, OBS, ACT);
    let dims = [family.actor().dim(), family.critic().dim()];
    (Autograd::new(family, Device::Cpu), Fixture::new(1, dims, OBS, ACT, 8))
}

fn smooth() -> (Autograd<f64, Ddpg>, Fixture) {
    setup(Activation::Tanh, TargetPolicy::Current)
}

fn solver(kind: SolverKind, curvature: Curvature) -> Solver<f64> {
    Solver::new(&SolverConfig {
        kind,
        curvature,
        iterations: 400,
        tolerance: 1e-13,
        curvature_stop: false,
        ..SolverConfig::default()
    })
}

/// The total derivative by `solver`, and its parts.
fn led(
    engine: &mut Autograd<f64, Ddpg>,
    at: &Fixture,
    leader: Role,
    mut solver: Solver<f64>,
    lambda: f64,
) -> LeaderGradient<f64> {
    let mut game = engine.freeze(at.point(), leader).unwrap();
    let mut out = LeaderGradient::new(game.dim(Player::Leader));
    let solve = total_derivative(&mut game, &mut solver, lambda, None, &mut out).unwrap();
    assert!(!solve.fallback);
    assert!(solve.residual < 1e-9, "residual {}", solve.residual);
    out
}

#[test]
fn gradients_match_finite_differences() {
    for activation in [Activation::Tanh, Activation::Relu] {
        let (mut engine, at) = setup(activation, TargetPolicy::Current);
        for leader in [Role::Actor, Role::Critic] {
            for (of, wrt) in [
                (Player::Leader, Player::Leader),
                (Player::Leader, Player::Follower),
                (Player::Follower, Player::Leader),
                (Player::Follower, Player::Follower),
            ] {
                let g = gradient(&mut engine, &at, leader, of, wrt);
                let (of, wrt) = (role_of(leader, of), role_of(leader, wrt));
                let v = at.random_vector(2, g.len());
                let slope = directional(&at, wrt, &v, |p| vec![loss(&mut engine, p, of)]);
                assert_close(&[flat::dot(&g, &v)], &slope, 1e-6);
            }
        }
    }
}

#[test]
fn second_derivatives_match_finite_differences() {
    let (mut engine, at) = smooth();
    for leader in [Role::Actor, Role::Critic] {
        let follower = leader.opponent();
        let dims = [Player::Leader, Player::Follower]
            .map(|p| engine.freeze(at.point(), leader).unwrap().dim(p));
        let (u, v) = (at.random_vector(3, dims[0]), at.random_vector(4, dims[1]));
        let (mut hvp, mut cross, mut own) =
            (vec![0.0; dims[1]], vec![0.0; dims[0]], vec![0.0; dims[0]]);
        {
            let mut game = engine.freeze(at.point(), leader).unwrap();
            game.follower_hvp(&v, &mut hvp).unwrap();
            game.cross_vjp(&v, &mut cross).unwrap();
            game.leader_hvp(&u, &mut own).unwrap();
        }
        let own_gradient = |player| {
            move |e: &mut Autograd<f64, Ddpg>, p: &Fixture| gradient(e, p, leader, player, player)
        };
        let follower_gradient = own_gradient(Player::Follower);
        let leader_gradient = own_gradient(Player::Leader);

        // D22 f2 v and D11 f1 u as directional derivatives of gradients.
        assert_close(
            &hvp,
            &directional(&at, follower, &v, |p| follower_gradient(&mut engine, p)),
            1e-6,
        );
        assert_close(
            &own,
            &directional(&at, leader, &u, |p| leader_gradient(&mut engine, p)),
            1e-6,
        );
        // <D1 (D2 f2 . v), u> = < d/du D2 f2, v >
        let along_u = directional(&at, leader, &u, |p| follower_gradient(&mut engine, p));
        assert_close(&[flat::dot(&cross, &u)], &[flat::dot(&along_u, &v)], 1e-6);
    }
}

#[test]
fn total_derivative_matches_dense_algebra_on_finite_difference_matrices() {
    let (mut engine, at) = smooth();
    let lambda = 0.3;
    for leader in [Role::Actor, Role::Critic] {
        let follower = leader.opponent();
        let b = gradient(&mut engine, &at, leader, Player::Leader, Player::Follower);
        let d1 = gradient(&mut engine, &at, leader, Player::Leader, Player::Leader);
        let columns =
            |role: Role, dim: usize, engine: &mut Autograd<f64, Ddpg>| -> faer::Mat<f64> {
                let mut matrix = faer::Mat::zeros(b.len(), dim);
                for j in 0..dim {
                    let mut unit = vec![0.0; dim];
                    unit[j] = 1.0;
                    let own = |p: &Fixture| {
                        gradient(engine, p, leader, Player::Follower, Player::Follower)
                    };
                    for (i, x) in directional(&at, role, &unit, own).into_iter().enumerate() {
                        matrix[(i, j)] = x;
                    }
                }
                matrix
            };
        // D22 f2 + lambda I, and D1 D2 f2 with rows of the follower.
        let mut hessian = columns(follower, b.len(), &mut engine);
        for i in 0..b.len() {
            hessian[(i, i)] += lambda;
        }
        let cross = columns(leader, d1.len(), &mut engine);

        use faer::linalg::solvers::Solve as _;
        let x = hessian.partial_piv_lu().solve(&faer::Mat::from_fn(b.len(), 1, |i, _| b[i]));
        let implicit = cross.transpose() * x;
        let total: Vec<f64> = d1.iter().enumerate().map(|(i, d)| d - implicit[(i, 0)]).collect();

        let dense =
            led(&mut engine, &at, leader, solver(SolverKind::Dense, Curvature::Hessian), lambda);
        assert_close(&dense.total, &total, 1e-5);
    }
}

#[test]
fn woodbury_equals_the_dense_gauss_newton_solve() {
    for lambda in [1e-2, 1.0, 50.0] {
        let (mut engine, at) = setup(Activation::Relu, TargetPolicy::Current);
        let dense = led(
            &mut engine,
            &at,
            Role::Actor,
            solver(SolverKind::Dense, Curvature::GaussNewton),
            lambda,
        );
        let fast = led(
            &mut engine,
            &at,
            Role::Actor,
            solver(SolverKind::Woodbury, Curvature::GaussNewton),
            lambda,
        );
        assert_close(&fast.implicit, &dense.implicit, 1e-8);
    }
}

#[test]
fn cg_equals_the_dense_solve_where_the_hessian_is_positive_definite() {
    let (mut engine, at) = smooth();
    for leader in [Role::Actor, Role::Critic] {
        // A lambda beyond the most negative eigenvalue makes the damped Hessian positive definite.
        let dense =
            led(&mut engine, &at, leader, solver(SolverKind::Dense, Curvature::Hessian), 20.0);
        let cg = led(&mut engine, &at, leader, solver(SolverKind::Cg, Curvature::Hessian), 20.0);
        assert_close(&cg.implicit, &dense.implicit, 1e-8);
    }
}

/// A detached target turns STDDPG into DDPG without anybody noticing. The averaged policy is such a
/// target: it does not depend on theta.
#[test]
fn the_cross_derivative_is_zero_only_if_the_target_does_not_depend_on_the_actor() {
    for (target_policy, expect_zero) in
        [(TargetPolicy::Current, false), (TargetPolicy::Target, true)]
    {
        let (mut engine, at) = setup(Activation::Tanh, target_policy);
        let mut game = engine.freeze(at.point(), Role::Actor).unwrap();
        let x = at.random_vector(5, game.dim(Player::Follower));
        let mut cross = vec![f64::NAN; game.dim(Player::Leader)];
        game.cross_vjp(&x, &mut cross).unwrap();
        assert_eq!(
            flat::norm(&cross) == 0.0,
            expect_zero,
            "{target_policy:?}: {}",
            flat::norm(&cross)
        );
    }
}

#[test]
fn every_row_that_terminates_drops_out_of_the_cross_derivative() {
    let (mut engine, mut at) = smooth();
    at.batch.dones.fill(1.0);
    let mut game = engine.freeze(at.point(), Role::Actor).unwrap();
    let x = at.random_vector(5, game.dim(Player::Follower));
    let mut cross = vec![f64::NAN; game.dim(Player::Leader)];
    game.cross_vjp(&x, &mut cross).unwrap();
    assert_eq!(flat::norm(&cross), 0.0);
}
