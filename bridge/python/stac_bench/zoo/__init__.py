"""Registers the agents in RL Baselines3 Zoo; importing this is all it takes.

`ddpg-rs` and `sac-rs` stand beside Stable-Baselines3's own `ddpg` and `sac`; the Stackelberg
algorithms have the names of `stac-bench algos`. Their hyperparameters are those of `stac-bench`
and need no `--conf-file`; their Optuna samplers are registered too.
"""

from stac_bench.zoo.registry import ALGORITHMS, hyperparameters, register

register()

__all__ = ["ALGORITHMS", "hyperparameters", "register"]
