//! Settings that change while an agent learns: what was learnt, drawn and counted goes on.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use agents::registry;
use agents::rng::{Purpose, Rng};
use agents::settings::merge;
use agents::{ActionSpace, Actions, Error, Learn, Mode, Spaces, Step};
use common::shipped::{has_setting, of_leader, shipped};
use serde_json::{Value, json};

const OBS: usize = 3;

fn build(algo: &str, settings: &Value, seed: u64) -> Box<dyn Learn> {
    let mut all = json!({"policy_kwargs": {"net_arch": [8, 8]}, "optimizer": "adam"});
    let own = if has_setting(algo, "n_steps") {
        json!({"n_steps": 10})
    } else {
        json!({
            "learning_starts": 20, "random_steps": 30, "train_freq": 2, "gradient_steps": 2,
            "batch_size": 8, "buffer_size": 25,
        })
    };
    for part in [&own, settings] {
        merge(&mut all, part.clone());
    }
    let settings = shipped(algo, &all);
    let action = ActionSpace::Box { low: vec![-1.0], high: vec![1.0] };
    registry::find(algo).unwrap().build(&settings, &Spaces::new(OBS, action), seed).unwrap()
}

/// Lets the agent act and observe `steps` times, with a world that `rng` makes up.
fn live(agent: &mut dyn Learn, rng: &mut Rng, steps: usize) {
    let (mut step, mut action) = (Step::new(1, OBS), Actions::new(1));
    for _ in 0..steps {
        let obs: [f32; OBS] = std::array::from_fn(|_| rng.normal());
        agent.act(&obs, Mode::Explore, &mut action).unwrap();
        step.next_obs.fill_with(|| rng.normal());
        step.rewards[0] = rng.normal();
        step.truncated[0] = rng.index(5) == 0;
        agent.observe(&obs, &action.drawn, &step).unwrap();
    }
}

#[test]
fn settings_that_change_and_change_back_leave_no_trace() {
    for algo in registry::ALGORITHMS.iter().map(|entry| entry.name) {
        let own = json!({"warm_start": true, "solver": "cg", "lam": 5.0, "lam_decay": "adaptive"});
        let own = of_leader(algo, own);
        let (mut plain, mut other) = (build(algo, &own, 1), build(algo, &own, 1));
        for (agent, configure) in [(&mut plain, false), (&mut other, true)] {
            let rng = &mut Rng::new(0, Purpose::Diagnostics);
            live(&mut **agent, rng, 47);
            if configure {
                let mut changed = own.clone();
                changed["gamma"] = json!(0.5);
                changed["learning_rate"] = json!(0.5);
                agent.configure(build(algo, &changed, 9)).unwrap();
                agent.configure(build(algo, &own, 9)).unwrap();
            }
            live(&mut **agent, rng, 50);
        }
        assert!(plain.updates() > 5);
        assert_eq!(plain.updates(), other.updates(), "{algo}");
        assert_eq!(plain.parameters(), other.parameters(), "{algo}");
        assert_eq!(plain.moments(), other.moments(), "{algo}");
        assert_eq!(plain.damping(), other.damping(), "{algo}");
        let memory = |agent: &mut dyn Learn| agent.memory().replay().map(|replay| replay.last(100));
        assert_eq!(memory(&mut *plain), memory(&mut *other), "{algo}");
    }
}

#[test]
fn changed_settings_count() {
    for (algo, change) in [
        ("ac", json!({"gamma": 0.5})),
        ("stac", json!({"gae_lambda": 0.1})),
        ("stac", json!({"lam": 1e-2})),
        ("ddpg", json!({"gamma": 0.5})),
        ("ddpg", json!({"noise_std": 0.9})),
        ("stddpg-al", json!({"lam": 1e-2})),
        ("stddpg-al", json!({"batch_size": 3})),
        ("sac", json!({"ent_coef": 2.0})),
        ("stsac-cl", json!({"tau": 0.9})),
        ("stsac-cl", json!({"optimizer": "sgd"})),
    ] {
        let run = |change: Option<&Value>| {
            let mut agent = build(algo, &json!({}), 1);
            let rng = &mut Rng::new(0, Purpose::Diagnostics);
            live(&mut *agent, rng, 40);
            if let Some(change) = change {
                agent.configure(build(algo, change, 1)).unwrap();
            }
            live(&mut *agent, rng, 20);
            agent.parameters()
        };
        assert_ne!(run(None), run(Some(&change)), "{algo}: {change} had no effect");
    }
}

#[test]
fn a_learnt_entropy_coefficient_goes_on_towards_another_target() {
    let settings = |target: f64| json!({"ent_coef": "auto", "target_entropy": target});
    let mut agent = build("sac", &settings(-1.0), 1);
    live(&mut *agent, &mut Rng::new(0, Purpose::Diagnostics), 40);
    let before = agent.parameters().pop();
    agent.configure(build("sac", &settings(50.0), 1)).unwrap();
    assert_eq!(agent.parameters().pop(), before);
    live(&mut *agent, &mut Rng::new(0, Purpose::Diagnostics), 40);
    assert!(agent.parameters().pop().unwrap().values > before.unwrap().values);
}

#[test]
fn other_networks_and_other_engines_are_refused() {
    for (algo, key, other) in [
        ("ddpg", "policy_kwargs", json!({"policy_kwargs": {"net_arch": [8, 9]}})),
        ("stac", "policy_kwargs", json!({"policy_kwargs": {"net_arch": [9, 8]}})),
        ("sac", "engine", json!({"engine": "autograd"})),
    ] {
        let mut agent = build(algo, &json!({}), 1);
        let before = agent.parameters();
        match agent.configure(build(algo, &other, 1)) {
            Err(Error::Parameters(_)) => assert_eq!(key, "policy_kwargs"),
            Err(Error::AnotherKind) => assert_eq!(key, "engine"),
            other => panic!("{key}: {other:?}"),
        }
        assert_eq!(agent.parameters(), before);
    }
}

#[test]
fn a_seed_begins_the_streams_anew_and_leaves_the_weights() {
    for algo in registry::ALGORITHMS.iter().map(|entry| entry.name) {
        let draws = |seed: u64| {
            let mut agent = build(algo, &json!({}), seed);
            let rng = &mut Rng::new(0, Purpose::Diagnostics);
            live(&mut *agent, rng, 7);
            let before = agent.parameters();
            agent.reseed(5);
            assert_eq!(agent.parameters(), before, "{algo}");
            agent.set_parameters(&build(algo, &json!({}), 0).parameters()).unwrap();
            let mut action = Actions::new(1);
            agent.act(&[0.1; OBS], Mode::Explore, &mut action).unwrap();
            action
        };
        assert_eq!(draws(1), draws(2), "{algo}");
    }
}
