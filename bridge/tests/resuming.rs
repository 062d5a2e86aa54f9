//! Environments are brought back by playing their episode again: what they answer next is what they would have answered.
#![allow(clippy::unwrap_used)]

mod common;

use agents::{ActionSpace, Env, EnvState, Error, Restored, Resumable, Step};
use bridge::{EnvOptions, ForkedVecEnv, GymEnv};
use common::alone;
use pyo3::prelude::*;
use std::ffi::CString;

/// Environments of these tests, registered under `Tests/`.
const MODULE: &str = r#"
import itertools, random, sys, types
import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import (
    ClipAction, NormalizeObservation, NormalizeReward, RecordEpisodeStatistics, RescaleAction, TimeLimit,
    TransformAction,
)

class Line(gym.Env):
    """Walks on a line; ends after 9 steps."""
    observation_space = Box(-np.inf, np.inf, (1,))
    action_space = Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x = 0, self.np_random.normal()
        return self.obs(), {}

    def step(self, action):
        self.t, self.x = self.t + 1, self.x + float(action[0]) + self.noise()
        return self.obs(), self.x, False, self.t == 9, {}

    def obs(self):
        return np.array([self.x], np.float32)

    def noise(self):
        return 0.1 * self.np_random.normal()

class Global(Line):
    """Draws from the generators that all of a process share."""
    def noise(self):
        return random.random() + np.random.normal()

class Hidden(Line):
    """Counts what no reset clears."""
    count = itertools.count()
    def noise(self):
        return float(next(self.count))

class Breaks(Line):
    """Works once."""
    steps = 0
    def noise(self):
        Breaks.steps += 1
        if Breaks.steps > 5:
            raise RuntimeError("no more")
        return 0.0

class Own(Hidden):
    """Knows its own state."""
    def __init__(self):
        self.mine = 0
    def noise(self):
        self.mine += 1
        return float(self.mine)
    def state_dict(self):
        return {"t": self.t, "x": self.x, "mine": self.mine}
    def load_state_dict(self, state):
        self.t, self.x, self.mine = state["t"], state["x"], state["mine"]

class Forgetful(Own):
    """Does not take back all that it tells."""
    def load_state_dict(self, state):
        self.t, self.x = state["t"], state["x"]

class Partial(Line):
    """Tells less than it is."""
    def state_dict(self):
        return {"x": self.x}
    def load_state_dict(self, state):
        self.x = state["x"]

class Wants(Line):
    """Means something else by these names."""
    def state_dict(self, prefix):
        return {prefix: self.x}
    def load_state_dict(self, state, strict):
        pass

class Clock(gym.Wrapper):
    """Knows its own state, but not that of what is in it."""
    ticks = 0
    def step(self, action):
        self.ticks += 1
        return self.env.step(action)
    def state_dict(self):
        return {"ticks": self.ticks}
    def load_state_dict(self, state):
        self.ticks = state["ticks"]

class Closed(gym.Wrapper):
    """What it holds is in a function's own variables."""
    def __init__(self, env):
        super().__init__(env)
        def numbers():
            yield from range(1_000_000)
        self.numbers = numbers()
    def step(self, action):
        obs, reward, *rest = self.env.step(action)
        return obs, reward + next(self.numbers), *rest

def wrapped():
    env = TimeLimit(gym.make("Hopper-v4").unwrapped, 40)
    env = ClipAction(RescaleAction(env, -1.0, 1.0))
    # `ClipAction` takes any number; agents want bounds.
    env = TransformAction(env, lambda action: 1.5 * action, Box(-1.0, 1.0, (3,)))
    return NormalizeReward(NormalizeObservation(RecordEpisodeStatistics(env)))

for kind in (Line, Global, Hidden, Breaks, Own):
    gym.register(f"Tests/{kind.__name__}-v0", kind)
for kind in (Forgetful, Partial, Wants):
    gym.register(f"Tests/{kind.__name__}-v0", kind)
gym.register("Tests/Wrapped-v0", wrapped)
gym.register("Tests/HiddenInClock-v0", lambda: Clock(Hidden()))
gym.register("Tests/LineInClock-v0", lambda: Clock(Line()))
gym.register("Tests/OwnInWrappers-v0", lambda: RecordEpisodeStatistics(TimeLimit(Own(), 40)))
gym.register("Tests/OwnInClosed-v0", lambda: Closed(Own()))
"#;

fn options(id: &str) -> EnvOptions {
    bridge::initialize().unwrap();
    Python::attach(|py| {
        let known = py.import("sys").unwrap().getattr("modules").unwrap();
        if !known.contains("resuming_tests").unwrap() {
            let code = CString::new(MODULE).unwrap();
            PyModule::from_code(py, &code, c"resuming_tests.py", c"resuming_tests").unwrap();
        }
    });
    EnvOptions { id: id.to_owned(), ..EnvOptions::default() }
}

/// What an environment answers: observations, rewards, ends, as bits.
type Answers = Vec<(Vec<u32>, Vec<u64>, Vec<bool>)>;

/// Numbers in `[0, 1)` that depend on `seed` alone.
fn uniform(seed: &mut u64) -> f32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 40) as f32 / (1u64 << 24) as f32
}

/// Takes `steps` steps with the actions of `seed`.
fn play(env: &mut dyn Resumable, steps: usize, seed: u64) -> Answers {
    let mut seed = seed;
    let (n, spaces) = (env.num_envs(), env.spaces().clone());
    let mut step = Step::new(n, spaces.obs_dim);
    let mut answers = Vec::new();
    for _ in 0..steps {
        let mut actions = Vec::new();
        for _ in 0..n {
            match &spaces.action {
                ActionSpace::Box { low, high } => {
                    let bounds = low.iter().zip(high);
                    actions
                        .extend(bounds.map(|(low, high)| low + uniform(&mut seed) * (high - low)));
                }
                ActionSpace::Discrete { n } => {
                    actions.push((uniform(&mut seed) * *n as f32).floor());
                }
            }
        }
        env.step(&actions, &mut step).unwrap();
        let ends = step.terminated.iter().chain(&step.truncated).copied().collect();
        let obs = step.obs.iter().chain(&step.next_obs).map(|x| x.to_bits()).collect();
        answers.push((obs, step.rewards.iter().map(|x| x.to_bits()).collect(), ends));
    }
    answers
}

/// Plays `before` steps in `env`, saves it, and plays on. Returns its state, its observation and what followed.
fn saved(
    env: &mut dyn Resumable,
    before: usize,
    after: usize,
) -> (Vec<EnvState>, Vec<f32>, Answers) {
    let mut obs = vec![0.0; env.num_envs() * env.spaces().obs_dim];
    env.record().unwrap();
    env.reset(Some(7), &mut obs).unwrap();
    if let Some((last, ..)) = play(env, before, 1).last() {
        let bits = &last[..obs.len()];
        obs = bits.iter().map(|&x| f32::from_bits(x)).collect();
    }
    let states = env.save().unwrap();
    (states, obs, play(env, after, 2))
}

/// Asserts that `fresh` goes on from `states` as `follows` tells.
fn goes_on(
    fresh: &mut dyn Resumable,
    states: &[EnvState],
    obs: &[f32],
    follows: &Answers,
    what: &str,
) {
    let mut here = vec![0.0; obs.len()];
    let restored = fresh.restore(states, &mut here).unwrap();
    assert!(restored.iter().all(|&how| how != Restored::NewEpisode), "{what}: {restored:?}");
    assert_eq!(here, obs, "{what}: the current observation");
    assert!(play(fresh, follows.len(), 2) == *follows, "{what}: what follows");
}

/// Every kind of environment, saved in the middle of episodes and going on through resets.
#[test]
fn environments_go_on_bit_for_bit() {
    let _alone = alone();
    for id in [
        "Hopper-v4",
        "Ant-v4",
        "Humanoid-v4",
        "HumanoidStandup-v4",
        "Reacher-v4",
        "InvertedPendulum-v4",
        "InvertedDoublePendulum-v4",
        "HalfCheetah-v5",
        "Walker2d-v5",
        "Pusher-v5",
        "Swimmer-v5",
        "CartPole-v1",
        "Pendulum-v1",
        "Acrobot-v1",
        "MountainCarContinuous-v0",
        "Tests/Wrapped-v0",
        "Tests/Line-v0",
    ] {
        let options = options(id);
        for before in [0, 1, 9, 123] {
            let (states, obs, follows) = saved(&mut GymEnv::make(&options).unwrap(), before, 120);
            let mut fresh = GymEnv::make(&options).unwrap();
            goes_on(&mut fresh, &states, &obs, &follows, &format!("{id} after {before} steps"));
        }
    }
}

/// A chain: brought back, played, saved and brought back again.
#[test]
fn an_environment_that_was_brought_back_can_be_saved() {
    let _alone = alone();
    for id in ["Tests/Wrapped-v0", "Walker2d-v4"] {
        let options = options(id);
        let (states, ..) = saved(&mut GymEnv::make(&options).unwrap(), 50, 0);
        let mut again = GymEnv::make(&options).unwrap();
        let mut obs = vec![0.0; again.spaces().obs_dim];
        again.restore(&states, &mut obs).unwrap();
        let last = play(&mut again, 60, 3);
        let obs: Vec<f32> = last[59].0[..obs.len()].iter().map(|&x| f32::from_bits(x)).collect();
        let states = again.save().unwrap();
        let follows = play(&mut again, 90, 2);
        goes_on(&mut GymEnv::make(&options).unwrap(), &states, &obs, &follows, id);
    }
}

/// Whatever process steps an environment, its state is that of its index.
#[test]
fn several_environments_go_on_in_other_processes() {
    let _alone = alone();
    let options = options("Tests/Wrapped-v0");
    for (n, processes, others) in [(1, 1, 1), (2, 2, 1), (3, 1, 2), (3, 2, 3)] {
        let make = |processes| ForkedVecEnv::make_in(&options, n, processes).unwrap();
        let (states, obs, follows) = saved(&mut make(processes), 55, 60);
        assert_eq!(states.len(), n);
        goes_on(
            &mut make(others),
            &states,
            &obs,
            &follows,
            &format!("{n} in {processes}, then {others}"),
        );
    }
}

#[test]
fn generators_that_a_process_shares_go_on() {
    let _alone = alone();
    let options = options("Tests/Global-v0");
    let (states, obs, follows) = saved(&mut GymEnv::make(&options).unwrap(), 14, 30);
    goes_on(&mut GymEnv::make(&options).unwrap(), &states, &obs, &follows, "global generators");
}

#[test]
fn an_environment_that_knows_its_state_is_asked() {
    let _alone = alone();
    for id in ["Tests/Own-v0", "Tests/OwnInWrappers-v0"] {
        let options = options(id);
        let (states, obs, follows) = saved(&mut GymEnv::make(&options).unwrap(), 14, 30);
        goes_on(&mut GymEnv::make(&options).unwrap(), &states, &obs, &follows, id);
        // Nobody else can tell whether that was all.
        let restored = GymEnv::make(&options).unwrap().restore(&states, &mut obs.clone());
        assert_eq!(restored.unwrap(), [Restored::OwnState], "{id}");
    }
}

#[test]
fn what_can_be_played_again_is_not_asked() {
    let _alone = alone();
    for id in ["Tests/Partial-v0", "Tests/Wants-v0", "Tests/Line-v0", "Walker2d-v4"] {
        let options = options(id);
        let (states, obs, follows) = saved(&mut GymEnv::make(&options).unwrap(), 14, 30);
        goes_on(&mut GymEnv::make(&options).unwrap(), &states, &obs, &follows, id);
        let restored = GymEnv::make(&options).unwrap().restore(&states, &mut obs.clone());
        assert_eq!(restored.unwrap(), [Restored::Exact], "{id}");
    }
}

#[test]
fn a_wrapper_that_knows_its_state_speaks_for_nothing_else() {
    let _alone = alone();
    let options = options("Tests/LineInClock-v0");
    let (states, obs, follows) = saved(&mut GymEnv::make(&options).unwrap(), 14, 30);
    goes_on(&mut GymEnv::make(&options).unwrap(), &states, &obs, &follows, "played again");
}

#[test]
fn hidden_state_and_failures_lead_to_a_new_episode() {
    let _alone = alone();
    for (id, before) in [
        ("Tests/Hidden-v0", 14),
        ("Tests/Breaks-v0", 4),
        ("Tests/HiddenInClock-v0", 14),
        ("Tests/Forgetful-v0", 14),
        ("Tests/OwnInClosed-v0", 14),
    ] {
        let options = options(id);
        let (states, ..) = saved(&mut GymEnv::make(&options).unwrap(), before, 0);
        let mut fresh = GymEnv::make(&options).unwrap();
        let mut obs = [f32::NAN];
        assert_eq!(fresh.restore(&states, &mut obs).unwrap(), [Restored::NewEpisode], "{id}");
        assert!(obs[0].is_finite(), "{id}");
        assert!(fresh.save().is_ok(), "{id}");
    }
}

#[test]
fn what_cannot_be_right_is_an_error() {
    let _alone = alone();
    let options = options("Tests/Line-v0");
    let mut env = GymEnv::make(&options).unwrap();
    assert!(matches!(env.save(), Err(Error::NotRecorded)));
    let (states, obs, _) = saved(&mut env, 5, 0);
    let mut here = obs.clone();
    let two = [states.clone(), states.clone()].concat();
    let found = env.restore(&two, &mut here);
    assert!(matches!(found, Err(Error::EnvCount { expected: 1, found: 2 })));
    // A changed byte that changes nothing else is the business of the checkpoint's hash.
    let EnvState(bytes) = &states[0];
    for i in (0..bytes.len()).step_by(7) {
        let mut flipped = bytes.clone();
        flipped[i] ^= 1 << (i % 8);
        for harmed in [flipped, bytes[..i].to_vec()] {
            let mut fresh = GymEnv::make(&options).unwrap();
            let found = fresh.restore(&[EnvState(harmed)], &mut here);
            assert!(matches!(found, Ok(_) | Err(Error::EnvState(_))), "byte {i}: {found:?}");
        }
    }
    // Of another environment.
    let mut other = GymEnv::make(&self::options("Pendulum-v1")).unwrap();
    assert!(matches!(other.restore(&states, &mut [0.0; 3]), Err(Error::EnvState(_))));
}
