"""Defaults and meanings of our own keywords, which are those that Rust declares."""

import contextlib
import functools
import inspect
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

from stac_bench import _native
from stac_bench.keywords import descriptions

if TYPE_CHECKING:
    from stac_bench.agent import RustAgent


def as_json(settings: dict[str, Any]) -> str:
    """Settings as JSON for the Rust side."""
    for name, value in settings.items():
        if isinstance(value, (float, np.floating)) and not np.isfinite(value):
            raise ValueError(f"{name}={value}: it must be a finite number")
    # Scalars of numpy become Python's, integers remain integers.
    return json.dumps(
        settings, default=lambda x: x.item() if isinstance(x, np.generic) else float(x)
    )


@functools.cache
def _parsed(algorithm: str, env: str, preset: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(_native.defaults(algorithm, env, preset))
    return settings


def algorithm_defaults(
    algorithm: str, env: str = "default", preset: str | None = None
) -> dict[str, Any]:
    """What can be set of an algorithm of `stac-bench algos`, with its defaults.

    None where the default follows from another setting. Some of them apply only once others are
    changed, as `cg_iterations` with `solver="cg"`.
    """
    return dict(_parsed(algorithm, env, preset))


def meanings(algorithm: str) -> dict[str, str]:
    """What each setting of `algorithm` means: as Rust declares it, unless Python differs."""
    declared = json.loads(_native.declared(algorithm))["properties"]
    return {**{key: _meaning(schema) for key, schema in declared.items()}, **descriptions()}


def _meaning(schema: dict[str, Any]) -> str:
    """The documentation of a setting, its choices, and the solvers that it belongs to."""
    parts = [schema, *schema.get("anyOf", [])]
    choices = [one["const"] for part in parts for one in part.get("oneOf", [])]
    words: str = schema["description"].rstrip(".")
    for prefix, names in ((": ", choices), (", of ", schema.get("x-solvers", []))):
        words += prefix * bool(names) + ", ".join(f"`{name}`" for name in names)
    return words


def led_algorithms(baseline: str) -> dict[str | None, str]:
    """The Stackelberg algorithms on top of `baseline`, by leader."""
    names = (name for name in _native.forms(baseline) if name != baseline)
    return {algorithm_defaults(name)["leader"]: name for name in names}


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


def describe(kind: "type[RustAgent]", own: Mapping[str, Any]) -> str:
    """The docstring of `kind` with a `:param` line for each of its own keywords."""
    words = meanings(next(iter(kind.forms.values())))
    lines = [f":param {k}: {words[k]} (default: {v!r})" for k, v in own.items()]
    return "\n".join([inspect.cleandoc(kind.__doc__ or ""), "", *lines])


def signature(kind: "type[RustAgent]", own: Mapping[str, Any]) -> inspect.Signature:
    """The signature of `kind`: that of Stable-Baselines3's class, and its own keywords."""
    theirs = [p for p in sb3_parameters(kind).values() if p.name not in kind.foreign]
    ours = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in own.items()
    ]
    return inspect.Signature([*theirs, *ours])
