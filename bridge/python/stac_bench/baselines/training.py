"""Trains a baseline through RL Zoo, into the folder of a run of ours."""

import functools
import importlib
import importlib.util
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import gymnasium as gym
import numpy as np
import yaml  # type: ignore[import-untyped]
from rl_zoo3.exp_manager import ExperimentManager
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import should_collect_more_steps

if TYPE_CHECKING:
    from stac_bench.baselines.job import Job

#: What a run leaves, and where it is until all of it is there.
RESULTS = (
    *("evaluations.npz", "best_model.zip", "final_model.zip", "progress.csv", "*.monitor.csv"),
    *("events.out.tfevents.*", "rl_zoo3"),
)
UNFINISHED = "rl_zoo3.unfinished"


def train(job: "Job", out: TextIO) -> str:
    """Trains, with lines `steps return` on `out`; returns how it scored, in a line."""
    unfinished = job.folder / UNFINISHED
    for name in (*RESULTS, UNFINISHED):
        for path in job.folder.glob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    unfinished.mkdir(parents=True)
    try:
        module: Any = importlib.import_module("rl_zoo3.train")
        module.ExperimentManager = functools.partial(Manager, out=out)
        sys.argv = ["rl_zoo3.train", *arguments(job, unfinished)]
        module.train()
        (run,) = (unfinished / job.algo).iterdir()
        scored = scores(run / "evaluations.npz")
        _keep(run, unfinished / "hyperparameters.yml", job.folder)
    finally:
        shutil.rmtree(unfinished)
    return scored


def arguments(job: "Job", folder: Path) -> list[str]:
    """The arguments of `python -m rl_zoo3.train`, whose hyperparameters are written to `folder`."""
    module, _, env = job.env.rpartition(":")
    imports = [*job.env_import, *filter(None, [module])]
    given = job.equal()
    file = folder / "hyperparameters.yml"
    file.write_text(yaml.safe_dump({env: given.hyperparameters}))
    for name in imports:
        importlib.import_module(name)
    options: dict[str, Any] = {
        "--algo": job.algo,
        "--env": env,
        "--seed": job.seed,
        "--num-threads": job.threads,
        "--log-folder": folder,
        "--conf-file": file,
        "--verbose": 0,
        **given.options,
    }
    kwargs = options["--env-kwargs"]
    options["--eval-env-kwargs"] = evaluated(env, kwargs, options["--eval-env-kwargs"])
    words = [*(["--gym-packages", *imports] if imports else [])]
    for name, value in options.items():
        if isinstance(value, dict):
            pairs = [f"{key}:{inner!r}" for key, inner in value.items()]
            words += [name, *pairs] if pairs else []
        else:
            words += [f"{name}={value}"]
    return words


def evaluated(env: str, kwargs: dict[str, Any], limit: dict[str, int]) -> dict[str, Any]:
    """The keywords of the environment for evaluations: `kwargs`, and a lower limit of steps."""
    own = kwargs.get("max_episode_steps", gym.spec(env).max_episode_steps)
    return kwargs if own and 0 < own <= limit["max_episode_steps"] else {**kwargs, **limit}


def scores(file: Path) -> str:
    """The last and the best evaluation, as `stac-bench` tells of them."""
    with np.load(file) as table:
        steps, returns = table["timesteps"], table["results"]
    means, stds = returns.mean(axis=1), returns.std(axis=1)
    return ", ".join(
        f"{name} evaluation {means[i]:.1f} ± {stds[i]:.1f} at step {steps[i]}"
        for name, i in (("last", -1), ("best", int(means.argmax())))
    )


def _keep(run: Path, hyperparameters: Path, folder: Path) -> None:
    """Moves what RL Zoo left in `run` to where a run of ours has it."""
    (notes,) = (path for path in run.iterdir() if path.is_dir())
    os.replace(run / f"{notes.name}.zip", run / "final_model.zip")
    os.replace(hyperparameters, notes / hyperparameters.name)
    os.replace(notes, run / "rl_zoo3")
    for name in RESULTS:
        for path in run.glob(name):
            os.replace(path, folder / path.name)


class Manager(ExperimentManager):
    """RL Zoo's, with the files and the evaluations of a run of ours."""

    def __init__(self, *args: Any, out: TextIO, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.out = out
        self.deterministic_eval = True  # also where RL Zoo thinks otherwise, as for Atari

    def create_callbacks(self) -> None:
        """And one that watches."""
        super().create_callbacks()  # type: ignore[no-untyped-call]  # RL Zoo declares nothing
        self.callbacks.append(Watch(self.n_timesteps, self.out))

    def setup_experiment(self) -> tuple[BaseAlgorithm, dict[str, Any]] | None:
        """And its log."""
        made: tuple[BaseAlgorithm, dict[str, Any]] | None = super().setup_experiment()
        if made is not None:
            events = ["tensorboard"] if importlib.util.find_spec("tensorboard") else []
            made[0].set_logger(configure(self.save_path, ["csv", *events]))
        return made

    def learn(self, model: BaseAlgorithm) -> None:
        """And evaluates after the last step, if that was not done."""
        super().learn(model)
        (evaluation,) = (one for one in self.callbacks if isinstance(one, EvalCallback))
        if evaluation.evaluations_timesteps[-1:] != [model.num_timesteps]:
            evaluation.eval_freq = 1
            evaluation.on_step()
        model.logger.close()


class Watch(BaseCallback):
    """Tells how far training is, and ends it after `n_timesteps`, also within a rollout."""

    def __init__(self, n_timesteps: int, out: TextIO) -> None:
        super().__init__()
        self.n_timesteps, self.out = n_timesteps, out
        self.last_return, self.told = math.nan, time.monotonic()

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.last_return = info["episode"]["r"]
        if time.monotonic() - self.told > 1:
            self.told = time.monotonic()
            print(f"{self.num_timesteps} {self.last_return:.1f}", file=self.out, flush=True)
        return self.num_timesteps < self.n_timesteps or self._rollout_ends()

    def _rollout_ends(self) -> bool:
        """Whether this step is the last of its rollout, so that an update follows."""
        now = self.locals
        if "n_rollout_steps" in now:
            return bool(now["n_steps"] + 1 >= now["n_rollout_steps"])
        episodes = now["num_collected_episodes"] + int(now["dones"].sum())
        steps = now["num_collected_steps"]
        return not should_collect_more_steps(now["train_freq"], steps, episodes)
