"""What is registered in RL Zoo, and how."""

import copy
import functools
import json
import sys
import types
from typing import Any

import rl_zoo3.hyperparams_opt
from rl_zoo3 import exp_manager
from rl_zoo3.utils import ALGOS
from stable_baselines3.common.base_class import BaseAlgorithm

import stac_bench
from stac_bench import _native
from stac_bench.zoo import samplers

# RL Zoo's tables admit its own functions alone, by the names of their parameters.
hyperparams_opt: Any = rl_zoo3.hyperparams_opt


def led(base: Any, leader: str) -> type[BaseAlgorithm]:
    """`base` with that leader, under a name of its own in TensorBoard."""
    name = f"{base.__name__}_{leader[0].upper()}L"
    defaults = {**base.own_defaults, "leader": leader}
    return type(name, (base,), {"own_defaults": defaults, "__doc__": base.__doc__})


#: RL Zoo's name of each algorithm: its class, and its name in `configs/`.
ALGORITHMS: dict[str, tuple[type[BaseAlgorithm], str]] = {
    "ac-rs": (stac_bench.AC, "ac"),
    "stac": (stac_bench.STAC, "stac"),
    "ddpg-rs": (stac_bench.DDPG, "ddpg"),
    "stddpg-al": (led(stac_bench.STDDPG, "actor"), "stddpg-al"),
    "stddpg-cl": (led(stac_bench.STDDPG, "critic"), "stddpg-cl"),
    "sac-rs": (stac_bench.SAC, "sac"),
    "stsac-al": (led(stac_bench.STSAC, "actor"), "stsac-al"),
    "stsac-cl": (led(stac_bench.STSAC, "critic"), "stsac-cl"),
}

# RL Zoo has options of its own for these.
_NOT_OF_THE_MODEL = {"eval_freq", "eval_episodes", "log_freq", "device"}


def hyperparameters(name: str, env: str) -> dict[str, Any]:
    """The hyperparameters of `configs/*.yml` for RL Zoo's algorithm `name` on `env`."""
    settings = json.loads(_native.settings(ALGORITHMS[name][1], env))
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


def module_of(name: str) -> str:
    """The module that RL Zoo reads the hyperparameters of `name` from."""
    return f"stac_bench.zoo.configs.{name}"


def register() -> None:
    """Registers everything. Doing it again changes nothing."""
    if set(ALGORITHMS) <= set(ALGOS):
        return
    for name, (kind, config) in ALGORITHMS.items():
        ALGOS[name] = kind
        environments = ["default", *_native.environments(config)]
        module = types.ModuleType(module_of(name))
        module.hyperparams = Hyperparameters(  # type: ignore[attr-defined]
            {env: hyperparameters(name, env) for env in environments}
        )
        sys.modules[module.__name__] = module
        hyperparams_opt.HYPERPARAMS_SAMPLER[name] = functools.partial(samplers.sample, kind)
        hyperparams_opt.HYPERPARAMS_CONVERTER[name] = samplers.convert

    manager: Any = exp_manager.ExperimentManager
    original = manager.__init__

    @functools.wraps(original)
    def init(self: Any, args: Any, algo: str, *rest: Any, **kwargs: Any) -> None:
        if kwargs.get("config") is None and algo in ALGORITHMS:
            kwargs["config"] = module_of(algo)
        original(self, args, algo, *rest, **kwargs)

    manager.__init__ = init
