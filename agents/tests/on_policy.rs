//! The on-policy agent as its users see it: batches, determinism, update rules, environments at once.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use agents::registry;
use agents::rng::{Purpose, Rng};
use agents::settings::{Settings, merge};
use agents::sync_vec_env::SyncVecEnv;
use agents::train::{EvaluationPlan, Flow, Observer, Progress, evaluate, train};
use agents::{ActionSpace, Actions, Env, Error, Learn, Mode, Parameter, Result, Spaces, Step};
use common::shipped::{of_leader, shipped, with_setting};
use serde_json::json;

/// A point on a line that is rewarded for staying near the origin. Leaving `+-2` ends the task.
struct Line {
    spaces: Spaces,
    rng: Rng,
    x: f32,
    t: u32,
}

const LIMIT: u32 = 25;

impl Line {
    fn new(action: ActionSpace) -> Self {
        let rng = Rng::new(0, Purpose::Replay);
        Self { spaces: Spaces::new(2, action), rng, x: 0.0, t: 0 }
    }

    fn choices() -> Self {
        Self::new(ActionSpace::Discrete { n: 3 })
    }

    fn pushes() -> Self {
        Self::new(ActionSpace::Box { low: vec![-0.25], high: vec![0.5] })
    }

    fn observation(&self, obs: &mut [f32]) {
        obs.copy_from_slice(&[self.x, self.t as f32 / LIMIT as f32]);
    }
}

impl Env for Line {
    fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    fn reset(&mut self, seed: Option<u64>, obs: &mut [f32]) -> Result<()> {
        if let Some(seed) = seed {
            self.rng = Rng::new(seed, Purpose::Replay);
        }
        (self.x, self.t) = (self.rng.uniform(-1.0, 1.0), 0);
        self.observation(obs);
        Ok(())
    }

    fn step(&mut self, actions: &[f32], step: &mut Step) -> Result<()> {
        self.x += match &self.spaces.action {
            ActionSpace::Discrete { .. } => 0.25 * (actions[0] - 1.0),
            ActionSpace::Box { low, high } => {
                assert!((low[0]..=high[0]).contains(&actions[0]), "{} out of bounds", actions[0]);
                actions[0]
            }
        };
        self.t += 1;
        self.observation(&mut step.next_obs);
        step.rewards[0] = f64::from(1.0 - self.x * self.x);
        step.terminated[0] = self.x.abs() > 2.0;
        step.truncated[0] = self.t == LIMIT;
        if step.ended(0) {
            self.reset(None, &mut step.obs)
        } else {
            step.obs.copy_from_slice(&step.next_obs);
            Ok(())
        }
    }
}

struct Silent;

impl<E: ?Sized> Observer<dyn Learn, E> for Silent {
    fn on_step(&mut self, _: &mut Progress<'_, dyn Learn>) -> Result<Flow> {
        Ok(Flow::Continue)
    }
}

fn settings(algo: &str, extra: &serde_json::Value) -> Settings {
    let mut settings = json!({"n_steps": 100, "policy_kwargs": {"net_arch": [8, 8]}});
    if algo == "stac" || extra["step_match"] == true {
        settings["lam"] = 1.0.into();
    }
    merge(&mut settings, extra.clone());
    shipped(algo, &settings)
}

fn agent(algo: &str, env: &dyn Env, seed: u64, extra: serde_json::Value) -> Box<dyn Learn> {
    registry::find(algo).unwrap().build(&settings(algo, &extra), env.spaces(), seed).unwrap()
}

fn trained_on(
    env: &mut dyn Env,
    algo: &str,
    seed: u64,
    steps: u64,
    extra: serde_json::Value,
) -> Box<dyn Learn> {
    let mut agent = agent(algo, env, seed, extra);
    train(&mut *agent, env, steps, seed, &mut Silent).unwrap();
    agent
}

fn trained(algo: &str, seed: u64, extra: serde_json::Value) -> Box<dyn Learn> {
    trained_on(&mut Line::choices(), algo, seed, 400, extra)
}

fn distance(a: &dyn Learn, b: &dyn Learn) -> f32 {
    let values = |agent: &dyn Learn| {
        agent.parameters().into_iter().flat_map(|p: Parameter| p.values).collect::<Vec<_>>()
    };
    values(a).iter().zip(values(b)).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// Parameters of the policy alone.
fn actor(agent: &dyn Learn) -> Vec<f32> {
    let policy = |p: &Parameter| p.name.contains("policy_net") || p.name.contains("action_net");
    agent.parameters().into_iter().filter(policy).flat_map(|p| p.values).collect()
}

fn several(n: usize) -> SyncVecEnv<Line> {
    SyncVecEnv::new((0..n).map(|_| Line::choices()).collect()).unwrap()
}

#[test]
fn the_same_seed_gives_identical_parameters() {
    for algo in with_setting("n_steps") {
        for n in [1, 2, 3] {
            let run = |seed| trained_on(&mut several(n), algo, seed, 300, json!({}));
            let a = run(3);
            assert_eq!(a.parameters(), run(3).parameters(), "{algo}, {n} environments");
            assert!(distance(&*a, &*run(4)) > 1e-3, "{algo}");
        }
        // One of several is the same as one.
        let direct = trained_on(&mut Line::choices(), algo, 3, 300, json!({}));
        let one = trained_on(&mut several(1), algo, 3, 300, json!({}));
        assert_eq!(direct.parameters(), one.parameters());
    }
}

#[test]
fn a_batch_is_complete_when_each_environment_made_its_steps() {
    for (n, steps, updates) in
        [(1, 99, 0), (1, 100, 1), (1, 199, 1), (1, 200, 2), (3, 297, 0), (3, 300, 1), (3, 600, 2)]
    {
        let agent = trained_on(&mut several(n), "ac", 0, steps, json!({}));
        assert_eq!(agent.updates(), updates, "{n} environments, {steps} steps");
    }
}

/// Proposition 2: as lambda grows, the leader's update becomes the baseline's.
#[test]
fn a_large_lambda_gives_the_baseline() {
    for critic in ["v", "q"] {
        let baseline = trained("ac", 1, json!({"critic": critic}));
        let led = |lam: f64| trained("stac", 1, json!({"lam": lam, "critic": critic}));
        assert!(distance(&*baseline, &*led(1e9)) < 1e-4, "{critic}");
        assert!(distance(&*baseline, &*led(1.0)) > 1e-3, "{critic}");
    }
}

#[test]
fn each_option_changes_training() {
    let with = |option: &serde_json::Value| trained("stac", 1, option.clone());
    let reference = with(&json!({}));
    for option in [
        json!({"learning_rate": 0.05}),
        json!({"critic_learning_rate": 0.02}),
        json!({"optimizer": "adam"}),
        json!({"gamma": 0.9}),
        json!({"gae_lambda": 0.5}),
        json!({"n_steps": 50}),
        json!({"critic_steps": 2}),
        json!({"normalize_advantage": false}),
        json!({"ent_coef": 0.1}),
        json!({"surrogate": "reference"}),
        json!({"solver": "woodbury"}),
        json!({"solver": "neumann", "lam": 10.0}),
        json!({"solver": "nystrom"}),
        json!({"curvature": "hessian"}),
        json!({"cg_iterations": 1}),
        json!({"cg_tolerance": 0.9}),
        json!({"warm_start": true, "cg_iterations": 1}),
        json!({"lam": 2.0}),
        json!({"lam_decay": "exponential"}),
        json!({"lam_decay": "adaptive"}),
        json!({"norm_ratio_clamp": 1e-3}),
        json!({"independent_minibatches": true}),
    ] {
        assert!(distance(&*reference, &*with(&option)) > 0.0, "{option} had no effect");
    }
    assert_ne!(actor(&*reference), actor(&*with(&json!({"critic": "q"}))));
    let relu = json!({"policy_kwargs": {"net_arch": [8, 8], "activation_fn": "relu"}});
    assert!(distance(&*reference, &*with(&relu)) > 0.0);
    let wide = json!({"policy_kwargs": {"net_arch": [8, 8], "log_std_init": 0.5}});
    let boxed = |extra| trained_on(&mut Line::pushes(), "stac", 1, 200, extra);
    assert!(distance(&*boxed(json!({})), &*boxed(wide)) > 0.9);
}

/// The control of STAC: AC's direction at STAC's length.
#[test]
fn step_matching_changes_the_length_of_the_step_alone() {
    let one_update = |algo, extra: serde_json::Value| {
        let mut extra = extra;
        extra["critic_learning_rate"] = json!(0.01);
        actor(&*trained_on(&mut Line::choices(), algo, 2, 100, extra))
    };
    let start = actor(&*agent("ac", &Line::choices(), 2, json!({})));
    let step = |params: Vec<f32>| -> Vec<f64> {
        params.iter().zip(&start).map(|(p, s)| f64::from(p - s)).collect()
    };
    let plain = step(one_update("ac", json!({})));
    let matched = step(one_update("ac", json!({"step_match": true})));
    let led = step(one_update("stac", json!({})));
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert!((norm(&matched) / norm(&led) - 1.0).abs() < 1e-3);
    assert!((norm(&matched) / norm(&plain) - 1.0).abs() > 0.05);
    assert!(dot(&matched, &plain) / (norm(&matched) * norm(&plain)) > 0.9999);
    assert!(dot(&led, &plain) / (norm(&led) * norm(&plain)) < 0.999);
}

#[test]
fn both_forms_learn_on_either_action_space() {
    for algo in with_setting("n_steps") {
        for critic in ["v", "q"] {
            for mut env in [Line::choices(), Line::pushes()] {
                let mut extra = json!({
                    "critic": critic, "n_steps": 250, "optimizer": "adam", "learning_rate": 0.02,
                    "critic_learning_rate": 0.02, "critic_steps": 10,
                });
                merge(&mut extra, of_leader(algo, json!({"lam": 10.0})));
                let action = env.spaces.action.clone();
                let score = |mut agent: Box<dyn Learn>| {
                    let mut env = Line::new(action.clone());
                    evaluate(&mut *agent, &mut env, plan(10, 9), &mut || Ok(())).unwrap().mean()
                };
                let before = score(agent(algo, &env, 0, extra.clone()));
                let after = score(trained_on(&mut env, algo, 0, 15_000, extra));
                // The best possible is about 24.
                assert!(after > 20.0 && after > before, "{algo} {critic}: {before} -> {after}");
            }
        }
    }
}

#[test]
fn without_three_trajectories_factors_of_their_own_fall_back_to_the_plain_gradient() {
    let fallbacks = |n_steps: u32| {
        let extra = json!({"independent_minibatches": true, "n_steps": n_steps});
        let mut env = Line::choices();
        let mut agent = agent("stac", &env, 1, extra);
        train(&mut *agent, &mut env, 2 * u64::from(n_steps), 1, &mut Silent).unwrap();
        let metrics = agent.metrics();
        let get = |tag: &str| metrics.iter().find(|(t, _)| *t == tag).unwrap().1;
        assert_eq!(get("game/fallbacks") > 0.0, get("game/implicit_grad_norm") == 0.0);
        get("game/fallbacks")
    };
    assert_eq!((fallbacks(100), fallbacks(20)), (0.0, 2.0));
}

#[test]
fn metrics_hold_the_losses_and_the_games_measures() {
    let common =
        ["policy_loss", "value_loss", "entropy_loss", "explained_variance", "learning_rate"];
    for algo in with_setting("n_steps") {
        let mut agent = trained(algo, 0, json!({}));
        let metrics = agent.metrics();
        let get = |tag: &str| {
            metrics.iter().find(|(t, _)| *t == tag).unwrap_or_else(|| panic!("{tag} missing")).1
        };
        for tag in common {
            assert!(get(&format!("train/{tag}")).is_finite(), "{tag}");
        }
        let uniform = -3f64.ln();
        assert!((uniform..uniform + 0.2).contains(&get("train/entropy_loss")));
        assert!(get("train/value_loss") > 0.0 && get("train/explained_variance") <= 1.0);
        if algo == "stac" {
            assert!(get("game/implicit_ratio") > 0.0 && get("game/lambda") == 1.0);
            assert!((-1.0..=1.0).contains(&get("game/cosine")));
        }
        assert!(!metrics.iter().any(|(tag, _)| *tag == "game/policy_saturation"));
        assert!(agent.metrics().is_empty());
    }
    let mut boxed = trained_on(&mut Line::pushes(), "stac", 0, 100, json!({}));
    let metrics = boxed.metrics();
    let clipped = metrics.iter().find(|(tag, _)| *tag == "game/policy_saturation").unwrap().1;
    // The deviation exp(-0.5) is wide against the bounds [-0.25, 0.5].
    assert!((0.3..0.8).contains(&clipped), "{clipped}");
}

#[test]
fn diagnostics_give_both_ends_of_both_spectra_and_leave_training_as_it_is() {
    struct Look;
    impl<E: ?Sized> Observer<dyn Learn, E> for Look {
        fn on_step(&mut self, p: &mut Progress<'_, dyn Learn>) -> Result<Flow> {
            p.agent.diagnostics()?;
            p.agent.act(&p.step.obs, Mode::Deterministic, &mut Actions::new(1))?;
            Ok(Flow::Continue)
        }
    }
    for algo in with_setting("n_steps") {
        let mut env = Line::choices();
        let extra = of_leader(algo, json!({"warm_start": true}));
        let mut looked = agent(algo, &env, 1, extra.clone());
        assert!(looked.diagnostics().unwrap().is_empty(), "no data yet");
        train(&mut *looked, &mut env, 220, 1, &mut Look).unwrap();
        let plain = trained_on(&mut Line::choices(), algo, 1, 220, extra);
        assert_eq!(looked.parameters(), plain.parameters());
        let diagnostics = looked.diagnostics().unwrap();
        for player in ["follower", "leader"] {
            let get = |end: &str| {
                let tag = format!("game/{player}_eig_{end}");
                diagnostics.iter().find(|(t, _)| *t == tag).unwrap().1
            };
            assert!(get("min").is_finite() && get("min") < get("max"), "{diagnostics:?}");
        }
    }
}

#[test]
fn parameters_have_the_names_of_stable_baselines3_and_survive_a_round_trip() {
    let a = trained_on(&mut Line::pushes(), "stac", 0, 100, json!({}));
    let mut b = agent("stac", &Line::pushes(), 9, json!({}));
    b.set_parameters(&a.parameters()).unwrap();
    assert_eq!(a.parameters(), b.parameters());
    let names: Vec<_> = a.parameters().into_iter().map(|p| p.name).collect();
    let want = [
        "mlp_extractor.policy_net.0.weight",
        "mlp_extractor.policy_net.0.bias",
        "mlp_extractor.policy_net.2.weight",
        "mlp_extractor.policy_net.2.bias",
        "action_net.weight",
        "action_net.bias",
        "log_std",
        "mlp_extractor.value_net.0.weight",
        "mlp_extractor.value_net.0.bias",
        "mlp_extractor.value_net.2.weight",
        "mlp_extractor.value_net.2.bias",
        "value_net.weight",
        "value_net.bias",
    ];
    assert_eq!(names, want);
    assert!(matches!(b.set_parameters(&a.parameters()[1..]), Err(Error::Parameters(_))));
}

/// A policy over choices saturates at once and then has no gradient; everything else diverges, which is an
/// error before it is a weight.
#[test]
fn a_learning_rate_of_1e30_never_gives_nan_weights() {
    for algo in with_setting("n_steps") {
        for (key, env) in [
            ("learning_rate", Line::choices()),
            ("learning_rate", Line::pushes()),
            ("critic_learning_rate", Line::choices()),
        ] {
            let may_saturate = key == "learning_rate" && env.spaces == *Line::choices().spaces();
            let mut env = env;
            let extra = json!({key: 1e30, "critic_steps": 3});
            let mut agent = agent(algo, &env, 0, extra);
            match train(&mut *agent, &mut env, 2000, 0, &mut Silent) {
                Ok(_) => assert!(may_saturate, "{algo} {key}"),
                Err(error) => {
                    assert!(matches!(error, Error::Diverged { .. }), "{algo} {key}: {error}")
                }
            }
            let parameters = agent.parameters();
            assert!(parameters.iter().flat_map(|p| &p.values).all(|x| x.is_finite()), "{algo}");
        }
    }
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    for (key, value) in [
        ("n_steps", json!(0)),
        ("critic_steps", json!(0)),
        ("gamma", json!(1.5)),
        ("gae_lambda", json!(-0.1)),
        ("learning_rate", json!(0.0)),
        ("critic_learning_rate", json!(-1.0)),
        ("ent_coef", json!(-1.0)),
        ("optimizer", json!("adma")),
        ("critic", json!("a")),
        ("surrogate", json!("theorem2")),
        ("step_match", json!(true)),
        ("leader", json!("critic")),
        ("cg_iterations", json!(0)),
        ("lam", json!(-1.0)),
        ("norm_ratio_clamp", json!(0.0)),
        ("solver", json!("magic")),
        ("policy_kwargs", json!({"log_std_init": 50.0})),
        ("policy_kwargs", json!({"net_arch": [0]})),
    ] {
        let settings = settings("stac", &json!({key: value.clone()}));
        match registry::find("stac").unwrap().prepare(&settings) {
            Err(Error::Config { key: named, .. }) => {
                assert_eq!(named.split('.').next().unwrap(), key, "{value}");
            }
            other => panic!("{key}: {value} gave {other:?}"),
        }
    }
    let both = settings("stac", &json!({"critic": "q", "surrogate": "reference"}));
    let error = registry::find("stac").unwrap().prepare(&both).unwrap_err().to_string();
    assert!(error.contains("`surrogate` is reference") && error.contains("critic: v"), "{error}");
}

/// So many whole episodes.
fn plan(episodes: usize, seed: u64) -> EvaluationPlan {
    EvaluationPlan { episodes, max_steps: u64::MAX, seed: Some(seed) }
}
