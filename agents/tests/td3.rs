//! TD3 and its Stackelberg forms: both engines, the smoothed target, and the delayed actor.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod common;

use agents::algo::td3::Td3;
use agents::engine::autograd::Autograd;
use agents::engine::{Engine, Role};
use agents::game::{Game, Player};
use agents::{ActionSpace, Actions, Learn, Mode, Spaces, Step, registry};
use common::agreement::{ACT, OBS, compare_all, networks};
use common::shipped::{family, shipped};
use common::{Fixture, assert_close, directional, gradient};
use serde_json::{Value, json};
use tch::Device;

#[test]
fn all_parts_agree_between_engines() {
    for settings in networks() {
        for (own, critics) in [
            (json!({"target_policy": "current"}), 2),
            (json!({"target_policy": "target"}), 2),
            // The bound of the noise counts for most draws, and for none.
            (json!({"target_policy_noise": 2.0, "target_noise_clip": 0.1}), 3),
            (json!({"target_policy_noise": 0.3, "target_noise_clip": 9.0}), 1),
        ] {
            let mut all = settings.clone();
            agents::settings::merge(&mut all, own);
            all["policy_kwargs"]["n_critics"] = critics.into();
            let td3: Td3 = family("td3", &all, OBS, ACT);
            compare_all::<f64>(&td3, 1, (1.5, 1e-9), &format!("{all}"));
            // Where terms of the critics cancel, single precision keeps fewer digits.
            compare_all::<f32>(&td3, 1, (1.5, 1e-4), &format!("{all}"));
        }
    }
}

fn led(noise: Value) -> Td3 {
    let mut all = json!({"policy_kwargs": {"net_arch": [5, 4], "activation_fn": "tanh"}});
    agents::settings::merge(&mut all, noise);
    family("sttd3-al", &all, 3, 2)
}

fn fixture(td3: &Td3, seed: u64) -> Fixture {
    use agents::algo::algorithm::OffPolicy;
    let critics = td3.critics() * td3.critic().dim();
    Fixture::new(seed, [td3.actor().dim(), critics], 3, 2, 16)
}

/// What is known of the losses without the networks' help: values of the critics at given actions.
struct Values<'a> {
    td3: &'a Td3,
    at: &'a Fixture,
}

impl Values<'_> {
    fn mu(&self, obs: &[f64]) -> Vec<f64> {
        use agents::algo::algorithm::OffPolicy;
        let mut z = vec![0.0; 2];
        self.td3.actor().forward(&self.at.actor, obs, &mut Default::default(), &mut z);
        z.into_iter().map(f64::tanh).collect()
    }

    fn q(&self, critics: &[f64], which: usize, obs: &[f64], action: &[f64]) -> f64 {
        use agents::algo::algorithm::OffPolicy;
        let network = self.td3.critic();
        let own = &critics[which * network.dim()..][..network.dim()];
        let input: Vec<f64> = obs.iter().chain(action).copied().collect();
        let mut q = [0.0];
        network.forward(own, &input, &mut Default::default(), &mut q);
        q[0]
    }
}

/// Fujimoto et al. (2018), Algorithm 1, row by row.
#[test]
fn losses_are_those_of_the_paper() {
    let td3 = led(json!({"target_policy_noise": 0.7, "target_noise_clip": 0.5}));
    let at = fixture(&td3, 1);
    let (values, b) = (Values { td3: &td3, at: &at }, &at.batch);
    let (mut actor, mut critic, mut clipped, mut outside) = (0.0, 0.0, 0, 0);
    for i in 0..b.size {
        let (obs, next_obs) = (&b.obs[3 * i..][..3], &b.next_obs[3 * i..][..3]);
        actor -= values.q(&at.critic, 0, obs, &values.mu(obs)) / b.size as f64;
        let next: Vec<f64> = (values.mu(next_obs).iter().zip(&b.next_noise[2 * i..]))
            .map(|(mu, epsilon)| {
                let noise = (0.7 * epsilon).clamp(-0.5, 0.5);
                clipped += usize::from(noise.abs() == 0.5);
                outside += usize::from((mu + noise).abs() > 1.0);
                (mu + noise).clamp(-1.0, 1.0)
            })
            .collect();
        let least = [0, 1].map(|k| values.q(&at.target_critic, k, next_obs, &next));
        let least = least[0].min(least[1]);
        let y = b.rewards[i] + 0.99 * (1.0 - b.dones[i]) * least;
        for k in [0, 1] {
            let q = values.q(&at.critic, k, obs, &b.actions[2 * i..][..2]);
            critic += (q - y).powi(2) / b.size as f64;
        }
    }
    assert!(clipped > 0 && outside > 0, "both bounds are met: {clipped}, {outside}");
    let mut engine = Autograd::new(td3.clone(), Device::Cpu);
    let mut game = engine.freeze(at.point(), Role::Actor).unwrap();
    let objectives = [Player::Leader, Player::Follower].map(|p| game.objective(p).unwrap());
    assert_close(&objectives, &[actor, critic], 1e-12);
}

#[test]
fn second_derivatives_are_finite_differences_of_first_ones() {
    let td3 = led(json!({"target_policy_noise": 0.3}));
    let mut engine = Autograd::new(td3.clone(), Device::Cpu);
    for leader in [Role::Actor, Role::Critic] {
        let (at, follower) = (fixture(&td3, 2), leader.opponent());
        let mut game = engine.freeze(at.point(), leader).unwrap();
        let (n, m) = (game.dim(Player::Leader), game.dim(Player::Follower));
        let (u, v) = (at.random_vector(3, n), at.random_vector(4, m));
        let (mut hvp, mut cross) = (vec![f64::NAN; m], vec![f64::NAN; n]);
        game.follower_hvp(&v, &mut hvp).unwrap();
        game.cross_vjp(&v, &mut cross).unwrap();
        drop(game);
        let mut slope =
            |at: &Fixture| gradient(&mut engine, at, leader, Player::Follower, Player::Follower);
        // D22 f2 v, and u . D1 (D2 f2 . v) = v . d/du D2 f2
        assert_close(&hvp, &directional(&at, follower, &v, &mut slope), 1e-5);
        let along = directional(&at, leader, &u, &mut slope);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        assert_close(&[dot(&cross, &u)], &[dot(&along, &v)], 1e-5);
    }
}

fn agent(algo: &str, over: Value) -> Box<dyn Learn> {
    let mut all = json!({
        "policy_kwargs": {"net_arch": [8, 8]}, "batch_size": 8, "learning_starts": 100,
        "random_steps": 0, "train_freq": 1, "gradient_steps": 1,
    });
    agents::settings::merge(&mut all, over);
    let action = ActionSpace::Box { low: vec![-1.0], high: vec![1.0] };
    let spaces = Spaces::new(2, action);
    registry::find(algo).unwrap().build(&shipped(algo, &all), &spaces, 3).unwrap()
}

/// The parameters whose names begin with `network`.
fn values(agent: &dyn Learn, network: &str) -> Vec<f32> {
    let of = |name: &str| name.starts_with(&format!("{network}."));
    agent.parameters().into_iter().filter(|p| of(&p.name)).flat_map(|p| p.values).collect()
}

#[test]
fn the_actor_and_all_targets_step_in_every_policy_delayth_update_alone() {
    for algo in ["td3", "sttd3-al", "sttd3-cl"] {
        for delay in [1, 2, 3] {
            let mut agent = agent(algo, json!({"policy_delay": delay, "tau": 0.5}));
            let (mut step, mut actions) = (Step::new(1, 2), Actions::new(1));
            for t in 0..20 {
                let obs = [0.1 * t as f32, -0.3];
                agent.act(&obs, Mode::Explore, &mut actions).unwrap();
                step.obs = vec![0.1 * t as f32, 0.2];
                step.next_obs.clone_from(&step.obs);
                step.rewards = vec![f64::from(t)];
                agent.observe(&obs, &actions.drawn, &step).unwrap();
            }
            for update in 1..=6_u64 {
                let networks = ["actor", "actor_target", "critic_target", "critic"];
                let before = networks.map(|name| values(&*agent, name));
                assert!(before.iter().all(|values| !values.is_empty()));
                agent.learn().unwrap();
                let moved: Vec<bool> =
                    (0..4).map(|i| values(&*agent, networks[i]) != before[i]).collect();
                let due = update % delay == 0;
                assert_eq!(moved, [due, due, due, true], "{algo} {delay} {update}");
            }
        }
    }
}
