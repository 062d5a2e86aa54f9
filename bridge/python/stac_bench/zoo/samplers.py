"""What Optuna varies."""

from typing import Any

import optuna

from stac_bench.agent import RustAgent
from stac_bench.off_policy import RustOffPolicy


def sample(
    kind: type[RustAgent],
    trial: optuna.Trial,
    n_actions: int,
    n_envs: int,
    additional_args: dict[str, Any],
) -> dict[str, Any]:
    """Hyperparameters of one trial of the class `kind`."""
    known = kind.own_defaults
    sampled: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
        "one_minus_gamma": trial.suggest_float("one_minus_gamma", 1e-4, 0.03, log=True),
    }
    if issubclass(kind, RustOffPolicy):
        sampled["tau"] = trial.suggest_float("tau", 1e-3, 0.08, log=True)
        sampled["batch_size_pow"] = trial.suggest_int("batch_size_pow", 5, 9)
    if "noise_std" in known:
        sampled["noise_std"] = trial.suggest_float("noise_std", 0.0, 0.5)
    if "leader" in known:
        sampled["lam"] = trial.suggest_float("lam", 1e-2, 1e3, log=True)
    return convert(sampled)


def convert(sampled: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters that `sampled` stands for."""
    sampled = dict(sampled)
    hyperparameters: dict[str, Any] = {"gamma": 1.0 - sampled.pop("one_minus_gamma")}
    if "batch_size_pow" in sampled:
        hyperparameters["batch_size"] = 2 ** sampled.pop("batch_size_pow")
    return {**hyperparameters, **sampled}
