"""The returns that a run folder holds, from the best source to the last.

Evaluations are `(environment steps, returns of its episodes)`, in order of steps.
"""

import json
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Evaluations: TypeAlias = list[tuple[int, NDArray[np.float64]]]

STEP = "time/total_timesteps"
# In order of worth.
MEANS = ["eval/mean_reward", "rollout/ep_rew_mean"]
# A zip of a few bytes may unpack to more than memory holds.
MOST_UNPACKED = 256_000_000


@dataclass
class Monitor:
    """Training episodes: `rows` as evaluations of one episode, their `lengths`, and whose."""

    rows: Evaluations = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    envs: set[str] = field(default_factory=set)
    seconds: float = float("nan")


def evaluations(path: Path) -> Evaluations:
    """Those of `evaluations.npz`, as `EvalCallback` of Stable-Baselines3 writes it.

    [] if it is not there. Raises ValueError where its arrays do not belong together, and whatever
    zipfile, zlib and numpy raise at harmed bytes.
    """
    if not path.is_file():
        return []
    with np.load(path, allow_pickle=False) as arrays:
        if sum(info.file_size for info in arrays.zip.infolist()) > MOST_UNPACKED:
            raise ValueError("it unpacks to more than 256 MB")
        steps, returns = arrays["timesteps"], arrays["results"]
    if steps.ndim != 1 or returns.ndim != 2 or len(steps) != len(returns) or returns.shape[1] == 0:
        raise ValueError(f"timesteps {steps.shape} and results {returns.shape} do not fit")
    if steps.dtype.kind not in "iu" or returns.dtype.kind not in "iuf":
        raise ValueError("it does not hold numbers")
    if np.any(np.diff(steps) <= 0):
        raise ValueError("its steps do not grow")
    return list(zip(steps.tolist(), returns.astype(np.float64), strict=True))


def monitor(folder: Path) -> Monitor:
    """Episodes of all `*monitor.csv`; a step is the sum of the lengths up to there."""
    found, tables = Monitor(), []
    for path in sorted(folder.glob("*monitor.csv")):
        with path.open(errors="replace") as file:
            header = file.readline(10_000)
            if header.startswith("#"):
                found.envs.add(str(json.loads(header[1:]).get("env_id")))
            tables.append(pd.read_csv(file, usecols=["r", "l", "t"]))
    if not any(len(table) for table in tables):
        return found
    # Environments beside each other: episodes in the order of their ends.
    table = pd.concat(tables).dropna().sort_values("t", kind="stable")
    found.lengths = table["l"].astype(int).tolist()
    steps = np.cumsum(found.lengths).tolist()
    returns = table["r"].to_numpy(np.float64)[:, None]
    found.rows = list(zip(steps, returns, strict=True))
    found.seconds = float(table["t"].max())
    return found


def progress(path: Path, tags: list[str]) -> pd.DataFrame:
    """The columns `tags`, those with means of returns and the step; empty without the file."""
    if not path.is_file() or path.stat().st_size == 0:
        return pd.DataFrame()
    wanted = {STEP, *MEANS, *tags}
    return pd.read_csv(path, usecols=lambda name: name in wanted, dtype=np.float64)


def logged(table: pd.DataFrame, tags: list[str] = MEANS) -> Evaluations:
    """Means of the first of `tags` that `progress.csv` has, as evaluations of one episode."""
    for tag in tags:
        if STEP in table and tag in table and table[tag].notna().any():
            rows = table[[STEP, tag]].dropna().drop_duplicates(STEP).sort_values(STEP)
            returns = rows[tag].to_numpy(np.float64)[:, None]
            return list(zip(rows[STEP].astype(int).tolist(), returns, strict=True))
    return []


def tensorboard(folder: Path) -> Evaluations:
    """The same of TensorBoard's event files; [] without them or without tensorboard."""
    if not any(folder.glob("events.out.tfevents.*")):
        return []
    try:
        events = import_module("tensorboard.backend.event_processing.event_accumulator")
    except ImportError:
        return []
    accumulator = events.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    for tag in MEANS:
        if tag in accumulator.Tags()["scalars"]:
            points = {int(event.step): float(event.value) for event in accumulator.Scalars(tag)}
            return [(step, np.array([points[step]])) for step in sorted(points)]
    return []
