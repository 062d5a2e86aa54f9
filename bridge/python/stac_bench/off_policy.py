"""DDPG, TD3, SAC and their Stackelberg forms."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import stable_baselines3 as sb3
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, TrainFreq
from stable_baselines3.common.type_aliases import TrainFrequencyUnit as Unit
from stable_baselines3.common.vec_env import VecNormalize
from typing_extensions import Self, Unpack

from stac_bench.agent import LeaderMixin, RustAgent, policy_attr
from stac_bench.exchange import synced_property
from stac_bench.keywords import (
    DDPGKeywords,
    OffPolicySettings,
    SACKeywords,
    SolverSettings,
    STDDPGKeywords,
    STSACKeywords,
    STTD3Keywords,
    TargetPolicy,
    TD3Keywords,
)
from stac_bench.replay import SyncedReplay, attach
from stac_bench.rollouts import Result, Rollouts
from stac_bench.settings import algorithm_defaults


class OffPolicyRollouts(Rollouts["RustOffPolicy"]):
    """Rollouts of `train_freq` steps or episodes."""

    def read_settings(self) -> None:
        model = self.model
        self.frequency, self.unit = model._train_frequency()
        if self.frequency < 1:
            raise ValueError(f"train_freq={self.frequency}: it must be at least 1")
        if self.unit == Unit.EPISODE and model.n_envs > 1:
            raise ValueError("train_freq in episodes needs a single environment")
        self.action_noise = model.action_noise
        self.locals |= {
            "train_freq": model.train_freq,
            "action_noise": self.action_noise,
            "learning_starts": model.learning_starts,
            "replay_buffer": model.replay_buffer,
        }

    @property
    def normalizer(self) -> VecNormalize | None:
        return self.model._vec_normalize_env

    @property
    def noise(self) -> Callable[[], np.ndarray | None]:
        return self.draw_noise

    def draw_noise(self) -> np.ndarray | None:
        """`action_noise` of each environment, None if there is none."""
        if self.action_noise is None:
            return None
        shape = (self.model.n_envs, *self.model.action_space.shape)
        return np.array(np.broadcast_to(self.action_noise(), shape), dtype=np.float64)

    def step_locals(self, actions: np.ndarray, result: Result) -> dict[str, Any]:
        scaled = self.model.policy_scale(actions)
        return {**super().step_locals(actions, result), "buffer_actions": scaled}

    def complete(self) -> bool:
        return (self.steps if self.unit == Unit.STEP else self.episodes) >= self.frequency

    def updates_due(self) -> int:
        model = self.model
        if model.num_timesteps <= model.learning_starts:
            return 0
        steps = model.gradient_steps
        return steps if steps >= 0 else self.steps * model.n_envs

    def episode_ended(self, index: int) -> None:
        model = self.model
        if self.action_noise is not None:
            # Noise of one environment takes no `indices`.
            self.action_noise.reset(**({"indices": [index]} if self.env.num_envs > 1 else {}))
        if self.log_interval is not None and model._episode_num % self.log_interval == 0:
            model.dump_logs()


class RustOffPolicy(OffPolicySettings, SolverSettings, RustAgent, OffPolicyAlgorithm):
    """An off-policy class of Stable-Baselines3 that learns in Rust.

    Updates sample the Rust replay memory. `model.replay_buffer` is a Stable-Baselines3 buffer that
    is copied from it when read, and copied back when changed.
    """

    rollouts_class = OffPolicyRollouts
    action_space: spaces.Box
    actor = policy_attr("actor")
    critic = policy_attr("critic")
    critic_target = policy_attr("critic_target")
    same_settings: ClassVar[tuple[str, ...]] = ("gamma", "tau", "batch_size")
    setting_attributes: ClassVar[tuple[str, ...]] = ("learning_starts", "train_freq")
    #: Whether updates draw noise for the policy.
    draws_noise: ClassVar[bool] = False

    def _refuse_n_steps(self) -> None:
        if self.n_steps != 1:
            raise ValueError(f"n_steps={self.n_steps}: only one-step targets are differentiated")

    def _settings(self) -> dict[str, Any]:
        self._refuse_n_steps()
        if self.replay_buffer_class not in (None, ReplayBuffer, DictReplayBuffer):
            name = self.replay_buffer_class.__name__
            raise ValueError(f"replay_buffer_class={name}: it must be ReplayBuffer")
        # With `optimize_memory_usage` the buffer cannot mark truncated episodes; Rust's can.
        saves = self.optimize_memory_usage
        if not (saves or self.replay_buffer_kwargs.get("handle_timeout_termination", True)):
            raise ValueError(
                "replay_buffer_kwargs: handle_timeout_termination=False: it must be True, since"
                " updates always bootstrap from truncated episodes"
            )
        policy = self.__dict__["_policy"]
        actor, critic = policy.actor_kwargs["net_arch"], policy.critic_kwargs["net_arch"]
        if actor != critic:
            raise ValueError(f"net_arch: both networks must have one shape, not {actor}, {critic}")
        own = self._own_settings()
        if own["random_steps"] is None:
            own["random_steps"] = int(self.learning_starts)
        frequency, unit = self._train_frequency()
        return {
            **own,
            **{name: getattr(self, name) for name in self.same_settings},
            "train_freq": [frequency, unit.value],
            # `buffer_size` of the buffer is per environment.
            "buffer_size": self.__dict__["replay_buffer"].buffer_size * self.n_envs,
            "device": "cuda" if self.device.type == "cuda" else "cpu",
            "policy_kwargs": {
                **self._network(policy, actor),
                **self._critics(policy.critic_kwargs["n_critics"]),
            },
        }

    def _critics(self, n_critics: int) -> dict[str, int]:
        """`n_critics` for the Rust agent, whose algorithm may know of one critic alone."""
        if "n_critics" in algorithm_defaults(self._algorithm())["policy_kwargs"]:
            return {"n_critics": n_critics}
        if n_critics != 1:
            raise ValueError(f"n_critics={n_critics}: {type(self).__name__} has one critic")
        return {}

    def _optimizers(self) -> list[th.optim.Optimizer]:
        policy = self.__dict__["_policy"]
        return [policy.actor.optimizer, policy.critic.optimizer]

    def _sharing(self) -> int | None:
        return self.n_envs if self.optimize_memory_usage else None

    def policy_scale(self, actions: np.ndarray) -> np.ndarray:
        """Actions scaled to `[-1, 1]`, as the replay buffer stores them."""
        low, high = self.action_space.low, self.action_space.high
        scaled: np.ndarray = 2.0 * ((actions - low) / (high - low)) - 1.0
        return scaled

    def _train_frequency(self) -> TrainFreq:
        """`train_freq` as a number and a unit."""
        self._convert_train_freq()
        return cast(TrainFreq, self.train_freq)  # declared with the type of the keyword

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 4,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Trains for `total_timesteps` environment steps, as in Stable-Baselines3.

        The loop runs in Rust, in the same order. Raises `ValueError` for a reward or observation
        that is NaN, and `DivergedError` where weights or losses are no longer finite.
        """
        return self._learn(
            total_timesteps,
            callback,
            log_interval,
            tb_log_name,
            reset_num_timesteps,
            progress_bar,
        )

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Makes updates on minibatches of the replay memory, for loops of your own.

        `learn` makes its updates itself.
        """
        if self._learning:
            raise RuntimeError("train: `learn` is going on, and makes its updates itself")
        normalizer, given = self._vec_normalize_env, self.batch_size
        self.batch_size = batch_size
        try:
            agent = self._build()
            self._may_have_changed = True
            self._push_changes()
            self._apply_settings()
            before = agent.updates
            agent.train(gradient_steps, self.threads, normalizer=normalizer)
        finally:
            self.batch_size = given
        self._n_updates += agent.updates - before
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self._record_metrics()

    # -- the replay memory -------------------------------------------------------------------

    @property
    def replay_buffer(self) -> ReplayBuffer | None:
        """The Rust memory as a Stable-Baselines3 buffer; changes to it reach the Rust memory."""
        return self.__dict__.get("replay_buffer")

    @replay_buffer.setter
    def replay_buffer(self, buffer: ReplayBuffer | None) -> None:
        old = self.__dict__.get("replay_buffer")
        if isinstance(old, SyncedReplay) and old is not buffer:
            old.pull()
            old._owner = None
        self.__dict__["replay_buffer"] = buffer if buffer is None else attach(buffer, self)

    def _push_changes(self) -> None:
        super()._push_changes()
        buffer = self.__dict__["replay_buffer"]
        if buffer is None:
            raise ValueError("the model has no replay buffer: load one, or make a new model")
        if buffer._may_be_newer:
            self._build()  # the buffer may have another size
            buffer.push_changes()

    def _memory(self) -> Any:
        buffer = self.__dict__["replay_buffer"]
        return list(buffer.place())

    def _load_memory(self, saved: Any) -> None:
        self.__dict__["replay_buffer"].pull_all(saved)

    def _setup_model(self) -> None:
        self._refuse_n_steps()
        super()._setup_model()
        self.replay_buffer = self.__dict__["replay_buffer"]  # one from a zip is not attached yet

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.replay_buffer = self.__dict__["replay_buffer"]


class DeterministicPolicy(RustOffPolicy):
    """An off-policy class whose policy is deterministic, with noise added for exploration."""

    actor_target = policy_attr("actor_target")
    noise_std: float
    target_policy: TargetPolicy
    step_match: bool
    noise_match: bool

    def _acts_alike(self, deterministic: bool) -> bool:
        return True


class DDPG(DeterministicPolicy, sb3.DDPG):
    """Deep deterministic policy gradient (Lillicrap et al., 2016), learning in Rust.

    Takes the keywords of `stable_baselines3.DDPG`, with its defaults, and those below, with the
    defaults of `stac-bench`. `device="auto"` is the CPU; `cuda` needs `engine="autograd"`.
    """

    algorithm = "ddpg"

    if TYPE_CHECKING:

        def __init__(
            self,
            policy: str | type[BasePolicy],
            env: GymEnv | str | None,
            *args: Any,
            **kwargs: Unpack[DDPGKeywords],
        ) -> None: ...


class TD3(DeterministicPolicy, sb3.TD3):
    """Twin delayed DDPG (Fujimoto et al., 2018), learning in Rust.

    Takes the keywords of `stable_baselines3.TD3`, with its defaults, and those below, with the
    defaults of `stac-bench`. `device` is as for `DDPG`.
    """

    algorithm = "td3"
    same_settings = (
        *RustOffPolicy.same_settings,
        *("policy_delay", "target_policy_noise", "target_noise_clip"),
    )
    draws_noise = True

    if TYPE_CHECKING:

        def __init__(
            self,
            policy: str | type[BasePolicy],
            env: GymEnv | str | None,
            *args: Any,
            **kwargs: Unpack[TD3Keywords],
        ) -> None: ...


class SAC(RustOffPolicy, sb3.SAC):
    """Soft actor-critic (Haarnoja et al., 2018), learning in Rust.

    Takes the keywords of `stable_baselines3.SAC`, with its defaults, and those below, with the
    defaults of `stac-bench`. `target_update_interval` counts all updates, not those of one round
    alone. With `use_sde`, `engine="auto"` is `autograd`. `device` is as for `DDPG`.
    """

    algorithm = "sac"
    step_match: bool
    noise_match: bool
    same_settings = (*RustOffPolicy.same_settings, "target_entropy", "target_update_interval")
    setting_attributes = (
        *RustOffPolicy.setting_attributes,
        *("ent_coef", "sde_sample_freq", "use_sde_at_warmup"),
    )
    draws_noise = True
    log_ent_coef = synced_property("log_ent_coef")

    if TYPE_CHECKING:

        def __init__(
            self,
            policy: str | type[BasePolicy],
            env: GymEnv | str | None,
            *args: Any,
            **kwargs: Unpack[SACKeywords],
        ) -> None: ...

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """As that of `DDPG`, with the default of `stable_baselines3.SAC`."""
        super().train(gradient_steps, batch_size)

    def _settings(self) -> dict[str, Any]:
        auto = isinstance(self.ent_coef, str) and self.ent_coef.startswith("auto")
        if auto and self.__dict__.get("_log_ent_coef") is None:
            raise ValueError(
                f"ent_coef={self.ent_coef!r}: a coefficient that was fixed stays fixed"
            )
        return {
            **self._with_sde(super()._settings()),
            "ent_coef": self.ent_coef if auto else float(self.ent_coef),
        }

    def _with_sde(self, settings: dict[str, Any]) -> dict[str, Any]:
        if not self.use_sde:
            return settings
        given = self.__dict__["_policy"].actor_kwargs
        noise = {key: given[key] for key in ("log_std_init", "use_expln", "clip_mean")}
        return {
            **settings,
            "use_sde": True,
            "sde_sample_freq": self.sde_sample_freq if self.sde_sample_freq > 0 else -1,
            "use_sde_at_warmup": self.use_sde_at_warmup,
            "policy_kwargs": {**settings["policy_kwargs"], **noise},
        }

    def _tensors(self) -> dict[str, th.Tensor]:
        learnt = self.__dict__.get("_log_ent_coef")
        return super()._tensors() | ({} if learnt is None else {"log_ent_coef": learnt})

    def _optimizers(self) -> list[th.optim.Optimizer]:
        learnt = [] if self.ent_coef_optimizer is None else [self.ent_coef_optimizer]
        return super()._optimizers() + learnt

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_log_ent_coef"]


class STDDPG(LeaderMixin, DDPG):
    """Stackelberg DDPG: the leader follows its total derivative.

    Takes the keywords of `stable_baselines3.DDPG`, with its defaults, and those below, with the
    defaults of `stac-bench`. Where the critic leads, the default of `solver` is `cg`.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            policy: str | type[BasePolicy],
            env: GymEnv | str | None,
            *args: Any,
            **kwargs: Unpack[STDDPGKeywords],
        ) -> None: ...


class STTD3(LeaderMixin, TD3):
    """Stackelberg TD3: the leader follows its total derivative.

    Takes the keywords of `stable_baselines3.TD3`, with its defaults, and those below, with the
    defaults of `stac-bench`. Where the critic leads, the default of `solver` is `cg`.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            policy: str | type[BasePolicy],
            env: GymEnv | str | None,
            *args: Any,
            **kwargs: Unpack[STTD3Keywords],
        ) -> None: ...


class STSAC(LeaderMixin, SAC):
    """Stackelberg SAC: the leader follows its total derivative.

    Takes the keywords of `stable_baselines3.SAC`, with its defaults, and those below, with the
    defaults of `stac-bench`. Where the critic leads, the default of `solver` is `cg`.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            policy: str | type[BasePolicy],
            env: GymEnv | str | None,
            *args: Any,
            **kwargs: Unpack[STSACKeywords],
        ) -> None: ...
