"""What each of our settings is in RL Zoo, for Stable-Baselines3's own algorithms.

`TABLE` has a rule for every setting of ours, by algorithm: the name there and how its value gets
there, the one value that Stable-Baselines3 stands for, or why it changes no result. `FIXED` has
what is set there whatever ours say. `python -m stac_bench.baselines.equal` prints both, for
docs/baselines.md.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Settings = Mapping[str, Any]


class Refused(ValueError):
    """Stable-Baselines3 cannot take a setting."""


class _Instead(Exception):
    """What Stable-Baselines3 does instead, and what to set."""


@dataclass(frozen=True)
class Rule:
    """What one setting is there.

    `there` and `says` are for the document. `given(value, settings)` is what RL Zoo is given, by
    name: a hyperparameter, `policy_kwargs.<keyword>` with its value as Python reads it, or an
    option of its `train`, which begins with `--`.
    """

    there: str
    says: str = ""
    given: Callable[[Any, Settings], dict[str, Any]] = field(default=lambda value, settings: {})


def same(name: str, says: str = "") -> Rule:
    """The value is the same there."""
    return Rule(name, says, lambda value, settings: {name: value})


def source(name: str, says: str = "") -> Rule:
    """The same, for a keyword of the networks."""
    name = f"policy_kwargs.{name}"
    return Rule(name, says, lambda value, settings: {name: repr(value)})


def only(value: Any, instead: str, name: str = "") -> Rule:
    """Only with `value` does Stable-Baselines3 compute the same; it has `name` for it, or none."""

    def given(found: Any, settings: Settings) -> dict[str, Any]:
        if found != value:
            raise _Instead(instead, f"set it to {shown(value)}")
        return {name: value} if name else {}

    return Rule(name, f"only `{shown(value)}`: it {instead}", given)


def without_effect(why: str) -> Rule:
    """No result depends on it."""
    return Rule("", f"any value: {why}")


def shown(value: Any) -> str:
    """A value as it stands in YAML."""
    return value if isinstance(value, str) else json.dumps(value)


# -- conversions -----------------------------------------------------------------------------------


def _eval_freq(value: int, settings: Settings) -> dict[str, Any]:
    if value % settings["n_envs"]:
        raise _Instead(
            "is evaluated at multiples of `n_envs` steps", "set it to a multiple of `n_envs`"
        )
    return {"--eval-freq": value}


def _buffer_size(value: int, settings: Settings) -> dict[str, Any]:
    if value % settings["n_envs"]:
        raise _Instead(
            "remembers as many steps of each environment", "set it to a multiple of `n_envs`"
        )
    return {"buffer_size": value}


def _log_freq(value: int, settings: Settings) -> dict[str, Any]:
    return {"callback": [{f"{CALLBACKS}.LogEveryNTimesteps": {"n_steps": value}}]}


def _random_steps(value: int, settings: Settings) -> dict[str, Any]:
    starts = settings["learning_starts"]
    # Then there are no such steps, here as there.
    none = settings.get("use_sde") and settings["use_sde_at_warmup"]
    if value != starts and not none:
        raise _Instead(
            f"acts at random for `learning_starts` steps, here {starts}",
            "give both the same value",
        )
    return {}


def _train_freq(value: Any, settings: Settings) -> dict[str, Any]:
    if _per_episode(value) and settings["n_envs"] > 1:
        raise _Instead("counts episodes of one environment alone", "set `n_envs` to 1")
    return {"train_freq": value}


def _per_episode(train_freq: Any) -> bool:
    return isinstance(train_freq, list) and train_freq[1] == "episode"


def _target_update_interval(value: int, settings: Settings) -> dict[str, Any]:
    freq, steps = settings["train_freq"], settings["gradient_steps"]
    if steps < 0:
        # As many as the rollout has steps.
        length = freq[0] if isinstance(freq, list) else freq
        steps = 1 if _per_episode(freq) else length * settings["n_envs"]
    if steps % value:
        raise _Instead(
            "counts it anew in each round of updates",
            "set `gradient_steps` to a multiple of it",
        )
    return {"target_update_interval": value}


ACTIVATIONS = {"relu": "nn.ReLU", "tanh": "nn.Tanh"}
#: Of Adam as ours is; Stable-Baselines3's A2C would take another epsilon.
ADAM = {"optimizer_class": "th.optim.Adam", "optimizer_kwargs": "dict(eps=1e-8)"}
SGD = {"optimizer_class": "th.optim.SGD"}
CALLBACKS = "stable_baselines3.common.callbacks"


def _activation_fn(value: str, settings: Settings) -> dict[str, Any]:
    return {"policy_kwargs.activation_fn": ACTIVATIONS[value]}


def _optimizer(value: str, settings: Settings) -> dict[str, Any]:
    keywords = {"adam": ADAM, "sgd": SGD}[value]
    return {f"policy_kwargs.{key}": text for key, text in keywords.items()}


def _adam_alone(value: str, settings: Settings) -> dict[str, Any]:
    if value != "adam":
        raise _Instead("steps its entropy coefficient with Adam", "set it to adam")
    return _optimizer(value, settings)


def _one_rate(value: float | None, settings: Settings) -> dict[str, Any]:
    if value not in (None, settings["learning_rate"]):
        raise _Instead("has one step size for both networks", "set it to null")
    return {}


def _vf_coef(value: float | None, settings: Settings) -> dict[str, Any]:
    if settings["optimizer"] != "sgd":
        _one_rate(value, settings)
        return {"vf_coef": 1.0}
    # lr (vf_coef D2 f2) = critic_lr D2 f2
    rate = settings["learning_rate"]
    return {"vf_coef": (value or rate) / rate}


def _noise_std(value: float, settings: Settings) -> dict[str, Any]:
    return {"noise_type": "normal", "noise_std": value}


def _normalize_advantage(value: bool, settings: Settings) -> dict[str, Any]:
    if value and settings["n_steps"] * settings["n_envs"] == 1:
        raise _Instead("divides by a deviation that one step does not have", "set it to false")
    return {"normalize_advantage": value}


# -- the table -------------------------------------------------------------------------------------

_RUN = {
    "n_timesteps": same("n_timesteps", "training stops there, also within a rollout"),
    "n_envs": same("n_envs"),
    "eval_freq": Rule("--eval-freq", "a multiple of `n_envs`", _eval_freq),
    "eval_episodes": same("--eval-episodes"),
    "eval_max_steps": Rule(
        "--eval-env-kwargs",
        "`max_episode_steps`, where the environment's own limit is longer or missing",
        lambda value, settings: {"--eval-env-kwargs": {"max_episode_steps": value}},
    ),
    "log_freq": Rule("callback", "`LogEveryNTimesteps`", _log_freq),
    "env_kwargs": same("--env-kwargs"),
}
_COMMON = {
    "policy_kwargs.net_arch": source("net_arch"),
    "policy_kwargs.activation_fn": Rule(
        "policy_kwargs.activation_fn", "`nn.ReLU`, `nn.Tanh`", _activation_fn
    ),
    "learning_rate": same("learning_rate"),
    "critic_learning_rate": Rule("", "only null or `learning_rate`", _one_rate),
    "optimizer": Rule(
        "policy_kwargs.optimizer_class",
        "`Adam` with an epsilon of 1e-8, `SGD`",
        _optimizer,
    ),
    "gamma": same("gamma"),
    "step_match": only(False, "has no leader whose length a step could take"),
    "noise_match": only(False, "has no leader whose term noise could replace"),
    "engine": without_effect("each computes the same"),
    "device": same("--device"),
}
_OFF_POLICY = {
    "tau": same("tau"),
    "batch_size": same("batch_size"),
    "buffer_size": Rule("buffer_size", "a multiple of `n_envs`", _buffer_size),
    "learning_starts": same("learning_starts"),
    "random_steps": Rule("learning_starts", "only the value of `learning_starts`", _random_steps),
    "train_freq": Rule("train_freq", "in episodes with one environment alone", _train_freq),
    "gradient_steps": same("gradient_steps"),
    "update_order": only("sequential", "updates the critic first, then the actor"),
    "unroll": only(1, "takes one step of the critic per update"),
}
_DDPG = {
    "noise_std": Rule(
        "noise_type, noise_std",
        "`normal`, of actions in [-1, 1]",
        _noise_std,
    ),
    "target_policy": only("target", "takes targets from the average of the actor"),
}
_TD3 = {
    "policy_kwargs.n_critics": source("n_critics"),
    "policy_delay": same("policy_delay"),
    "target_policy_noise": same("target_policy_noise"),
    "target_noise_clip": same("target_noise_clip"),
}
_SAC = {
    "optimizer": Rule(
        "policy_kwargs.optimizer_class", "only adam, with an epsilon of 1e-8", _adam_alone
    ),
    "policy_kwargs.n_critics": source("n_critics"),
    "policy_kwargs.clip_mean": source("clip_mean"),
    "policy_kwargs.log_std_init": source("log_std_init"),
    "policy_kwargs.use_expln": source("use_expln"),
    "ent_coef": same("ent_coef"),
    "target_entropy": same("target_entropy"),
    "target_update_interval": Rule(
        "target_update_interval",
        "`gradient_steps` must be a multiple of it",
        _target_update_interval,
    ),
    "use_sde_at_warmup": same("use_sde_at_warmup"),
    "use_sde": same("use_sde"),
    "sde_sample_freq": same("sde_sample_freq"),
}
_A2C = {
    "critic_learning_rate": Rule(
        "vf_coef",
        "with sgd its ratio to `learning_rate`; with adam only null or `learning_rate`, and 1",
        _vf_coef,
    ),
    "policy_kwargs.log_std_init": source("log_std_init"),
    "n_steps": same("n_steps"),
    "critic_steps": only(1, "takes one step of the critic per update"),
    "gae_lambda": only(
        1, "fits its critic to λ-returns, which are ours, sums of rewards, at 1", "gae_lambda"
    ),
    "normalize_advantage": Rule(
        "normalize_advantage", "false where a batch is one step", _normalize_advantage
    ),
    "ent_coef": same("ent_coef"),
    "critic": only("v", "has a critic of states"),
    "surrogate": without_effect("it is a leader's"),
    "use_sde": only(False, "holds the features of gSDE's noise in its gradient"),
    "sde_sample_freq": without_effect("it goes with `use_sde`"),
    "policy_kwargs.use_expln": without_effect("it goes with `use_sde`"),
}

TABLE: dict[str, dict[str, Rule]] = {
    "ddpg": {**_RUN, **_COMMON, **_OFF_POLICY, **_DDPG},
    "td3": {**_RUN, **_COMMON, **_OFF_POLICY, **_DDPG, **_TD3},
    "sac": {**_RUN, **_COMMON, **_OFF_POLICY, **_SAC},
    "a2c": {**_RUN, **_COMMON, **_A2C},
}

_EVERY: dict[str, tuple[Any, str]] = {
    "policy": ("MlpPolicy", "perceptrons, actor and critic apart"),
    "policy_kwargs.normalize_images": ("False", "observations of bytes are numbers like others"),
    "--log-interval": (-2, "rows of the log come by steps alone"),
}
#: What is set there whatever our settings say: value and reason.
FIXED: dict[str, dict[str, tuple[Any, str]]] = {
    **dict.fromkeys(("ddpg", "td3", "sac"), _EVERY),
    "a2c": {
        **_EVERY,
        "max_grad_norm": (float("inf"), "gradients are not clipped"),
        "use_rms_prop": (False, "the optimiser is ours"),
        "policy_kwargs.ortho_init": ("False", "weights begin as PyTorch's linear layers do"),
    },
}


# -- what is made of it ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Equal:
    """What RL Zoo is given: its hyperparameters, and options of its `train`."""

    hyperparameters: dict[str, Any]
    options: dict[str, Any]


def equal(algo: str, settings: Settings) -> Equal:
    """What Stable-Baselines3's `algo` is given to be equal to ours with `settings`.

    Raises `Refused` for the first that it cannot take.
    """
    own, table = flat(settings), TABLE[algo]
    if missing := sorted(table.keys() - own.keys()):
        raise Refused(f"settings lack {', '.join(f'`{key}`' for key in missing)}")
    given = {name: value for name, (value, _) in FIXED[algo].items()}
    for key, value in own.items():
        if key not in table:
            raise Refused(f"`{key}` is {shown(value)}; it has no counterpart in {named(algo)}")
        try:
            given |= table[key].given(value, own)
        except _Instead as error:
            instead, remedy = error.args
            raise Refused(f"`{key}` is {shown(value)}; {named(algo)} {instead}: {remedy}") from None
    options = {name: value for name, value in given.items() if name.startswith("--")}
    networks = {
        name.removeprefix("policy_kwargs."): given[name]
        for name in given
        if name.startswith("policy_kwargs.")
    }
    hyperparameters: dict[str, Any] = {
        name: value for name, value in given.items() if name.isidentifier()
    }
    keywords = ", ".join(f"{name}={text}" for name, text in networks.items())
    return Equal({**hyperparameters, "policy_kwargs": f"dict({keywords})"}, options)


def named(algo: str) -> str:
    """An algorithm in messages."""
    return f"Stable-Baselines3's {algo.upper()}"


def flat(settings: Settings) -> dict[str, Any]:
    """Settings by dotted name."""
    pairs: dict[str, Any] = {}
    for key, value in settings.items():
        if key == "policy_kwargs":
            pairs |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            pairs[key] = value
    return pairs


def document() -> str:
    """`TABLE` and `FIXED` in Markdown."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    fixed: dict[tuple[str, str, str], list[str]] = {}
    for algo in TABLE:
        for key, rule in TABLE[algo].items():
            row = key, rule.there, rule.says or "the same"
            rows.setdefault(row, []).append(algo)
        for name, (value, why) in FIXED[algo].items():
            fixed.setdefault((name, str(value), why), []).append(algo)
    return "\n".join(
        [
            "| our setting | for | in RL Zoo | value |",
            "|---|---|---|---|",
            *(
                f"| `{key}` | {_those(algos)} | {f'`{there}`' if there else ''} | {says} |"
                for (key, there, says), algos in rows.items()
            ),
            "",
            "| always in RL Zoo | for | value | why |",
            "|---|---|---|---|",
            *(
                f"| `{name}` | {_those(algos)} | `{value}` | {why} |"
                for (name, value, why), algos in fixed.items()
            ),
            "",
        ]
    )


def _those(algos: list[str]) -> str:
    return "all" if algos == list(TABLE) else ", ".join(algos)


if __name__ == "__main__":
    print(document(), end="")
