"""Runs of one environment at the same steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

Array = NDArray[np.float64]

# How many steps stand for runs that were not evaluated at the same ones.
BINS = 100


@dataclass(frozen=True)
class Aligned:
    """`curves` has a matrix (seeds, steps) per run name, `seeds` names its rows.

    `first` and `last` are the least and the greatest last step of a run: unequal if runs are of
    unequal length. `binned` tells whether steps are bins, since runs shared too few.
    """

    env: str
    steps: list[int]
    curves: dict[str, Array]
    seeds: dict[str, list[int]]
    first: int
    last: int
    binned: bool


def align(env: str, evaluations: DataFrame) -> Aligned:
    """`evaluations` of one environment, up to the last step that all its runs have reached."""
    series = {
        (str(run), int(str(seed))): (table["step"].to_numpy(), table["return"].to_numpy(np.float64))
        for (run, seed), table in evaluations.groupby(["run", "seed"], sort=True)
    }
    ends = [int(steps[-1]) for steps, _ in series.values()]
    first, last = min(ends), max(ends)
    shared = set.intersection(*(set(steps.tolist()) for steps, _ in series.values()))
    within = [np.sum(steps <= first) for steps, _ in series.values()]
    # A few evaluations that one run has more, at the start say, are no reason to average.
    binned = first not in shared or bool(2 * len(shared) < max(within))
    steps = _bins(series, first) if binned else sorted(shared)
    rows: dict[str, list[Array]] = {}
    seeds: dict[str, list[int]] = {}
    for (run, seed), (at, values) in series.items():
        row = _binned(at, values, steps) if binned else values[np.isin(at, steps)]
        rows.setdefault(run, []).append(row)
        seeds.setdefault(run, []).append(seed)
    curves = {run: np.array(several) for run, several in rows.items()}
    return Aligned(env, steps, curves, seeds, first, last, binned)


def _bins(series: dict[tuple[str, int], tuple[Array, Array]], first: int) -> list[int]:
    """Ends of bins of equal width, no more than the run with the fewest evaluations can fill."""
    fewest = min(int(np.sum(steps <= first)) for steps, _ in series.values())
    ends = np.linspace(0, first, max(1, min(BINS, fewest)) + 1)[1:]
    return [int(end) for end in np.ceil(ends)]


def _binned(at: Array, values: Array, ends: list[int]) -> Array:
    """The mean within each bin (end before, end]; an empty one has the value before it."""
    row = np.full(len(ends), np.nan)
    which = np.searchsorted(ends, at)
    for i in range(len(ends)):
        inside = values[which == i]
        row[i] = inside.mean() if len(inside) else (row[i - 1] if i else values[0])
    return row
