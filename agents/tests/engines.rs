//! The fused engine against the specification, the autograd engine, on random networks and batches.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod common;

use agents::algo::EngineKind;
use agents::algo::ddpg::Ddpg;
use agents::algo::sac::Sac;
use agents::engine::autograd::{Autograd, Element};
use agents::engine::{Engine, Role};
use agents::game::solvers::SolverKind;
use agents::game::{
    Curvature, Game, ImplicitTerm, LamUnit, LeaderGradient, Player, SolverConfig, total_derivative,
};
use agents::memory::Batch;
use agents::registry;
use agents::rng::{Purpose, Rng};
use agents::settings::merge;
use agents::{ActionSpace, Learn, Spaces, Step};
use common::agreement::*;
use common::shipped::{family, has_setting, shipped, with_setting};
use serde_json::{Value, json};
use tch::Device;

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

/// Solvers with what they solve.
const SOLVERS: [(SolverKind, Curvature); 7] = [
    (SolverKind::Cg, Curvature::Hessian),
    (SolverKind::Cg, Curvature::GaussNewton),
    (SolverKind::Neumann, Curvature::Hessian),
    (SolverKind::Nystrom, Curvature::GaussNewton),
    (SolverKind::Dense, Curvature::Hessian),
    (SolverKind::Dense, Curvature::GaussNewton),
    (SolverKind::Woodbury, Curvature::GaussNewton),
];

/// The leader's total derivative by every solver and for several lambda.
fn compare_totals(subject: &impl Subject, what: &str) {
    let mut engines = (subject.fused::<f64>(), Autograd::new(subject.clone(), Device::Cpu));
    let random = &mut Random(Rng::new(7, Purpose::Diagnostics));
    let params = [Role::Actor, Role::Critic, Role::Actor, Role::Critic]
        .map(|role| random.params(subject, role, 1.5));
    let at = At { params, batch: random.batch(12) };
    for leader in ROLES {
        let outputs = engines.0.freeze(at.point(), leader).unwrap().composite().is_some();
        for (kind, curvature) in SOLVERS {
            for (lam_unit, lambda) in [
                (LamUnit::Absolute, 0.5),
                (LamUnit::Absolute, 20.0),
                (LamUnit::MeanEigenvalue, 0.3),
            ] {
                if curvature == Curvature::GaussNewton && !outputs {
                    continue;
                }
                // Few iterations, and none decided by the last digits: they amplify rounding.
                let (iterations, tolerance) = (4, 0.0);
                let config = SolverConfig {
                    kind,
                    curvature,
                    lam_unit,
                    iterations,
                    tolerance,
                    ..SolverConfig::default()
                };
                let (a, b) = (
                    total(&mut engines.0, &at, leader, &config, lambda),
                    total(&mut engines.1, &at, leader, &config, lambda),
                );
                let what = format!(
                    "{kind:?}, {curvature:?}, {lambda} {lam_unit:?}, {leader:?} leads, {what}"
                );
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
    let mut implicit_term = ImplicitTerm::new(config);
    total_derivative(&mut game, &mut implicit_term, lambda, None, &mut out).unwrap();
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
    let spaces = Spaces::new(OBS, action);
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
            Some(_) => solvers.iter().for_each(|it| compare_updates(algo, it)),
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
        let mut implicit_term =
            ImplicitTerm::new(&SolverConfig { kind, ..SolverConfig::default() });
        total_derivative(&mut game, &mut implicit_term, 0.1, None, &mut out).unwrap();
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
        let covered = has_setting(algorithm.name, "buffer_size");
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
