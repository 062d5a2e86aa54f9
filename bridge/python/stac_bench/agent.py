"""What all classes share: a Rust agent behind Stable-Baselines3's interface."""

import json
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from stac_bench import _native
from stac_bench.keywords import AgentSettings
from stac_bench.observations import ObservationCodec
from stac_bench.policies import check_policy
from stac_bench.rollouts import Rollouts

ACTIVATIONS = {"relu": th.nn.ReLU, "tanh": th.nn.Tanh}


def as_json(settings: dict[str, Any]) -> str:
    """Settings as the Rust side reads them."""
    for name, value in settings.items():
        if isinstance(value, (float, np.floating)) and not np.isfinite(value):
            raise ValueError(f"{name}={value}: it must be a finite number")
    # Numbers of numpy are integers or not, as they were.
    return json.dumps(
        settings, default=lambda x: x.item() if isinstance(x, np.generic) else float(x)
    )


def lent(name: str) -> Any:
    """An attribute that is brought up to date when somebody looks at it."""

    def get(self: "RustAgent") -> Any:
        self._sync()
        self._looked_at = True
        try:
            return self.__dict__[f"_{name}"]
        except KeyError:
            raise AttributeError(name) from None

    def put(self: "RustAgent", value: Any) -> None:
        self.__dict__[f"_{name}"] = value
        self._looked_at = True

    return property(get, put)


def alias(name: str) -> Any:
    """The policy's network of that name."""
    return property(lambda self: getattr(self.policy, name), lambda self, value: None)


class RustAgent(AgentSettings, BaseAlgorithm):
    """Mixed in before one of Stable-Baselines3's classes, makes it learn in Rust.

    The policy stays a PyTorch module of Stable-Baselines3's own class, so that prediction, saving
    and loading are Stable-Baselines3's. Parameters and optimiser state are copied to it when
    `model.policy` is looked at after updates, and back before updates if they were changed. A
    reference to the policy that a callback has kept is up to date once it asks for `model.policy`
    again. Settings are read before each round of updates, as in Stable-Baselines3.
    """

    #: Keywords that Stable-Baselines3's class does not have, with their defaults.
    own_defaults: ClassVar[dict[str, Any]] = {}
    #: Attributes besides those that settings are made of.
    watched: ClassVar[tuple[str, ...]] = ()
    _agent: "_native.Agent | None" = None
    #: The agent's settings, and the attributes that they were made of.
    _built_with: tuple[str, str, int] = ("", "", 0)
    _built_from: tuple[Any, ...] = ()
    #: The agent's updates when PyTorch's copy was last brought up to date, and what it was then.
    _seen_updates = 0
    _seen: dict[str, np.ndarray] | None = None
    _seen_moments: tuple[Any, ...] = ()
    #: Whether somebody may have changed the policy since.
    _looked_at = False
    _learning = False
    #: What an adaptive damping has come to, where no agent says so.
    _damping = 1.0

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
        policy = self.__dict__["_policy"]
        module = cast(th.nn.Module, getattr(policy, "_orig_mod", policy))  # if compiled
        return module.state_dict(keep_vars=True)

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
        # Abstract in `BaseAlgorithm`, but a class of algorithms comes between.
        super()._setup_model()  # type: ignore[safe-super]
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
        """The Rust agent, with the current settings."""
        if self.seed is None and "_drawn_seed" not in self.__dict__:
            self._drawn_seed = int(np.random.randint(2**31 - 1))
        seed = self._drawn_seed if self.seed is None else self.seed
        wanted = (self._algorithm(), as_json(self._settings()), self.threads)
        algorithm, settings, threads = wanted
        if self._agent is None:
            images = self.__dict__["_policy"].normalize_images
            self._codec = ObservationCodec(self.observation_space, images)
            space, dim = self.action_space, self._codec.dim
            self._agent = _native.Agent(algorithm, settings, dim, space, seed, threads)
            self._agent.damping = self._damping
            self._seen_updates, self._seen = 0, None
        elif self._built_with != wanted:
            self._agent.configure(algorithm, settings, self.action_space, seed, threads)
        self._built_with, self._built_from = wanted, self._attributes()
        return self._agent

    def _attributes(self) -> tuple[Any, ...]:
        """Values of the attributes that settings are made of."""
        return tuple(getattr(self, name, None) for name in (*self.own_defaults, *self.watched))

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seeds Python, numpy, PyTorch, the environments, and the Rust agent's generators."""
        super().set_random_seed(seed)
        if seed is not None and self._agent is not None:
            self._agent.reseed(seed)

    # -- parameters and optimiser state ------------------------------------------------------

    def _sync(self) -> None:
        """Brings PyTorch's copy up to date, or the Rust agent if PyTorch's copy was changed."""
        agent = self._agent
        if agent is None or "_policy" not in self.__dict__:
            return
        if agent.updates != self._seen_updates:
            self._pull(agent)
        elif self._changed():
            self._push(agent)

    def _settle(self) -> None:
        """What a callback may have changed counts from here on."""
        if self._looked_at:
            self._looked_at = False
            self._sync()

    def _changed(self) -> bool:
        """Whether PyTorch's copy is another than it was."""
        # By its content: writes to `param.data` leave no other trace.
        if self._seen is None or self._moments() != self._seen_moments:
            return True
        tensors, seen = self._tensors(), self._seen.items()
        return not all(
            np.array_equal(tensors[name].detach().cpu().numpy(), values) for name, values in seen
        )

    def _moments(self) -> tuple[Any, ...]:
        """Which tensors the optimisers' state is, and how often they were written."""
        states = (state for optimizer in self._optimizers() for state in optimizer.state.values())
        tensors = (s[name] for s in states for name in ("exp_avg", "exp_avg_sq") if name in s)
        return tuple((id(tensor), tensor._version) for tensor in tensors)

    @th.no_grad()
    def _pull(self, agent: "_native.Agent") -> None:
        tensors, self._seen = self._tensors(), agent.parameters()
        for name, values in self._seen.items():
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
        self._seen_updates, self._seen_moments = agent.updates, self._moments()

    def _push(self, agent: "_native.Agent") -> None:
        def flat(tensor: th.Tensor) -> np.ndarray:
            return tensor.detach().cpu().numpy().astype(np.float32)

        tensors = self._tensors()
        self._seen = {name: flat(tensors[name]) for name in agent.parameters()}
        agent.set_parameters(self._seen)
        owners = {id(tensor): name for name, tensor in tensors.items()}
        moments = {}
        for optimizer in self._optimizers():
            for tensor, state in optimizer.state.items():
                name = owners.get(id(tensor))
                if name is not None and "exp_avg" in state:
                    averages = flat(state["exp_avg"]), flat(state["exp_avg_sq"])
                    moments[name] = (int(state["step"]), *averages)
        agent.set_moments(moments)
        self._seen_updates, self._seen_moments = agent.updates, self._moments()

    # -- saving ------------------------------------------------------------------------------

    _TRANSIENT = (
        *("_agent", "_built_with", "_built_from", "_codec", "_learning"),
        *("_seen_updates", "_seen", "_seen_moments", "_looked_at"),
    )

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_policy", *self._TRANSIENT]

    def save(
        self, path: Any, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None
    ) -> None:
        """Saves the model as Stable-Baselines3 does, with what an adaptive damping has come to."""
        if self._agent is not None:
            self._damping = self._agent.damping
        super().save(path, exclude, include)

    def __getstate__(self) -> dict[str, Any]:
        self._sync()
        state = {k: v for k, v in self.__dict__.items() if k not in self._TRANSIENT}
        return state if self._agent is None else {**state, "_damping": self._agent.damping}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A model with what the other had learnt. Its generators begin anew, as those of `load`."""
        self.__dict__.update(state)
        self._push(self._build())

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
        # Nobody else runs while an update does: what may have changed was looked at.
        if self._looked_at or not self._learning:
            self._sync()
        rows = np.ascontiguousarray(observation, dtype=np.float32).reshape(-1, self._codec.dim)
        actions = self._agent.act(rows)
        batch = () if observation.shape == shape else (len(rows),)
        if isinstance(space, spaces.Box):
            actions = actions.reshape(*batch, *space.shape).astype(space.dtype)
            return np.clip(actions, space.low, space.high), state
        assert isinstance(space, spaces.Discrete)
        return actions.reshape(batch).astype(np.int64) + space.start, state

    def _acts_alike(self, deterministic: bool) -> bool:
        """Whether the Rust agent's deterministic action is what is asked for."""
        return deterministic

    # -- learning ----------------------------------------------------------------------------

    def _train_in_rust(
        self,
        rollouts: Rollouts[Any],
        noise: Callable[[], np.ndarray | None] | None = None,
        normalizer: VecNormalize | None = None,
    ) -> None:
        """Runs the Rust training loop until `rollouts` says no."""
        assert self.env is not None
        agent = self._build()
        self._looked_at = self._learning = True
        self._settle()
        threads = th.get_num_threads()
        th.set_num_threads(self.threads)
        try:
            agent.learn(
                self.env,
                self._last_obs if normalizer is None else self._last_original_obs,
                rollouts,
                self.num_timesteps,
                self.threads,
                encode=None if self._codec.plain else self._codec.rows,
                normalizer=normalizer,
                noise=noise,
            )
        finally:
            th.set_num_threads(threads)
            self._learning = False
            rollouts.count_updates()
            self._sync()

    def _follow_settings(self) -> None:
        """Settings, and the step size, as they are now."""
        if self._attributes() != self._built_from:
            self._build()
        assert self._agent is not None
        progress = max(self._current_progress_remaining, 0.0)
        self._agent.set_learning_rate(self.lr_schedule(progress))

    def _record_metrics(self) -> None:
        if self._agent is not None:
            for tag, value in self._agent.metrics().items():
                self.logger.record(tag, value)

    def dump_logs(self, *args: Any) -> None:
        """Writes Stable-Baselines3's measures, and `train/*` and `game/*` since the last time."""
        self._record_metrics()
        super().dump_logs(*args)
