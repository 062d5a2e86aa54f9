//! The fused engine against the specification, the autograd engine, on random networks and batches.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod common;

use agents::algo::EngineKind;
use agents::algo::algorithm::OffPolicy;
use agents::algo::ddpg::Ddpg;
use agents::algo::sac::Sac;
use agents::engine::autograd::{Autograd, Element};
use agents::engine::fused::Fused;
use agents::engine::{Engine, FrozenGame, Point, Role};
use agents::flat::{self, Scalar};
use agents::game::solvers::SolverKind;
use agents::game::{
    Curvature, Game, LeaderGradient, Player, Solver, SolverConfig, total_derivative,
};
use agents::memory::Batch;
use agents::registry;
use agents::rng::{Purpose, Rng};
use agents::settings::merge;
use agents::{ActionSpace, Learn, Spaces, Step};
use common::shipped::{family, shipped, with_setting};
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
    fn params<T: Scalar>(&mut self, family: &impl OffPolicy, role: Role, gain: f64) -> Vec<T> {
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
    fn to<U: Scalar>(&self) -> At<U> {
        let Batch { size, obs, actions, rewards, next_obs, dones, noise, next_noise } = &self.batch;
        let batch = Batch {
            size: *size,
            obs: to(obs),
            actions: to(actions),
            rewards: to(rewards),
            next_obs: to(next_obs),
            dones: to(dones),
            noise: to(noise),
            next_noise: to(next_noise),
        };
        At { params: self.params.each_ref().map(|params| to(params)), batch }
    }

    fn point(&self) -> Point<'_, T, Batch<T>> {
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

/// Directions in the space of the leader, the follower and the critics' outputs.
struct Along<T> {
    leader: Vec<T>,
    follower: Vec<T>,
    outputs: Vec<T>,
}

impl<T: Scalar> Along<T> {
    fn random(game: &mut dyn FrozenGame<T>, random: &mut Random) -> Self {
        let outputs = game.composite().map_or(0, |it| it.blocks() * it.samples());
        Self {
            leader: random.normals(game.dim(Player::Leader)),
            follower: random.normals(game.dim(Player::Follower)),
            outputs: random.normals(outputs),
        }
    }

    fn of(&self, player: Player) -> &[T] {
        match player {
            Player::Leader => &self.leader,
            Player::Follower => &self.follower,
        }
    }

    fn to<U: Scalar>(&self) -> Along<U> {
        Along { leader: to(&self.leader), follower: to(&self.follower), outputs: to(&self.outputs) }
    }
}

fn to<T: Scalar, U: Scalar>(values: &[T]) -> Vec<U> {
    values.iter().map(|value| U::of(value.as_f64())).collect()
}

/// Everything that a game computes, by name.
fn parts<T: Scalar>(game: &mut dyn FrozenGame<T>, along: &Along<T>) -> Vec<(String, Vec<T>)> {
    let Along { leader: u, follower: v, outputs } = along;
    let mut parts = Vec::new();
    let mut part = |name: &str, len: usize, compute: &mut dyn FnMut(&mut [T])| {
        let mut out = vec![T::nan(); len];
        compute(&mut out);
        parts.push((name.to_owned(), out));
    };
    // Second derivatives first: nothing may rest on gradients having been asked for.
    part("D22 f2 v", v.len(), &mut |out| game.follower_hvp(v, out).unwrap());
    part("D1 (D2 f2 . v)", u.len(), &mut |out| game.cross_vjp(v, out).unwrap());
    part("D11 f1 u", u.len(), &mut |out| game.leader_hvp(u, out).unwrap());
    for of in PLAYERS {
        for wrt in PLAYERS {
            let gradient = &mut |out: &mut [T]| game.gradient(of, wrt, out).unwrap();
            part(&format!("D_{wrt:?} f_{of:?}"), along.of(wrt).len(), gradient);
        }
    }
    part("losses, saturation, entropy", 4, &mut |out| {
        out[0] = T::of(game.objective(Player::Leader).unwrap());
        out[1] = T::of(game.objective(Player::Follower).unwrap());
        out[2] = T::of(game.policy_saturation().unwrap().unwrap());
        out[3] = T::of(game.entropy().unwrap().unwrap_or(0.0));
    });
    let Some(squares) = game.composite() else { return parts };
    let (samples, all) = (squares.samples(), outputs.len());
    for block in 0..squares.blocks() {
        part("K", samples * samples, &mut |out| squares.gram(block, out).unwrap());
    }
    part("J D2 f1", all, &mut |out| squares.jacobian_leader_gradient(out).unwrap());
    part("J v", all, &mut |out| squares.jacobian(v, out).unwrap());
    part("J' u", v.len(), &mut |out| squares.jacobian_transpose(outputs, out).unwrap());
    part("cross term of outputs", u.len(), &mut |out| {
        squares.cross_vjp_of_outputs(outputs, out).unwrap();
    });
    parts
}

/// An algorithm whose two engines are compared.
trait Subject: OffPolicy {
    fn fused<T: Scalar>(&self) -> Fused<T> {
        Fused::new(self.spec().unwrap())
    }
}

impl<A: OffPolicy> Subject for A {}

/// Random points, with batches of several sizes: smaller than networks, larger, and of one.
fn points<T: Element>(
    subject: &impl Subject,
    gain: f64,
    mut visit: impl FnMut(At<T>, &mut Random, String),
) {
    for (seed, size) in [8, 1, 33, 33].into_iter().enumerate() {
        let random = &mut Random(Rng::new(seed as u64, Purpose::Diagnostics));
        let params = [Role::Actor, Role::Critic, Role::Actor, Role::Critic]
            .map(|role| random.params(subject, role, gain));
        let at = At { params, batch: random.batch(size) };
        visit(at, random, format!("{size} samples, seed {seed}"));
    }
}

/// Everything at random points.
fn compare_all<T: Element>(
    subject: &impl Subject,
    threads: usize,
    (gain, tolerance): (f64, f64),
    what: &str,
) {
    let mut fused = subject.fused::<T>().with_threads(threads);
    let mut autograd = Autograd::new(subject.clone(), Device::Cpu);
    points(subject, gain, |at: At<T>, random, which| {
        for leader in ROLES {
            let mut fused = fused.freeze(at.point(), leader).unwrap();
            let mut autograd = autograd.freeze(at.point(), leader).unwrap();
            assert_eq!(PLAYERS.map(|p| fused.dim(p)), PLAYERS.map(|p| autograd.dim(p)));
            let along = Along::random(&mut autograd, random);
            let (got, want) = (parts(&mut fused, &along), parts(&mut autograd, &along));
            assert_eq!(got.len(), want.len());
            for ((name, got), (_, want)) in got.iter().zip(&want) {
                let what = format!("{name}, {leader:?} leads, {what}, {which}, {threads} threads");
                assert_same(got, want, tolerance, &what);
            }
        }
    });
}

/// `||got - truth|| / ||truth||`
fn error<T: Scalar>(got: &[T], truth: &[f64]) -> f64 {
    let difference: Vec<f64> = got.iter().zip(truth).map(|(a, b)| a.as_f64() - b).collect();
    flat::norm(&difference) / flat::norm(truth).max(f64::MIN_POSITIVE)
}

/// Where networks are steep, single precision loses digits whoever computes: the fused engine is as near to the truth in
/// double precision as autograd is.
fn compare_accuracy(subject: &impl Subject, what: &str) {
    let mut fused = subject.fused::<f32>();
    let mut autograd = Autograd::<f32, _>::new(subject.clone(), Device::Cpu);
    let mut truth = Autograd::<f64, _>::new(subject.clone(), Device::Cpu);
    points(subject, 3.0, |at: At<f32>, random, which| {
        let exact = at.to::<f64>();
        for leader in ROLES {
            let mut autograd = autograd.freeze(at.point(), leader).unwrap();
            let along = Along::random(&mut autograd, random);
            let autograd = parts(&mut autograd, &along);
            let fused = parts(&mut fused.freeze(at.point(), leader).unwrap(), &along);
            let truth = parts(&mut truth.freeze(exact.point(), leader).unwrap(), &along.to());
            for (((name, got), (_, peer)), (_, truth)) in fused.iter().zip(&autograd).zip(&truth) {
                let (own, peer) = (error(got, truth), error(peer, truth));
                let what = format!("{name}, {leader:?} leads, {what}, {which}");
                assert!(own <= 1e-5_f64.max(2.0 * peer), "{what}: {own:e} against {peer:e}");
            }
        }
    });
}

/// For every algorithm, depth and activation.
fn all_parts_agree<T: Element>(threads: usize, gain: f64, tolerance: f64) {
    for settings in networks() {
        for target_policy in ["current", "target"] {
            let mut settings = settings.clone();
            settings["target_policy"] = target_policy.into();
            let (ddpg, what) =
                (family::<Ddpg>("ddpg", &settings, OBS, ACT), format!("ddpg {settings}"));
            compare_all::<T>(&ddpg, threads, (gain, tolerance), &what);
        }
        let (sac, what) = (family::<Sac>("sac", &settings, OBS, ACT), format!("sac {settings}"));
        compare_all::<T>(&sac, threads, (gain, tolerance), &what);
    }
}

/// Settings with networks of every depth and activation.
fn networks() -> Vec<Value> {
    let depths = (0..=3).map(|depth| [9, 7, 6][..depth].to_vec());
    let both = depths.flat_map(|net_arch| ["relu", "tanh"].map(|name| (net_arch.clone(), name)));
    let settings = both.map(
        |(net_arch, name)| json!({"policy_kwargs": {"net_arch": net_arch, "activation_fn": name}}),
    );
    settings.collect()
}

#[test]
fn all_parts_agree_in_f64() {
    for threads in [1, 3] {
        all_parts_agree::<f64>(threads, 1.5, 1e-9);
    }
}

#[test]
fn all_parts_agree_in_f32() {
    all_parts_agree::<f32>(1, 2.0, 1e-5);
}

#[test]
fn in_f32_nothing_is_less_accurate_than_autograds() {
    for settings in networks() {
        let ddpg: Ddpg = family("stddpg-al", &settings, OBS, ACT);
        let sac: Sac = family("stsac-al", &settings, OBS, ACT);
        compare_accuracy(&ddpg, &format!("ddpg {settings}"));
        compare_accuracy(&sac, &format!("sac {settings}"));
    }
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

fn total<E: Engine<f64, Batch<f64>>>(
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
    for settings in networks() {
        let ddpg: Ddpg = family("stddpg-al", &settings, OBS, ACT);
        let sac: Sac = family("stsac-al", &settings, OBS, ACT);
        compare_totals(&ddpg, &format!("ddpg {settings}"));
        compare_totals(&sac, &format!("sac {settings}"));
    }
}

/// An agent after a few whole updates on random transitions.
fn updated(algo: &str, engine: &str, settings: &Value) -> Box<dyn Learn> {
    let mut all = json!({
        "engine": engine, "optimizer": "sgd", "learning_rate": 0.05, "batch_size": 20,
        "policy_kwargs": {"net_arch": [16, 12]}, "learning_starts": 29, "train_freq": 1, "gradient_steps": 1,
    });
    if settings["solver"] == "cg" {
        merge(&mut all, json!({"cg_iterations": 5, "cg_tolerance": 0.0}));
    }
    merge(&mut all, settings.clone());
    let settings = shipped(algo, &all);
    let action = ActionSpace::Box { low: vec![-1.0; ACT], high: vec![1.0; ACT] };
    let spaces = Spaces { obs_dim: OBS, action };
    let mut agent = registry::find(algo).unwrap().build(&settings, &spaces, 5).unwrap();
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
    for algo in with_setting("buffer_size") {
        match registry::find(algo).unwrap().leader {
            None => {
                for order in ["sequential", "simultaneous"] {
                    compare_updates(algo, &json!({"update_order": order}));
                }
            }
            // The critic's followers have no Gauss-Newton matrix.
            Some(Role::Critic) => compare_updates(algo, &solvers[1]),
            Some(Role::Actor) => solvers.iter().for_each(|it| compare_updates(algo, it)),
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
    let sac: Sac = family("stsac-al", &json!({}), OBS, ACT);
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
    for algorithm in registry::ALGORITHMS {
        let engine = |settings: Value| {
            algorithm.prepare(&shipped(algorithm.name, &settings)).map(|it| it.engine)
        };
        let covered = with_setting("buffer_size").any(|it| it == algorithm.name);
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
