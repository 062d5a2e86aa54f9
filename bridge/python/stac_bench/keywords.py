"""Keywords of the classes and their types. Defaults and meanings come from Rust (`settings.py`).

Each keyword stands here twice, in a `*Keywords` class and in a `*Settings` class, because no type
checker derives attributes from a `TypedDict`. `tests/test_settings_agree.py` compares the two with
each other and with the settings that Rust declares.
"""

import sys
from typing import Annotated, Any, Literal, TypedDict, get_origin, get_type_hints, is_typeddict

import torch as th
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import Schedule

Role = Literal["actor", "critic"]
SolverName = Literal["woodbury", "cg", "neumann", "nystrom", "dense"]
Curvature = Literal["hessian", "gauss_newton"]
LamUnit = Literal["absolute", "mean_eigenvalue"]
Decay = Literal["none", "exponential", "adaptive"]
Optimizer = Literal["adam", "sgd"]
Order = Literal["sequential", "simultaneous"]
TargetPolicy = Literal["target", "current"]
Engine = Literal["auto", "autograd", "fused"]
CriticKind = Literal["v", "q"]
Surrogate = Literal["proposition1", "reference"]
Preset = Literal["paper"]

# -- keywords ------------------------------------------------------------------------------------
# Those that mean something else here than in Rust, or nothing there, have a description.


class AgentKeywords(TypedDict, total=False):
    """Keywords of every class."""

    learning_rate: float | Schedule
    gamma: float
    tensorboard_log: str | None
    policy_kwargs: dict[str, Any] | None
    verbose: int
    seed: int | None
    device: th.device | str
    _init_setup_model: bool
    critic_learning_rate: float | None
    optimizer: Optimizer
    engine: Engine
    threads: Annotated[
        int, "threads that compute gradients; their number changes results in the last digits"
    ]
    preset: Annotated[
        Preset | None,
        "`paper` for the paper's own settings, on this environment, in place of"
        " the other defaults of these keywords",
    ]


class SolverKeywords(TypedDict, total=False):
    """Keywords of the leader's update."""

    solver: SolverName | None
    curvature: Curvature | None
    lam: float | None
    lam_unit: LamUnit
    lam_decay: Decay
    cg_iterations: int
    cg_tolerance: float
    solver_rank: int
    curvature_stop: bool
    warm_start: bool
    norm_ratio_clamp: float | None
    independent_minibatches: bool


class OffPolicyKeywords(AgentKeywords, SolverKeywords, total=False):
    """Keywords of the off-policy classes."""

    buffer_size: int
    learning_starts: int
    batch_size: int
    tau: float
    train_freq: int | tuple[int, str]
    gradient_steps: int
    action_noise: ActionNoise | None
    replay_buffer_class: type[ReplayBuffer] | None
    replay_buffer_kwargs: dict[str, Any] | None
    optimize_memory_usage: bool
    n_steps: int
    random_steps: Annotated[
        int | None, "steps with uniformly random actions; None for `learning_starts`"
    ]
    update_order: Order
    unroll: int


class BaselineKeywords(TypedDict, total=False):
    """Keywords of classes without a leader."""

    step_match: bool
    noise_match: bool


class LeaderKeywords(TypedDict, total=False):
    """Keywords of the off-policy Stackelberg classes."""

    leader: Role


class DDPGFormKeywords(OffPolicyKeywords, total=False):
    """Keywords of `DDPG` and `STDDPG`."""

    noise_std: Annotated[
        float,
        "standard deviation of exploration noise, relative to half the range of actions;"
        " `action_noise` is added to it",
    ]
    target_policy: TargetPolicy


class DDPGKeywords(DDPGFormKeywords, BaselineKeywords, total=False):
    """Keywords of `DDPG`."""


class STDDPGKeywords(DDPGFormKeywords, LeaderKeywords, total=False):
    """Keywords of `STDDPG`."""


class TD3FormKeywords(DDPGFormKeywords, total=False):
    """Keywords of `TD3` and `STTD3`."""

    policy_delay: int
    target_policy_noise: float
    target_noise_clip: float
    stats_window_size: int


class TD3Keywords(TD3FormKeywords, BaselineKeywords, total=False):
    """Keywords of `TD3`."""


class STTD3Keywords(TD3FormKeywords, LeaderKeywords, total=False):
    """Keywords of `STTD3`."""


class SACFormKeywords(OffPolicyKeywords, total=False):
    """Keywords of `SAC` and `STSAC`."""

    ent_coef: str | float
    target_update_interval: int
    target_entropy: str | float
    use_sde: bool
    sde_sample_freq: int
    use_sde_at_warmup: bool
    stats_window_size: int


class SACKeywords(SACFormKeywords, BaselineKeywords, total=False):
    """Keywords of `SAC`."""


class STSACKeywords(SACFormKeywords, LeaderKeywords, total=False):
    """Keywords of `STSAC`."""


class OnPolicyKeywords(AgentKeywords, SolverKeywords, total=False):
    """Keywords of the on-policy classes."""

    n_steps: int
    gae_lambda: float
    ent_coef: float
    normalize_advantage: bool
    stats_window_size: int
    use_sde: bool
    sde_sample_freq: int
    critic_steps: int
    critic: Annotated[
        CriticKind, "`v` for V(s); only `stac-bench` has `q`, since policies here hold V(s)"
    ]
    surrogate: Surrogate


class ACKeywords(OnPolicyKeywords, BaselineKeywords, total=False):
    """Keywords of `AC`."""


class STACKeywords(OnPolicyKeywords, total=False):
    """Keywords of `STAC`."""

    leader: Literal["actor"]


def descriptions() -> dict[str, str]:
    """What keywords mean whose meaning is not that of Rust."""
    found: dict[str, str] = {}
    for kind in filter(is_typeddict, vars(sys.modules[__name__]).values()):
        hints = get_type_hints(kind, include_extras=True)
        own = {key: hint for key, hint in hints.items() if get_origin(hint) is Annotated}
        found |= {key: hint.__metadata__[0] for key, hint in own.items()}
    return found


# -- attributes ----------------------------------------------------------------------------------


class AgentSettings:
    """Attributes of every class."""

    critic_learning_rate: float | None
    optimizer: Optimizer
    engine: Engine
    threads: int
    preset: Preset | None


class SolverSettings:
    """Attributes of the leader's update."""

    solver: SolverName | None
    curvature: Curvature | None
    lam: float | None
    lam_unit: LamUnit
    lam_decay: Decay
    cg_iterations: int
    cg_tolerance: float
    solver_rank: int
    curvature_stop: bool
    warm_start: bool
    norm_ratio_clamp: float | None
    independent_minibatches: bool


class OffPolicySettings:
    """Attributes of the off-policy classes."""

    random_steps: int | None
    update_order: Order
    unroll: int


class OnPolicySettings:
    """Attributes of the on-policy classes."""

    critic_steps: int
    critic: CriticKind
    surrogate: Surrogate
