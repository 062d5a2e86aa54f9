//! Real Gymnasium environments, and awkward ones registered for the purpose.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use agents::rng::{Purpose, Rng};
use agents::{ActionSpace, Env, Error, Step};
use bridge::{EnvOptions, ForkedVecEnv, GymEnv};
use common::alone;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Once;

const AWKWARD: &std::ffi::CStr = c"
import gymnasium, numpy as np, os
from gymnasium.spaces import Box, Dict, Discrete

class Awkward(gymnasium.Env):
    def __init__(self, kind='plain', width=3):
        self.kind, self.t, self.kept = kind, 0, []
        self.observation_space = Box(-9, 9, (2, width), np.float64)
        self.action_space = Box(np.array([-1, 0], 'f'), np.array([3, 5], 'f'))
        if kind == 'dict': self.observation_space = Dict(a=self.observation_space)
        if kind == 'unbounded': self.action_space = Box(-np.inf, np.inf, (2,))
        if kind == 'image': self.observation_space = Box(0, 255, (2, 2, 3), np.uint8)
        if kind == 'discrete': self.action_space = Discrete(3, start=-1)
        if kind == 'double': self.action_space = Box(-1, 1, (2, 2), np.float64)
    def obs(self):
        return np.full(self.observation_space.shape, self.t, self.observation_space.dtype).T.copy().T
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 100 if seed is None else seed
        self.odd = self.t % 2 == 1
        return self.obs(), {}
    def step(self, action):
        self.t += 1
        self.kept.append(action)
        if self.kind == 'raises': raise RuntimeError('the motor is on fire')
        if self.kind == 'odd raises' and self.odd: raise RuntimeError('the motor is on fire')
        if self.kind == 'odd dies' and self.odd: os._exit(3)
        if self.kind == 'interrupts': raise KeyboardInterrupt
        if self.kind == 'image': assert self.t < 256
        if self.kind == 'discrete': assert type(action) is np.int64 and action in (-1, 0, 1), action
        if self.kind == 'double': assert action.dtype == np.float64 and action.shape == (2, 2)
        if self.kind == 'plain': assert action.dtype == np.float32
        reward = float('nan') if self.kind == 'nan' else float(np.sum(action))
        if len(self.kept) > 1 and self.kind == 'plain':
            assert self.kept[-2] is not action
        return self.obs(), reward, self.t % 2 == 0 and self.kind == 'both', self.t % 2 == 0, {}

gymnasium.register('Awkward-v0', Awkward, disable_env_checker=True, order_enforce=False)
";

/// Successor, reward, terminated, truncated, observation to act on next.
type Row = (Vec<f32>, f64, bool, bool, Vec<f32>);

fn options(id: &str) -> EnvOptions {
    EnvOptions { id: id.into(), ..EnvOptions::default() }
}

fn awkward_options(kind: &str) -> EnvOptions {
    static REGISTERED: Once = Once::new();
    bridge::initialize().unwrap();
    REGISTERED
        .call_once(|| Python::attach(|py| py.run(AWKWARD, Some(&PyDict::new(py)), None).unwrap()));
    let mut options = options("Awkward-v0");
    options.kwargs.insert("kind".into(), kind.into());
    options
}

fn try_awkward(kind: &str) -> agents::Result<GymEnv> {
    GymEnv::make(&awkward_options(kind))
}

fn awkward(kind: &str) -> GymEnv {
    try_awkward(kind).unwrap()
}

fn take(env: &mut dyn Env, actions: &[f32]) -> agents::Result<Step> {
    let mut step = Step::new(env.num_envs(), env.spaces().obs_dim);
    env.step(actions, &mut step).map(|()| step)
}

fn first(env: &mut dyn Env, seed: Option<u64>) -> Vec<f32> {
    let mut obs = vec![f32::NAN; env.num_envs() * env.spaces().obs_dim];
    env.reset(seed, &mut obs).unwrap();
    obs
}

/// Random actions within the bounds of `env`, the same for the same `seed`.
fn actions(env: &dyn Env, seed: u64, steps: usize) -> Vec<Vec<f32>> {
    let ActionSpace::Box { low, high } = &env.spaces().action else { panic!("no box") };
    let mut rng = Rng::new(seed, Purpose::Exploration);
    let mut row = || low.iter().zip(high).map(|(&l, &h)| rng.uniform(l.into(), h.into())).collect();
    (0..steps).map(|_| row()).collect()
}

#[test]
fn mujoco_rollouts_equal_plain_python_bit_for_bit() {
    let _alone = alone();
    for id in ["Walker2d-v4", "HalfCheetah-v5", "InvertedPendulum-v4"] {
        let mut env = GymEnv::make(&options(id)).unwrap();
        let obs = first(&mut env, Some(7));
        let actions = actions(&env, 3, 60);
        let (plain_first, plain): (Vec<f32>, Vec<Row>) = Python::attach(|py| {
            let scope = PyDict::new(py);
            scope.set_item("actions", actions.clone()).unwrap();
            scope.set_item("id", id).unwrap();
            let code = c"
import gymnasium, numpy as np
env = gymnasium.make(id)
f = lambda obs: obs.astype(np.float32).tolist()
first = f(env.reset(seed=7)[0])
rows = []
for action in actions:
    obs, reward, terminated, truncated, _ = env.step(np.array(action, np.float32))
    after = env.reset()[0] if terminated or truncated else obs
    rows.append((f(obs), float(reward), bool(terminated), bool(truncated), f(after)))
";
            py.run(code, Some(&scope), None).unwrap();
            let get = |name: &str| scope.get_item(name).unwrap().unwrap();
            (get("first").extract().unwrap(), get("rows").extract().unwrap())
        });
        assert_eq!(obs, plain_first, "{id}");
        for (action, (next_obs, reward, terminated, truncated, obs)) in actions.iter().zip(plain) {
            let step = take(&mut env, action).unwrap();
            assert_eq!((step.next_obs, step.rewards[0], step.obs), (next_obs, reward, obs), "{id}");
            assert_eq!((step.terminated[0], step.truncated[0]), (terminated, truncated), "{id}");
        }
    }
}

#[test]
fn an_ended_episode_gives_its_true_successor_and_the_next_start() {
    let _alone = alone();
    let mut env = awkward("plain");
    assert_eq!(first(&mut env, Some(4)), [4.0; 6]);
    let step = take(&mut env, &[0.0, 0.0]).unwrap();
    assert_eq!((step.terminated[0], step.truncated[0]), (false, false));
    assert_eq!((step.next_obs, step.obs), (vec![5.0; 6], vec![5.0; 6]));
    let step = take(&mut env, &[1.0, 2.0]).unwrap();
    assert_eq!((step.terminated[0], step.truncated[0]), (false, true));
    assert_eq!((step.next_obs, step.obs, step.rewards[0]), (vec![6.0; 6], vec![100.0; 6], 3.0));
}

#[test]
fn terminated_and_truncated_may_both_be_true() {
    let _alone = alone();
    let mut env = awkward("both");
    first(&mut env, Some(1));
    let step = take(&mut env, &[0.0, 0.0]).unwrap();
    assert!(step.terminated[0] && step.truncated[0]);
}

#[test]
fn bounds_are_read_per_dimension() {
    let _alone = alone();
    let want = ActionSpace::Box { low: vec![-1.0, 0.0], high: vec![3.0, 5.0] };
    assert_eq!(awkward("plain").spaces().action, want);
}

#[test]
fn images_are_flattened_and_scaled_to_one() {
    let _alone = alone();
    let mut env = awkward("image");
    assert_eq!(env.spaces().obs_dim, 12);
    assert_eq!(first(&mut env, Some(250)), [250.0 / 255.0; 12]);
}

#[test]
fn discrete_actions_start_where_the_space_says() {
    let _alone = alone();
    let mut env = awkward("discrete");
    assert_eq!(env.spaces().action, ActionSpace::Discrete { n: 3 });
    first(&mut env, Some(0));
    for choice in 0..3 {
        assert_eq!(take(&mut env, &[choice as f32]).unwrap().rewards[0], f64::from(choice - 1));
    }
}

#[test]
fn actions_arrive_in_the_shape_and_type_of_their_space() {
    let _alone = alone();
    let mut env = awkward("double");
    first(&mut env, Some(0));
    assert_eq!(take(&mut env, &[0.5, 0.25, -1.0, 1.0]).unwrap().rewards[0], 0.75);
}

#[test]
fn spaces_that_no_agent_takes_are_named() {
    let _alone = alone();
    for (kind, named) in [("dict", "Dict"), ("unbounded", "infinite")] {
        let error = try_awkward(kind).err().unwrap().to_string();
        assert!(error.contains(named), "{error}");
    }
    let error = GymEnv::make(&options("Walker3d-v4")).err().unwrap().to_string();
    assert!(error.contains("Walker2d"), "the nearest id should be named: {error}");
}

#[test]
fn exceptions_keep_their_type_message_and_traceback() {
    let _alone = alone();
    let mut env = awkward("raises");
    first(&mut env, None);
    match take(&mut env, &[0.0, 0.0]) {
        Err(Error::Env { during: "step", message, traceback: Some(traceback) }) => {
            assert_eq!(message, "RuntimeError: the motor is on fire");
            assert!(traceback.contains("in step"), "{traceback}");
        }
        other => panic!("{other:?}"),
    }
    let mut env = awkward("interrupts");
    first(&mut env, None);
    assert!(matches!(take(&mut env, &[0.0, 0.0]), Err(Error::Interrupted)));
}

#[test]
fn a_nan_reward_arrives_as_it_is() {
    let _alone = alone();
    let mut env = awkward("nan");
    first(&mut env, None);
    assert!(take(&mut env, &[0.0, 0.0]).unwrap().rewards[0].is_nan());
}

#[test]
fn several_environments_equal_the_same_ones_stepped_one_by_one() {
    let _alone = alone();
    for n in [1, 2, 5] {
        let make = || GymEnv::make(&options("Hopper-v4")).unwrap();
        let mut together = ForkedVecEnv::make(&options("Hopper-v4"), n).unwrap();
        let mut alone: Vec<GymEnv> = (0..n).map(|_| make()).collect();
        let singles: Vec<f32> =
            alone.iter_mut().zip(20..).flat_map(|(env, seed)| first(env, Some(seed))).collect();
        assert_eq!(first(&mut together, Some(20)), singles);
        let streams: Vec<_> = (0..n).map(|i| actions(&alone[i], i as u64, 80)).collect();
        let mut ended = 0;
        for t in 0..80 {
            let row: Vec<f32> = streams.iter().flat_map(|s| s[t].clone()).collect();
            let step = take(&mut together, &row).unwrap();
            for (i, env) in alone.iter_mut().enumerate() {
                let single = take(env, &streams[i][t]).unwrap();
                let obs = i * env.spaces().obs_dim..(i + 1) * env.spaces().obs_dim;
                assert_eq!(step.obs[obs.clone()], single.obs);
                assert_eq!(step.next_obs[obs], single.next_obs);
                let row = (step.rewards[i], step.terminated[i], step.truncated[i]);
                assert_eq!(row, (single.rewards[0], single.terminated[0], single.truncated[0]));
                ended += usize::from(single.ended(0));
            }
        }
        assert!(ended >= n, "too few ends to be a test");
        let singles: Vec<f32> = alone.iter_mut().flat_map(|env| first(env, None)).collect();
        assert_eq!(first(&mut together, None), singles);
    }
}

#[test]
fn frames_larger_than_a_pipe_arrive_whole() {
    let _alone = alone();
    let mut options = awkward_options("plain");
    options.kwargs.insert("width".into(), 300_000.into());
    let mut env = ForkedVecEnv::make(&options, 4).unwrap();
    first(&mut env, Some(0));
    let step = take(&mut env, &[0.0; 8]).unwrap();
    let rows: Vec<&[f32]> = step.next_obs.chunks_exact(600_000).collect();
    assert_eq!(rows.len(), 4);
    for (t, row) in (1..).zip(rows) {
        assert!(row.iter().all(|&x| x == t as f32));
    }
}

#[test]
fn an_error_in_one_of_several_environments_is_returned_and_the_rest_goes_on() {
    let _alone = alone();
    let mut env = ForkedVecEnv::make(&awkward_options("odd raises"), 4).unwrap();
    first(&mut env, Some(0));
    for _ in 0..2 {
        match take(&mut env, &[0.0; 8]).unwrap_err() {
            Error::Env { during: "step", message, traceback: Some(traceback) } => {
                assert_eq!(message, "RuntimeError: the motor is on fire");
                assert!(traceback.contains("in step"), "{traceback}");
            }
            other => panic!("{other:?}"),
        }
    }
    let mut env = ForkedVecEnv::make(&awkward_options("interrupts"), 2).unwrap();
    first(&mut env, Some(0));
    assert!(matches!(take(&mut env, &[0.0; 4]), Err(Error::Interrupted)));
    let error = ForkedVecEnv::make(&awkward_options("dict"), 2).err().unwrap().to_string();
    assert!(error.contains("agents take Box"), "{error}");
}

#[test]
fn a_process_that_ends_is_an_error() {
    let _alone = alone();
    if std::thread::available_parallelism().unwrap().get() == 1 {
        return; // it would be this one
    }
    let mut env = ForkedVecEnv::make(&awkward_options("odd dies"), 2).unwrap();
    first(&mut env, Some(0));
    let error = take(&mut env, &[0.0; 4]).unwrap_err().to_string();
    assert!(error.contains("its process has ended"), "{error}");
    assert!(take(&mut env, &[0.0; 4]).is_err());
}
