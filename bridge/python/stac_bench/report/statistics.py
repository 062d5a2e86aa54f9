"""Statistics over many runs, as Agarwal et al. 2021 (arXiv:2108.13264) recommend them.

`scores` are of one kind of run: a matrix (seeds, environments), or one array of seeds per
environment where their numbers differ. Every statistic also takes leading axes in those arrays,
(..., seeds), and keeps them: the bootstrap computes all its resamples at once.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import trim_mean

Array: TypeAlias = NDArray[np.float64]
Scores: TypeAlias = Array | Sequence[Array]

LEVEL = 0.95
REPETITIONS = 2_000
SEED = 0


def columns(scores: Scores) -> list[Array]:
    """One array (seeds,) per environment. Raises ValueError where an environment has no seed."""
    if isinstance(scores, np.ndarray):
        scores = list(np.atleast_2d(scores.T)) if scores.ndim < 3 else list(scores)
    found = [np.asarray(column, dtype=np.float64) for column in scores]
    if not found or any(column.shape[-1] == 0 for column in found):
        raise ValueError("scores of no run")
    return found


def iqm(scores: Scores) -> Array:
    """The mean of what remains of all runs once a quarter is cut off at each end, (...)."""
    return np.asarray(trim_mean(np.concatenate(columns(scores), axis=-1), 0.25, axis=-1))


def mean(scores: Scores) -> Array:
    """The mean over environments of the mean over seeds, (...)."""
    return np.asarray(np.mean([column.mean(axis=-1) for column in columns(scores)], axis=0))


def median(scores: Scores) -> Array:
    """The median over environments of the mean over seeds, (...)."""
    return np.asarray(np.median([column.mean(axis=-1) for column in columns(scores)], axis=0))


def optimality_gap(scores: Scores, gamma: float = 1.0) -> Array:
    """How far runs stay below `gamma` on average; what lies above it does not make up, (...)."""
    # gamma - mean(min(score, gamma))
    return gamma - mean([np.minimum(column, gamma) for column in columns(scores)])


def probability_of_improvement(x: Scores, y: Scores) -> Array:
    """How likely a run of `x` beats one of `y` on an environment drawn at random, (...).

    Raises ValueError unless both have the same environments.
    """

    # Mann-Whitney: the share of pairs (i, j) with x_i > y_j; a tie counts half.
    def wins(a: Array, b: Array) -> Array:
        above = a[..., :, None] - b[..., None, :]
        return np.asarray(np.mean((above > 0) + 0.5 * (above == 0), axis=(-2, -1)))

    pairs = zip(columns(x), columns(y), strict=True)
    return np.asarray(np.mean([wins(a, b) for a, b in pairs], axis=0))


def performance_profile(scores: Scores, taus: Array) -> Array:
    """The fraction of runs with a score above each of `taus`, (..., taus)."""
    every = np.concatenate(columns(scores), axis=-1)
    return np.stack([(every > tau).mean(axis=-1) for tau in taus], axis=-1)


def resample(scores: Scores, repetitions: int, random: np.random.Generator) -> list[Array]:
    """Seeds drawn with replacement within each environment, (repetitions, seeds) each."""
    return [
        column[random.integers(len(column), size=(repetitions, len(column)))]
        for column in columns(scores)
    ]


def interval(
    statistic: Callable[..., Array],
    *scores: Scores,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    seed: int = SEED,
) -> tuple[Array, Array] | None:
    """The stratified bootstrap percentile interval of `statistic(*scores)`.

    None where no environment has two seeds: nothing is known about chance then. With few seeds it
    is too narrow (benchmarks/results/coverage.csv).
    """
    if all(len(column) < 2 for one in scores for column in columns(one)):
        return None
    random = np.random.default_rng(seed)
    values = statistic(*(resample(one, repetitions, random) for one in scores))
    # Of `level` = 0.95, 2.5 % of the resamples lie below and 2.5 % above.
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(low), np.asarray(high)


def profile_interval(scores: Scores, taus: Array) -> tuple[Array, Array] | None:
    """The interval of `performance_profile` at each of `taus`, (taus,) each."""
    return interval(partial(performance_profile, taus=taus), scores)


def sample_efficiency(
    curves: Sequence[Array], repetitions: int = REPETITIONS
) -> tuple[Array, tuple[Array, Array] | None]:
    """The IQM at each step, (steps,), and its interval.

    `curves` holds a matrix (seeds, steps) per environment, with the same steps in all.
    """
    steps = [[curve[:, i] for curve in curves] for i in range(curves[0].shape[1])]
    middle = np.array([iqm(scores) for scores in steps])
    # Step by step: all resamples of all steps at once would take too much memory.
    bounds = [interval(iqm, scores, repetitions=repetitions) for scores in steps]
    known = [bound for bound in bounds if bound is not None]
    if not known:
        return middle, None
    return middle, (np.array([low for low, _ in known]), np.array([high for _, high in known]))
