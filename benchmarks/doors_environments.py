"""Environments that misbehave and settings that are odd."""

import json
from pathlib import Path
from random import Random

import numpy as np
from doors_files import ODD
from doors_try import SECONDS, Try
from safetensors.numpy import load_file

#: Environments of the tests, by the module that registers them, with keyword arguments.
ENVIRONMENTS = [
    *(("odd_environments", "Form-v0", {"form": form, "after": after})
      for form in ("four", "six", "list", "none", "word", "number", "reset alone", "reset three")
      for after in (0, 35)),
    *(("odd_environments", f"{name}-v0", {}) for name in
      ("Item", "Moving", "Endless", "Scalar", "Huge", "LateReset", "SecondFails", "Picture",
       "Whole")),
    *(("environments", f"{name}-v0", {}) for name in
      ("DictPoint", "Unbounded", "Choice", "OddBounds", "DoubleBounds", "IntegerActions",
       "HugeReward", "NoObservation", "NoAction", "Vast")),
    *(("environments", "Point-v0", {"fault": fault, "after": after})
      for fault in ("nan", "exception") for after in (0, 35)),
    ("owners", "Quits-v0", {}),
    ("owners", "Dies-v0", {}),
    ("owners", "Prints-v0", {}),
]  # fmt: skip
#: What an environment does to its own process is its own affair.
OWN_END = {"Dies-v0": (-9,), "Quits-v0": (0, 1, 2)}
LONG = 10  # seconds
SHORT = [
    *("--steps", "60", "--eval-freq", "60", "--eval-episodes", "1", "--quiet"),
    *("--set", "eval_max_steps=100", "--set", "policy_kwargs.net_arch=[8]"),
]
OPTIONS = ("--threads", "--n-envs", "--eval-freq", "--eval-episodes", "--steps", "--seed")


def leaves(schema, prefix=""):
    """The dotted names of all settings of a JSON schema."""
    for name, part in schema.get("properties", {}).items():
        if "properties" in part:
            yield from leaves(part, f"{prefix}{name}.")
        yield f"{prefix}{name}"


class Environments:
    """Tries with the program `binary`; `schemas` are the settings of each algorithm."""

    def __init__(self, binary: Path, schemas: dict[str, dict]) -> None:
        self.binary, self.schemas = str(binary), schemas

    def make(self, number: int, folder: Path, seed: int) -> Try:
        """The try of that number."""
        random = Random(f"environments {seed} {number}")
        algo = random.choice(sorted(self.schemas))
        module, env, kwargs = ("environments", "Point-v0", {})
        words, what, right = [], "", (0, 1, 2)
        if number % 2:
            module, env, kwargs = random.choice(ENVIRONMENTS)
            what, right = f"{env} {json.dumps(kwargs)}", OWN_END.get(env, right)
            words += ["--n-envs", str(random.choice([1, 1, 2, 3]))]
        elif random.random() < 0.8:
            key, value = random.choice(list(leaves(self.schemas[algo]))), random.choice(ODD)
            what = f"{key}={str(value)[:40]}"
            words += ["--set", f"{key}={json.dumps(value)}"]
        else:
            option = random.choice(OPTIONS)
            value = random.choice(["0", "-1", "1e9", str(2**63), str(2**64), "nan", "", "x"])
            what = f"{option} {value}"
            words += [f"{option}={value}"]
        on_policy = "n_steps" in self.schemas[algo].get("properties", {})
        quick = ["n_steps=20"] if on_policy else ["learning_starts=20", "batch_size=4"]
        for setting in quick:
            words = ["--set", setting, *words]
        for key, value in kwargs.items():
            words += ["--set", f"env_kwargs.{key}={json.dumps(value)}"]
        line = ["--algo", algo, "--env", env, "--env-import", module, *SHORT, *words]

        def check(said):
            runs = list((folder / "runs").rglob("final_model/model.safetensors"))
            if not runs:
                return None if env in OWN_END else "done, and there is no model"
            tensors = load_file(runs[0])
            good = all(np.isfinite(values).all() for values in tensors.values())
            return None if good else "done, with parameters that are not finite"

        what, command = f"{algo} {what}", [self.binary, *line]
        if number % 2:
            return Try("environment", what, command, right, SECONDS, check)
        # As many steps as one asks for: then it ends when it is told to.
        return Try("setting", what, command, right, LONG, check)
