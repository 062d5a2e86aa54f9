"""What the classes are told and keep, for type checkers and editors."""

from typing import Any, Literal, TypedDict

import torch as th
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import Schedule

Role = Literal["actor", "critic"]
SolverName = Literal["woodbury", "cg", "neumann", "nystrom", "dense"]
Curvature = Literal["hessian", "gauss_newton"]
Decay = Literal["none", "exponential", "adaptive"]
Optimizer = Literal["adam", "sgd"]
Order = Literal["sequential", "simultaneous"]
TargetPolicy = Literal["target", "current"]
Engine = Literal["auto", "autograd", "fused"]
CriticKind = Literal["v", "q"]
Surrogate = Literal["proposition1", "reference"]

# -- keywords ------------------------------------------------------------------------------------


class AgentKeywords(TypedDict, total=False):
    """Keywords of every class. Stable-Baselines3's come first, with its defaults."""

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
    threads: int


class SolverKeywords(TypedDict, total=False):
    """Keywords of the leader's update."""

    solver: SolverName | None
    curvature: Curvature
    lam: float | None
    lam_decay: Decay
    cg_iterations: int
    cg_tolerance: float
    solver_rank: int
    curvature_stop: bool
    warm_start: bool
    norm_ratio_clamp: float | None
    independent_minibatches: bool


class OffPolicyKeywords(AgentKeywords, total=False):
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
    random_steps: int | None
    update_order: Order
    unroll: int


class DDPGKeywords(OffPolicyKeywords, total=False):
    """Keywords of `DDPG`."""

    noise_std: float
    target_policy: TargetPolicy


class SACKeywords(OffPolicyKeywords, total=False):
    """Keywords of `SAC`."""

    ent_coef: str | float
    target_update_interval: int
    target_entropy: str | float
    use_sde: bool
    sde_sample_freq: int
    use_sde_at_warmup: bool
    stats_window_size: int


class STDDPGKeywords(DDPGKeywords, SolverKeywords, total=False):
    """Keywords of `STDDPG`."""

    leader: Role


class STSACKeywords(SACKeywords, SolverKeywords, total=False):
    """Keywords of `STSAC`."""

    leader: Role


class ACKeywords(AgentKeywords, SolverKeywords, total=False):
    """Keywords of `AC`."""

    n_steps: int
    gae_lambda: float
    ent_coef: float
    normalize_advantage: bool
    stats_window_size: int
    use_sde: bool
    sde_sample_freq: int
    critic_steps: int
    critic: CriticKind
    surrogate: Surrogate
    step_match: bool


class STACKeywords(ACKeywords, total=False):
    """Keywords of `STAC`."""

    leader: Literal["actor"]


# -- attributes ----------------------------------------------------------------------------------


class AgentSettings:
    """Settings of every class that Stable-Baselines3's does not have."""

    critic_learning_rate: float | None
    optimizer: Optimizer
    engine: Engine
    threads: int


class SolverSettings:
    """Settings of the leader's update."""

    solver: SolverName | None
    curvature: Curvature
    lam: float | None
    lam_decay: Decay
    cg_iterations: int
    cg_tolerance: float
    solver_rank: int
    curvature_stop: bool
    warm_start: bool
    norm_ratio_clamp: float | None
    independent_minibatches: bool


class OffPolicySettings:
    """Settings of the off-policy classes."""

    random_steps: int | None
    update_order: Order
    unroll: int
