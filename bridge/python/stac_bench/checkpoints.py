"""Checkpoints of a model, from which training goes on exactly."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv
from typing_extensions import Self

from stac_bench import _native, snapshot
from stac_bench.recording import record, wrappers

MODEL, ENVIRONMENTS = "model.zip", "environments.json"


class Checkpoints(BaseAlgorithm):
    """Mixin for `RustAgent`: writes checkpoints and goes on from them."""

    _agent: _native.Agent | None
    _learning: bool
    _may_have_changed: bool

    def save_checkpoint(self, folder: str | Path) -> None:
        """Writes all that training needs to go on exactly: `load_checkpoint` reads it.

        Unlike `save`, this keeps the replay memory, all random generators, and the environments in
        the middle of their episodes. Call it between two calls of `learn`.

        :param folder: is made, or replaced if it holds a checkpoint
        """
        if self._learning or self._agent is None or self.env is None:
            why = "within `learn`" if self._learning else "of a model without environment"
            raise RuntimeError(f"no checkpoint {why}: call it between two calls of `learn`")
        self._may_have_changed = True
        self._push_changes()
        model = io.BytesIO()
        self.save(model)
        layers = [snapshot.attributes(layer, {}, 0) for layer in wrappers(self.env)]
        environments = {
            "single": [recorder.state() for recorder in record(self.env)],
            "together": layers,
            "memory": self._memory(),
        }
        parts = {MODEL: model.getvalue(), ENVIRONMENTS: snapshot.to_bytes(environments)}
        about = json.dumps({"class": type(self).__name__})
        self._agent.save_checkpoint(str(folder), self.num_timesteps, about, parts)

    @classmethod
    def load_checkpoint(cls, folder: str | Path, env: GymEnv, **keywords: Any) -> Self:
        """The model of `save_checkpoint`, and `env` brought to where its environments were.

        `learn(..., reset_num_timesteps=False)` then goes on as if there had been no break, if `env`
        is a `DummyVecEnv` like the one of then (or one environment). An environment that cannot be
        brought back, since it has hidden state, begins a new episode, with a warning.

        :param folder: what `save_checkpoint` has written
        :param env: made in the same way as that of then, with the same wrappers
        :param keywords: passed on to `load`
        """
        about, parts = _native.read_checkpoint(str(folder))
        name = json.loads(about)["class"]
        if name != cls.__name__:
            raise ValueError(f"{folder} is a checkpoint of {name}, not of {cls.__name__}")
        model = cls.load(io.BytesIO(parts[MODEL]), env=env, force_reset=False, **keywords)
        assert model._agent is not None and model.env is not None
        model._agent.load_checkpoint(str(folder))
        model._may_have_changed = False
        model._pull_policy(model._agent)
        saved = snapshot.from_bytes(parts[ENVIRONMENTS])
        model._load_memory(saved["memory"])
        model._bring_back(saved)
        return model

    def _setup_learn(self, *args: Any, **keywords: Any) -> tuple[int, BaseCallback]:
        # Before the environments are reset for the first time.
        if self.env is not None:
            record(self.env)
        return super()._setup_learn(*args, **keywords)

    def _bring_back(self, saved: Any) -> None:
        assert self.env is not None
        recorders, states = record(self.env), saved["single"]
        lost = list(range(self.env.num_envs))
        if len(states) == len(recorders):
            pairs = zip(recorders, states, strict=True)
            lost = [i for i, (r, state) in enumerate(pairs) if not state or not r.bring_back(state)]
        for layer, tree in zip(wrappers(self.env), saved["together"], strict=False):
            snapshot.restore_attributes(layer, tree, {})
        if lost:
            self._begin_episodes(lost)

    def _begin_episodes(self, lost: list[int]) -> None:
        warnings.warn(
            f"environments {lost} have state that cannot be saved, are not deterministic or are in"
            " no DummyVecEnv: they begin a new episode",
            stacklevel=4,
        )
        # All at once, since `VecEnv` resets them so.
        assert self.env is not None
        self._last_obs = self.env.reset()  # type: ignore[assignment]
        self._last_episode_starts = np.ones((self.env.num_envs,), dtype=bool)
        normalizer = self._vec_normalize_env
        if normalizer is not None:
            self._last_original_obs = normalizer.get_original_obs()

    def _memory(self) -> Any:
        """What Stable-Baselines3's copy of the memory needs, besides the Rust memory."""

    def _load_memory(self, saved: Any) -> None:
        """Makes that copy equal to the Rust memory."""

    def _push_changes(self) -> None:
        raise NotImplementedError

    def _pull_policy(self, agent: _native.Agent) -> None:
        raise NotImplementedError
