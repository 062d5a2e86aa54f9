"""The twelve panels: which runs are in them, and how a run is scored (`plan.md`)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import yaml
from stac_bench.report.aligned import Aligned, align

EMPTY = ["run", "seed", "steps", "seconds", "evaluation"]
FEWEST = 3  # pairs that a comparison needs


@dataclass(frozen=True)
class Family:
    """Panels of one kind: baselines and forms by label, as grids' runs are called in `data/`."""

    grid: str
    # What the term is compared to where it is off, then on with either leader.
    off: str
    actor_leads: str
    critic_leads: str | None
    labels: tuple[str, ...]
    seeds: int
    score: str
    letters: str
    envs: tuple[str, ...]


MUJOCO = ("HalfCheetah-v4", "Swimmer-v4", "Hopper-v4", "Walker2d-v4")
AC = Family(
    *("ac", "ac-m=1", "stac-m=1", None),
    ("ac-m=1", "stac-m=1", "ac-m=80", "stac-m=80"),
    5,
    *("training", "abcd", ("CartPole-v1", "Reacher-v4", "Hopper-v4", "Walker2d-v4")),
)
DDPG = Family(
    *("ddpg", "ddpg-simultaneous", "stddpg-al", "stddpg-cl"),
    ("ddpg-simultaneous", "stddpg-al", "ddpg", "stddpg-cl"),
    10,
    *("evaluation", "efgh", MUJOCO),
)
SAC = Family(
    *("sac", "sac-simultaneous", "stsac-al", "stsac-cl"),
    ("sac-simultaneous", "stsac-al", "sac", "stsac-cl"),
    5,
    *("evaluation", "ijkl", MUJOCO),
)
FAMILIES = (AC, DDPG, SAC)
# Beyond the figure: tiers 5 and 6.
WALKER2D = Family(
    *("walker2d-1m", "ddpg", "stddpg-al", None, ("ddpg", "stddpg-al", "sac", "stsac-al")),
    *(3, "evaluation", "-", ("Walker2d-v4",)),
)
TD3 = Family(
    *("td3", "td3-simultaneous", "sttd3-al", "sttd3-cl"),
    ("td3-simultaneous", "sttd3-al", "td3", "sttd3-cl"),
    *(3, "evaluation", "----", MUJOCO),
)
BEYOND = (WALKER2D, TD3)


@dataclass(frozen=True, eq=False)
class Panel:
    """One of (a) to (l); `runs` has a row per run, as `collect.py` writes them."""

    letter: str
    family: Family
    env: str
    runs: pd.DataFrame

    @property
    def title(self):
        """As under the paper's picture."""
        return f"({self.letter}) {self.env.rsplit('-', 1)[0]}"

    @cached_property
    def points(self):
        """A row per point: env, run, seed, step, return."""
        rows = [
            (self.env, row["run"], row["seed"], step, value)
            for row in self.runs.to_dict("records")
            for step, value in zip(*whole(row, self.family.score), strict=True)
        ]
        table = pd.DataFrame(rows, columns=["env", "run", "seed", "step", "return"])
        # Without an episode that ended there is no training return.
        return table.dropna(subset=["return"]).astype({"step": int, "seed": int})

    @cached_property
    def aligned(self) -> Aligned | None:
        """Its curves at the same steps; None without runs."""
        shown = self.points[self.points["run"].isin(self.family.labels)]
        return align(self.env, shown) if len(shown) else None

    def scores(self, run):
        """The area under the curve of each seed: the mean over all its points."""
        points = self.points[self.points["run"] == run]
        return points.groupby("seed")["return"].mean()

    def seconds(self, run):
        """Seconds per step of each seed."""
        rows = self.runs[self.runs["run"] == run].set_index("seed")
        return rows["seconds"] / rows["steps"]

    def conditioning(self, run):
        """Smallest over largest eigenvalue of the follower's Hessian, medians over the run."""
        rows = self.runs[self.runs["run"] == run].set_index("seed")
        if "game/follower_eig_min" not in rows:
            return pd.Series(dtype=float)
        low, high = rows["game/follower_eig_min"].dropna(), rows["game/follower_eig_max"].dropna()
        medians = {seed: np.nanmedian(low[seed] / high[seed]) for seed in low.index}
        return pd.Series(medians, dtype=float)


def gains(ours, theirs):
    """Differences of the pairs, in units of the mean of `theirs`; empty with less than `FEWEST`."""
    pairs = ours.index.intersection(theirs.index)
    if len(pairs) < FEWEST:
        return np.array([])
    return ((ours[pairs] - theirs[pairs]) / abs(theirs.mean())).to_numpy(np.float64)


def load(data, families=FAMILIES):
    """All panels, whether or not there are runs."""
    return [
        Panel(letter, family, env, table(data, family.grid, env))
        for family in families
        for letter, env in zip(family.letters, family.envs, strict=True)
    ]


def table(data, grid, env):
    """The runs of a file of `data`; empty without it."""
    file = data / f"{grid}-{env}.parquet"
    return pd.read_parquet(file) if file.is_file() else pd.DataFrame(columns=EMPTY)


def whole(row, score):
    """Steps and values of a run; one that diverged keeps its last value to the end."""
    steps, values = np.asarray(row["step"]), np.asarray(row[score], np.float64)
    if row["status"] == "failed":
        run = yaml.safe_load(row["config.yml"])
        missing = np.arange(steps[-1] + run["eval_freq"], run["n_timesteps"] + 1, run["eval_freq"])
        last = values[~np.isnan(values)][-1:]
        steps = np.append(steps, missing)
        values = np.append(values, np.repeat(last, len(missing)))
    return steps, values
