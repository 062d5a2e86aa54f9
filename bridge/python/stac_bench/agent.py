"""The mixin that puts a Rust agent behind Stable-Baselines3's interface."""

import inspect
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from typing_extensions import Self

from stac_bench import _native
from stac_bench.actions import in_space
from stac_bench.checkpoints import Checkpoints
from stac_bench.exchange import PolicyExchange, synced_property
from stac_bench.keywords import AgentSettings, Role, SolverSettings
from stac_bench.observations import ObservationCodec
from stac_bench.policies import (
    check_file,
    check_methods,
    check_networks,
    check_policy,
    check_room,
    take_numbers,
)
from stac_bench.rollouts import Rollouts
from stac_bench.settings import (
    algorithm_defaults,
    as_json,
    describe,
    environment_id,
    led_algorithms,
    sb3_parameters,
    signature,
)

ACTIVATIONS = {"relu": th.nn.ReLU, "tanh": th.nn.Tanh}


def policy_attr(name: str) -> Any:
    """The network `name` of the current policy."""
    return property(lambda self: getattr(self.policy, name), lambda self, value: None)


class RustAgent(AgentSettings, PolicyExchange, Checkpoints):
    """Mixin for a class of Stable-Baselines3: makes it learn in Rust.

    The policy is a PyTorch module of Stable-Baselines3's class, a copy of the Rust agent's
    parameters. It is updated when `model.policy` is read, and copied back before the next update if
    it was changed. A reference to the policy that a callback keeps is therefore stale until the
    callback reads `model.policy` again. Settings are read before each round of updates, as in
    Stable-Baselines3.
    """

    #: The Rust algorithm, of a Stackelberg class that of its baseline. Mixins have none.
    algorithm: ClassVar[str] = ""
    #: The Rust algorithms by leader, None for a baseline.
    forms: ClassVar[dict[str | None, str]] = {}
    #: Keywords that Stable-Baselines3's class does not have, with their defaults. `STDDPG` and
    #: `STSAC` have others where the critic leads: `defaults("critic")`.
    own_defaults: ClassVar[dict[str, Any]] = {}
    #: Defaults of our own keywords that are not Rust's.
    changed_defaults: ClassVar[dict[str, Any]] = {}
    #: Keywords of Stable-Baselines3's class that are always passed, and those that are refused.
    fixed: ClassVar[dict[str, Any]] = {}
    foreign: ClassVar[tuple[str, ...]] = ()
    __signature__: ClassVar[inspect.Signature]
    rollouts_class: ClassVar[type[Rollouts[Any]]]
    #: Attributes of Stable-Baselines3 that are settings of the Rust agent as they are, and those
    #: that such settings follow from.
    same_settings: ClassVar[tuple[str, ...]] = ()
    setting_attributes: ClassVar[tuple[str, ...]] = ()
    #: Arguments of the last `_native.Agent` or `configure`, and the attributes they came from.
    _built_with: tuple[str, str, int] = ("", "", 0)
    _built_from: tuple[Any, ...] = ()
    _learning = False
    #: The factor of an adaptive damping, for an agent that is still to be built.
    _damping = 1.0

    policy = synced_property("policy")
    preset = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.algorithm:
            return
        cls.forms = cls._forms()
        cls.own_defaults = cls.defaults()
        own = {**cls.own_defaults, "preset": None}
        if cls.__module__.startswith("stac_bench."):
            cls.__doc__ = describe(cls, own)
        # For `help` and `inspect`. A user's subclass may have a constructor of its own.
        if cls.__init__ is RustAgent.__init__:
            cls.__signature__ = signature(cls, own)
        else:
            theirs = inspect.signature(cls.__init__)
            cls.__signature__ = theirs.replace(parameters=[*theirs.parameters.values()][1:])

    @classmethod
    def _forms(cls) -> dict[str | None, str]:
        return {None: cls.algorithm}

    @classmethod
    def defaults(
        cls, leader: str | None = None, preset: str | None = None, env: str = "default"
    ) -> dict[str, Any]:
        """Defaults of our own keywords.

        :param leader: who leads, where there is a choice; None for the actor
        :param preset: `paper` for the paper's settings
        :param env: Gymnasium id, since some settings of a preset depend on it
        """
        theirs = sb3_parameters(cls)
        settings = algorithm_defaults(cls._form(leader or next(iter(cls.forms))), env, preset)
        own = {key: value for key, value in settings.items() if key not in theirs}
        return {**own, **cls.changed_defaults, "threads": 1}

    @classmethod
    def _form(cls, leader: str | None) -> str:
        """The name of the Rust algorithm where `leader` leads."""
        if leader not in cls.forms:
            raise ValueError(f"leader={leader!r}: it must be {' or '.join(map(str, cls.forms))}")
        return cls.forms[leader]

    def _algorithm(self) -> str:
        """The name of the Rust algorithm."""
        return self._form(None)

    def _settings(self) -> dict[str, Any]:
        """The Rust algorithm's settings."""
        raise NotImplementedError

    # -- construction ------------------------------------------------------------------------

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        *args: Any,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        if foreign := [key for key in self.foreign if key in kwargs]:
            raise TypeError(f"{type(self).__name__} has no {', '.join(foreign)}")
        own = self._pop_own_keywords(env, kwargs)
        create: Any = super().__init__  # of the class that this is mixed into
        create(policy, env, *args, _init_setup_model=False, **self.fixed, **kwargs)
        self.__dict__.update(own)
        if _init_setup_model:
            self._setup_model()

    def _pop_own_keywords(self, env: GymEnv | str | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Removes our own keywords from `kwargs` and returns them, defaults included."""
        preset = kwargs.pop("preset", None)
        of_env = environment_id(env) if preset is not None else "default"
        leader = kwargs.get("leader") if "leader" in self.own_defaults else None
        defaults = self.defaults(leader, preset, of_env)
        if kwargs.get("policy_kwargs") is not None:
            # A copy: Stable-Baselines3 writes into it.
            policy_kwargs = kwargs["policy_kwargs"] = dict(kwargs["policy_kwargs"])
            activation = policy_kwargs.get("activation_fn")
            if isinstance(activation, str):
                if activation not in ACTIVATIONS:
                    raise ValueError(f"activation_fn={activation!r}: it must be relu or tanh")
                policy_kwargs["activation_fn"] = ACTIVATIONS[activation]
        if kwargs.get("device", "auto") == "auto":
            # Stable-Baselines3 would take a GPU if there is one; the fused engine needs the CPU.
            kwargs["device"] = "cpu"
        own = {name: kwargs.pop(name, value) for name, value in defaults.items()}
        return {**own, "preset": preset}

    def _own_settings(self) -> dict[str, Any]:
        """Settings of the Rust agent that come from our own keywords."""
        own = {name: getattr(self, name) for name in self.own_defaults if name != "threads"}
        env = "default" if self.preset is None else environment_id(self.env)
        defaults = self.defaults(own.get("leader"), self.preset, env)
        if own.get("solver", "") is None:
            own["solver"] = defaults["solver"]
        # What does not apply is left out if it is a default, and otherwise refused by Rust.
        foreign = _native.foreign(self._algorithm(), as_json(own))
        return {k: v for k, v in own.items() if k not in foreign or v != defaults[k]}

    @classmethod
    def load(
        cls,
        path: Any,
        env: GymEnv | None = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        *args: Any,
        **keywords: Any,
    ) -> Self:
        """As in Stable-Baselines3, but networks larger than the file are refused, not made."""
        start = path.tell() if hasattr(path, "seek") else None
        data, parameters, _ = load_from_zip_file(path, True, custom_objects, "cpu")
        check_file((data or {}).get("policy_kwargs"), parameters.get("policy"))
        if start is not None:
            path.seek(start)
        return super().load(path, env, device, custom_objects, *args, **keywords)

    def _setup_model(self) -> None:
        check_policy(self.policy_class, self.policy_kwargs)
        check_room(self.policy_kwargs.get("net_arch"))
        # Abstract in `BaseAlgorithm`, but implemented by the class that this is mixed into.
        super()._setup_model()  # type: ignore[safe-super]
        if self.observation_space.shape == ():
            take_numbers(self.__dict__["_policy"])
        self._agent = None
        # Initial weights come from Rust, so that a seed gives the same run as in `stac-bench`.
        check_networks(self.__dict__["_policy"])
        agent = self._build()
        names = set(agent.parameters())
        for name, tensor in self._tensors().items():
            if name not in names and tensor.numel():
                raise ValueError(
                    f"{type(self).__name__} learns multilayer perceptrons on flat observations "
                    f"(MlpPolicy); this policy also has `{name}`"
                )
        self._pull_policy(agent)

    def _network(self, module: Any, net_arch: list[int]) -> dict[str, Any]:
        """`policy_kwargs` for the Rust agent."""
        names = {kind: name for name, kind in ACTIVATIONS.items()}
        if module.activation_fn not in names:
            kind = module.activation_fn
            raise ValueError(f"activation_fn={kind}: it must be torch.nn.ReLU or torch.nn.Tanh")
        return {"net_arch": list(net_arch), "activation_fn": names[module.activation_fn]}

    def _build(self) -> "_native.Agent":
        """Builds the Rust agent, or updates its settings. Returns it."""
        if self.seed is None and "_drawn_seed" not in self.__dict__:
            self._drawn_seed = int(np.random.randint(2**31 - 1))
        seed = self._drawn_seed if self.seed is None else self.seed
        wanted = (self._algorithm(), as_json(self._settings()), self.threads)
        algorithm, settings, threads = wanted
        if self._agent is None:
            images = self.__dict__["_policy"].normalize_images
            self._codec = ObservationCodec(self.observation_space, images)
            space, dim = self.action_space, self._codec.dim
            divisor, sharing = self._codec.divisor, self._sharing()
            self._agent = _native.Agent(
                algorithm, settings, dim, space, seed, threads, divisor=divisor, sharing=sharing
            )
            self._agent.damping = self._damping
            self._synced_updates, self._synced_parameters = 0, None
        elif self._built_with != wanted:
            self._agent.configure(algorithm, settings, self.action_space, seed, threads)
        self._built_with, self._built_from = wanted, self._attributes()
        return self._agent

    def _sharing(self) -> int | None:
        """Of how many environments the replay memory shares observations, if it does."""
        return None

    def _attributes(self) -> tuple[Any, ...]:
        """The current values of all settings."""
        names = (*self.own_defaults, *self.same_settings, *self.setting_attributes)
        return tuple(getattr(self, name, None) for name in names)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seeds Python, numpy, PyTorch, the environments, and the Rust agent's generators."""
        super().set_random_seed(seed)
        if seed is not None and self._agent is not None:
            self._agent.reseed(seed)

    # -- saving ------------------------------------------------------------------------------

    _TRANSIENT = (
        *("_agent", "_built_with", "_built_from", "_codec", "_learning"),
        *("_synced_updates", "_synced_parameters", "_synced_moments", "_may_have_changed"),
    )

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_policy", *self._TRANSIENT]

    def save(
        self, path: Any, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None
    ) -> None:
        """Saves the model as Stable-Baselines3 does, with the current factor of the damping."""
        if self._agent is not None:
            self._damping = self._agent.damping
        super().save(path, exclude, include)

    def __getstate__(self) -> dict[str, Any]:
        self._sync()
        state = {k: v for k, v in self.__dict__.items() if k not in self._TRANSIENT}
        return state if self._agent is None else {**state, "_damping": self._agent.damping}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores parameters, optimiser state and memory. Generators restart, as in `load`."""
        self.__dict__.update(state)
        self._push_policy(self._build())

    # -- acting ------------------------------------------------------------------------------

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Actions for one observation or a batch of them, as in Stable-Baselines3.

        Deterministic actions come from the Rust agent and equal those of `stac-bench` bit by bit.
        """
        shape, space = self.observation_space.shape, self.action_space
        plain = isinstance(observation, np.ndarray) and self._codec.plain
        rust = plain and shape in (observation.shape, observation.shape[1:])
        if self._agent is None or not rust or not self._acts_alike(deterministic):
            actions, state = self.policy.predict(observation, state, episode_start, deterministic)
            return in_space(np.asarray(actions), space), state
        # While learning, the policy can only have changed if it was read.
        if self._may_have_changed or not self._learning:
            self._sync()
        rows = np.ascontiguousarray(observation, dtype=np.float32).reshape(-1, self._codec.dim)
        actions = self._agent.act(rows)
        batch = () if observation.shape == shape else (len(rows),)
        return in_space(actions.reshape(*batch, *(space.shape or ())), space), state

    def _acts_alike(self, deterministic: bool) -> bool:
        """Whether the Rust agent's deterministic action is the one asked for."""
        return deterministic

    # -- learning ----------------------------------------------------------------------------

    def train(self, *args: Any, **kwargs: Any) -> None:
        """Raises: the Rust loop makes the updates, inside `learn`."""
        raise NotImplementedError("call learn(): updates happen in Rust, between its steps")

    def _learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback,
        log_interval: int | None,
        tb_log_name: str | None,
        reset_num_timesteps: bool,
        progress_bar: bool,
    ) -> Self:
        """`learn`, whose defaults differ from class to class."""
        total_timesteps, callback = self._setup_learn(
            total_timesteps,
            callback,
            reset_num_timesteps,
            tb_log_name or type(self).__name__,
            progress_bar,
        )
        check_methods(type(self))
        self._check_layers()
        callback.on_training_start(locals(), globals())
        if self.num_timesteps < total_timesteps:
            self._build()
            self._train_in_rust(self.rollouts_class(self, callback, total_timesteps, log_interval))
        callback.on_training_end()
        return self

    def _train_in_rust(self, rollouts: Rollouts[Any]) -> None:
        """Runs the Rust training loop until `rollouts` ends it."""
        assert self.env is not None
        agent, normalizer = self._build(), rollouts.normalizer
        self._may_have_changed = self._learning = True
        self._push_changes()
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
                noise=rollouts.noise,
            )
        finally:
            th.set_num_threads(threads)
            self._learning = False
            rollouts.count_updates()
            self._sync()

    def _apply_settings(self) -> None:
        """Passes changed settings and the scheduled learning rate to the Rust agent."""
        if self._attributes() != self._built_from:
            self._build()
        assert self._agent is not None
        progress = max(self._current_progress_remaining, 0.0)
        self._agent.set_learning_rate(self.lr_schedule(progress))

    def _record_metrics(self) -> None:
        """Adds what was measured since the last call to the averages of the next dump."""
        if self._agent is not None:
            for tag, value in self._agent.metrics().items():
                self.logger.record_mean(tag, value)

    def dump_logs(self, *args: Any) -> None:
        """Writes Stable-Baselines3's metrics, and ours, averaged since the last call."""
        self._record_metrics()
        super().dump_logs(*args)


class LeaderMixin(SolverSettings, RustAgent):
    """Mixin for a baseline: gives it a leader (Zheng et al., 2022)."""

    leader: Role
    #: The leader, in a class that has no choice.
    only_leader: ClassVar[str | None] = None

    @classmethod
    def _forms(cls) -> dict[str | None, str]:
        forms, only = led_algorithms(cls.algorithm), cls.only_leader
        return forms if only is None else {only: forms[only]}

    def _algorithm(self) -> str:
        return self._form(self.leader)
