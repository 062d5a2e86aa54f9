"""Environments that can be brought back: what they were asked since their last reset."""

from __future__ import annotations

import hashlib
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper

from stac_bench import snapshot


class Recorder:
    """Notes the actions of an environment's episode, and hashes its answers.

    It takes the place of the methods `reset` and `step` of that one object, so that the environment
    keeps its type and its wrappers.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env = env
        self.before: Any = None
        self.keywords: dict[str, Any] = {}
        self.actions: list[Any] = []
        #: The hash of all answers so far.
        self.answers = b""
        #: Whether no call is half done.
        self.whole = True
        vars(env).update(reset=self.reset, step=self.step)

    def reset(self, **keywords: Any) -> Any:
        self.whole, before = False, snapshot.capture(self.env)
        obs, info = type(self.env).reset(self.env, **keywords)
        self.before, self.keywords, self.actions = before, keywords, []
        self.answers = b""
        self._hash(obs)
        self.whole = True
        return obs, info

    def step(self, action: Any) -> Any:
        self.whole = False
        obs, reward, terminated, truncated, info = type(self.env).step(self.env, action)
        self.actions.append(np.array(action))
        self._hash(obs)
        self._hash([float(reward), terminated, truncated])
        self.whole = True
        return obs, reward, terminated, truncated, info

    def _hash(self, value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value):
                self._hash(value[key])
        elif isinstance(value, tuple):
            for item in value:
                self._hash(item)
        else:
            answer = np.ascontiguousarray(value).tobytes()
            self.answers = hashlib.blake2b(self.answers + answer, digest_size=16).digest()

    def state(self) -> Any:
        """All that it takes to bring the environment back; None if that is not known."""
        if self.before is None or not self.whole:
            return None
        own = snapshot.own_state(self.env)
        return {
            "before": snapshot.to_bytes(self.before),
            "now": snapshot.to_bytes(snapshot.capture(self.env)),
            "own": own,
            "keywords": {name: value for name, value in self.keywords.items() if name == "seed"},
            "actions": np.stack(self.actions) if self.actions else None,
            "answers": self.answers,
        }

    def bring_back(self, state: Any) -> bool:
        """Plays the episode of `state` again, or else hands the environment what it said of itself.

        Returns whether it is where it was, as far as anyone can tell.
        """
        now, own = snapshot.from_bytes(state["now"]), state["own"]
        try:
            if self._plays(state):
                snapshot.restore(self.env, now)
                return True
            if own is None:
                return False
            self._begin(state)
            snapshot.load_own_state(self.env, own)
            snapshot.restore(self.env, now)
            return bool(snapshot.own_state(self.env) == own)
        except Exception:  # whatever an environment does with what it should know
            return False

    def _begin(self, state: Any) -> None:
        snapshot.restore(self.env, snapshot.from_bytes(state["before"]))
        self.env.reset(**state["keywords"])

    def _plays(self, state: Any) -> bool:
        """Takes the actions of `state`; whether all answers were the same."""
        try:
            self._begin(state)
            for action in () if state["actions"] is None else state["actions"]:
                self.env.step(action)
        except Exception:  # whatever an environment does in an episode that it should know
            return False
        return bool(self.answers == state["answers"])


def wrappers(env: VecEnv) -> list[VecEnv]:
    """The wrappers around the environments together, `VecNormalize` among them."""
    found: list[VecEnv] = []
    while isinstance(env, VecEnvWrapper):
        found.append(env)
        env = env.venv
    return found


def environments(env: VecEnv) -> list[gym.Env[Any, Any]]:
    """The environments of a `DummyVecEnv`, whatever is around it; none of others."""
    inner = env.unwrapped
    return list(inner.envs) if isinstance(inner, DummyVecEnv) else []


def record(env: VecEnv) -> list[Recorder]:
    """The recorders of all environments, which from now on have one."""
    found = []
    for single in environments(env):
        owner = getattr(vars(single).get("step"), "__self__", None)
        found.append(owner if isinstance(owner, Recorder) else Recorder(single))
    return found
