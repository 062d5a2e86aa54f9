"""Registers the agents in RL Baselines3 Zoo; importing this is all it takes.

`ac-rs`, `ddpg-rs` and `sac-rs` are named apart from Stable-Baselines3's `ddpg` and `sac`; the
Stackelberg algorithms have the names of `stac-bench algos`. Their hyperparameters are those of
`stac-bench` and need no `--conf-file`; `-params preset:"'paper'"` takes the paper's. Optuna's
samplers are registered too.
"""

from stac_bench import _native as _native  # first of all: it says which PyTorch is needed
from stac_bench.zoo.registry import ALGORITHMS, hyperparameters, register

register()

__all__ = ["ALGORITHMS", "hyperparameters", "register"]
