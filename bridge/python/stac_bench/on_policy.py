"""Actor-critic on trajectories, and STAC."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
import stable_baselines3 as sb3
import torch as th
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import obs_as_tensor
from typing_extensions import Self, Unpack

from stac_bench.agent import LeaderMixin, RustAgent
from stac_bench.keywords import (
    ACKeywords,
    OnPolicySettings,
    SolverSettings,
    STACKeywords,
)
from stac_bench.observations import Observations, concatenate
from stac_bench.rollouts import Result, Rollouts
from stac_bench.synced import SyncedBuffer, synced_class

#: Attributes of a rollout buffer that are computed when one of them is read.
COLUMNS = (
    *("observations", "actions", "rewards", "episode_starts", "values", "log_probs"),
    *("advantages", "returns", "pos", "full"),
)


class SyncedRollout(SyncedBuffer, RolloutBuffer):
    """Mixin for a rollout buffer: fills it when it is read, at most once per rollout."""

    extra_attributes = ("_fill",)
    _fill: Callable[[], None] | None = None

    def before_read(self, name: str) -> None:
        fill, self._fill = self._fill, None
        if fill is not None:
            fill()


class OnPolicyRollouts(Rollouts["AC"]):
    """Rollouts of `n_steps` steps."""

    iterations = 0
    #: Per step: observations, rewards, episode starts, and `infos` of the episodes that ended.
    recorded: list[tuple[Observations, np.ndarray, np.ndarray, list[dict[str, Any] | None]]]

    def read_settings(self) -> None:
        model, self.recorded = self.model, []
        if not isinstance(model.rollout_buffer, SyncedRollout):
            kind = type(model.rollout_buffer)
            model.rollout_buffer.__class__ = synced_class(SyncedRollout, kind, COLUMNS)
        self.buffer = cast(SyncedRollout, model.rollout_buffer)
        self.buffer.buffer_size = self.length = model.n_steps
        self.buffer.reset()
        self.locals |= {"n_rollout_steps": self.length, "rollout_buffer": self.buffer}

    def step_locals(self, actions: np.ndarray, result: Result) -> dict[str, Any]:
        several = super().step_locals(actions, result)
        return {**several, "clipped_actions": actions, "n_steps": self.steps - 1}

    def record_step(
        self, rewards: np.ndarray, dones: np.ndarray, infos: list[dict[str, Any]]
    ) -> None:
        model = self.model
        assert model._last_obs is not None and model._last_episode_starts is not None
        ends = [info if done else None for info, done in zip(infos, dones, strict=True)]
        self.recorded.append((model._last_obs, rewards, model._last_episode_starts, ends))

    def complete(self) -> bool:
        return self.steps >= self.length

    def before_rollout_end(self) -> None:
        self.buffer._fill = self.fill_buffer
        self.callback.update_locals(self.locals)

    def updates_due(self) -> int:
        if self.model.num_timesteps >= self.total:
            self.buffer.before_read("pos")  # filled now, to be there after `learn`
        self.buffer._fill = None  # after the update, values would be those of another policy
        self.iterations += 1
        if self.log_interval is not None and self.iterations % self.log_interval == 0:
            self.model.dump_logs(self.iterations)
        return 1

    @th.no_grad()
    def fill_buffer(self) -> None:
        """Fills the buffer as `collect_rollouts` does, with one forward pass of the policy."""
        model, buffer = self.model, self.buffer
        last_obs, last_starts = model._last_obs, model._last_episode_starts
        assert last_obs is not None and last_starts is not None
        model._sync()
        policy, n = model.__dict__["_policy"], model.n_envs
        # Rust's rows are ordered by environment, the policy's by step.
        actions = self.agent.drawn().reshape(n, self.steps, -1).swapaxes(0, 1)
        actions = np.ascontiguousarray(actions, dtype=model.action_space.dtype)
        obs = concatenate([kept[0] for kept in self.recorded])
        drawn = actions.reshape((self.steps * n, -1) if model.action_space.shape else -1)
        values, log_probs, _ = policy.evaluate_actions(
            obs_as_tensor(obs, model.device), th.as_tensor(drawn, device=model.device)
        )
        values, log_probs = values.reshape(self.steps, n), log_probs.reshape(self.steps, n)
        add: Any = buffer.add  # of a `DictRolloutBuffer` it takes dictionaries
        for t, (seen, rewards, starts, ends) in enumerate(self.recorded):
            rewards = rewards.copy()
            for i, info in enumerate(ends):
                if info is not None and info.get("TimeLimit.truncated", False):
                    terminal = policy.obs_to_tensor(info["terminal_observation"])[0]
                    rewards[i] += model.gamma * policy.predict_values(terminal)[0].item()
            add(seen, actions[t], rewards, starts, values[t], log_probs[t])
        last_values = policy.predict_values(obs_as_tensor(last_obs, model.device))
        buffer.compute_returns_and_advantage(last_values, last_starts)


class AC(OnPolicySettings, SolverSettings, RustAgent, sb3.A2C):
    """Actor-critic on batches of trajectories (Spinning Up's), learning in Rust.

    Takes the keywords of `stable_baselines3.A2C`, with its defaults, except `vf_coef`,
    `max_grad_norm` and those of RMSprop and of the rollout buffer; and those below, with the
    defaults of `stac-bench`. Of these, `optimizer` and `critic_learning_rate` differ from
    `stac-bench`, since they go with the `learning_rate`, which is Stable-Baselines3's. `device` is
    as for `DDPG`, `threads` are those of libtorch.
    """

    algorithm = "ac"
    rollouts_class = OnPolicyRollouts
    changed_defaults: ClassVar[dict[str, Any]] = {"optimizer": "adam", "critic_learning_rate": None}
    fixed: ClassVar[dict[str, Any]] = {"use_rms_prop": False}
    foreign = (
        *("vf_coef", "max_grad_norm", "rms_prop_eps", "use_rms_prop"),
        *("rollout_buffer_class", "rollout_buffer_kwargs"),
    )
    same_settings = ("gamma", "gae_lambda", "normalize_advantage", "ent_coef")
    step_match: bool
    noise_match: bool

    if TYPE_CHECKING:

        def __init__(
            self,
            policy: str | type[BasePolicy],
            env: GymEnv | str | None,
            *args: Any,
            **kwargs: Unpack[ACKeywords],
        ) -> None: ...

    def _settings(self) -> dict[str, Any]:
        if self.critic != "v":
            raise ValueError(
                f"critic={self.critic!r}: policies here hold V(s) alone; stac-bench has `critic: q`"
            )
        policy = self.__dict__["_policy"]
        net_arch = policy.net_arch
        if isinstance(net_arch, dict):
            pi, vf = net_arch.get("pi", []), net_arch.get("vf", [])
            if pi != vf:
                raise ValueError(f"net_arch: both networks must have one shape, not {pi}, {vf}")
            net_arch = pi
        return {
            **self._own_settings(),
            **{name: getattr(self, name) for name in self.same_settings},
            "use_sde": self.use_sde,
            "sde_sample_freq": self.sde_sample_freq if self.sde_sample_freq > 0 else -1,
            "device": "cuda" if self.device.type == "cuda" else "cpu",
            "policy_kwargs": {
                **self._network(policy, net_arch),
                "log_std_init": policy.log_std_init,
                "use_expln": (policy.dist_kwargs or {}).get("use_expln", False),
            },
        }

    def _optimizers(self) -> list[th.optim.Optimizer]:
        return [self.__dict__["_policy"].optimizer]

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 100,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Trains for `total_timesteps` environment steps, as in Stable-Baselines3.

        The loop runs in Rust, in the same order. `rollout_buffer` is filled when a rollout ends.
        Raises `ValueError` for a reward or observation that is NaN, and `DivergedError` where
        weights or losses are no longer finite.
        """
        return self._learn(
            total_timesteps,
            callback,
            log_interval,
            tb_log_name,
            reset_num_timesteps,
            progress_bar,
        )


class STAC(LeaderMixin, AC):
    """Stackelberg actor-critic: the actor leads and follows its total derivative.

    Takes the keywords of `stable_baselines3.A2C` as `AC` does, and those below. With the defaults
    of `stac-bench` but for `optimizer` and `critic_learning_rate`, as for `AC`.
    """

    leader: Literal["actor"]

    if TYPE_CHECKING:

        def __init__(
            self,
            policy: str | type[BasePolicy],
            env: GymEnv | str | None,
            *args: Any,
            **kwargs: Unpack[STACKeywords],
        ) -> None: ...
