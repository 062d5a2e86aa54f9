"""Environments of the tests of resume; `--env-import resumable` registers them."""

import ctypes
import itertools
import os
import signal
import time
from pathlib import Path

import gymnasium as gym
from environments import Point
from gymnasium.spaces import Box
from gymnasium.wrappers import (
    ClipAction,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
    RescaleAction,
    TransformAction,
)


def wrapped():
    """Wrappers with statistics, some of which no reset clears."""
    env = RescaleAction(gym.make("Pendulum-v1", max_episode_steps=60), -1.0, 1.0)
    env = ClipAction(env)
    # `ClipAction` takes any number; agents want bounds.
    env = TransformAction(env, lambda action: 1.5 * action, Box(-1.0, 1.0, (1,)))
    return NormalizeReward(NormalizeObservation(RecordEpisodeStatistics(env)))


class Hidden(Point):
    """Its observations depend on what is no state of any environment."""

    count = itertools.count()

    def step(self, action):
        obs, *rest = super().step(action)
        return obs + 0.01 * next(self.count), *rest


class Marked(Point):
    """Says once, at a step of a process, that it is there, and then takes a second for it."""

    count = itertools.count(1)

    def step(self, action):
        mark = Path(os.environ["MARK"])
        if next(self.count) == int(os.environ["MARK_AT"]) and not mark.exists():
            mark.touch()
            time.sleep(1)
        return super().step(action)


class Stubborn(Point):
    """A step that neither ends nor lets itself be interrupted."""

    def step(self, action):
        while self.steps == 250:
            try:
                Path(os.environ["MARK"]).touch()
                time.sleep(600)
            except BaseException:
                pass
        return super().step(action)


class Native(Point):
    """A step that hangs in native code, and lets no other Python code run."""

    def step(self, action):
        if self.steps == 250:
            Path(os.environ["MARK"]).touch()
            mutex = ctypes.create_string_buffer(64)
            for _ in range(2):
                ctypes.PyDLL(None).pthread_mutex_lock(mutex)
        return super().step(action)


class Deaf(Point):
    """Has its own handlers of signals, as some libraries do."""

    def reset(self, **kwargs):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        return super().reset(**kwargs)


gym.register("Wrapped-v0", wrapped)
for kind in (Hidden, Marked, Stubborn, Native, Deaf):
    gym.register(f"{kind.__name__}-v0", kind)
