//! State-dependent exploration: the density against the change of variables, the matrices of an
//! agent against what they promise.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use agents::algo::EngineKind;
use agents::algo::sac::Sac;
use agents::engine::autograd::Autograd;
use agents::engine::{Engine as _, FrozenGame as _, Role};
use agents::registry;
use agents::settings::{Settings, merge};
use agents::{ActionSpace, Actions, Error, Learn, Mode, Parameter, Spaces, Step};
use common::shipped::{family, shipped};
use common::*;
use serde_json::{Value, json};
use tch::Device;

/// `(action, log pi)` of `N(m, s^2' sigma^2)` at the draw `m + s' theta`, squashed. `actor`: the
/// weights of two features, a bias, two log-deviations.
fn policy(actor: &[f64], s: &[f64], epsilon: &[f64], expln: bool) -> (f64, f64) {
    let mean = (actor[0] * s[0] + actor[1] * s[1] + actor[2]).clamp(-0.5, 0.5);
    let sigma = |x: f64| if expln && x > 0.0 { 1.0 + (1.0 + x).ln() } else { x.exp() };
    let sigma = [sigma(actor[3]), sigma(actor[4])];
    let noise = (0..2).map(|i| s[i] * sigma[i] * epsilon[i]).sum::<f64>();
    let variance = (0..2).map(|i| (s[i] * sigma[i]).powi(2)).sum::<f64>() + 1e-6;
    let density =
        (-0.5 * noise * noise / variance).exp() / (variance * std::f64::consts::TAU).sqrt();
    let action = (mean + noise).tanh();
    (action, (density / (1.0 - action * action)).ln())
}

#[test]
fn losses_are_those_of_equations_9_and_10() {
    for use_expln in [false, true] {
        let networks = json!({"net_arch": [], "use_expln": use_expln, "clip_mean": 0.5});
        let settings = json!({"use_sde": true, "policy_kwargs": networks});
        // The mean is within its bounds at one of these, and beyond at others.
        for seed in 0..6 {
            let mut at = Fixture::new(seed, [5, 8], 2, 1, 1);
            at.batch.noise = at.random_vector(seed, 2);
            at.batch.next_noise = at.batch.noise.clone();
            let b = &at.batch;
            let q = |w: &[f64], s: &[f64], a: f64| w[0] * s[0] + w[1] * s[1] + w[2] * a + w[3];
            let min_q = |w: &[f64], s: &[f64], a: f64| q(&w[..4], s, a).min(q(&w[4..], s, a));
            let (now, log_pi) = policy(&at.actor, &b.obs, &b.noise, use_expln);
            let actor = 0.3 * log_pi - min_q(&at.critic, &b.obs, now);
            let (then, next_log_pi) = policy(&at.actor, &b.next_obs, &b.noise, use_expln);
            let soft = min_q(&at.target_critic, &b.next_obs, then) - 0.3 * next_log_pi;
            let y = b.rewards[0] + 0.99 * soft;
            let errors = [0, 4].map(|i| q(&at.critic[i..], &b.obs, b.actions[0]) - y);
            let critic = errors.iter().map(|e| e * e).sum::<f64>();

            let mut engine = Autograd::new(family::<Sac>("sac", &settings, 2, 1), Device::Cpu);
            assert_close(&[loss(&mut engine, &at, Role::Actor)], &[actor], 1e-11);
            assert_close(&[loss(&mut engine, &at, Role::Critic)], &[critic], 1e-11);
            let mut game = engine.freeze(at.point(), Role::Actor).unwrap();
            assert_close(&[game.entropy().unwrap().unwrap()], &[-log_pi], 1e-11);
        }
    }
}

fn settings(algo: &str, extra: &Value) -> Settings {
    let mut settings = json!({"use_sde": true, "policy_kwargs": {"net_arch": []}});
    merge(&mut settings, extra.clone());
    shipped(algo, &settings)
}

/// Bounds that AC's actions, which they clip, do not reach.
fn spaces(algo: &str, obs_dim: usize) -> Spaces {
    let bound = if algo.contains("sac") { 1.0 } else { 100.0 };
    Spaces::new(obs_dim, ActionSpace::Box { low: vec![-bound; 2], high: vec![bound; 2] })
}

fn agent(algo: &str, obs_dim: usize, extra: &Value) -> Box<dyn Learn> {
    registry::find(algo).unwrap().build(&settings(algo, extra), &spaces(algo, obs_dim), 3).unwrap()
}

/// The noise of `envs` environments at one observation, of SAC before the squashing.
fn noise(agent: &mut dyn Learn, obs: &[f32], envs: usize) -> Vec<f32> {
    let obs = obs.repeat(envs);
    let (mut mean, mut noisy) = (Actions::new(2 * envs), Actions::new(2 * envs));
    agent.act(&obs, Mode::Deterministic, &mut mean).unwrap();
    agent.act(&obs, Mode::Explore, &mut noisy).unwrap();
    let ActionSpace::Box { high, .. } = &agent.spaces().action else { panic!("a Box") };
    let gaussian = |a: f32| if high[0] == 1.0 { a.atanh() } else { a };
    noisy.env.iter().zip(mean.env).map(|(&a, m)| gaussian(a) - gaussian(m)).collect()
}

fn step(agent: &mut dyn Learn, obs_dim: usize, envs: usize) {
    let step = Step::new(envs, obs_dim);
    agent.observe(&vec![0.1; obs_dim * envs], &vec![0.0; 2 * envs], &step).unwrap();
}

/// Settings under which a rollout has six steps of each of three environments.
fn in_rollouts(algo: &str, sample_freq: i64) -> Box<dyn Learn> {
    let settings = match algo {
        "sac" => json!({"train_freq": 6, "learning_starts": 0, "random_steps": 0, "batch_size": 4,
            "gradient_steps": 1, "learning_rate": 1e-6, "sde_sample_freq": sample_freq}),
        _ => json!({"n_steps": 6, "learning_rate": 1e-6, "sde_sample_freq": sample_freq,
            "policy_kwargs": {"net_arch": [], "log_std_init": -3.0}}),
    };
    agent(algo, 2, &settings)
}

#[test]
fn a_matrix_lasts_for_a_rollout_or_for_as_many_steps_as_asked() {
    for algo in ["sac", "ac"] {
        for (freq, every) in [(-1, 6), (2, 2), (4, 4)] {
            let mut agent = in_rollouts(algo, freq);
            let (mut last, mut changes) = (vec![0.0; 6], Vec::new());
            for t in 0..12 {
                let now = noise(&mut *agent, &[0.6, -0.9], 3);
                if now.iter().zip(&last).any(|(a, b)| (a - b).abs() > 1e-5) {
                    changes.push(t);
                }
                last = now;
                step(&mut *agent, 2, 3);
            }
            // A rollout begins with a matrix of its own.
            let want: Vec<_> = (0..12).filter(|t| t % 6 % every == 0).collect();
            assert_eq!(changes, want, "{algo}, {freq}");
            let [a, b, c] = [&last[..2], &last[2..4], &last[4..]];
            assert!(a != b && b != c && a != c, "{algo}: each environment has its own");
        }
    }
}

#[test]
fn noise_is_linear_in_the_features_with_the_deviation_that_the_density_has() {
    for algo in ["sac", "ac"] {
        let mut agent = in_rollouts(algo, 1);
        let mut sum = [0.0; 2];
        let n = 4_000;
        for _ in 0..n {
            let once = noise(&mut *agent, &[0.6, -0.9], 1);
            for (sum, x) in sum.iter_mut().zip(&once) {
                *sum += f64::from(x * x);
            }
        }
        // (0.6^2 + 0.9^2) exp(-3)^2, within five deviations of a chi-squared variable
        let variance = (0.36 + 0.81) * (-6.0f64).exp();
        for sum in sum {
            let ratio = sum / f64::from(n) / variance;
            assert!((ratio - 1.0).abs() < 5.0 * (2.0 / f64::from(n)).sqrt(), "{algo}: {ratio}");
        }

        let mut agent = in_rollouts(algo, -1);
        noise(&mut *agent, &[0.6, -0.9], 1);
        step(&mut *agent, 2, 1);
        let [one, two] = [1.0, 2.0].map(|k| noise(&mut *agent, &[0.3 * k, -0.2 * k], 1));
        for (one, two) in one.iter().zip(two) {
            assert!(*one != 0.0 && (two - 2.0 * one).abs() < 1e-5, "{algo}: {one} {two}");
        }
    }
}

#[test]
fn warming_up_is_random_unless_asked_otherwise() {
    let sizes = [false, true].map(|at_warmup| {
        let settings = json!({"random_steps": 1000, "use_sde_at_warmup": at_warmup});
        let noise = noise(&mut *agent("sac", 2, &settings), &[0.6, -0.9], 50);
        noise.iter().map(|x| x.abs()).sum::<f32>() / 100.0
    });
    assert!(sizes[0] > 0.3 && sizes[1] < 0.2, "{sizes:?}");
}

const OBS: usize = 3;

/// After a few updates, on rows that come from nowhere.
fn updated(algo: &str, extra: &Value) -> Box<dyn Learn> {
    let mut all = json!({"policy_kwargs": {"net_arch": [6, 5]}, "learning_rate": 0.01});
    let own = if algo.contains("sac") {
        json!({"batch_size": 8, "learning_starts": 8, "random_steps": 4, "train_freq": 2,
            "gradient_steps": 2})
    } else {
        json!({"n_steps": 8, "critic_learning_rate": 0.01})
    };
    for settings in [&own, extra] {
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    }
    let mut agent = agent(algo, OBS, &all);
    let mut step = Step::new(1, OBS);
    let mut actions = Actions::new(2);
    for t in 0..24 {
        let obs = [0, 1, 2].map(|i| (f64::from(3 * t + i).sin()) as f32);
        agent.act(&obs, Mode::Explore, &mut actions).unwrap();
        step.next_obs.copy_from_slice(&obs.map(|x| -x));
        step.rewards[0] = f64::from(t).cos();
        step.truncated[0] = t % 8 == 7;
        agent.observe(&obs, &actions.drawn, &step).unwrap();
    }
    assert!(agent.updates() > 1);
    agent
}

/// Largest difference of the actors' parameters.
fn distance(a: &dyn Learn, b: &dyn Learn) -> f32 {
    let values = |agent: &dyn Learn| {
        agent.parameters().into_iter().flat_map(|p: Parameter| p.values).collect::<Vec<_>>()
    };
    values(a).iter().zip(values(b)).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// Proposition 2, and that its Stackelberg forms are forms of their own.
#[test]
fn a_large_lambda_gives_the_baseline() {
    for (algo, baseline) in [("stsac-al", "sac"), ("stsac-cl", "sac"), ("stac", "ac")] {
        let order =
            if baseline == "sac" { json!({"update_order": "simultaneous"}) } else { json!({}) };
        let plain = updated(baseline, &order);
        let led = |lam: f64| updated(algo, &json!({"lam": lam, "solver": "cg"}));
        assert!(distance(&*plain, &*led(1e12)) < 1e-4, "{algo}");
        assert!(distance(&*plain, &*led(1.0)) > 1e-4, "{algo}: the implicit term changes nothing");
    }
}

#[test]
fn the_same_seed_gives_identical_parameters_and_log_std_learns() {
    for algo in ["sac", "stsac-al", "stsac-cl", "ac", "stac"] {
        let (a, b) = (updated(algo, &json!({})), updated(algo, &json!({})));
        assert_eq!(a.parameters(), b.parameters(), "{algo}");
        let parameters = a.parameters();
        let log_std = parameters.iter().find(|p| p.name.ends_with("log_std")).unwrap();
        assert_eq!(log_std.shape, [5, 2], "{algo}");
        let init = if algo.contains("sac") { -3.0 } else { -0.5 };
        assert!(log_std.values.iter().all(|x| (x - init).abs() < 1.0), "{algo}");
        assert!(log_std.values.iter().any(|x| *x != init), "{algo} {log_std:?}");
        let mut other = agent(algo, OBS, &json!({"policy_kwargs": {"net_arch": [6, 5]}}));
        other.set_parameters(&parameters).unwrap();
        assert_eq!(other.parameters(), parameters);
    }
}

#[test]
fn the_mean_has_the_name_that_its_bound_gives_it() {
    for (clip_mean, name) in [(2.0, "actor.mu.0.weight"), (0.0, "actor.mu.weight")] {
        let settings = json!({"policy_kwargs": {"net_arch": [4], "clip_mean": clip_mean}});
        let names: Vec<_> =
            agent("sac", OBS, &settings).parameters().into_iter().map(|p| p.name).collect();
        assert!(names.contains(&name.to_string()), "{names:?}");
    }
}

#[test]
fn autograd_runs_it_and_fused_says_why_not() {
    for algo in ["sac", "stsac-al", "stsac-cl"] {
        let engine = |extra| {
            registry::find(algo).unwrap().prepare(&settings(algo, &extra)).map(|it| it.engine)
        };
        assert_eq!(engine(json!({})).unwrap(), EngineKind::Autograd);
        match engine(json!({"engine": "fused"})) {
            Err(Error::Config { key, reason, .. }) => {
                assert!(key == "engine" && reason.contains("use_sde"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    for (algo, key, value) in [
        ("sac", "sde_sample_freq", json!(0)),
        ("ac", "sde_sample_freq", json!(-2)),
        ("ddpg", "use_sde", json!(true)),
        ("sac", "policy_kwargs.clip_mean", json!({"clip_mean": -1.0})),
        ("sac", "policy_kwargs.log_std_init", json!({"log_std_init": 30.0})),
    ] {
        let name = key.split('.').next().unwrap();
        match registry::find(algo).unwrap().prepare(&settings(algo, &json!({name: value}))) {
            Err(Error::Config { key: named, .. }) => assert_eq!(named, key),
            other => panic!("{algo} {key}: {other:?}"),
        }
    }
    let spaces = Spaces::new(2, ActionSpace::Discrete { n: 3 });
    let built = registry::find("ac").unwrap().build(&settings("ac", &json!({})), &spaces, 0);
    let error = built.err().unwrap().to_string();
    assert!(error.contains("`use_sde`") && error.contains("Box"), "{error}");
}
