"""Stackelberg actor-critic agents for Stable-Baselines3 and RL Baselines3 Zoo.

The classes of `__all__` are Stable-Baselines3 algorithms that learn in Rust: baselines, and their
Stackelberg forms, whose names begin with ST. `game_gradients` computes their gradients on a given
batch, and `game_solve` says how the implicit term's solve goes. `import stac_bench.zoo` registers
them in RL Zoo. What needs PyTorch and the extension module is imported when it is first asked for:
`stac_bench.report`, which reads run folders, needs neither.
"""

import os as _os
import sys as _sys
from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from stac_bench._native import DivergedError
    from stac_bench.gradients import game_gradients, game_solve
    from stac_bench.off_policy import DDPG, SAC, STDDPG, STSAC, STTD3, TD3
    from stac_bench.on_policy import AC, STAC

# `python -m stac_bench` puts the working folder first: a `json.py` there is not the standard one.
if _sys.argv[:1] == ["-m"] and _sys.path[:1] == [_os.getcwd()]:
    _sys.path.append(_sys.path.pop(0))

__version__ = "0.1.0"
__all__ = [
    "AC",
    "DDPG",
    "SAC",
    "STAC",
    "STDDPG",
    "STSAC",
    "STTD3",
    "TD3",
    "DivergedError",
    "game_gradients",
    "game_solve",
]

_HOMES = {
    "off_policy": ["DDPG", "SAC", "STDDPG", "STSAC", "STTD3", "TD3"],
    "on_policy": ["AC", "STAC"],
    "gradients": ["game_gradients", "game_solve"],
    "_native": ["DivergedError"],
}
_TORCH = "2.13"
_REMEDY = f"pip install 'torch=={_TORCH}.*'"


def __getattr__(name: str) -> _Any:
    if name == "_native":
        _import_torch()
        return _import_module("stac_bench._native")
    for home, names in _HOMES.items():
        if name in names:
            __getattr__("_native")
            return getattr(_import_module(f"stac_bench.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _import_torch() -> None:
    """libtorch comes with PyTorch: the extension module then finds it in the process."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"stac_bench needs PyTorch {_TORCH}: {_REMEDY}") from error
    if torch.__version__.split("+")[0].rsplit(".", 1)[0] != _TORCH:
        raise ImportError(
            f"stac_bench was built for PyTorch {_TORCH}, but {torch.__version__} is installed: "
            + _REMEDY
        )
