//! The fused engine against the specification, the autograd engine, on random networks and batches.
#![allow(clippy::unwrap_used)]

use agents::algo::ddpg::Ddpg;
use agents::algo::off_policy::Family;
use agents::algo::sac::Sac;
use agents::algo::{self, EngineKind, OffPolicyConfig, PolicyKwargs, Settings, TargetPolicy};
use agents::engine::autograd::{Autograd, Objectives};
use agents::engine::fused::Fused;
use agents::engine::{Engine, FrozenGame, Point, Role};
use agents::flat::{self, Scalar};
use agents::game::solvers::SolverKind;
use agents::game::{
    Curvature, Game, LeaderGradient, Player, Solver, SolverConfig, total_derivative,
};
use agents::memory::Batch;
use agents::nn::Activation;
use agents::rng::{Purpose, Rng};
use agents::{ActionSpace, Agent, Spaces, Step};
use serde_json::{Value, json};
use tch::Device;

const OBS: usize = 4;
const ACT: usize = 2;
const PLAYERS: [Player; 2] = [Player::Leader, Player::Follower];
const ROLES: [Role; 2] = [Role::Actor, Role::Critic];

/// Random parameters, directions and batches.
struct Random(Rng);

impl Random {
    fn normals<T: Scalar>(&mut self, len: usize) -> Vec<T> {
        (0..len).map(|_| self.0.normal()).collect()
    }

    /// Weights of the size of fresh ones, larger in `gain`: networks away from linear.
    fn params<T: Scalar>(&mut self, family: &impl Family, role: Role, gain: f64) -> Vec<T> {
        let (network, count) = match role {
            Role::Actor => (family.actor(), 1),
            Role::Critic => (family.critic(), family.critics()),
        };
        let mut params: Vec<T> = (0..count).flat_map(|_| network.init(&mut self.0)).collect();
        flat::scale(T::of(gain), &mut params);
        params
    }

    fn batch<T: Scalar>(&mut self, size: usize) -> Batch<T> {
        Batch {
            size,
            obs: self.normals(size * OBS),
            actions: (0..size * ACT).map(|_| self.0.uniform(-1.0, 1.0)).collect(),
            rewards: self.normals(size),
            next_obs: self.normals(size * OBS),
            dones: (0..size).map(|i| T::of(f64::from(u8::from(i % 4 == 3)))).collect(),
            noise: self.normals(size * ACT),
            next_noise: self.normals(size * ACT),
        }
    }
}

/// A point of a game, owned.
struct At<T> {
    params: [Vec<T>; 4],
    batch: Batch<T>,
}

impl<T: Scalar> At<T> {
    fn point(&self) -> Point<'_, T> {
        let [actor, critic, target_actor, target_critic] = &self.params;
        Point { actor, critic, target_actor, target_critic, batch: &self.batch, ent_coef: 0.3 }
    }
}

/// Equality up to `tolerance` times the norm of what is wanted.
#[track_caller]
fn assert_same<T: Scalar>(got: &[T], want: &[T], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len());
    let difference: Vec<T> = got.iter().zip(want).map(|(&a, &b)| a - b).collect();
    let (error, norm) = (flat::norm(&difference).as_f64(), flat::norm(want).as_f64());
    assert!(error <= tolerance * norm, "{what}: {error:e} of {norm:e}");
}

/// `f` of both games.
fn both<T: Scalar>(
    games: &mut [&mut dyn FrozenGame<T>; 2],
    len: usize,
    mut f: impl FnMut(&mut dyn FrozenGame<T>, &mut [T]),
) -> [Vec<T>; 2] {
    let mut of = |game: &mut dyn FrozenGame<T>| {
        let mut out = vec![T::nan(); len];
        f(game, &mut out);
        out
    };
    let [fused, autograd] = games;
    [of(*fused), of(*autograd)]
}

/// Everything that games compute, at one point and with one leader.
fn compare<T: Scalar, O: Objectives>(
    fused: &mut Fused<T>,
    autograd: &mut Autograd<T, O>,
    at: &At<T>,
    leader: Role,
    random: &mut Random,
    (tolerance, what): (f64, &str),
) {
    let mut fused = fused.freeze(at.point(), leader).unwrap();
    let mut autograd = autograd.freeze(at.point(), leader).unwrap();
    let dims = PLAYERS.map(|p| Game::dim(&autograd, p));
    assert_eq!(dims, PLAYERS.map(|p| Game::dim(&fused, p)));
    let check = |[got, want]: [Vec<T>; 2], method: &str| {
        assert_same(&got, &want, tolerance, &format!("{method}, {leader:?} leads, {what}"));
    };
    let games: &mut [&mut dyn FrozenGame<T>; 2] = &mut [&mut fused, &mut autograd];

    // Second derivatives first: nothing may rest on gradients having been asked for.
    let v = random.normals(dims[1]);
    let u = random.normals(dims[0]);
    check(both(games, dims[1], |g, out| g.follower_hvp(&v, out).unwrap()), "D22 f2 v");
    check(both(games, dims[0], |g, out| g.cross_vjp(&v, out).unwrap()), "D1 (D2 f2 . v)");
    check(both(games, dims[0], |g, out| g.leader_hvp(&u, out).unwrap()), "D11 f1 u");
    for of in PLAYERS {
        for wrt in PLAYERS {
            let gradients = both(games, dims[wrt as usize], |g, out| {
                g.gradient(of, wrt, out).unwrap();
            });
            check(gradients, &format!("D_{wrt:?} f_{of:?}"));
        }
    }
    let measures = both(games, 4, |g, out| {
        out[0] = T::of(g.loss(Role::Actor).unwrap());
        out[1] = T::of(g.loss(Role::Critic).unwrap());
        out[2] = T::of(g.policy_saturation().unwrap());
        out[3] = T::of(g.entropy().unwrap().unwrap_or(0.0));
    });
    check(measures, "losses, saturation, entropy");

    let Some(squares) = games[0].least_squares() else {
        assert!(games[1].least_squares().is_none());
        return;
    };
    let (samples, blocks) = (squares.samples(), squares.blocks());
    let outputs = blocks * samples;
    let u = random.normals(outputs);
    for block in 0..blocks {
        let grams = both(games, samples * samples, |g, out| {
            g.least_squares().unwrap().gram(block, out).unwrap();
        });
        check(grams, "K");
    }
    check(
        both(games, outputs, |g, out| {
            g.least_squares().unwrap().jacobian_leader_gradient(out).unwrap();
        }),
        "J D2 f1",
    );
    check(
        both(games, outputs, |g, out| g.least_squares().unwrap().jacobian(&v, out).unwrap()),
        "J v",
    );
    check(
        both(games, dims[1], |g, out| {
            g.least_squares().unwrap().jacobian_transpose(&u, out).unwrap();
        }),
        "J' u",
    );
    check(
        both(games, dims[0], |g, out| {
            g.least_squares().unwrap().cross_vjp_of_outputs(&u, out).unwrap();
        }),
        "cross term of outputs",
    );
}

/// An algorithm whose two engines are compared.
trait Subject: Family + Objectives + Clone {
    fn fused<T: Scalar>(&self) -> Fused<T> {
        Fused::new(self.spec())
    }
}

impl<A: Family + Objectives + Clone> Subject for A {}

/// Everything at random points, on batches of several sizes: smaller than networks, larger, and of one.
fn compare_all<T: Scalar>(subject: &impl Subject, threads: usize, tolerance: f64, what: &str) {
    let mut fused = subject.fused::<T>().with_threads(threads);
    let mut autograd = Autograd::new(subject.clone(), Device::Cpu);
    for (seed, size) in [8, 1, 33, 33].into_iter().enumerate() {
        let random = &mut Random(Rng::new(seed as u64, Purpose::Diagnostics));
        let params = [Role::Actor, Role::Critic, Role::Actor, Role::Critic]
            .map(|role| random.params(subject, role, 1.5));
        let at = At { params, batch: random.batch(size) };
        for leader in ROLES {
            let what = format!("{what}, {size} samples on {threads} threads, seed {seed}");
            compare(&mut fused, &mut autograd, &at, leader, random, (tolerance, &what));
        }
    }
}

/// For every algorithm, depth and activation.
fn all_parts_agree<T: Scalar>(threads: usize, tolerance: f64) {
    for config in configs() {
        let OffPolicyConfig { policy_kwargs, target_policy, .. } = &config;
        let what = format!("{policy_kwargs:?}, {target_policy:?}");
        compare_all::<T>(
            &Ddpg::new(&config, OBS, ACT),
            threads,
            tolerance,
            &format!("ddpg {what}"),
        );
        compare_all::<T>(&Sac::new(&config, OBS, ACT), threads, tolerance, &format!("sac {what}"));
    }
}

fn configs() -> Vec<OffPolicyConfig> {
    let mut configs = Vec::new();
    for depth in 0..=3 {
        for activation_fn in [Activation::Relu, Activation::Tanh] {
            for target_policy in [TargetPolicy::Current, TargetPolicy::Target] {
                let policy_kwargs = PolicyKwargs {
                    net_arch: [9, 7, 6][..depth].to_vec(),
                    activation_fn,
                    n_critics: None,
                };
                let config =
                    OffPolicyConfig { policy_kwargs, target_policy, ..OffPolicyConfig::default() };
                configs.push(config);
            }
        }
    }
    configs
}

#[test]
fn all_parts_agree_in_f64() {
    for threads in [1, 3] {
        all_parts_agree::<f64>(threads, 1e-9);
    }
}

#[test]
fn all_parts_agree_in_f32() {
    all_parts_agree::<f32>(1, 1e-5);
}

/// Solvers by name with what can be solved: curvature, and whether an actor may follow.
const SOLVERS: [(SolverKind, Curvature, bool); 7] = [
    (SolverKind::Cg, Curvature::Hessian, true),
    (SolverKind::Cg, Curvature::GaussNewton, false),
    (SolverKind::Neumann, Curvature::Hessian, true),
    (SolverKind::Nystrom, Curvature::GaussNewton, false),
    (SolverKind::Dense, Curvature::Hessian, true),
    (SolverKind::Dense, Curvature::GaussNewton, false),
    (SolverKind::Woodbury, Curvature::GaussNewton, false),
];

/// The leader's total derivative by every solver and for several lambda.
fn compare_totals(subject: &impl Subject, what: &str) {
    let mut engines = (subject.fused::<f64>(), Autograd::new(subject.clone(), Device::Cpu));
    let random = &mut Random(Rng::new(7, Purpose::Diagnostics));
    let params = [Role::Actor, Role::Critic, Role::Actor, Role::Critic]
        .map(|role| random.params(subject, role, 1.5));
    let at = At { params, batch: random.batch(12) };
    for leader in ROLES {
        for (kind, curvature, hessian) in SOLVERS {
            for lambda in [0.5, 20.0] {
                if leader == Role::Critic && !hessian {
                    continue;
                }
                // Few iterations, and none decided by the last digits: they amplify rounding.
                let (iterations, tolerance) = (4, 0.0);
                let config = SolverConfig {
                    kind,
                    curvature,
                    iterations,
                    tolerance,
                    ..SolverConfig::default()
                };
                let (a, b) = (
                    total(&mut engines.0, &at, leader, &config, lambda),
                    total(&mut engines.1, &at, leader, &config, lambda),
                );
                let what = format!("{kind:?}, {curvature:?}, {lambda}, {leader:?} leads, {what}");
                assert_same(&a.individual, &b.individual, 1e-9, &what);
                assert_same(&a.implicit, &b.implicit, 1e-9, &what);
                assert_same(&a.total, &b.total, 1e-9, &what);
            }
        }
    }
}

fn total<E: Engine<f64>>(
    engine: &mut E,
    at: &At<f64>,
    leader: Role,
    config: &SolverConfig,
    lambda: f64,
) -> LeaderGradient<f64> {
    let mut game = engine.freeze(at.point(), leader).unwrap();
    let mut out = LeaderGradient::new(game.dim(Player::Leader));
    let mut solver = Solver::new(config);
    total_derivative(&mut game, &mut solver, lambda, None, &mut out).unwrap();
    out
}

#[test]
fn total_derivatives_agree_for_every_solver() {
    for config in configs().into_iter().filter(|c| c.target_policy == TargetPolicy::Current) {
        let what = format!("{:?}", config.policy_kwargs);
        compare_totals(&Ddpg::new(&config, OBS, ACT), &format!("ddpg {what}"));
        compare_totals(&Sac::new(&config, OBS, ACT), &format!("sac {what}"));
    }
}

/// An agent after a few whole updates on random transitions.
fn updated(algo: &str, engine: &str, settings: &Value) -> Box<dyn Agent> {
    let mut all = json!({
        "engine": engine, "optimizer": "sgd", "learning_rate": 0.05, "batch_size": 20,
        "policy_kwargs": {"net_arch": [16, 12]}, "learning_starts": 29, "train_freq": 1, "gradient_steps": 1,
        "cg_iterations": 5, "cg_tolerance": 0.0,
    });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let settings: Settings = all.as_object().unwrap().clone();
    let action = ActionSpace::Box { low: vec![-1.0; ACT], high: vec![1.0; ACT] };
    let spaces = Spaces { obs_dim: OBS, action };
    let mut agent = algo::find(algo).unwrap().build(&settings, &spaces, 5).unwrap();
    let random = &mut Random(Rng::new(5, Purpose::Diagnostics));
    let mut step = Step::new(1, OBS);
    for t in 0..33 {
        let (obs, actions) = (random.normals::<f32>(OBS), random.normals::<f32>(ACT));
        let actions: Vec<f32> = actions.into_iter().map(f32::tanh).collect();
        step.next_obs.copy_from_slice(&random.normals::<f32>(OBS));
        step.rewards[0] = f64::from(t).sin();
        step.terminated[0] = t % 7 == 0;
        agent.observe(&obs, &actions, &step).unwrap();
    }
    assert_eq!(agent.updates(), 4);
    agent
}

#[test]
fn whole_updates_agree() {
    let solvers = [
        json!({"solver": "woodbury", "lam": 0.1}),
        json!({"solver": "cg", "lam": 10.0}),
        json!({"solver": "cg", "lam": 1.0, "curvature": "gauss_newton"}),
        json!({"solver": "cg", "lam": 10.0, "independent_minibatches": true, "unroll": 3}),
    ];
    for family in ["ddpg", "sac"] {
        for order in ["sequential", "simultaneous"] {
            compare_updates(family, &json!({"update_order": order}));
        }
        for settings in &solvers {
            compare_updates(&format!("st{family}-al"), settings);
            if settings["solver"] == "cg" && settings["curvature"].is_null() {
                compare_updates(&format!("st{family}-cl"), settings);
            }
        }
    }
}

fn compare_updates(algo: &str, settings: &Value) {
    let (mut fused, mut autograd) =
        (updated(algo, "fused", settings), updated(algo, "autograd", settings));
    for (a, b) in fused.parameters().iter().zip(autograd.parameters()) {
        assert_same(&a.values, &b.values, 1e-5, &format!("{algo} {settings} {}", a.name));
    }
    for (a, b) in fused.metrics().into_iter().zip(autograd.metrics()) {
        assert_eq!(a.0, b.0);
        // A relative residual of a solve is rounding itself.
        if a.0 != "game/solver_residual" {
            assert!((a.1 - b.1).abs() <= 1e-4 * b.1.abs(), "{algo} {settings} {a:?} {b:?}");
        }
    }
}

/// Threads change the last digits, timing nothing.
#[test]
fn the_same_number_of_threads_gives_identical_results() {
    let config = OffPolicyConfig::default();
    let sac = Sac::new(&config, OBS, ACT);
    let random = &mut Random(Rng::new(3, Purpose::Diagnostics));
    let params = [Role::Actor, Role::Critic, Role::Actor, Role::Critic]
        .map(|role| random.params(&sac, role, 1.0));
    let at = At::<f32> { params, batch: random.batch(100) };
    let totals = |kind: SolverKind| {
        let mut engine = sac.fused::<f32>().with_threads(2);
        let mut game = engine.freeze(at.point(), Role::Actor).unwrap();
        let mut out = LeaderGradient::new(game.dim(Player::Leader));
        let mut solver = Solver::new(&SolverConfig { kind, ..SolverConfig::default() });
        total_derivative(&mut game, &mut solver, 0.1, None, &mut out).unwrap();
        out.total
    };
    for kind in [SolverKind::Woodbury, SolverKind::Cg] {
        let first = totals(kind);
        assert!((0..20).all(|_| totals(kind) == first), "{kind:?}");
    }
}

#[test]
fn auto_takes_fused_on_the_cpu_and_fused_runs_nowhere_else() {
    for algorithm in algo::ALGORITHMS {
        let engine = |settings: Value| algorithm.engine(settings.as_object().unwrap());
        let covered = !algorithm.name.contains("ac") || algorithm.name.contains("sac");
        if !covered {
            assert_eq!(engine(json!({})).unwrap(), EngineKind::Autograd);
            let error = engine(json!({"engine": "fused"})).unwrap_err().to_string();
            assert!(error.contains("does not cover"), "{error}");
            continue;
        }
        assert_eq!(engine(json!({})).unwrap(), EngineKind::Fused);
        assert_eq!(engine(json!({"engine": "autograd"})).unwrap(), EngineKind::Autograd);
        assert_eq!(engine(json!({"device": "cuda"})).unwrap(), EngineKind::Autograd);
        let error = engine(json!({"engine": "fused", "device": "cuda"})).unwrap_err().to_string();
        assert!(error.contains("`engine` is fused") && error.contains("device"), "{error}");
    }
}
