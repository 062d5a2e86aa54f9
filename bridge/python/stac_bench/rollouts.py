"""The bookkeeping and callbacks of Stable-Baselines3's `collect_rollouts`, for the Rust loop."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from typing_extensions import Unpack

from stac_bench.observations import Observations

if TYPE_CHECKING:
    from stac_bench.agent import RustAgent

Model = TypeVar("Model", bound="RustAgent")
#: What `VecEnv.step` returns.
Result = tuple[Observations, np.ndarray, np.ndarray, list[dict[str, Any]]]


def as_arrays(*result: Unpack[Result]) -> Result:
    """The same with arrays: a `VecEnv` may answer with lists, or with columns."""
    new_obs, rewards, dones, infos = result
    new_obs = new_obs if isinstance(new_obs, dict) else np.asarray(new_obs)
    return new_obs, np.asarray(rewards).reshape(-1), np.asarray(dones).reshape(-1), infos


class Rollouts(Generic[Model]):
    """What the Rust loop calls in place of `collect_rollouts`.

    `step` is called after each step of the environments, before it is stored. `end` is called after
    the last step of a rollout. The updates follow, then `start`. This is Stable-Baselines3's order.
    """

    def __init__(
        self, model: Model, callback: BaseCallback, total: int, log_interval: int | None
    ) -> None:
        assert model.env is not None and model._agent is not None
        self.model, self.callback = model, callback
        self.env: VecEnv = model.env
        self.agent = model._agent
        self.total, self.log_interval = total, log_interval
        self.steps = self.episodes = 0
        self.locals: dict[str, Any] = {
            "self": model,
            "env": self.env,
            "callback": callback,
            "log_interval": log_interval,
            "continue_training": True,
        }
        self.base_updates = model._n_updates - self.agent.updates
        self.start()

    @property
    def normalizer(self) -> VecNormalize | None:
        """Whose statistics the Rust agent applies to observations and rewards as they were."""
        return None

    @property
    def noise(self) -> Callable[[], np.ndarray | None] | None:
        """Draws what is added to the actions of one step, in units of half their ranges."""
        return None

    def read_settings(self) -> None:
        """Reads the settings for the next rollout."""
        raise NotImplementedError

    def complete(self) -> bool:
        """Whether the rollout has all its steps."""
        raise NotImplementedError

    def updates_due(self) -> int:
        """The number of updates after the rollout."""
        raise NotImplementedError

    def episode_ended(self, index: int) -> None:
        """Environment `index` finished an episode."""

    def record_step(
        self, rewards: np.ndarray, dones: np.ndarray, infos: list[dict[str, Any]]
    ) -> None:
        """Called with each step from `model._last_obs`."""

    def before_rollout_end(self) -> None:
        """Called before `on_rollout_end` of the callbacks."""

    def step_locals(self, actions: np.ndarray, result: Result) -> dict[str, Any]:
        """The `locals` that callbacks see after one step."""
        new_obs, rewards, dones, infos = result
        names = {"actions": actions, "new_obs": new_obs, "rewards": rewards, "dones": dones}
        return {**names, "infos": infos}

    def start(self) -> bool:
        """Starts a rollout, unless all steps are done. Returns whether it did."""
        self.count_updates()
        if self.model.num_timesteps >= self.total:
            return False
        self.steps = self.episodes = 0
        self.read_settings()
        self.callback.on_rollout_start()
        self.model._push_changes()
        self.model._apply_settings()
        return True

    def step(self, actions: np.ndarray, *result: Unpack[Result]) -> bool | None:
        """Returns whether the rollout is complete, or None to stop without storing the step."""
        model, (new_obs, rewards, dones, infos) = self.model, as_arrays(*result)
        result = (new_obs, rewards, dones, infos)
        model.num_timesteps += self.env.num_envs
        self.steps += 1
        self.locals.update(self.step_locals(actions, result))
        self.locals["num_collected_steps"] = self.steps
        self.locals["num_collected_episodes"] = self.episodes
        self.callback.update_locals(self.locals)
        should_continue = self.callback.on_step()
        model._push_changes()
        if not should_continue:
            return None

        model._update_info_buffer(infos, dones)
        self.record_step(rewards, dones, infos)
        model._last_obs, model._last_episode_starts = new_obs, dones
        if model._vec_normalize_env is not None:
            model._last_original_obs = model._vec_normalize_env.get_original_obs()
        model._update_current_progress_remaining(model.num_timesteps, model._total_timesteps)
        for index, done in enumerate(dones):
            if done:
                self.episodes += 1
                model._episode_num += 1
                self.episode_ended(index)
        return self.complete()

    def end(self) -> int:
        """Ends a rollout whose steps are all stored. Returns how many updates to make."""
        self.before_rollout_end()
        self.callback.on_rollout_end()
        self.model._push_changes()
        self.model._apply_settings()
        return self.updates_due()

    def count_updates(self) -> None:
        """Brings `model._n_updates` up to date."""
        model = self.model
        updates = self.base_updates + self.agent.updates
        if updates != model._n_updates:
            model._n_updates = updates
            model.logger.record("train/n_updates", updates, exclude="tensorboard")
            model._record_metrics()
