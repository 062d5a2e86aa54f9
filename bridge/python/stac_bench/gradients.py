"""The gradients of a game, for comparison with other implementations."""

import warnings
from collections.abc import Mapping
from typing import Any, TypedDict, cast

import numpy as np
from typing_extensions import Unpack

from stac_bench import _native
from stac_bench.agent import RustAgent
from stac_bench.keywords import SolverKeywords
from stac_bench.off_policy import RustOffPolicy
from stac_bench.settings import algorithm_defaults, as_json, led_algorithms

Gradients = dict[str, dict[str, np.ndarray]]


class SolveInfo(TypedDict):
    """How the implicit term's solve went.

    `fallback`: it failed or was not finite, and the implicit term is zero.
    """

    residual: float
    iterations: int
    negative_curvature: bool
    fallback: bool


def game_gradients(
    model: RustAgent, batch: Mapping[str, np.ndarray], **settings: Unpack[SolverKeywords]
) -> Gradients:
    """Both players' gradients at the model's parameters on `batch`.

    Both objectives are losses; the actor's is -J. `B` is the number of transitions. Warns if the
    solve failed, so that the implicit term is zero; `game_solve` tells more.

    :param model: an off-policy one; without a leader of its own, the actor leads
    :param batch: float32 arrays `obs` (B, obs_dim), `actions` (B, action_dim) in [-1, 1],
        `rewards` (B,), `next_obs` (B, obs_dim), `dones` (B,), 1 where the task terminated; where
        updates draw noise for the policy its standard normal draws at both as well, `noise` and
        `next_noise` (B, action_dim); with `use_sde` those of the exploration matrix
        (features, action_dim), one for both in training
    :param settings: `solver`, `lam`, `cg_iterations`, `cg_tolerance` and the others of a leader as
        in `STDDPG`, instead of the model's own
    :return: `leader_gradient` (D1 f1), `implicit_term` (D12 f2 (D22 f2 + lam I)^-1 D2 f1),
        `total_derivative` (their difference) and `follower_gradient` (D2 f2), each a dictionary of
        arrays by parameter name in the networks' order
    """
    gradients, solve = compute(model, batch, dict(settings))
    if solve["fallback"]:
        warnings.warn(
            f"the solve failed (residual {solve['residual']:.3g} after {solve['iterations']}"
            f" iterations, negative curvature: {solve['negative_curvature']}): the implicit term is"
            " zero, and the total derivative the leader's own gradient; more `lam` may help",
            RuntimeWarning,
            stacklevel=2,
        )
    return gradients


def game_solve(
    model: RustAgent, batch: Mapping[str, np.ndarray], **settings: Unpack[SolverKeywords]
) -> SolveInfo:
    """How the solve behind `game_gradients` of the same arguments goes."""
    return compute(model, batch, dict(settings))[1]


def compute(
    model: RustAgent, batch: Mapping[str, np.ndarray], given: dict[str, Any]
) -> tuple[Gradients, SolveInfo]:
    """The gradients, and how the solve went."""
    if not isinstance(model, RustOffPolicy):
        raise TypeError(
            f"the model is {type(model).__name__}; it must be an off-policy one: others"
            " learn from whole trajectories, not from a batch of transitions"
        )
    known = set(SolverKeywords.__annotations__)
    if unknown := set(given) - known:
        raise ValueError(f"unknown settings {sorted(unknown)}; known are {sorted(known)}")
    leader = getattr(model, "leader", "actor")
    form = led_algorithms(model.algorithm)[leader]
    defaults = algorithm_defaults(form)
    own = {key: getattr(model, key, defaults[key]) for key in known}
    own["solver"] = own["solver"] or defaults["solver"]
    if given.get("solver") not in (None, own["solver"]):
        own["curvature"] = own["lam"] = None  # the defaults of that solver
    # None means the model's own value, except for `norm_ratio_clamp`, where it is a value.
    chosen = {k for k, value in given.items() if value is not None or k == "norm_ratio_clamp"}
    own |= {key: given[key] for key in chosen}
    foreign = _native.foreign(form, as_json(own))
    for key in sorted(chosen & set(foreign)):
        raise ValueError(f"{key}={given[key]}: {foreign[key]}")
    agent = model._build()
    model._sync()
    gradients, solve = agent.game_gradients(check(model, batch), as_json(own))
    return gradients, cast(SolveInfo, solve)


def check(model: RustOffPolicy, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The batch as contiguous float32, or a `ValueError` that says what is wrong with it."""
    actions = int(np.prod(model.action_space.shape))
    widths = {"obs": model._codec.dim, "actions": actions, "next_obs": model._codec.dim}
    widths |= {"rewards": 1, "dones": 1}
    noise = {"noise": actions, "next_noise": actions} if model.draws_noise else {}
    widths |= noise
    if not isinstance(batch, Mapping):
        raise TypeError(f"the batch is a {type(batch).__name__}; it must be a dictionary of arrays")
    if set(batch) != set(widths):
        raise ValueError(f"the batch has {sorted(batch)}; it must have {sorted(widths)}")
    transitions = np.size(batch["rewards"])
    if transitions == 0:
        raise ValueError("the batch is empty; it must have at least one transition")
    sizes: dict[str, int] = {}
    if noise and model.use_sde:
        # The exploration matrix has a row per feature.
        sizes = dict.fromkeys(noise, len(model.policy.actor.log_std))
    arrays = {}
    for name, width in widths.items():
        size = sizes.get(name, transitions)
        array = np.ascontiguousarray(batch[name], dtype=np.float32)
        if len(array) != size or array.size != size * width:
            raise ValueError(f"{name} has shape {array.shape}; it must be ({size}, {width})")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has numbers that are NaN or infinite")
        arrays[name] = array
    return arrays
