"""The gradients of a game, for comparison with other implementations."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from stac_bench.agent import RustAgent

Gradients = dict[str, dict[str, np.ndarray]]


def game_gradients(
    model: RustAgent,
    batch: Mapping[str, np.ndarray],
    *,
    solver: str | None = None,
    lam: float | None = None,
    cg_iterations: int | None = None,
    cg_tolerance: float | None = None,
    **settings: Any,
) -> Gradients:
    """Both players' gradients at the model's parameters on `batch`.

    Both objectives are losses; the actor's is -J. `B` is the number of transitions.

    :param model: `DDPG`, `STDDPG`, `SAC` or `STSAC`; without a leader of its own, the actor leads
    :param batch: float32 arrays `obs` (B, obs_dim), `actions` (B, action_dim) in [-1, 1],
        `rewards` (B,), `next_obs` (B, obs_dim), `dones` (B,), 1 where the task terminated; for SAC
        the standard normal draws of the policy at `obs` and `next_obs` as well, `noise` and
        `next_noise` (B, action_dim); with `use_sde` those of the exploration matrix
        (features, action_dim), one for both in training
    :param solver: and the others: instead of the model's own; more keywords of `STDDPG` are taken
    :return: `leader_gradient` (D1 f1), `implicit_term` (D12 f2 (D22 f2 + lam I)^-1 D2 f1),
        `total_derivative` (their difference) and `follower_gradient` (D2 f2), each a dictionary of
        arrays by parameter name in the networks' order
    """
    from stac_bench.off_policy import LEADER

    given = dict(
        solver=solver, lam=lam, cg_iterations=cg_iterations, cg_tolerance=cg_tolerance, **settings
    )
    unknown = set(given) - set(LEADER) | (set(given) & {"leader"})
    if unknown:
        raise ValueError(f"unknown settings {sorted(unknown)}; known are {sorted(LEADER)}")
    own = {key: getattr(model, key, default) for key, default in LEADER.items()}
    leader = own.pop("leader")
    own |= {key: value for key, value in given.items() if value is not None}
    own["solver"] = own["solver"] or ("woodbury" if leader == "actor" else "cg")
    if solver is not None and lam is None and solver != getattr(model, "solver", None):
        own["lam"] = None  # the solver's own default, not another solver's value
    agent = model._build()
    model._sync()
    return agent.game_gradients(check(model, batch), json.dumps(own, default=float))


def check(model: RustAgent, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The batch as contiguous float32, or a `ValueError` that says what is wrong with it."""
    actions = int(np.prod(model.action_space.shape))
    widths = {"obs": model._codec.dim, "actions": actions, "next_obs": model._codec.dim}
    widths |= {"rewards": 1, "dones": 1}
    noise = {"noise": actions, "next_noise": actions} if hasattr(model, "ent_coef") else {}
    widths |= noise
    if not isinstance(batch, Mapping):
        raise TypeError(f"the batch is a {type(batch).__name__}; it must be a dictionary of arrays")
    if set(batch) != set(widths):
        raise ValueError(f"the batch has {sorted(batch)}; it must have {sorted(widths)}")
    sizes: dict[str, int] = {}
    if noise and model.use_sde:
        # Draws of a matrix with a row per feature, not of rows of the batch.
        sizes = dict.fromkeys(noise, len(model.policy.actor.log_std))
    arrays = {}
    for name, width in widths.items():
        size = sizes.get(name, len(batch["rewards"]))
        array = np.ascontiguousarray(batch[name], dtype=np.float32)
        if len(array) != size or array.size != size * width:
            raise ValueError(f"{name} has shape {array.shape}; it must be ({size}, {width})")
        arrays[name] = array
    return arrays
