"""What is registered in RL Zoo, and how."""

import copy
import functools
import inspect
import json
import sys
import types
from typing import Any

import rl_zoo3.hyperparams_opt
from rl_zoo3 import exp_manager
from rl_zoo3.utils import ALGOS

import stac_bench
from stac_bench import _native
from stac_bench.agent import LeaderMixin, RustAgent
from stac_bench.settings import algorithm_defaults
from stac_bench.zoo import samplers

# RL Zoo's tables admit its own functions alone, by the names of their parameters.
hyperparams_opt: Any = rl_zoo3.hyperparams_opt


def led(base: type[LeaderMixin], leader: str, name: str) -> type[LeaderMixin]:
    """`base` where `leader` leads, under a name of its own in TensorBoard."""
    doc = f"`{base.__name__}` where the {leader} leads."
    attributes = {"only_leader": leader, "__doc__": doc, "__module__": __name__}
    return type(name.upper().replace("-", "_"), (base,), attributes)


def registered() -> dict[str, tuple[type[RustAgent], str]]:
    """RL Zoo's name of each algorithm: its class, and its name in `stac-bench`.

    `ddpg` becomes `ddpg-rs`, since RL Zoo has one of that name; Stackelberg forms keep theirs.
    """
    public = (getattr(stac_bench, name) for name in stac_bench.__all__)
    classes = [kind for kind in public if isinstance(kind, type) and issubclass(kind, RustAgent)]
    forms = {name: (kind, leader) for kind in classes for leader, name in kind.forms.items()}
    table: dict[str, tuple[type[RustAgent], str]] = {}
    for name in filter(forms.__contains__, _native.algorithms()):
        kind, leader = forms[name]
        if leader is None:
            table[f"{name}-rs"] = kind, name
        elif issubclass(kind, LeaderMixin) and len(kind.forms) > 1:
            table[name] = led(kind, leader, name), name
        else:
            table[name] = kind, name
    return table


ALGORITHMS = registered()

# RL Zoo has options of its own for these.
_NOT_OF_THE_MODEL = {"eval_freq", "eval_episodes", "eval_max_steps", "log_freq", "device"}


def hyperparameters(name: str, env: str, preset: str | None = None) -> dict[str, Any]:
    """The settings of `stac-bench` for RL Zoo's algorithm `name` on `env`."""
    algorithm = ALGORITHMS[name][1]
    settings = json.loads(_native.settings(algorithm, env, preset))
    # Where a value follows from another, it is for the model to say, since `-params` come after.
    settings |= {
        k: v for k, v in algorithm_defaults(algorithm, env, preset).items() if k in settings
    }
    return {
        "policy": "MlpPolicy",
        **{key: value for key, value in settings.items() if key not in _NOT_OF_THE_MODEL},
    }


class Hyperparameters(dict[str, dict[str, Any]]):
    """`default` and an entry per environment, as RL Zoo reads them from a module.

    Entries are copies: RL Zoo takes them apart.
    """

    def __getitem__(self, env: str) -> dict[str, Any]:
        return copy.deepcopy(super().__getitem__(env))


def module_of(name: str, preset: str | None) -> str:
    """The module that RL Zoo reads the hyperparameters of `name` from."""
    return f"stac_bench.zoo.{preset or 'configs'}.{name}"


def register() -> None:
    """Registers everything. A second call changes nothing."""
    if set(ALGORITHMS) <= set(ALGOS):
        return
    for name, (kind, algorithm) in ALGORITHMS.items():
        ALGOS[name] = kind
        hyperparams_opt.HYPERPARAMS_SAMPLER[name] = functools.partial(samplers.sample, kind)
        hyperparams_opt.HYPERPARAMS_CONVERTER[name] = samplers.convert
        for preset in (None, *_native.presets()):
            environments = ["default", *_native.environments(algorithm)]
            module = types.ModuleType(module_of(name, preset))
            module.hyperparams = Hyperparameters(  # type: ignore[attr-defined]  # RL Zoo reads it
                {env: hyperparameters(name, env, preset) for env in environments}
            )
            sys.modules[module.__name__] = module

    manager: Any = exp_manager.ExperimentManager
    original = manager.__init__
    signature = inspect.signature(original)

    @functools.wraps(original)
    def init(*args: Any, **kwargs: Any) -> None:
        given = signature.bind(*args, **kwargs).arguments
        if given.get("config") is None and given["algo"] in ALGORITHMS:
            # `-params preset:"'paper'"` is laid over `configs/`, and the other `-params` over both.
            preset = (given.get("hyperparams") or {}).get("preset")
            _native.settings(ALGORITHMS[given["algo"]][1], preset=preset)  # refuses unknown ones
            kwargs["config"] = module_of(given["algo"], preset)
        original(*args, **kwargs)

    manager.__init__ = init
