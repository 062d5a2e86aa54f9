"""Environments that do not keep to Gymnasium's interface are refused by name, at any step."""

import json

import pytest

ENVIRONMENT = """
import gymnasium as gym
import numpy as np

class Odd(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,))

    def __init__(self, mode="good", at=0):
        self.mode, self.at, self.total = mode, at, 0
        self.action_space = gym.spaces.Box(-1, 1, (1,))
        if mode == "reversed":
            self.action_space.low[:], self.action_space.high[:] = 1, -1
        if mode == "near":
            self.action_space = gym.spaces.Box(1e9, 1e9 + 1, (1,), np.float64)
        if mode == "discrete":
            self.action_space = gym.spaces.Discrete(3, start=4)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        obs = np.zeros(2, np.float32)
        if self.total > self.at and self.mode == "late_reset":
            raise RuntimeError("no second episode")
        if self.mode == "bare_reset":
            return obs
        return obs, {}

    def step(self, action):
        self.t, self.total = self.t + 1, self.total + 1
        obs, ended, info = np.zeros(2, np.float32), self.t == 10, {"a": 1}
        if self.mode == "discrete":
            assert action.item() in (4, 5, 6) and type(action) is np.int64
        if self.total > self.at:
            if self.mode == "four":
                return obs, 0.0, ended, info
            if self.mode == "six":
                return obs, 0.0, False, ended, info, 1
            if self.mode == "text":
                return obs, 0.0, "False", ended, info
            if self.mode == "none":
                return obs, 0.0, False, None, info
            if self.mode == "list":
                return [obs, 0.0, False, ended, info]
        return obs, 0.0, np.bool_(False), ended, info

gym.register("Odd-v0", Odd, disable_env_checker=True)
"""


@pytest.fixture
def train(stac_bench, tmp_path):
    """Trains briefly in the environment above, with a mode."""
    (tmp_path / "odd.py").write_text(ENVIRONMENT)

    def run(mode, algo="ddpg", at=0, *more):
        kwargs = json.dumps({"mode": mode, "at": at})
        line = ["--env", "Odd-v0", "--env-import", "odd", "--algo", algo, "--steps", "60"]
        line += [
            "--out",
            "out",
            "--set",
            "policy_kwargs.net_arch=[8]",
            "--set",
            f"env_kwargs={kwargs}",
        ]
        return stac_bench(tmp_path, *line, *more, timeout=60)

    return run


def refused(done, fragment, status=1):
    """Asserts that the run has ended with one error that says this."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == status and len(errors) == 1 and fragment in errors[0], done.stderr


FORMS = {
    "four": "step returned 4 values, 5 are needed: observation, reward, terminated",
    "six": "step returned 6 values, 5 are needed",
    "list": "step returned a list and no tuple",
    "text": "step returned terminated = 'False', which is no bool",
    "none": "step returned truncated = None, which is no bool",
}


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("at", [0, 25])
@pytest.mark.parametrize("mode", FORMS)
def test_a_step_of_another_form_is_refused_from_first_to_last(train, mode, at, workers):
    refused(train(mode, "ddpg", at, "--n-envs", workers), FORMS[mode])


def test_a_reset_that_returns_no_pair_is_refused(train):
    refused(train("bare_reset"), "reset returned a ndarray and no tuple, 2 are needed")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_reset_that_fails_after_an_episode_is_called_a_reset(train, workers):
    refused(
        train("late_reset", "ddpg", 5, "--n-envs", workers),
        "failed in reset: RuntimeError: no second",
    )


@pytest.mark.parametrize("mode", ["reversed", "near"])
def test_bounds_without_a_range_are_refused(train, mode):
    numbers = {"reversed": "1.0 and -1.0", "near": "1000000000.0 and 1000000001.0"}
    refused(train(mode), numbers[mode], status=2)


def test_discrete_actions_are_the_numpy_integers_of_the_space(train):
    done = train("discrete", "ac")
    assert done.returncode == 0, done.stderr


def test_an_environment_that_keeps_to_the_interface_is_trained(train):
    done = train("good")
    assert done.returncode == 0, done.stderr
