"""Which keywords of a policy are supported."""

import inspect
from typing import Any

import torch as th
from stable_baselines3.common.torch_layers import FlattenExtractor

#: Supported with any value. Flat feature extractors have no parameters, so sharing is no change.
SUPPORTED = {
    *("net_arch", "activation_fn", "n_critics", "log_std_init", "normalize_images"),
    *("share_features_extractor", "use_sde", "use_expln", "clip_mean"),
}
#: Adam's settings in Rust.
ADAM = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}


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
