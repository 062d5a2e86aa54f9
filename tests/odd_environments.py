"""Environments that keep to Gymnasium's letter, or do not; for `--env-import odd_environments`."""

import gymnasium as gym
import numpy as np
from environments import Point
from gymnasium.spaces import Box, Discrete


class Item(gym.Env):
    """Takes its action as the space gives it: a numpy integer from 3 on."""

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Discrete(3, start=3)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 20
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        assert isinstance(action, np.int64), type(action)
        assert action.item() in (3, 4, 5), action
        self.left -= 1
        obs = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return obs, float(action == 4), False, self.left == 0, {}


class Form(Point):
    """From step `after` on, `step` or `reset` returns something else."""

    def __init__(self, form="right", after=0, **kwargs):
        super().__init__(**kwargs)
        self.form, self.after = form, after

    def reset(self, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        if self.steps >= self.after:
            return {"reset alone": obs, "reset three": (obs, info, 0)}.get(self.form, (obs, info))
        return obs, info

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        right = (obs, reward, terminated, truncated, info)
        if self.steps <= self.after:
            return right
        return {
            "four": (obs, reward, terminated or truncated, {"x": 1}),
            "six": (*right, 1),
            "list": list(right),
            "none": None,
            "word": (obs, reward, "False", truncated, info),
            "number": (obs, reward, terminated, 0, info),
        }.get(self.form, right)


class Bounds(Point):
    """Bounds that no agent can use, some of which Gymnasium's constructor would refuse."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        if kind == "reversed":
            self.action_space.low[1] = 2.0
        elif kind == "one number":
            self.action_space = Box(1e9, 1e9 + 1, (2,), np.float64)


class Moving(Point):
    """Widens its own bounds after each step; actions stay within the first."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.action_space = Box(-0.1, 0.3, (2,), np.float64)

    def step(self, action):
        assert (action >= -0.1).all() and (action <= 0.3).all(), action
        result = super().step(action)
        self.action_space.low[:] = -5.0
        self.action_space.high[:] = 5.0
        return result


class Endless(Point):
    """An episode ends in training, but never once there have been as many steps as that."""

    def step(self, action):
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, terminated, False, info


class Scalar(gym.Env):
    """A number is observed and a number is done, neither in an array with a dimension."""

    observation_space = Box(-10, 10, (), np.float32)
    action_space = Box(-1, 1, (), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.left = self.np_random.uniform(-1, 1), 20
        return np.float32(self.x), {}

    def step(self, action):
        assert self.action_space.contains(action), (action, type(action))
        self.x = float(np.clip(self.x + 0.1 * action, -10, 10))
        self.left -= 1
        return np.float32(self.x), -abs(self.x), False, self.left == 0, {}


class Huge(Point):
    """One reward, or one observation, after `after` steps."""

    def __init__(self, of="reward", value=3e38, after=150, **kwargs):
        super().__init__(**kwargs)
        self.of, self.value, self.after = of, value, after

    def step(self, action):
        obs, reward, *rest = super().step(action)
        if self.steps == self.after:
            reward, obs = (
                (self.value, obs) if self.of == "reward" else (reward, obs * 0 + self.value)
            )
        return obs, reward, *rest


class LateReset(Point):
    """Its second reset fails."""

    def reset(self, seed=None, options=None):
        if self.steps:
            raise RuntimeError("the door is stuck")
        return super().reset(seed=seed)


class SecondFails(Point):
    """The second environment of a process fails, which is that of evaluations."""

    count = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        type(self).count += 1
        self.broken = type(self).count > 1

    def step(self, action):
        if self.broken and self.steps == 2:
            raise RuntimeError("the lamp is broken")
        return super().step(action)


class Picture(gym.Env):
    """Pixels with their channels last, of which the first column is the state."""

    observation_space = Box(0, 255, (4, 5, 3), np.uint8)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 20
        return self.np_random.integers(0, 256, (4, 5, 3), np.uint8), {}

    def step(self, action):
        self.left -= 1
        obs = self.np_random.integers(0, 256, (4, 5, 3), np.uint8)
        return obs, float(action[0]), False, self.left == 0, {}


class Whole(Point):
    """Actions are whole numbers, two of which a network's output lies between."""

    action_space = Box(-3, 3, (2,), np.int64)

    def step(self, action):
        assert action.dtype == np.int64, action.dtype
        return super().step(action)


for kind in (
    *(Item, Form, Bounds, Moving, Endless, Scalar, Huge, LateReset, SecondFails, Picture, Whole),
):
    gym.register(f"{kind.__name__}-v0", kind, disable_env_checker=True)
