"""Defaults of our own keywords, which are those of Rust (`configs/*.yml`)."""

import contextlib
import functools
import inspect
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

from stac_bench import _native
from stac_bench.keywords import descriptions

if TYPE_CHECKING:
    from stac_bench.agent import RustAgent


@functools.cache
def _parsed(algorithm: str, env: str, preset: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(_native.algorithm_settings(algorithm, env, preset))
    return settings


def algorithm_settings(
    algorithm: str, env: str = "default", preset: str | None = None
) -> dict[str, Any]:
    """All settings of an algorithm of `stac-bench algos`."""
    return dict(_parsed(algorithm, env, preset))


def led_algorithms(baseline: str) -> dict[str | None, str]:
    """The Stackelberg algorithms on top of `baseline`, by leader."""
    names = [
        name
        for name in _native.algorithms()
        if name == f"st{baseline}" or name.startswith(f"st{baseline}-")
    ]
    return {algorithm_settings(name)["leader"]: name for name in names}


def sb3_parameters(kind: type[BaseAlgorithm]) -> Mapping[str, inspect.Parameter]:
    """Parameters of the class of Stable-Baselines3 that `kind` extends."""
    theirs = next(k for k in kind.__mro__ if k.__module__.startswith("stable_baselines3."))
    return inspect.signature(theirs).parameters


def environment_id(env: GymEnv | str | None) -> str:
    """The Gymnasium id of `env`, `default` if it has none."""
    if isinstance(env, str):
        return env
    spec = None
    if isinstance(env, VecEnv):
        with contextlib.suppress(AttributeError, NotImplementedError):
            spec = env.get_attr("spec")[0]
    elif env is not None:
        spec = env.spec
    return "default" if spec is None else spec.id


def describe(kind: type[BaseAlgorithm], own: Mapping[str, Any]) -> str:
    """The docstring of `kind` with a `:param` line for each of its own keywords."""
    meanings = descriptions()
    lines = [f":param {k}: {meanings.get(k, '')} (default: {v!r})" for k, v in own.items()]
    return "\n".join([inspect.cleandoc(kind.__doc__ or ""), "", *lines])


def signature(kind: "type[RustAgent]", own: Mapping[str, Any]) -> inspect.Signature:
    """The signature of `kind`: that of Stable-Baselines3's class, and its own keywords."""
    theirs = [p for p in sb3_parameters(kind).values() if p.name not in kind.foreign]
    ours = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in own.items()
    ]
    return inspect.Signature([*theirs, *ours])
