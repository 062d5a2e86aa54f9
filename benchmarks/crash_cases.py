"""What `crash.py` runs, what it compares that with, and where it writes what came of it."""

import csv
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from killing import Process

ENVS = ("InvertedPendulum-v4", "Hopper-v4", "CartPole-v1")
REFUSED = 2  # exit status of a wrong command or configuration
STEPS = 3_000
SMALL = [
    *("--eval-freq", "500", "--eval-episodes", "2", "--checkpoint-freq", "250"),
    *("--set", "log_freq=100", "--set", "policy_kwargs.net_arch=[32,32]"),
]
OFF_POLICY = [
    *("--set", "batch_size=32", "--set", "random_steps=200", "--set", "learning_starts=200"),
]
ON_POLICY = ["--set", "n_steps=100"]


@dataclass(frozen=True)
class Case:
    """What is run; `words` are further options."""

    algo: str
    env: str
    n_envs: int = 1
    words: tuple[str, ...] = ()

    @property
    def name(self):
        return f"{self.algo}, {self.env}, {self.n_envs} environment{'s' * (self.n_envs > 1)}"

    def command(self, binary, out, seed, steps=STEPS):
        """The command line of a run of so many steps below `out`."""
        words = ["--algo", self.algo, "--env", self.env, "--n-envs", self.n_envs, "--seed", seed]
        return [binary, *words, "--steps", steps, "--out", out, "--quiet", *SMALL, *self.words]

    def folder(self, out, seed):
        """Where its run lies."""
        return out / self.algo / f"{self.env}_{seed}"


def text_of(binary, *words):
    """What `binary` prints."""
    done = subprocess.run([binary, *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{binary} {' '.join(words)}: {done.stderr}")
    return done.stdout


def accepts(binary, case):
    """Whether the algorithm takes the environment's actions."""
    with tempfile.TemporaryDirectory() as out:
        command = [*case.command(binary, out, 0, 1), "--checkpoint-freq", 0]
        done = subprocess.run([str(word) for word in command], capture_output=True)
    return done.returncode != REFUSED


def all_cases(binary, words=()):
    """Every algorithm that `binary` lists, on every environment that it takes, one and two."""
    for algo in [line.split()[0] for line in text_of(binary, "algos").splitlines() if line]:
        on_policy = re.search(r"^ *n_steps:", text_of(binary, "settings", algo), re.MULTILINE)
        options = (*(ON_POLICY if on_policy else OFF_POLICY), *words)
        for env in ENVS:
            if env != "CartPole-v1" or accepts(binary, Case(algo, env, words=options)):
                yield from (Case(algo, env, n_envs, options) for n_envs in (1, 2))


@dataclass(frozen=True)
class Reference:
    """The run that nobody killed: where, how long, and what of it came before its first step."""

    folder: Path
    seconds: float
    startup: float
    commit: str

    def left(self, step):
        """Seconds that a run takes that starts from `step`."""
        return self.startup + (self.seconds - self.startup) * (1 - (step or 0) / STEPS)


def refer(binary, case, seed, out, more=()):
    """Runs a case uninterrupted; `more` ends the command line."""
    process = Process([*case.command(binary, out, seed), *more])
    folder = case.folder(out, seed)
    startup = 0.0
    while process.running:
        if not startup and (folder / "manifest.json").exists():
            startup = process.seconds
        time.sleep(0.002)
    seconds = process.seconds
    if status := process.end():
        raise RuntimeError(f"{case.name}: the reference ended with {status}: {process.stderr()}")
    manifest = json.loads((folder / "manifest.json").read_text())
    if manifest["status"] != "done":
        raise RuntimeError(f"{case.name}: the reference is {manifest['status']}")
    return Reference(folder, seconds, startup, manifest["commit"])


class Ledger:
    """A file of what was tried; rows are appended, those that belong together at a time."""

    def __init__(self, path, columns):
        self.path, self.columns, self.lock = path, columns, threading.Lock()

    def add(self, rows):
        with self.lock, self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            if not file.tell():
                writer.writeheader()
            writer.writerows(rows)

    def read(self):
        """All of it, as a table of texts."""
        if not self.path.exists():
            return pd.DataFrame(columns=self.columns)
        return pd.read_csv(self.path, dtype=str, keep_default_na=False)
