"""Differences between two kinds of runs with the same seeds, and what they can show.

The interval is that of the paired t-test. Of the methods that `benchmarks/interval_coverage.py`
simulates, it and Johnson's t hold their level most often (19 of 28 cases within 93 to 97 %), and p
value and detectable effect follow from it. It fails where differences themselves lean far to one
side; `benchmarks/results/coverage.csv` has all figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

Array = NDArray[np.float64]

POWER = 0.8
LEVEL = 0.05
MOST_SEEDS = 1_000_000


@dataclass(frozen=True)
class Difference:
    """A mean difference of `pairs` pairs; `low`, `high` and `p` are None where `why` says why."""

    mean: float
    pairs: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    why: str = ""


def difference(differences: Array, level: float = LEVEL) -> Difference:
    """The mean of `differences`, (pairs,), its 1 - `level` interval and two-sided p value.

    Raises ValueError if there is no pair.
    """
    pairs = len(differences)
    if pairs == 0:
        raise ValueError("no pairs")
    mean = float(np.mean(differences))
    if pairs == 1:
        return Difference(mean, pairs, why="one seed says nothing about chance")
    # s / sqrt(n)
    error = float(np.std(differences, ddof=1)) / np.sqrt(pairs)
    if error == 0:
        return Difference(mean, pairs, why="all pairs differ by the same amount")
    # mean -+ t(1 - level / 2, n - 1) s / sqrt(n)
    reach = float(stats.t.ppf(1 - level / 2, pairs - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, pairs - 1))
    return Difference(mean, pairs, mean - reach, mean + reach, p)


def combined(
    samples: Sequence[Array], weights: Sequence[float], level: float = LEVEL
) -> Difference:
    """The weighted sum of the means of independent `samples`, with interval and p (Welch 1947).

    `pairs` are those of all samples. Raises ValueError if a sample has less than two.
    """
    sizes = np.array([len(sample) for sample in samples])
    if len(sizes) == 0 or sizes.min() < 2:
        raise ValueError("a sample of less than two")
    mean = float(np.dot(weights, [np.mean(sample) for sample in samples]))
    # v_k = (w_k s_k)^2 / n_k;  the variance of the sum is sum_k v_k
    deviations = np.array([np.std(sample, ddof=1) for sample in samples])
    parts = (np.asarray(weights) * deviations) ** 2 / sizes
    error = float(np.sqrt(parts.sum()))
    if error == 0:
        return Difference(mean, int(sizes.sum()), why="no sample varies")
    # (sum_k v_k)^2 / sum_k v_k^2 / (n_k - 1) degrees of freedom
    freedom = float(parts.sum() ** 2 / np.sum(parts**2 / (sizes - 1)))
    reach = float(stats.t.ppf(1 - level / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, freedom))
    return Difference(mean, int(sizes.sum()), mean - reach, mean + reach, p)


def power_of(effect: float, deviation: float, pairs: int, level: float = LEVEL) -> float:
    """How likely `pairs` pairs show a true difference `effect` at `level`.

    `deviation` is the standard deviation of the differences.
    """
    # |T| > t(1 - level / 2, n - 1), where T is noncentral t with shift effect sqrt(n) / s.
    shift = abs(effect) * np.sqrt(pairs) / deviation
    critical = stats.t.ppf(1 - level / 2, pairs - 1)
    above = stats.nct.sf(critical, pairs - 1, shift)
    # The far tail vanishes, where scipy may give NaN for it.
    below = np.nan_to_num(stats.nct.cdf(-critical, pairs - 1, shift))
    return float(above + below)


def minimal_detectable_effect(
    differences: Array, power: float = POWER, level: float = LEVEL
) -> float | None:
    """The smallest true difference that as many such pairs show with probability `power`.

    None with fewer than two pairs, or where all differ by the same amount.
    """
    pairs = len(differences)
    deviation = float(np.std(differences, ddof=1)) if pairs > 1 else 0.0
    if deviation == 0:
        return None

    def lacking(effect: float) -> float:
        return power_of(effect, 1.0, pairs, level) - power

    highest = 1.0
    while lacking(highest) < 0:
        highest *= 2
    return deviation * float(brentq(lacking, 0.0, highest, xtol=1e-12))


def seeds_needed(
    deviation: float, effect: float, power: float = POWER, level: float = LEVEL
) -> int | None:
    """The fewest pairs that show `effect` with probability `power`; None if over a million.

    Raises ValueError unless `deviation` and `effect` are above 0.
    """
    if not (deviation > 0 and effect > 0):
        raise ValueError("deviation and effect must be above 0")
    low, high = 1, 2
    while power_of(effect, deviation, high, level) < power:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = power_of(effect, deviation, middle, level) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        # The k-th smallest of m counts m - k + 1 times, and never less than those before it.
        largest = max(largest, min(1.0, (len(p_values) - rank) * float(p_values[i])))
        corrected[int(i)] = largest
    return corrected
