"""Replay memories take the room that they promise, and learning is the same."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium.spaces import Box, Dict
from stable_baselines3.common.vec_env import DummyVecEnv
from stac_bench import DDPG, SAC, STSAC

SMALL = {"seed": 0, "batch_size": 8, "learning_starts": 20, "policy_kwargs": {"net_arch": [8]}}


class Screen(gym.Env):
    """Bytes of any shape, and episodes of seven steps, some cut short and some not."""

    action_space = Box(-1, 1, (1,))

    def __init__(self, shape=(8, 8, 1), dtype=np.uint8):
        self.dtype = dtype
        self.observation_space = Box(0, 255, shape, dtype)

    def _see(self):
        return self.np_random.integers(0, 256, self.observation_space.shape).astype(self.dtype)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 7
        return self._see(), {}

    def step(self, action):
        self.left -= 1
        ends = self.left == 0
        cut = ends and self.np_random.random() < 0.5
        return self._see(), float(action[0]), ends and not cut, cut, {}


class Screens(Screen):
    def __init__(self):
        super().__init__()
        self.observation_space = Dict(
            {"a": Box(0, 255, (3,), np.uint8), "b": Box(0, 9, (2,), np.uint8)}
        )

    def _see(self):
        return {k: s.sample() for k, s in self.observation_space.items()}


MAKERS = {
    "numbers": lambda: gym.make("Pendulum-v1", max_episode_steps=9),
    "images": Screen,
    "bytes": lambda: Screen((6,)),
    "dictionaries": Screens,
}


def learnt(kind, make, n_envs, **settings):
    env = DummyVecEnv([make] * n_envs)
    env.seed(0)
    env.observation_space.seed(0)
    policy = "MultiInputPolicy" if isinstance(env.observation_space, Dict) else "MlpPolicy"
    model = kind(policy, env, buffer_size=60, **SMALL, **settings).learn(200)
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


@pytest.mark.parametrize("kind", [DDPG, STSAC])
@pytest.mark.parametrize("n_envs", [1, 2, 3])
@pytest.mark.parametrize("name", ["numbers", "images", "bytes"])
def test_a_memory_that_shares_observations_learns_the_same(kind, name, n_envs):
    """Over more than three times its size, with episodes that end and that are cut."""
    own, shared = (
        learnt(kind, MAKERS[name], n_envs, optimize_memory_usage=saves, **more)
        for saves, more in (
            (False, {}),
            (True, {"replay_buffer_kwargs": {"handle_timeout_termination": False}}),
        )
    )
    assert all(th.equal(own[key], shared[key]) for key in own)


@pytest.mark.parametrize("name", ["images", "bytes", "dictionaries"])
def test_bytes_that_were_remembered_are_those_that_were_seen(name):
    env = DummyVecEnv([MAKERS[name]])
    policy = "MultiInputPolicy" if name == "dictionaries" else "MlpPolicy"
    model = SAC(policy, env, buffer_size=60, **SMALL).learn(10)
    rows, (obs, *_, next_obs, _, _) = model._codec.rows, model._agent.recall(10)
    buffer = model.replay_buffer
    first = (
        {k: v[:10, 0] for k, v in buffer.observations.items()}
        if name == "dictionaries"
        else buffer.observations[:10, 0]
    )
    assert np.array_equal(rows(first).ravel(), obs)
    assert len(next_obs) == len(obs)


PEAK = """
import sys
from pathlib import Path
import numpy as np
from test_python_memory import SMALL, Screen
from stac_bench import DDPG
dtype, saves, steps = sys.argv[1], sys.argv[2] == "saves", int(sys.argv[3])
more = {"replay_buffer_kwargs": {"handle_timeout_termination": False}} if saves else {}
settings = {**SMALL, "learning_starts": 10**6, "buffer_size": 5_000, **more}
env = Screen((80, 80, 1), np.dtype(dtype))
DDPG("MlpPolicy", env, optimize_memory_usage=saves, **settings).learn(steps)
# Not `getrusage`, which counts what the process that started this one had taken.
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""


def test_bytes_take_a_byte_and_shared_observations_half(environment):
    """Peak memory per transition, of 6,400 numbers before and after each step."""

    def peak(dtype, saves, steps):
        words = [sys.executable, "-c", PEAK, dtype, saves, str(steps)]
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True)
        return int(done.stdout)

    pixels, start = 80 * 80, peak("uint8", "", 100)
    # One episode of seven steps has an observation that no other step begins with.
    most = {("uint8", ""): 2 * pixels, ("uint8", "saves"): (1 + 1 / 7) * pixels}
    found = {case: (peak(*case, 4_000) - start) / 3_900 for case in (*most, ("float32", ""))}
    assert found["float32", ""] > 0.8 * 8 * pixels, "the measure sees what is taken"
    for case, room in most.items():
        assert found[case] < 1.25 * room, found
