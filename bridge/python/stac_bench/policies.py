"""Which keywords of a policy are supported."""

import inspect
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor

from stac_bench import _native

#: Supported with any value. Flat feature extractors have no parameters, so sharing is no change.
SUPPORTED = {
    *("net_arch", "activation_fn", "n_critics", "log_std_init", "normalize_images"),
    *("share_features_extractor", "use_sde", "use_expln", "clip_mean"),
}
#: Adam's settings in Rust.
ADAM = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}


#: Where classes come from whose computation is known.
KNOWN = {"stable_baselines3", "stac_bench", "torch", *sys.stdlib_module_names}
#: Methods of a model that the Rust loop takes the place of.
REPLACED = ("train", "collect_rollouts", "_store_transition", "_sample_action")


#: What the actor's last layer may be followed by.
BOUNDS = (th.nn.Tanh, th.nn.Hardtanh)
IGNORED = (
    "would be ignored, since Rust computes what Stable-Baselines3's MlpPolicy does: take that as it"
    " is, or preprocess observations in a wrapper of the environment"
)


def _is_known(kind: type[Any]) -> bool:
    # A class that a program makes as it goes may say that it is the standard library's.
    found = getattr(sys.modules.get(kind.__module__), kind.__name__, None)
    return found is kind and kind.__module__.partition(".")[0] in KNOWN


def _own(kind: type[Any]) -> list[type[Any]]:
    """The classes of `kind` and its bases that are the user's, the nearest first."""
    return [base for base in kind.__mro__ if not _is_known(base)]


def check_methods(model: type[Any]) -> None:
    """Raises `ValueError` if a subclass overrides what the Rust loop would never call."""
    for kind in _own(model):
        for name in REPLACED:
            if name in vars(kind):
                raise ValueError(
                    f"{kind.__name__}.{name} would never be called: the loop and its updates run in"
                    " Rust (callbacks and wrappers of the environment can do without it)"
                )


def check_networks(policy: th.nn.Module) -> None:
    """Raises `ValueError` for a network of the user's own that computes in another way.

    Rust computes what Stable-Baselines3's classes do. A subclass that only sets them up passes.
    """
    for module in policy.modules():
        for kind in _own(type(module)):
            known = [base for base in kind.__mro__ if base not in _own(type(module))]
            methods = [
                name
                for name, value in vars(kind).items()
                if callable(value) and name != "__init__" and any(hasattr(b, name) for b in known)
            ]
            if methods or not issubclass(kind, BasePolicy):
                what = f"{methods[0]}" if methods else "forward"
                raise ValueError(f"policy: {kind.__name__}.{what} {IGNORED}")


#: What PyTorch calls before and after a network's own computation.
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def check_layers(policy: th.nn.Module) -> None:
    """Raises `ValueError` for a network of `policy` that was changed since it was made: another
    `forward`, a hook, a layer or activation of another kind.
    """
    activation = getattr(policy, "activation_fn", None)
    for name, module in policy.named_modules():
        if isinstance(module, th._dynamo.OptimizedModule):
            continue  # what it compiles is among the modules too
        changed = [hook.strip("_") for hook in HOOKS if getattr(module, hook, None)]
        changed += ["forward"] if "forward" in vars(module) else []
        if changed:
            raise ValueError(f"policy: {changed[0]} of {name or 'policy'} {IGNORED}")
        if isinstance(module, th.nn.Sequential):
            layers, between = list(module)[::2], list(module)[1::2]
            # The actor's last layer is bounded.
            if len(layers) == len(between) and name.startswith("actor"):
                between = between[:-1] if isinstance(between[-1], BOUNDS) else between
            wrong = [x for x in layers if type(x) is not th.nn.Linear]
            wrong += [x for x in between if type(x) is not activation]
            if wrong:
                raise ValueError(f"policy: {type(wrong[0]).__name__} in {name} {IGNORED}")


def check_room(net_arch: Any) -> None:
    """Raises `ValueError` for hidden layers that the machine has no memory for."""
    for shape, weights in _sizes(net_arch):
        # Parameters, gradients and both moments, of PyTorch's copy alone.
        _native.require_room("the networks", 4 * 4 * weights, "net_arch", repr(shape))


def check_file(policy_kwargs: Any, state: Any) -> None:
    """Raises `ValueError` if a file asks for networks larger than the parameters that it holds."""
    if not (isinstance(policy_kwargs, dict) and isinstance(state, dict)):
        return
    held = sum(tensor.numel() for tensor in state.values() if isinstance(tensor, th.Tensor))
    for shape, weights in _sizes(policy_kwargs.get("net_arch")):
        if weights > held:
            raise ValueError(f"net_arch is {shape}, but the file holds {held:,} parameters in all")


def _sizes(net_arch: Any) -> Iterator[tuple[Any, int]]:
    """Hidden layers, and the weights between them."""
    for shape in net_arch.values() if isinstance(net_arch, dict) else [net_arch]:
        if isinstance(shape, list | tuple) and all(isinstance(width, int) for width in shape):
            yield shape, sum(a * b for a, b in itertools.pairwise(shape))


class Rows(th.nn.Module):
    """A row of numbers for each observation, also for those that are one number alone."""

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """`n x dim` of `n` observations of any shape."""
        return observations.reshape(len(observations), -1)


def take_numbers(policy: th.nn.Module) -> None:
    """Lets `policy` take observations without dimension, which PyTorch's `Flatten` refuses."""
    for module in policy.modules():
        if isinstance(module, FlattenExtractor):
            module.flatten = Rows()  # type: ignore[assignment]


def check_policy(policy: type[Any], policy_kwargs: dict[str, Any]) -> None:
    """Raises `ValueError` for the first of `policy_kwargs` that would be ignored.

    Default values pass. Names that the policy does not have are left for the policy to refuse.
    """
    parameters = inspect.signature(policy).parameters
    for name, value in policy_kwargs.items():
        if name in SUPPORTED or name not in parameters:
            continue
        if value in (parameters[name].default, {}):
            continue
        reason = f"it must be {parameters[name].default!r}"
        if name == "optimizer_class":
            if value is th.optim.Adam:
                continue
            reason = 'it must be torch.optim.Adam; optimizer="sgd" is gradient descent'
        if name == "optimizer_kwargs":
            if {**ADAM, **value, "betas": tuple(value.get("betas", ADAM["betas"]))} == ADAM:
                continue
            reason = f"Adam's settings are fixed: {ADAM}"
        raise ValueError(f"policy_kwargs: {name}={value!r}: {reason}")
