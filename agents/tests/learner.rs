//! What holds of every agent, whatever its algorithm: the rules of the play, and a state that can be kept.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use agents::algo::algorithm::{Algorithm, OffPolicy};
use agents::algo::ddpg::Ddpg;
use agents::algo::sac::Sac;
use agents::algo::{Common, DdpgConfig, OffPolicyConfig, OnPolicyConfig};
use agents::engine::autograd::Autograd;
use agents::engine::fused::Fused;
use agents::engine::{Engine, Role};
use agents::game::LeaderGradient;
use agents::game::solvers::SolverKind;
use agents::game::{Curvature, ImplicitTerm, SolverConfig, StackelbergConfig, total_derivative};
use agents::learner::{Learner, LearnerConfig, State};
use agents::memory::{Replay, Rollout};
use agents::registry::{self, ALGORITHMS, Algorithm as Entry};
use agents::rng::{Purpose, Rng};
use agents::settings::{merge, take};
use agents::{ActionSpace, Actions, Agent, Error, Learn, Mode, Spaces, StateDict, Step};
use common::quadratic::Quadratic;
use common::shipped::{actor_critic, family, has_setting, shipped};
use serde_json::{Value, json};
use tch::Device;

const OBS: usize = 3;

fn spaces() -> Spaces {
    let action = ActionSpace::Box { low: vec![-1.0, 0.0], high: vec![1.0, 3.0] };
    Spaces::new(OBS, action)
}

/// A small agent that learns soon, with those of `settings`.
fn build(entry: &Entry, settings: Value) -> Box<dyn Learn> {
    let mut all = json!({"policy_kwargs": {"net_arch": [8, 8]}});
    let soon = json!({
        "n_steps": 30, "batch_size": 8, "learning_starts": 20, "random_steps": 10, "train_freq": 2,
        "gradient_steps": 2,
    });
    for (key, value) in soon.as_object().unwrap() {
        if has_setting(entry.name, key) {
            all[key] = value.clone();
        }
    }
    merge(&mut all, settings);
    entry.build(&shipped(entry.name, &all), &spaces(), 1).unwrap()
}

/// Lets the agent act and learn for `steps` steps, in a world that `rng` makes up.
fn live(agent: &mut (impl Agent + ?Sized), rng: &mut Rng, steps: usize) -> agents::Result<()> {
    let (mut step, mut actions) = (Step::new(1, OBS), Actions::new(2));
    for _ in 0..steps {
        let obs: [f32; OBS] = std::array::from_fn(|_| rng.normal());
        agent.act(&obs, Mode::Explore, &mut actions)?;
        step.next_obs.fill_with(|| rng.normal());
        step.rewards[0] = rng.normal();
        step.truncated[0] = rng.index(5) == 0;
        agent.observe(&obs, &actions.drawn, &step)?;
    }
    Ok(())
}

fn world() -> Rng {
    Rng::new(0, Purpose::Diagnostics)
}

#[test]
fn the_implicit_term_stays_within_its_bound_also_from_batches_of_its_own() {
    for entry in ALGORITHMS.iter().filter(|entry| entry.leader.is_some()) {
        for independent in [false, true] {
            let mut agent = build(
                entry,
                json!({
                    "solver": "cg", "curvature": "hessian", "lam": 1e-3, "curvature_stop": false,
                    "norm_ratio_clamp": 0.01, "independent_minibatches": independent,
                }),
            );
            live(&mut *agent, &mut world(), 90).unwrap();
            let metrics = agent.metrics();
            let ratio = metrics.iter().find(|(tag, _)| *tag == "game/implicit_ratio").unwrap().1;
            assert!(ratio > 0.0 && ratio < 0.010_001, "{}, {independent}: {ratio}", entry.name);
        }
    }
}

#[test]
fn every_step_of_either_player_is_checked_and_weights_stay_finite() {
    for entry in ALGORITHMS {
        let steps = ["unroll", "critic_steps"]
            .into_iter()
            .find(|key| has_setting(entry.name, key))
            .unwrap();
        for (optimizer, rate) in [("adam", 1e30), ("sgd", 1e30), ("adam", 1e38), ("sgd", 1e38)] {
            let settings = json!({"learning_rate": rate, "optimizer": optimizer, steps: 3});
            let mut agent = build(entry, settings);
            let error = live(&mut *agent, &mut world(), 200).unwrap_err();
            assert!(matches!(error, Error::Diverged { .. }), "{}: {error}", entry.name);
            let parameters = agent.parameters();
            let mut values = parameters.iter().flat_map(|p| &p.values);
            assert!(values.all(|x| x.is_finite()), "{}, {optimizer}, {rate}", entry.name);
        }
    }
}

#[test]
fn what_lacks_outputs_names_the_setting_that_asks_for_them() {
    for (kind, curvature, asked) in [
        (SolverKind::Cg, Curvature::GaussNewton, "curvature: gauss_newton"),
        (SolverKind::Dense, Curvature::GaussNewton, "curvature: gauss_newton"),
        (SolverKind::Woodbury, Curvature::GaussNewton, "solver: woodbury"),
    ] {
        let mut game = Quadratic::random(1, 2, 3);
        let mut implicit_term =
            ImplicitTerm::new(&SolverConfig { kind, curvature, ..SolverConfig::default() });
        let mut out = LeaderGradient::new(2);
        let error =
            total_derivative(&mut game, &mut implicit_term, 0.1, None, &mut out).unwrap_err();
        assert!(error.to_string().starts_with(&format!("`{asked}` needs")), "{error}");
    }
}

#[test]
fn sizes_of_nothing_are_refused_or_harmless() {
    let mut replay = Replay::new(0, 1, 1);
    for x in [1.0, 2.0] {
        replay.push(&[x], &[x], x, &[x], (false, false));
    }
    assert_eq!(replay.last(9).0.rewards, [2.0]);

    let config = OffPolicyConfig::default();
    let ddpg = Ddpg::new(&config, &DdpgConfig::default(), OBS, 1);
    let (engine, memory) = (Autograd::new(ddpg.clone(), Device::Cpu), Replay::new(9, OBS, 1));
    let choices = Spaces::new(OBS, ActionSpace::Discrete { n: 2 });
    let settings = LearnerConfig::off_policy(&config, &ddpg);
    let learner = Learner::new(ddpg, engine, memory, settings, choices, 0);
    assert!(matches!(learner.err(), Some(Error::Spaces { .. })));

    for entry in ALGORITHMS {
        let batch = agents::memory::Batch::default();
        let error = build(entry, json!({})).game_gradients(&batch, &StackelbergConfig::default());
        assert!(matches!(error, Err(Error::EmptyBatch | Error::NoMinibatch)), "{}", entry.name);
    }
}

/// A learner, and another one of the same settings and another seed.
fn goes_on_from_its_state<A, E>(mut pair: impl FnMut(u64) -> Learner<A, E>)
where
    A: Algorithm<Memory: PartialEq>,
    E: Engine<f32, A::Batch> + Clone,
{
    let (mut first, mut second, rng) = (pair(1), pair(2), &mut world());
    live(&mut first, rng, 131).unwrap();
    let bytes = postcard::to_allocvec(first.state()).unwrap();
    let state: State<A::Memory> = postcard::from_bytes(&bytes).unwrap();
    assert!(state == *first.state());
    second.restore(state);
    let again = &mut rng.clone();
    live(&mut first, rng, 131).unwrap();
    live(&mut second, again, 131).unwrap();
    assert!(first.state() == second.state());
    let diagnostics =
        |learner: &mut Learner<A, E>| agents::Introspect::diagnostics(learner).unwrap();
    assert_eq!(diagnostics(&mut first), diagnostics(&mut second));
    assert_eq!(first.parameters(), second.parameters());
}

/// The same on both engines, with `settings` of the algorithm `algo`.
fn off_policy<A: OffPolicy>(algo: &str, settings: Value) {
    let mut over = json!({
        "batch_size": 8, "learning_starts": 20, "random_steps": 10, "train_freq": 3,
        "gradient_steps": 2, "policy_kwargs": {"net_arch": [8, 8]},
    });
    merge(&mut over, settings);
    let algorithm: A = family(algo, &over, OBS, 2);
    let mut all = shipped(algo, &over);
    let common = take(&mut all).unwrap();
    let config = OffPolicyConfig { common, ..take(&mut all).unwrap() };
    let leader = registry::find(algo).unwrap().leader;
    let config = OffPolicyConfig { common: Common { leader, ..config.common.clone() }, ..config };
    let mut config = LearnerConfig::off_policy(&config, &algorithm);
    config.common.stackelberg = take(&mut shipped(algo, &over)).unwrap();
    let memory = || Replay::new(50, OBS, 2);
    goes_on_from_its_state(|seed| {
        let engine = Autograd::new(algorithm.clone(), Device::Cpu);
        let config = config.clone();
        Learner::new(algorithm.clone(), engine, memory(), config, spaces(), seed).unwrap()
    });
    goes_on_from_its_state(|seed| {
        let engine = Fused::new(algorithm.spec().unwrap());
        let config = config.clone();
        Learner::new(algorithm.clone(), engine, memory(), config, spaces(), seed).unwrap()
    });
}

#[test]
fn a_state_is_all_that_another_learner_needs_to_go_on() {
    off_policy::<Ddpg>("ddpg", json!({}));
    off_policy::<Ddpg>("ddpg", json!({"noise_match": true, "target_policy": "current"}));
    off_policy::<Sac>("sac", json!({"noise_match": true}));
    let cg = json!({"solver": "cg", "warm_start": true, "lam_decay": "adaptive"});
    off_policy::<Ddpg>("stddpg-al", cg);
    off_policy::<Ddpg>("stddpg-cl", json!({"independent_minibatches": true}));
    off_policy::<Sac>("stsac-al", json!({"ent_coef": "auto"}));
    for use_sde in [false, true] {
        let algorithm = actor_critic(
            &json!({"use_sde": use_sde, "policy_kwargs": {"net_arch": [8]}}),
            &spaces(),
        );
        let mut config = OnPolicyConfig { n_steps: 20, ..OnPolicyConfig::default() };
        config.common.leader = Some(Role::Actor);
        config.common.stackelberg.solver = SolverKind::Cg;
        goes_on_from_its_state(|seed| {
            let engine = Autograd::new(algorithm.clone(), Device::Cpu);
            let (memory, learner) = (Rollout::default(), LearnerConfig::on_policy(&config));
            Learner::new(algorithm.clone(), engine, memory, learner, spaces(), seed).unwrap()
        });
    }
}

/// The control by noise has the term that the leader would have had, and another direction.
#[test]
fn a_baseline_with_noise_steps_along_a_term_of_the_leaders_norm() {
    for (baseline, led) in [("ddpg", "stddpg-al"), ("sac", "stsac-al")] {
        let first_update = |algo, settings| {
            let mut agent = build(registry::find(algo).unwrap(), settings);
            live(&mut *agent, &mut world(), 22).unwrap();
            assert_eq!(agent.updates(), 1);
            let metrics = agent.metrics();
            let value = |tag| metrics.iter().find(|(found, _)| *found == tag).unwrap().1;
            ["game/individual_grad_norm", "game/implicit_grad_norm", "game/cosine"].map(value)
        };
        let mut settings =
            json!({"noise_match": true, "update_order": "simultaneous", "gradient_steps": 1});
        if has_setting(baseline, "target_policy") {
            settings["target_policy"] = json!("current");
        }
        let noise = first_update(baseline, settings);
        let term = first_update(led, json!({"gradient_steps": 1}));
        assert_eq!(noise[0], term[0], "{baseline}");
        assert!((noise[1] / term[1] - 1.0).abs() < 1e-5 && term[1] > 0.0, "{baseline}");
        assert!((noise[2] - term[2]).abs() > 1e-3, "{baseline}: {noise:?} {term:?}");
    }
}

#[test]
fn there_is_one_control_at_a_time() {
    let both = json!({"step_match": true, "noise_match": true});
    for entry in ALGORITHMS.iter().filter(|entry| entry.leader.is_none()) {
        let refused = entry.prepare(&shipped(entry.name, &both));
        assert!(matches!(refused, Err(Error::Config { key, .. }) if key == "noise_match"));
    }
}

#[test]
fn every_registered_algorithm_is_found_by_its_name() {
    for entry in ALGORITHMS {
        assert_eq!(registry::find(entry.name).unwrap().name, entry.name);
    }
}
