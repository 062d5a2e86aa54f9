"""Environments that only the tests have; `--env-import environments` registers them."""

import time

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class Point(gym.Env):
    """A point on a line, pushed by an asymmetric two-dimensional action; observations are 2 x 2."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space = Box(-np.inf, np.inf, (2, 2), np.float64)
    action_space = Box(np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))

    def __init__(self, fault=None, after=0, pause=0.0, render_mode=None):
        self.fault, self.after, self.pause = fault, after, pause
        self.render_mode = render_mode
        self.steps = 0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.normal(size=(2, 2))
        self.left = 20
        return self.x, {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.steps += 1
        self.left -= 1
        time.sleep(self.pause)
        reward = -abs(self.x[0, 0])
        if self.steps > self.after:
            if self.fault == "nan":
                reward = float("nan")
            elif self.fault == "exception":
                raise RuntimeError("the motor is on fire")
        self.x = 0.9 * self.x + 0.1 * (action[0] - 1.0)
        return self.x, reward, False, self.left == 0, {}

    def render(self):
        return np.zeros((64, 64, 3), np.uint8)


class DictPoint(Point):
    observation_space = Dict({"x": Box(-1, 1, (2,))})


class Unbounded(Point):
    action_space = Box(-np.inf, np.inf, (2,))


class Choice(Point):
    action_space = Discrete(3)


class OddBounds(Point):
    """Bounds that float32 arithmetic misses by a digit."""

    low = np.random.default_rng(0).uniform(-3, 0, 64).astype(np.float32)
    action_space = Box(low, low + np.random.default_rng(1).uniform(0, 3, 64).astype(np.float32))


class DoubleBounds(Point):
    """Bounds that float32 does not hold."""

    action_space = Box(-0.1, 0.3, (2,), np.float64)


class IntegerActions(Point):
    """Whole numbers, all of which must be met."""

    action_space = Box(-2, 2, (2,), np.int64)
    met = set()  # noqa: RUF012

    def step(self, action):
        self.met.update(action.tolist())
        if self.steps == 390:
            assert self.met == {-2, -1, 0, 1, 2}, self.met
        return super().step(action)


class Fixed(Point):
    """One of two components cannot move."""

    action_space = Box(np.array([-1.0, 0.5], np.float32), np.array([1.0, 0.5], np.float32))


class NanReset(Point):
    def reset(self, seed=None, options=None):
        return np.full((2, 2), np.nan), super().reset(seed, options)[1]


class HugeReward(Point):
    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, 1e300, *rest


class NoObservation(Point):
    observation_space = Box(-1, 1, (0,))


class NoAction(Point):
    action_space = Box(-1, 1, (0,))


class Vast(Point):
    action_space = Box(np.float32(-3e38), np.float32(3e38), (2,))


class Slow(Point):
    """A step that takes longer than anybody waits."""

    def step(self, action):
        if self.steps == 150:
            print("sleeping", flush=True)
            time.sleep(600)
        return super().step(action)


def subclasses(kind):
    yield kind
    for heir in kind.__subclasses__():
        yield from subclasses(heir)


for kind in subclasses(Point):
    gym.register(f"{kind.__name__}-v0", kind)
