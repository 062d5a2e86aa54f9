"""What all classes share: a Rust agent behind Stable-Baselines3's interface."""

import json
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import ConstantSchedule
from stable_baselines3.common.vec_env import VecNormalize

from stac_bench import _native
from stac_bench.observations import ObservationCodec
from stac_bench.policies import check_policy

ACTIVATIONS = {"relu": th.nn.ReLU, "tanh": th.nn.Tanh}


def as_json(settings: dict[str, Any]) -> str:
    """Settings as the Rust side reads them."""
    for name, value in settings.items():
        if isinstance(value, (float, np.floating)) and not np.isfinite(value):
            raise ValueError(f"{name}={value}: it must be a finite number")
    return json.dumps(settings, default=float)


def lent(name: str) -> Any:
    """An attribute that is brought up to date when somebody looks at it."""

    def get(self: "RustAgent") -> Any:
        self._sync()
        try:
            return self.__dict__[f"_{name}"]
        except KeyError:
            raise AttributeError(name) from None

    def put(self: "RustAgent", value: Any) -> None:
        self.__dict__[f"_{name}"] = value

    return property(get, put)


def alias(name: str) -> Any:
    """The policy's network of that name."""
    return property(lambda self: getattr(self.policy, name), lambda self, value: None)


class RustAgent(BaseAlgorithm):
    """Mixed in before one of Stable-Baselines3's classes, makes it learn in Rust.

    The policy stays a PyTorch module of Stable-Baselines3's own class, so that prediction, saving
    and loading are Stable-Baselines3's. Parameters and optimiser state are copied to it when
    `model.policy` is looked at after updates, and back before updates if they were changed. A
    reference to the policy that a callback has kept is up to date once it asks for `model.policy`
    again.
    """

    #: Keywords that Stable-Baselines3's class does not have, with their defaults.
    own_defaults: ClassVar[dict[str, Any]] = {}
    _agent: "_native.Agent | None" = None
    _built_with: tuple[Any, ...] = ()
    _seen_updates = 0
    _seen_versions: tuple[Any, ...] = ()
    _looked_at = False

    policy = lent("policy")

    def _algorithm(self) -> str:
        """The name of the Rust algorithm."""
        raise NotImplementedError

    def _settings(self) -> dict[str, Any]:
        """The Rust algorithm's settings."""
        raise NotImplementedError

    def _optimizers(self) -> list[th.optim.Optimizer]:
        """The optimisers whose state travels."""
        raise NotImplementedError

    def _tensors(self) -> dict[str, th.Tensor]:
        """Every tensor that the Rust agent has a parameter for, by its name."""
        return self.__dict__["_policy"].state_dict(keep_vars=True)

    # -- construction ------------------------------------------------------------------------

    def _take_own(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Takes the keywords that are ours out of `kwargs`."""
        if kwargs.get("policy_kwargs") is not None:
            # A copy: Stable-Baselines3 writes into it.
            policy_kwargs = kwargs["policy_kwargs"] = dict(kwargs["policy_kwargs"])
            activation = policy_kwargs.get("activation_fn")
            if isinstance(activation, str):
                if activation not in ACTIVATIONS:
                    raise ValueError(f"activation_fn={activation!r}: it must be relu or tanh")
                policy_kwargs["activation_fn"] = ACTIVATIONS[activation]
        if kwargs.get("device", "auto") == "auto":
            # The fused engine is the CPU's. Stable-Baselines3 would take a GPU if there is one.
            kwargs["device"] = "cpu"
        return {name: kwargs.pop(name, value) for name, value in self.own_defaults.items()}

    def _own_settings(self) -> dict[str, Any]:
        """Ours of the Rust algorithm's settings."""
        return {name: getattr(self, name) for name in self.own_defaults if name != "threads"}

    def _setup_model(self) -> None:
        check_policy(self.policy_class, self.policy_kwargs)
        super()._setup_model()
        self._agent = None
        # The first weights are the Rust agent's, so that a seed means the same here and there.
        agent = self._build()
        names = set(agent.parameters())
        for name, tensor in self._tensors().items():
            if name not in names and tensor.numel():
                raise ValueError(
                    f"{type(self).__name__} learns multilayer perceptrons on flat observations "
                    f"(MlpPolicy); this policy also has `{name}`"
                )
        self._pull(agent)

    def _network(self, module: Any, net_arch: list[int]) -> dict[str, Any]:
        """`policy_kwargs` for the Rust agent."""
        names = {kind: name for name, kind in ACTIVATIONS.items()}
        if module.activation_fn not in names:
            kind = module.activation_fn
            raise ValueError(f"activation_fn={kind}: it must be torch.nn.ReLU or torch.nn.Tanh")
        return {"net_arch": list(net_arch), "activation_fn": names[module.activation_fn]}

    def _build(self) -> "_native.Agent":
        """The Rust agent for the current settings: the one there is, unless they have changed."""
        images = self.__dict__["_policy"].normalize_images
        self._codec = ObservationCodec(self.observation_space, images)
        if self.seed is None and "_drawn_seed" not in self.__dict__:
            self._drawn_seed = int(np.random.randint(2**31 - 1))
        seed = self._drawn_seed if self.seed is None else self.seed
        settings = as_json(self._settings())
        wanted = (self._algorithm(), settings, self._codec.dim, seed, self.threads)
        if self._agent is None or self._built_with != wanted:
            self._sync()
            self._let_go()
            algorithm, settings, dim, *rest = wanted
            self._agent = _native.Agent(algorithm, settings, dim, self.action_space, *rest)
            self._built_with = wanted
            self._seen_updates, self._seen_versions = 0, ()
        return self._agent

    def _let_go(self) -> None:
        """Called before the Rust agent is replaced."""

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seeds Python, numpy, PyTorch, the environments, and the Rust agent's generators."""
        super().set_random_seed(seed)
        if seed is not None and self._agent is not None:
            self._sync()
            self._let_go()
            self.seed, self._agent = seed, None

    # -- parameters and optimiser state ------------------------------------------------------

    def _sync(self) -> None:
        """Brings PyTorch's copy up to date, or the Rust agent if PyTorch's copy was changed."""
        self._looked_at = True
        agent = self._agent
        if agent is None or "_policy" not in self.__dict__:
            return
        if agent.updates != self._seen_updates:
            self._pull(agent)
        elif self._versions() != self._seen_versions:
            self._push(agent)

    def _versions(self) -> tuple[Any, ...]:
        return tuple((t._version, t.data_ptr()) for t in self._tensors().values())

    @th.no_grad()
    def _pull(self, agent: "_native.Agent") -> None:
        tensors = self._tensors()
        for name, values in agent.parameters().items():
            tensors[name].copy_(th.from_numpy(values))
        moments = agent.moments()
        owners = {id(tensor): name for name, tensor in tensors.items()}
        for optimizer in self._optimizers():
            for group in optimizer.param_groups:
                for tensor in group["params"]:
                    if (state := moments.get(owners.get(id(tensor), ""))) is None:
                        optimizer.state.pop(tensor, None)
                        continue
                    step, mean, square = state
                    optimizer.state[tensor] = {
                        "step": th.tensor(float(step)),
                        "exp_avg": th.from_numpy(mean).view_as(tensor).to(tensor.device),
                        "exp_avg_sq": th.from_numpy(square).view_as(tensor).to(tensor.device),
                    }
        self._seen_updates, self._seen_versions = agent.updates, self._versions()

    def _push(self, agent: "_native.Agent") -> None:
        def flat(tensor: th.Tensor) -> np.ndarray:
            return tensor.detach().cpu().numpy().astype(np.float32)

        tensors = self._tensors()
        agent.set_parameters({name: flat(tensors[name]) for name in agent.parameters()})
        owners = {id(tensor): name for name, tensor in tensors.items()}
        moments = {}
        for optimizer in self._optimizers():
            for tensor, state in optimizer.state.items():
                name = owners.get(id(tensor))
                if name is not None and "exp_avg" in state:
                    averages = flat(state["exp_avg"]), flat(state["exp_avg_sq"])
                    moments[name] = (int(state["step"]), *averages)
        agent.set_moments(moments)
        self._seen_updates, self._seen_versions = agent.updates, self._versions()

    def _excluded_save_params(self) -> list[str]:
        ours = ["_agent", "_built_with", "_seen_updates", "_seen_versions", "_looked_at", "_codec"]
        return [*super()._excluded_save_params(), "_policy", *ours]

    # -- acting ------------------------------------------------------------------------------

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Actions for one observation or a batch of them, as in Stable-Baselines3.

        Deterministic actions come from the Rust agent, and are those of `stac-bench` to the bit.
        """
        shape, space = self.observation_space.shape, self.action_space
        plain = isinstance(observation, np.ndarray) and self._codec.plain
        rust = plain and shape in (observation.shape, observation.shape[1:])
        if self._agent is None or not rust or not self._acts_alike(deterministic):
            actions, state = self.policy.predict(observation, state, episode_start, deterministic)
            if isinstance(space, spaces.Discrete):
                actions = np.asarray(actions + space.start)
            return actions, state
        self._sync()
        rows = np.ascontiguousarray(observation, dtype=np.float32).reshape(-1, self._codec.dim)
        actions = self._agent.act(rows)
        batch = () if observation.shape == shape else (len(rows),)
        if isinstance(space, spaces.Box):
            actions = actions.reshape(*batch, *space.shape).astype(space.dtype)
            return np.clip(actions, space.low, space.high), state
        return actions.reshape(batch).astype(np.int64) + space.start, state

    def _acts_alike(self, deterministic: bool) -> bool:
        """Whether the Rust agent's deterministic action is what is asked for."""
        return deterministic

    # -- learning ----------------------------------------------------------------------------

    def _train_in_rust(
        self,
        after: Callable[..., bool],
        noise: Callable[[], Any] | None = None,
        normalizer: VecNormalize | None = None,
    ) -> None:
        """Runs the Rust training loop until `after` says no."""
        assert self.env is not None
        agent = self._build()
        self._push(agent)
        threads = th.get_num_threads()
        th.set_num_threads(self.threads)
        try:
            agent.learn(
                self.env,
                self._last_obs if normalizer is None else self._last_original_obs,
                after,
                2**62,
                self.num_timesteps,
                encode=None if self._codec.plain else self._codec.rows,
                normalizer=normalizer,
                noise=noise,
            )
        finally:
            th.set_num_threads(threads)
            self._sync()

    def _follow_schedule(self) -> None:
        """The step size of the next update."""
        assert self.env is not None and self._agent is not None
        done = (self.num_timesteps + self.env.num_envs) / max(self._total_timesteps, 1)
        self._agent.set_learning_rate(self.lr_schedule(max(1.0 - done, 0.0)))

    def _record_metrics(self) -> None:
        if self._agent is not None:
            for tag, value in self._agent.metrics().items():
                self.logger.record(tag, value)

    def dump_logs(self, *args: Any) -> None:
        """Writes Stable-Baselines3's measures, and `train/*` and `game/*` since the last time."""
        self._record_metrics()
        super().dump_logs(*args)


class Rollouts:
    """Called after each step of the environments; does what `collect_rollouts` does around one."""

    def __init__(
        self, model: Any, callback: BaseCallback, total: int, log_interval: int | None
    ) -> None:
        self.model, self.callback = model, callback
        self.total, self.log_interval = total, log_interval
        self.steps = self.episodes = 0
        self.constant = isinstance(
            getattr(model.lr_schedule, "value_schedule", None), ConstantSchedule
        )
        self.locals: dict[str, Any] = {
            "self": model,
            "env": model.env,
            "callback": callback,
            "log_interval": log_interval,
            "continue_training": True,
            **self.more_locals(),
        }
        self.base_updates = model._n_updates - model._build().updates
        model._follow_schedule()
        callback.on_rollout_start()

    def more_locals(self) -> dict[str, Any]:
        """Locals that only one family documents."""
        return {}

    def finished(self) -> bool:
        """Whether a rollout ends here."""
        raise NotImplementedError

    def episode_ended(self, index: int) -> None:
        """Environment `index` finished an episode."""

    def step_locals(self, actions: Any, result: tuple[Any, ...]) -> dict[str, Any]:
        """Locals of one step."""
        new_obs, rewards, dones, infos = result
        names = {"actions": actions, "new_obs": new_obs, "rewards": rewards, "dones": dones}
        return {**names, "infos": infos}

    def __call__(self, actions: Any, new_obs: Any, rewards: Any, dones: Any, infos: Any) -> bool:
        model = self.model
        model.num_timesteps += model.env.num_envs
        self.steps += 1
        self.locals.update(self.step_locals(actions, (new_obs, rewards, dones, infos)))
        self.locals["num_collected_steps"] = self.steps
        self.locals["num_collected_episodes"] = self.episodes
        self.callback.update_locals(self.locals)
        model._looked_at = False
        goes_on = self.callback.on_step()
        if model._looked_at:
            model._sync()
        if not goes_on:
            return False

        model._update_info_buffer(infos, dones)
        model._last_obs = new_obs
        if model._vec_normalize_env is not None:
            model._last_original_obs = model._vec_normalize_env.get_original_obs()
        model._update_current_progress_remaining(model.num_timesteps, model._total_timesteps)
        if not self.constant:
            model._follow_schedule()
        for index, done in enumerate(dones):
            if done:
                self.episodes += 1
                model._episode_num += 1
                self.episode_ended(index)
        if self.finished():
            return self.next_rollout()
        return True

    def next_rollout(self) -> bool:
        """Ends a rollout and, if there is to be another, begins it."""
        model = self.model
        updates = self.base_updates + model._agent.updates
        if updates != model._n_updates:
            model._n_updates = updates
            model.logger.record("train/n_updates", updates, exclude="tensorboard")
        self.callback.on_rollout_end()
        if model.num_timesteps >= self.total:
            return False
        self.steps = self.episodes = 0
        self.callback.on_rollout_start()
        return True
