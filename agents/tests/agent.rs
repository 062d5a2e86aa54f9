//! The off-policy agent as its users see it: schedule, memory, determinism, update rules.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use agents::registry;
use agents::settings::merge;
use agents::train::{EvaluationPlan, Flow, Observer, Progress, evaluate, train};
use agents::{ActionSpace, Actions, Env, Error, Learn, Mode, Parameter, Result, Spaces, Step};
use common::shipped::{has_setting, led_with_setting, of_leader, quick, with_setting};
use serde_json::{Value, json};

/// A point on a line that is rewarded for staying near the origin; bounds are lopsided on purpose.
struct Point {
    spaces: Spaces,
    x: f32,
    t: u32,
}

const LOW: f32 = -0.5;
const HIGH: f32 = 1.5;
const LIMIT: u32 = 20;

impl Point {
    fn new() -> Self {
        let action = ActionSpace::Box { low: vec![LOW], high: vec![HIGH] };
        Self { spaces: Spaces::new(1, action), x: 0.0, t: 0 }
    }
}

impl Env for Point {
    fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    fn reset(&mut self, seed: Option<u64>, obs: &mut [f32]) -> Result<()> {
        (self.x, self.t) = (1.0 + seed.unwrap_or(0) as f32 * 0.01, 0);
        obs[0] = self.x;
        Ok(())
    }

    fn step(&mut self, actions: &[f32], step: &mut Step) -> Result<()> {
        assert!((LOW..=HIGH).contains(&actions[0]), "action {} out of bounds", actions[0]);
        self.x = 0.9 * self.x + 0.5 * (actions[0] - 0.5);
        self.t += 1;
        step.next_obs[0] = self.x;
        step.rewards[0] = f64::from(-self.x * self.x);
        step.terminated[0] = false;
        step.truncated[0] = self.t == LIMIT;
        if step.truncated[0] {
            self.reset(None, &mut step.obs)?;
        } else {
            step.obs[0] = self.x;
        }
        Ok(())
    }
}

struct Silent;

impl<E: ?Sized> Observer<dyn Learn, E> for Silent {
    fn on_step(&mut self, _: &mut Progress<'_, dyn Learn>) -> Result<Flow> {
        Ok(Flow::Continue)
    }
}

fn agent(algo: &str, seed: u64, extra: serde_json::Value) -> Box<dyn Learn> {
    registry::find(algo).unwrap().build(&quick(algo, &extra), Point::new().spaces(), seed).unwrap()
}

fn trained(algo: &str, seed: u64, steps: u64, extra: serde_json::Value) -> Box<dyn Learn> {
    let mut agent = agent(algo, seed, extra);
    train(&mut *agent, &mut Point::new(), steps, seed, &mut Silent).unwrap();
    agent
}

/// Largest difference between two agents' parameters.
fn distance(a: &dyn Learn, b: &dyn Learn) -> f32 {
    let values = |agent: &dyn Learn| {
        agent.parameters().into_iter().flat_map(|p: Parameter| p.values).collect::<Vec<_>>()
    };
    values(a).iter().zip(values(b)).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

#[test]
fn the_same_seed_gives_identical_parameters_and_another_seed_does_not() {
    for algo in with_setting("buffer_size") {
        let a = trained(algo, 3, 120, json!({}));
        let b = trained(algo, 3, 120, json!({}));
        let c = trained(algo, 4, 120, json!({}));
        assert_eq!(a.parameters(), b.parameters(), "{algo}");
        assert!(distance(&*a, &*c) > 1e-3, "{algo}");
    }
}

#[test]
fn updates_start_and_repeat_as_configured() {
    for (steps, updates) in [(40, 0), (44, 0), (45, 5), (49, 5), (50, 10), (60, 20)] {
        assert_eq!(trained("ddpg", 0, steps, json!({})).updates(), updates, "after {steps} steps");
    }
    // Rollouts begin with the run, not with the first update.
    let late = json!({"learning_starts": 42});
    for (steps, updates) in [(44, 0), (45, 5), (49, 5), (50, 10)] {
        assert_eq!(
            trained("ddpg", 0, steps, late.clone()).updates(),
            updates,
            "after {steps} steps"
        );
    }
    let every_step = json!({"train_freq": 10, "gradient_steps": -1, "learning_starts": 1});
    assert_eq!(trained("ddpg", 0, 30, every_step).updates(), 30);
}

#[test]
fn the_random_phase_covers_the_box_and_ends() {
    let mut agent = agent("ddpg", 0, json!({"random_steps": 500, "learning_starts": 10_000}));
    let mut seen = Vec::new();
    struct Watch<'a>(&'a mut Vec<f32>);
    impl<E: ?Sized> Observer<dyn Learn, E> for Watch<'_> {
        fn on_step(&mut self, p: &mut Progress<'_, dyn Learn>) -> Result<Flow> {
            let mut action = Actions::new(1);
            p.agent.act(&p.step.obs, Mode::Explore, &mut action)?;
            self.0.push(action.env[0]);
            Ok(Flow::Continue)
        }
    }
    train(&mut *agent, &mut Point::new(), 500, 0, &mut Watch(&mut seen)).unwrap();
    let mean = seen[..499].iter().sum::<f32>() / 499.0;
    let (low, high) = seen.iter().fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
    assert!(low < LOW + 0.05 && high > HIGH - 0.05, "range {low}..{high}");
    assert!((mean - 0.5).abs() < 0.1, "mean {mean}");

    // Afterwards actions are the policy's plus noise: near its mean action.
    let (obs, mut mean_action, mut noisy) = ([0.3], Actions::new(1), Actions::new(1));
    agent.act(&obs, Mode::Deterministic, &mut mean_action).unwrap();
    for _ in 0..50 {
        agent.act(&obs, Mode::Explore, &mut noisy).unwrap();
        assert!((noisy.env[0] - mean_action.env[0]).abs() < 5.0 * 0.1);
    }
}

/// Proposition 2: as lambda grows, the leader's update becomes the baseline's.
#[test]
fn a_large_lambda_gives_the_simultaneous_baseline() {
    for (algo, baseline) in led_with_setting("buffer_size") {
        let mut simultaneous = json!({"update_order": "simultaneous"});
        if has_setting(baseline, "target_policy") {
            simultaneous["target_policy"] = "current".into();
        }
        let baseline = trained(baseline, 1, 100, simultaneous);
        let led = |lam: f64| {
            trained(algo, 1, 100, json!({"lam": lam, "solver": "cg", "optimizer": "adam"}))
        };
        assert!(distance(&*baseline, &*led(1e12)) < 1e-4, "{algo}");
        assert!(
            distance(&*baseline, &*led(1.0)) > 1e-3,
            "{algo}: the implicit term changes nothing"
        );
    }
}

#[test]
fn each_option_changes_training() {
    let base = || trained("stddpg-al", 1, 100, json!({"solver": "cg", "lam": 10.0}));
    let reference = base();
    for option in [
        json!({"update_order": "sequential"}),
        json!({"unroll": 3}),
        json!({"cg_iterations": 1}),
        json!({"cg_tolerance": 0.9}),
        json!({"norm_ratio_clamp": 1e-3}),
        json!({"lam_decay": "adaptive"}),
        json!({"independent_minibatches": true}),
        json!({"solver": "woodbury"}),
        json!({"solver": "neumann"}),
        json!({"solver": "nystrom"}),
        json!({"curvature": "gauss_newton"}),
        json!({"warm_start": true, "cg_iterations": 2}),
        json!({"critic_learning_rate": 5e-4}),
        json!({"optimizer": "sgd"}),
        json!({"tau": 0.5}),
        json!({"lam": 20.0}),
    ] {
        let mut all = json!({"solver": "cg", "lam": 10.0});
        merge(&mut all, option.clone());
        assert!(
            distance(&*reference, &*trained("stddpg-al", 1, 100, all)) > 0.0,
            "{option} had no effect"
        );
    }
    let nystrom = |rank: usize| {
        trained("stddpg-al", 1, 100, json!({"solver": "nystrom", "lam": 1.0, "solver_rank": rank}))
    };
    assert!(distance(&*nystrom(2), &*nystrom(20)) > 0.0, "solver_rank had no effect");
    let sac = |ent_coef: Value, target: Value| {
        trained("sac", 1, 100, json!({"ent_coef": ent_coef, "target_entropy": target}))
    };
    let fixed = sac(json!(0.2), json!("auto"));
    for (ent_coef, target) in [(json!(0.3), json!("auto")), (json!("auto_0.2"), json!("auto"))] {
        let networks = |agent: &dyn Learn| agent.parameters()[0].clone();
        assert_ne!(networks(&*fixed), networks(&*sac(ent_coef.clone(), target)), "{ent_coef}");
    }
    let learnt = |target: f64| sac(json!("auto"), json!(target));
    assert!(distance(&*learnt(-1.0), &*learnt(-3.0)) > 0.0, "target_entropy had no effect");
    let target = trained("ddpg", 1, 100, json!({"target_policy": "target"}));
    assert!(
        distance(&*trained("ddpg", 1, 100, json!({"target_policy": "current"})), &*target) > 0.0
    );
}

/// It was refused, though Stable-Baselines3's SAC takes it.
#[test]
fn targets_follow_every_kth_update() {
    for algo in ["sac", "stsac-al"] {
        // With tau = 1, targets are what the critics were when they last followed.
        let critics = |agent: &dyn Learn, prefix: &str| -> Vec<f32> {
            let parameters = agent.parameters().into_iter();
            parameters.filter(|p| p.name.starts_with(prefix)).flat_map(|p| p.values).collect()
        };
        let mut agent = agent(
            algo,
            1,
            json!({"tau": 1.0, "target_update_interval": 3, "train_freq": 1, "gradient_steps": 1, "learning_starts": 0}),
        );
        let mut followed = Vec::new();
        for _ in 0..7 {
            train(&mut *agent, &mut Point::new(), 1, 0, &mut Silent).unwrap();
            let (own, targets) = (critics(&*agent, "critic."), critics(&*agent, "critic_target."));
            let apart = own.iter().zip(&targets).map(|(q, t)| (q - t).abs());
            followed.push(apart.fold(0.0, f32::max) < 1e-6);
        }
        assert_eq!(followed, [true, false, false, true, false, false, true], "{algo}");
    }
}

#[test]
fn every_solver_trains_with_either_leader() {
    for (algo, baseline) in led_with_setting("buffer_size") {
        let baseline = trained(baseline, 1, 100, json!({}));
        // The others are for a follower that fits targets, and for small ones.
        for solver in ["cg", "neumann", "nystrom"] {
            let mut agent = trained(algo, 1, 100, json!({"solver": solver, "lam": 10.0}));
            assert!(distance(&*baseline, &*agent) > 1e-4, "{algo} {solver}");
            let metrics = agent.metrics();
            let get = |tag: &str| metrics.iter().find(|(t, _)| *t == tag).unwrap().1;
            assert_eq!(get("game/fallbacks"), 0.0, "{algo} {solver}");
            assert!(get("game/solver_residual") < 0.5, "{algo} {solver}: {metrics:?}");
        }
    }
}

#[test]
fn every_algorithm_learns_to_stay_at_the_origin() {
    let episode = |agent: &mut dyn Learn| {
        evaluate(agent, &mut Point::new(), plan(1, 0), &mut || Ok(())).unwrap().mean()
    };
    for algo in with_setting("buffer_size") {
        let before = episode(&mut *agent(algo, 0, json!({})));
        let after = episode(&mut *trained(algo, 0, 2500, json!({})));
        // Doing nothing costs sum 0.81^t = 4.2; the best policy stops within two steps.
        assert!(after > -1.0 && after > before, "{algo}: {before} -> {after}");
    }
}

/// The coefficient falls while the policy's entropy is above its target, and rises below.
#[test]
fn a_learnt_entropy_coefficient_moves_entropy_towards_its_target() {
    for (target, rises) in [(-50.0, false), (50.0, true)] {
        let mut agent =
            trained("sac", 0, 100, json!({"ent_coef": "auto_0.5", "target_entropy": target}));
        let log_alpha = agent.parameters().pop().unwrap();
        assert_eq!((&*log_alpha.name, log_alpha.values.len()), ("log_ent_coef", 1));
        // Adam moves by its step size while the slope keeps its sign.
        let updates = agent.updates() as f32;
        let step = if rises { 1e-3 } else { -1e-3 };
        let want = 0.5f32.ln() + step * updates;
        assert!((log_alpha.values[0] - want).abs() < 1e-4, "{} {want}", log_alpha.values[0]);
        let metrics = agent.metrics();
        let get = |tag: &str| metrics.iter().find(|(t, _)| *t == tag).unwrap().1;
        // The mean over updates of the coefficient in force.
        let mean = (0..agent.updates()).map(|k| 0.5 * (f64::from(step) * k as f64).exp());
        let mean = mean.sum::<f64>() / agent.updates() as f64;
        assert!((get("train/ent_coef") - mean).abs() < 1e-4);
        assert!(get("train/entropy").is_finite() && get("train/ent_coef_loss").is_finite());
    }
    let fixed = trained("sac", 0, 100, json!({}));
    assert!(fixed.parameters().iter().all(|p| p.name != "log_ent_coef"));
}

/// By 1.01 per update: up where the implicit term outweighs the individual gradient or the solve
/// fails, down elsewhere.
#[test]
fn adaptive_damping_follows_how_solves_go() {
    for (lam, grows) in [(1e-9, true), (1e9, false)] {
        let settings = json!({"solver": "cg", "lam": lam, "lam_decay": "adaptive", "unroll": 1});
        let mut agent = trained("stddpg-al", 0, 60, settings);
        let (_, lambda) = agent.metrics().into_iter().find(|(t, _)| *t == "game/lambda").unwrap();
        let factor: f64 = if grows { 1.01 } else { 1.0 / 1.01 };
        let mean = (0..agent.updates()).map(|k| lam * factor.powi(k as i32)).sum::<f64>()
            / agent.updates() as f64;
        // It is told as it was added, in single precision.
        assert!((lambda / mean - 1.0).abs() < 1e-6, "{lambda} {mean}");
    }
}

#[test]
fn metrics_hold_the_games_measures_and_are_drained() {
    let mut agent = trained("stddpg-al", 0, 100, json!({"lam": 1.0}));
    let metrics = agent.metrics();
    let get = |tag: &str| {
        metrics.iter().find(|(t, _)| *t == tag).unwrap_or_else(|| panic!("{tag} missing")).1
    };
    let ratio = get("game/implicit_grad_norm") / get("game/individual_grad_norm");
    assert!(ratio > 0.0 && get("game/implicit_ratio") > 0.0);
    assert!((-1.0..=1.0).contains(&get("game/cosine")));
    assert!((0.0..=1.0).contains(&get("game/policy_saturation")));
    assert_eq!(get("game/lambda"), 1.0);
    assert_eq!(get("game/fallbacks"), 0.0);
    for tag in [
        "train/actor_loss",
        "train/critic_loss",
        "game/leader_grad_norm",
        "game/follower_grad_norm",
    ] {
        assert!(get(tag).is_finite(), "{tag}");
    }
    assert!(agent.metrics().is_empty());
}

/// Every solve fails at such a lambda: the total is that of the run, not a mean of running totals, and what has no
/// finite value leaves no NaN behind.
#[test]
fn fallbacks_are_counted_since_the_start_of_the_run() {
    let mut agent = trained("stddpg-al", 0, 100, json!({"lam": 1e300}));
    for more in [0, 25] {
        let metrics = if more == 0 {
            agent.metrics()
        } else {
            train(&mut *agent, &mut Point::new(), more, 0, &mut Silent).unwrap();
            agent.metrics()
        };
        let fallbacks = metrics.iter().find(|(t, _)| *t == "game/fallbacks").unwrap().1;
        assert_eq!(fallbacks, agent.updates() as f64);
        assert!(metrics.iter().all(|(_, value)| value.is_finite()), "{metrics:?}");
    }
}

#[test]
fn diagnostics_give_both_ends_of_both_spectra() {
    for algo in with_setting("buffer_size") {
        assert!(agent(algo, 0, json!({})).diagnostics().unwrap().is_empty(), "{algo}: no data yet");
        let diagnostics = trained(algo, 0, 100, json!({})).diagnostics().unwrap();
        for player in ["follower", "leader"] {
            let get = |end: &str| {
                let tag = format!("game/{player}_eig_{end}");
                diagnostics.iter().find(|(t, _)| *t == tag).unwrap().1
            };
            assert!(get("min").is_finite() && get("min") < get("max"), "{algo}: {diagnostics:?}");
        }
    }
}

/// A critic without hidden layers on one transition `x = (s, a, 1)`: `D22 L = 2 x x'`, whose
/// eigenvalues are `2 |x|^2` and zeros, whatever the minibatch.
#[test]
fn the_followers_spectrum_is_that_of_its_hessian() {
    let mut agent = agent("stddpg-al", 0, json!({"policy_kwargs": {"net_arch": []}}));
    let (s, a) = (0.3, -0.5);
    for _ in 0..10 {
        agent.observe(&[s], &[a], &Step::new(1, 1)).unwrap();
    }
    let diagnostics = agent.diagnostics().unwrap();
    let get = |tag: &str| diagnostics.iter().find(|(t, _)| *t == tag).unwrap().1;
    let want = 2.0 * f64::from(s * s + a * a + 1.0);
    assert!((get("game/follower_eig_max") - want).abs() < 1e-5 * want, "{diagnostics:?}");
    assert!(get("game/follower_eig_min").abs() < 1e-5 * want, "{diagnostics:?}");
}

/// Looking must not touch: neither the draws of training nor a warm start.
#[test]
fn diagnostics_leave_training_as_it_is() {
    struct Look;
    impl<E: ?Sized> Observer<dyn Learn, E> for Look {
        fn on_step(&mut self, p: &mut Progress<'_, dyn Learn>) -> Result<Flow> {
            p.agent.diagnostics()?;
            Ok(Flow::Continue)
        }
    }
    for algo in with_setting("buffer_size") {
        let extra = of_leader(algo, json!({"solver": "cg", "lam": 10.0, "warm_start": true}));
        let mut looked_at = agent(algo, 2, extra.clone());
        train(&mut *looked_at, &mut Point::new(), 80, 2, &mut Look).unwrap();
        assert_eq!(looked_at.parameters(), trained(algo, 2, 80, extra).parameters(), "{algo}");
    }
}

#[test]
fn exponential_decay_lowers_lambda() {
    let mut agent = trained("stddpg-al", 0, 100, json!({"lam": 1.0, "lam_decay": "exponential"}));
    let (_, lambda) = agent.metrics().into_iter().find(|(tag, _)| *tag == "game/lambda").unwrap();
    // Updates ran at steps 45 to 100: the mean of exp(-t/1e5) over them.
    let mean = (9..=20).map(|i| (-f64::from(5 * i) / 1e5).exp()).sum::<f64>() / 12.0;
    assert!((lambda - mean).abs() < 1e-7, "{lambda} {mean}");
}

#[test]
fn a_learning_rate_of_1e30_is_an_error_and_not_nan_weights() {
    for algo in with_setting("buffer_size") {
        let mut agent = agent(algo, 0, json!({"learning_rate": 1e30}));
        let error = train(&mut *agent, &mut Point::new(), 200, 0, &mut Silent).unwrap_err();
        assert!(matches!(error, Error::Diverged { .. }), "{algo}: {error}");
        assert!(agent.parameters().iter().flat_map(|p| &p.values).all(|x| x.is_finite()), "{algo}");
    }
}

#[test]
fn a_divergence_names_the_step_size_of_who_diverged() {
    for algo in with_setting("buffer_size") {
        for order in ["simultaneous", "sequential"] {
            let rates = json!({"critic_learning_rate": 1e30, "update_order": order});
            let error = train(&mut *agent(algo, 0, rates), &mut Point::new(), 200, 0, &mut Silent);
            let error = error.unwrap_err();
            let named = matches!(error, Error::Diverged { learning_rate: 1e30, .. });
            assert!(named, "{algo}, {order}: {error}");
        }
    }
}

#[test]
fn parameters_survive_a_round_trip_and_strangers_are_refused() {
    let a = trained("ddpg", 0, 80, json!({}));
    let mut b = agent("ddpg", 9, json!({}));
    b.set_parameters(&a.parameters()).unwrap();
    assert_eq!(a.parameters(), b.parameters());

    let names: Vec<_> = a.parameters().into_iter().map(|p| p.name).collect();
    assert_eq!(names[0], "actor.mu.0.weight");
    assert!(names.contains(&"critic_target.qf0.4.bias".to_string()));

    let sac = trained("sac", 0, 80, json!({"ent_coef": "auto"}));
    let mut other = agent("sac", 9, json!({"ent_coef": "auto"}));
    other.set_parameters(&sac.parameters()).unwrap();
    assert_eq!(sac.parameters(), other.parameters());
    let names: Vec<_> = sac.parameters().into_iter().map(|p| p.name).collect();
    for name in
        ["actor.latent_pi.2.bias", "actor.mu.weight", "actor.log_std.bias", "critic.qf1.0.weight"]
    {
        assert!(names.contains(&name.to_string()), "{name}: {names:?}");
    }
    assert!(names.iter().all(|name| !name.starts_with("actor_target")));
    let fixed = agent("sac", 9, json!({})).set_parameters(&sac.parameters()).unwrap_err();
    assert!(fixed.to_string().contains("log_ent_coef"), "{fixed}");
    let missing = &sac.parameters()[..names.len() - 1];
    assert!(matches!(other.set_parameters(missing), Err(Error::Parameters(_))));

    let mut wrong = a.parameters();
    wrong[0].shape = vec![1, 2];
    assert!(matches!(b.set_parameters(&wrong), Err(Error::Parameters(_))));
    assert!(matches!(b.set_parameters(&a.parameters()[1..]), Err(Error::Parameters(_))));
    let mut stranger = a.parameters();
    stranger[0].name = "actor.nu".into();
    assert!(matches!(b.set_parameters(&stranger), Err(Error::Parameters(_))));
}

/// So many whole episodes.
fn plan(episodes: usize, seed: u64) -> EvaluationPlan {
    EvaluationPlan { episodes, max_steps: u64::MAX, seed: Some(seed) }
}
