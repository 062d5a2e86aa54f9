"""The exchange of parameters and optimiser state between PyTorch's copy and the Rust agent."""

from typing import Any, cast

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm

from stac_bench import _native
from stac_bench.policies import check_layers
from stac_bench.synced import EXCHANGE


def synced_property(name: str) -> Any:
    """An attribute that is synchronised with the Rust agent when it is read.

    Typed as `Any`, like `policy_attr`: Stable-Baselines3 declares plain attributes.
    """

    def get(self: "PolicyExchange") -> Any:
        self._sync()
        self._may_have_changed = True
        try:
            return self.__dict__[f"_{name}"]
        except KeyError:
            raise AttributeError(name) from None

    def put(self: "PolicyExchange", value: Any) -> None:
        self.__dict__[f"_{name}"] = value
        self._may_have_changed = True

    return property(get, put)


class PolicyExchange(BaseAlgorithm):
    """Mixin for `RustAgent`: PyTorch's policy follows the Rust agent, and leads it where the user
    has changed it.
    """

    _agent: "_native.Agent | None" = None
    #: The agent's update count and PyTorch's copy when both were last equal.
    _synced_updates = 0
    _synced_parameters: dict[str, np.ndarray] | None = None
    _synced_moments: tuple[Any, ...] = ()
    #: Whether the policy was read since, so that it may have been changed in place.
    _may_have_changed = False

    def _optimizers(self) -> list[th.optim.Optimizer]:
        """The optimisers whose state is synchronised."""
        raise NotImplementedError

    def _tensors(self) -> dict[str, th.Tensor]:
        """PyTorch's copy of the Rust agent's parameters, by name."""
        return self._module().state_dict(keep_vars=True)

    def _check_layers(self) -> None:
        """Raises `ValueError` if PyTorch's networks compute something else than Rust's."""
        if "_policy" in self.__dict__:
            check_layers(self._module())

    def _module(self) -> th.nn.Module:
        """PyTorch's copy of the networks, as it is within a compiled one."""
        policy = self.__dict__["_policy"]
        return cast(th.nn.Module, getattr(policy, "_orig_mod", policy))

    def _sync(self) -> None:
        """Makes PyTorch's copy and the Rust agent equal; the side that changed wins."""
        agent = self._agent
        if agent is None or "_policy" not in self.__dict__:
            return
        with EXCHANGE:
            if agent.updates != self._synced_updates:
                self._pull_policy(agent)
            elif self._policy_changed():
                self._push_policy(agent)

    def _push_changes(self) -> None:
        """Copies what a callback may have changed to the Rust agent."""
        with EXCHANGE:
            if self._may_have_changed:
                self._may_have_changed = False
                self._sync()

    def _policy_changed(self) -> bool:
        """Whether PyTorch's copy was changed since the last synchronisation."""
        # Compares values, since writes to `param.data` do not change `_version`.
        if self._synced_parameters is None or self._moments() != self._synced_moments:
            return True
        tensors = self._tensors()
        return not all(
            np.array_equal(tensors[name].detach().cpu().numpy(), values)
            for name, values in self._synced_parameters.items()
        )

    def _moments(self) -> tuple[Any, ...]:
        """Identity and version of each tensor of the optimisers' state."""
        states = (state for optimizer in self._optimizers() for state in optimizer.state.values())
        tensors = (s[name] for s in states for name in ("exp_avg", "exp_avg_sq") if name in s)
        return tuple((id(tensor), tensor._version) for tensor in tensors)

    @th.no_grad()
    def _pull_policy(self, agent: "_native.Agent") -> None:
        """Copies parameters and optimiser state from Rust to PyTorch."""
        # First: if an update comes between, the next exchange copies again.
        self._synced_updates = agent.updates
        tensors, self._synced_parameters = self._tensors(), agent.parameters()
        for name, values in self._synced_parameters.items():
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
        self._synced_moments = self._moments()

    def _push_policy(self, agent: "_native.Agent") -> None:
        """Copies parameters and optimiser state from PyTorch to Rust."""
        self._check_layers()

        def flat(tensor: th.Tensor) -> np.ndarray:
            return tensor.detach().cpu().numpy().astype(np.float32)

        tensors = self._tensors()
        self._synced_parameters = {name: flat(tensors[name]) for name in agent.parameters()}
        agent.set_parameters(self._synced_parameters)
        owners = {id(tensor): name for name, tensor in tensors.items()}
        moments = {}
        for optimizer in self._optimizers():
            for tensor, state in optimizer.state.items():
                name = owners.get(id(tensor))
                if name is not None and "exp_avg" in state:
                    averages = flat(state["exp_avg"]), flat(state["exp_avg_sq"])
                    moments[name] = (int(state["step"]), *averages)
        agent.set_moments(moments)
        self._synced_updates, self._synced_moments = agent.updates, self._moments()
