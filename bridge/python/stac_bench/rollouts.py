"""What Stable-Baselines3 does around the steps of a rollout, for a loop that runs in Rust."""

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from stac_bench.observations import Observations

if TYPE_CHECKING:
    from stac_bench.agent import RustAgent

Model = TypeVar("Model", bound="RustAgent")
#: What `VecEnv.step` returns.
Result = tuple[Observations, np.ndarray, np.ndarray, list[dict[str, Any]]]


class Rollouts(Generic[Model]):
    """Called by the Rust loop where `collect_rollouts` and `learn` of Stable-Baselines3 stand.

    The order is theirs: `step` after each step of the environments, before it is stored; `end`
    after the last of a rollout; then the updates; then `start`.
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

    def begin(self) -> None:
        """Reads the settings that hold for the rollout."""
        raise NotImplementedError

    def complete(self) -> bool:
        """Whether the rollout has all its steps."""
        raise NotImplementedError

    def due(self) -> int:
        """How many updates follow the rollout."""
        raise NotImplementedError

    def episode_ended(self, index: int) -> None:
        """Environment `index` finished an episode."""

    def keep(self, rewards: np.ndarray, dones: np.ndarray, infos: list[dict[str, Any]]) -> None:
        """Keeps what the rollout's end needs of a step from `model._last_obs`."""

    def finish(self) -> None:
        """What is done before callbacks learn of the rollout's end."""

    def step_locals(self, actions: np.ndarray, result: Result) -> dict[str, Any]:
        """Locals of one step."""
        new_obs, rewards, dones, infos = result
        names = {"actions": actions, "new_obs": new_obs, "rewards": rewards, "dones": dones}
        return {**names, "infos": infos}

    def start(self) -> bool:
        """Begins a rollout, unless there were steps enough. Returns whether there is one."""
        self.count_updates()
        if self.model.num_timesteps >= self.total:
            return False
        self.steps = self.episodes = 0
        self.begin()
        self.callback.on_rollout_start()
        self.model._settle()
        self.model._follow_settings()
        return True

    def step(self, actions: np.ndarray, *result: Unpack[Result]) -> bool | None:
        """Returns whether the rollout is complete; none to stop, with nothing stored."""
        model, (new_obs, rewards, dones, infos) = self.model, result
        model.num_timesteps += self.env.num_envs
        self.steps += 1
        self.locals.update(self.step_locals(actions, result))
        self.locals["num_collected_steps"] = self.steps
        self.locals["num_collected_episodes"] = self.episodes
        self.callback.update_locals(self.locals)
        goes_on = self.callback.on_step()
        model._settle()
        if not goes_on:
            return None

        model._update_info_buffer(infos, dones)
        self.keep(rewards, dones, infos)
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
        """Ends a rollout that is stored. Returns how many updates to make."""
        self.finish()
        self.callback.on_rollout_end()
        self.model._settle()
        self.model._follow_settings()
        return self.due()

    def count_updates(self) -> None:
        """Says in `model._n_updates` how many updates there were."""
        model = self.model
        updates = self.base_updates + self.agent.updates
        if updates != model._n_updates:
            model._n_updates = updates
            model.logger.record("train/n_updates", updates, exclude="tensorboard")
