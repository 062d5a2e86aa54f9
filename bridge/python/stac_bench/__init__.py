"""Stackelberg actor-critic agents for Stable-Baselines3 and RL Baselines3 Zoo.

The classes of `__all__` are Stable-Baselines3 algorithms that learn in Rust: baselines, and their
Stackelberg forms, whose names begin with ST. `game_gradients` computes their gradients on a given
batch, and `game_solve` says how the implicit term's solve goes. `import stac_bench.zoo` registers
them in RL Zoo.
"""

import os as _os
import sys as _sys

# `python -m stac_bench` puts the working folder first: a `json.py` there is not the standard one.
if _sys.argv[:1] == ["-m"] and _sys.path[:1] == [_os.getcwd()]:
    _sys.path.append(_sys.path.pop(0))

_TORCH = "2.13"
_REMEDY = f"pip install 'torch=={_TORCH}.*'"

# libtorch comes with PyTorch: once this is imported, the extension module finds it in the process.
try:
    import torch as _torch
except ImportError as error:
    raise ImportError(f"stac_bench needs PyTorch {_TORCH}: {_REMEDY}") from error
if _torch.__version__.split("+")[0].rsplit(".", 1)[0] != _TORCH:
    raise ImportError(
        f"stac_bench was built for PyTorch {_TORCH}, but {_torch.__version__} is installed: "
        + _REMEDY
    )

from stac_bench._native import DivergedError  # noqa: E402
from stac_bench.gradients import game_gradients, game_solve  # noqa: E402
from stac_bench.off_policy import DDPG, SAC, STDDPG, STSAC, STTD3, TD3  # noqa: E402
from stac_bench.on_policy import AC, STAC  # noqa: E402

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
