//! The games of DDPG and SAC, of the autograd engine, against finite differences and dense algebra, in
//! float64.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod common;

use agents::algo::algorithm::OffPolicy;
use agents::algo::ddpg::Ddpg;
use agents::algo::sac::Sac;
use agents::algo::sde::Sde;
use agents::engine::autograd::Autograd;
use agents::engine::{Engine, FrozenGame as _, Role};
use agents::flat;
use agents::game::solvers::SolverKind;
use agents::game::{
    Curvature, Game, ImplicitTerm, IndependentBatches, LeaderGradient, Parts, Player, SolverConfig,
    total_derivative,
};
use agents::nn::Activation;
use agents::settings::merge;
use common::shipped::family;
use common::*;
use serde_json::{Value, json};
use tch::Device;

const OBS: usize = 3;
const ACT: usize = 2;

/// Small networks, and `extra`.
fn settings(activation: Activation, extra: &Value) -> Value {
    let mut all = json!({"policy_kwargs": {"net_arch": [7, 5], "activation_fn": activation}});
    merge(&mut all, extra.clone());
    all
}

fn setup<F: OffPolicy>(family: F) -> (Autograd<f64, F>, Fixture) {
    let sde = family.sde().map(Sde::dim);
    let actor = family.actor().dim() + sde.unwrap_or(0);
    let dims = [actor, family.critics() * family.critic().dim()];
    let mut at = Fixture::new(1, dims, OBS, ACT, 8);
    if let Some(draws) = sde {
        // One matrix for both observations, of as many draws.
        at.batch.noise.truncate(draws);
        at.batch.next_noise = at.batch.noise.clone();
    }
    (Autograd::new(family, Device::Cpu), at)
}

fn ddpg(activation: Activation) -> (Autograd<f64, Ddpg>, Fixture) {
    setup(family("stddpg-al", &settings(activation, &json!({})), OBS, ACT))
}

fn sac(activation: Activation) -> (Autograd<f64, Sac>, Fixture) {
    setup(family("stsac-al", &settings(activation, &json!({})), OBS, ACT))
}

fn sac_with_sde(activation: Activation) -> (Autograd<f64, Sac>, Fixture) {
    setup(family("stsac-al", &settings(activation, &json!({"use_sde": true})), OBS, ACT))
}

/// Tests of this name for every algorithm: `body(engine, point)` on networks of `activation`.
macro_rules! for_all {
    ($name:ident, $activation:expr) => {
        mod $name {
            use super::*;
            #[test]
            fn ddpg() {
                let (mut engine, at) = super::ddpg($activation);
                super::$name(&mut engine, &at);
            }
            #[test]
            fn sac() {
                let (mut engine, at) = super::sac($activation);
                super::$name(&mut engine, &at);
            }
            #[test]
            fn sac_with_sde() {
                let (mut engine, at) = super::sac_with_sde($activation);
                super::$name(&mut engine, &at);
            }
        }
    };
}

fn implicit_term(kind: SolverKind, curvature: Curvature) -> ImplicitTerm<f64> {
    ImplicitTerm::new(&SolverConfig {
        kind,
        curvature,
        iterations: 400,
        tolerance: 1e-13,
        curvature_stop: false,
        ..SolverConfig::default()
    })
}

/// The total derivative with `implicit_term`, and its parts.
fn led<O: OffPolicy>(
    engine: &mut Autograd<f64, O>,
    at: &Fixture,
    leader: Role,
    mut implicit_term: ImplicitTerm<f64>,
    lambda: f64,
) -> LeaderGradient<f64> {
    let mut game = engine.freeze(at.point(), leader).unwrap();
    let mut out = LeaderGradient::new(game.dim(Player::Leader));
    let solve = total_derivative(&mut game, &mut implicit_term, lambda, None, &mut out).unwrap();
    assert!(!solve.fallback);
    assert!(solve.residual < 1e-9, "residual {}", solve.residual);
    out
}

fn gradients_match_finite_differences<O: OffPolicy>(engine: &mut Autograd<f64, O>, at: &Fixture) {
    for leader in [Role::Actor, Role::Critic] {
        for (of, wrt) in [
            (Player::Leader, Player::Leader),
            (Player::Leader, Player::Follower),
            (Player::Follower, Player::Leader),
            (Player::Follower, Player::Follower),
        ] {
            let g = gradient(engine, at, leader, of, wrt);
            let (of, wrt) = (role_of(leader, of), role_of(leader, wrt));
            let v = at.random_vector(2, g.len());
            let slope = directional(at, wrt, &v, |p| vec![loss(engine, p, of)]);
            assert_close(&[flat::dot(&g, &v)], &slope, 1e-6);
        }
    }
}
for_all!(gradients_match_finite_differences, Activation::Relu);

fn second_derivatives_match_finite_differences<O: OffPolicy>(
    engine: &mut Autograd<f64, O>,
    at: &Fixture,
) {
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
            move |e: &mut Autograd<f64, O>, p: &Fixture| gradient(e, p, leader, player, player)
        };
        let follower_gradient = own_gradient(Player::Follower);
        let leader_gradient = own_gradient(Player::Leader);

        // D22 f2 v and D11 f1 u as directional derivatives of gradients.
        assert_close(&hvp, &directional(at, follower, &v, |p| follower_gradient(engine, p)), 1e-6);
        assert_close(&own, &directional(at, leader, &u, |p| leader_gradient(engine, p)), 1e-6);
        // <D1 (D2 f2 . v), u> = < d/du D2 f2, v >
        let along_u = directional(at, leader, &u, |p| follower_gradient(engine, p));
        assert_close(&[flat::dot(&cross, &u)], &[flat::dot(&along_u, &v)], 1e-6);
    }
}
for_all!(second_derivatives_match_finite_differences, Activation::Tanh);

fn total_derivative_matches_dense_algebra_on_finite_difference_matrices<O: OffPolicy>(
    engine: &mut Autograd<f64, O>,
    at: &Fixture,
) {
    let lambda = 0.3;
    for leader in [Role::Actor, Role::Critic] {
        let follower = leader.opponent();
        let b = gradient(engine, at, leader, Player::Leader, Player::Follower);
        let d1 = gradient(engine, at, leader, Player::Leader, Player::Leader);
        let columns = |role: Role, dim: usize, engine: &mut Autograd<f64, O>| -> faer::Mat<f64> {
            let mut matrix = faer::Mat::zeros(b.len(), dim);
            for j in 0..dim {
                let mut unit = vec![0.0; dim];
                unit[j] = 1.0;
                let own =
                    |p: &Fixture| gradient(engine, p, leader, Player::Follower, Player::Follower);
                for (i, x) in directional(at, role, &unit, own).into_iter().enumerate() {
                    matrix[(i, j)] = x;
                }
            }
            matrix
        };
        // D22 f2 + lambda I, and D1 D2 f2 with rows of the follower.
        let mut hessian = columns(follower, b.len(), engine);
        for i in 0..b.len() {
            hessian[(i, i)] += lambda;
        }
        let cross = columns(leader, d1.len(), engine);

        use faer::linalg::solvers::Solve as _;
        let x = hessian.partial_piv_lu().solve(&faer::Mat::from_fn(b.len(), 1, |i, _| b[i]));
        let implicit = cross.transpose() * x;
        let total: Vec<f64> = d1.iter().enumerate().map(|(i, d)| d - implicit[(i, 0)]).collect();

        let dense =
            led(engine, at, leader, implicit_term(SolverKind::Dense, Curvature::Hessian), lambda);
        assert_close(&dense.total, &total, 1e-5);
    }
}
for_all!(total_derivative_matches_dense_algebra_on_finite_difference_matrices, Activation::Tanh);

fn woodbury_equals_the_dense_gauss_newton_solve<O: OffPolicy>(
    engine: &mut Autograd<f64, O>,
    at: &Fixture,
) {
    // Noise that depends on the state depends on the parameters beside the actions: no outputs there.
    let actor_follows = engine.freeze(at.point(), Role::Critic).unwrap().composite().is_some();
    let leaders = if actor_follows { &[Role::Actor, Role::Critic][..] } else { &[Role::Actor] };
    for &leader in leaders {
        for lambda in [1e-2, 1.0, 50.0] {
            let [dense, fast] = [SolverKind::Dense, SolverKind::Woodbury].map(|kind| {
                led(engine, at, leader, implicit_term(kind, Curvature::GaussNewton), lambda)
            });
            assert_close(&fast.implicit, &dense.implicit, 1e-8);
        }
    }
}
for_all!(woodbury_equals_the_dense_gauss_newton_solve, Activation::Relu);

fn cg_equals_the_dense_solve_where_the_hessian_is_positive_definite<O: OffPolicy>(
    engine: &mut Autograd<f64, O>,
    at: &Fixture,
) {
    for leader in [Role::Actor, Role::Critic] {
        // A lambda beyond the most negative eigenvalue makes the damped Hessian positive definite.
        let [dense, cg] = [SolverKind::Dense, SolverKind::Cg]
            .map(|kind| led(engine, at, leader, implicit_term(kind, Curvature::Hessian), 20.0));
        assert_close(&cg.implicit, &dense.implicit, 1e-8);
    }
}
for_all!(cg_equals_the_dense_solve_where_the_hessian_is_positive_definite, Activation::Tanh);

/// The least-squares structure says `D22 f2 = G` where the outputs are linear in the parameters, so
/// that products with `J` and `J'` have the Hessian itself as an oracle: twin critics without
/// hidden layers.
#[test]
fn gauss_newton_is_the_hessian_of_linear_critics() {
    let networks = json!({"policy_kwargs": {"net_arch": []}});
    let (mut engine, at) = setup(family::<Sac>("stsac-al", &networks, OBS, ACT));
    let [hessian, gauss_newton] = [Curvature::Hessian, Curvature::GaussNewton].map(|curvature| {
        led(&mut engine, &at, Role::Actor, implicit_term(SolverKind::Dense, curvature), 0.3)
    });
    assert_close(&gauss_newton.implicit, &hessian.implicit, 1e-9);
}

/// A detached target turns STDDPG into DDPG without anybody noticing. The averaged policy is such a
/// target: it does not depend on theta.
#[test]
fn the_cross_derivative_is_zero_only_if_the_target_does_not_depend_on_the_actor() {
    for (target_policy, expect_zero) in [("current", false), ("target", true)] {
        let settings = settings(Activation::Tanh, &json!({"target_policy": target_policy}));
        let (mut engine, at) = setup(family::<Ddpg>("ddpg", &settings, OBS, ACT));
        let mut game = engine.freeze(at.point(), Role::Actor).unwrap();
        let x = at.random_vector(5, game.dim(Player::Follower));
        let mut cross = vec![f64::NAN; game.dim(Player::Leader)];
        game.cross_vjp(&x, &mut cross).unwrap();
        assert_eq!(
            flat::norm(&cross) == 0.0,
            expect_zero,
            "{target_policy}: {}",
            flat::norm(&cross)
        );
    }
}

fn every_row_that_terminates_drops_out_of_the_cross_derivative<O: OffPolicy>(
    engine: &mut Autograd<f64, O>,
    at: &Fixture,
) {
    let mut cross_norm = |at: &Fixture| {
        let mut game = engine.freeze(at.point(), Role::Actor).unwrap();
        let x = at.random_vector(5, game.dim(Player::Follower));
        let mut cross = vec![f64::NAN; game.dim(Player::Leader)];
        game.cross_vjp(&x, &mut cross).unwrap();
        flat::norm(&cross)
    };
    assert!(cross_norm(at) > 0.0);
    let mut terminal = at.clone();
    terminal.batch.dones.fill(1.0);
    assert_eq!(cross_norm(&terminal), 0.0);
}
for_all!(every_row_that_terminates_drops_out_of_the_cross_derivative, Activation::Tanh);

/// One affine layer and one sample, so that the objectives can be written out by hand.
mod sac_by_hand {
    use super::*;

    const ETA: f64 = 0.3; // that of `Fixture::point`

    struct Policy {
        action: f64,
        log_pi: f64,
    }

    /// The density of `tanh(u)`, `u ~ N(m, s)`, by the change of variables.
    fn policy(weights: &[f64], s: f64, noise: f64) -> Policy {
        // Rows: mean, log std; columns: s; then two biases.
        let (mean, log_std) = (weights[0] * s + weights[2], weights[1] * s + weights[3]);
        let std = log_std.clamp(-20.0, 2.0).exp();
        let action = (mean + std * noise).tanh();
        let density = (-0.5 * noise * noise).exp() / (std * std::f64::consts::TAU.sqrt());
        Policy { action, log_pi: (density / (1.0 - action * action)).ln() }
    }

    fn q(w: &[f64], s: f64, a: f64) -> f64 {
        w[0] * s + w[1] * a + w[2]
    }

    fn min_q(w: &[f64], s: f64, a: f64) -> f64 {
        q(&w[..3], s, a).min(q(&w[3..], s, a))
    }

    fn one_sample(done: f64) -> (Autograd<f64, Sac>, Fixture) {
        let networks = json!({"policy_kwargs": {"net_arch": []}});
        let (engine, _) = setup(family::<Sac>("sac", &networks, 1, 1));
        let mut at = Fixture::new(7, [4, 6], 1, 1, 1);
        at.batch.dones[0] = done;
        (engine, at)
    }

    #[test]
    fn losses_are_those_of_equations_9_and_10() {
        for done in [0.0, 1.0] {
            let (mut engine, at) = one_sample(done);
            let b = &at.batch;
            let (s, a, next) = (b.obs[0], b.actions[0], b.next_obs[0]);
            let now = policy(&at.actor, s, b.noise[0]);
            let actor = ETA * now.log_pi - min_q(&at.critic, s, now.action);
            let then = policy(&at.actor, next, b.next_noise[0]);
            let soft = min_q(&at.target_critic, next, then.action) - ETA * then.log_pi;
            let y = b.rewards[0] + 0.99 * (1.0 - done) * soft;
            let critic =
                (q(&at.critic[..3], s, a) - y).powi(2) + (q(&at.critic[3..], s, a) - y).powi(2);

            assert_close(&[loss(&mut engine, &at, Role::Actor)], &[actor], 1e-12);
            assert_close(&[loss(&mut engine, &at, Role::Critic)], &[critic], 1e-12);
            let mut game = engine.freeze(at.point(), Role::Actor).unwrap();
            assert_close(&[game.entropy().unwrap().unwrap()], &[-now.log_pi], 1e-12);
        }
    }

    /// `D_theta L` has two parts, through the action and through the entropy of the target. Without
    /// entropy only the first is left.
    #[test]
    fn the_entropy_of_the_target_depends_on_the_actor() {
        let (mut engine, mut at) = one_sample(0.0);
        let b = at.batch.clone();
        // A critic that does not see actions: all that is left of D_theta y is the entropy's part.
        at.target_critic[1] = 0.0;
        at.target_critic[4] = 0.0;
        let got = gradient(&mut engine, &at, Role::Actor, Player::Follower, Player::Leader);
        let error = [0, 3].map(|i| q(&at.critic[i..], b.obs[0], b.actions[0]));
        let y = |weights: &[f64]| {
            let then = policy(weights, b.next_obs[0], b.next_noise[0]);
            let soft = min_q(&at.target_critic, b.next_obs[0], then.action) - ETA * then.log_pi;
            b.rewards[0] + 0.99 * soft
        };
        let want: Vec<f64> = (0..4)
            .map(|i| {
                let shifted = |step: f64| {
                    let mut weights = at.actor.clone();
                    weights[i] += step;
                    y(&weights)
                };
                let slope = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
                -2.0 * error.iter().map(|q| q - y(&at.actor)).sum::<f64>() * slope
            })
            .collect();
        assert_close(&got, &want, 1e-7);
    }
}

/// Appendix D: independent minibatches give each factor of the implicit term its own.
#[test]
fn independent_minibatches_take_each_factor_from_its_own_batch() {
    let (mut engine, at) = ddpg(Activation::Tanh);
    let dims = [at.actor.len(), at.critic.len()];
    let batches = [2, 3].map(|seed| Fixture::new(seed, dims, OBS, ACT, 8).batch);
    let [second, third] = batches.map(|batch| Fixture { batch, ..at.clone() });
    let (mut e2, mut e3) = (engine.clone(), engine.clone());
    let mut independent = IndependentBatches {
        whole: engine.freeze(at.point(), Role::Actor).unwrap(),
        parts: Parts::Own {
            response: None,
            hessian: e2.freeze(second.point(), Role::Actor).unwrap(),
            cross: e3.freeze(third.point(), Role::Actor).unwrap(),
        },
    };
    let mut got = LeaderGradient::new(dims[0]);
    let mut dense = implicit_term(SolverKind::Dense, Curvature::Hessian);
    total_derivative(&mut independent, &mut dense, 20.0, None, &mut got).unwrap();

    let (mut e1, mut e2, mut e3) = (ddpg(Activation::Tanh).0, e2.clone(), e3.clone());
    let b = gradient(&mut e1, &at, Role::Actor, Player::Leader, Player::Follower);
    let mut hessian = e2.freeze(second.point(), Role::Actor).unwrap();
    let mut matrix = faer::Mat::zeros(b.len(), b.len());
    for j in 0..b.len() {
        let (mut unit, mut column) = (vec![0.0; b.len()], vec![0.0; b.len()]);
        unit[j] = 1.0;
        hessian.follower_hvp(&unit, &mut column).unwrap();
        column[j] += 20.0;
        (0..b.len()).for_each(|i| matrix[(i, j)] = column[i]);
    }
    use faer::linalg::solvers::Solve as _;
    let x = matrix.partial_piv_lu().solve(&faer::Mat::from_fn(b.len(), 1, |i, _| b[i]));
    let x: Vec<f64> = (0..b.len()).map(|i| x[(i, 0)]).collect();
    let mut want = vec![0.0; dims[0]];
    e3.freeze(third.point(), Role::Actor).unwrap().cross_vjp(&x, &mut want).unwrap();
    assert_close(&got.implicit, &want, 1e-9);
}
