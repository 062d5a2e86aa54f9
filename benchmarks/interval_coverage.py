"""How often 95 % intervals hold the true mean difference: simulated, for few pairs.

    PYTHONPATH=bridge/python python benchmarks/interval_coverage.py

Writes `results/coverage.csv`: per method, distribution and number of pairs, the share of
simulated sets whose interval holds the true mean, and the median width in standard deviations.
Takes about two minutes.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import ndtr, ndtri
from stac_bench.report.paired import difference

OUT = Path(__file__).resolve().parent / "results" / "coverage.csv"
PAIRS = [3, 5, 10, 20]
RESAMPLES = 1_000
LEVEL = 0.95
TAILS = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])

# Name: draws of (sets, pairs), and their true mean. Returns are skewed, and so may differences be.
DISTRIBUTIONS = {
    "normal": (lambda r, n: r.normal(size=n), 0.0),
    "gamma - gamma": (lambda r, n: r.gamma(2, 1, n) - r.gamma(2, 1, n), 0.0),
    "lognormal - lognormal": (
        lambda r, n: r.lognormal(0, 0.8, n) - r.lognormal(0, 0.8, n),
        0.0,
    ),
    "gamma(2) - gamma(8), unlike": (
        lambda r, n: 2 * r.gamma(2, 1, n) - 0.5 * r.gamma(8, 1, n),
        0.0,
    ),
    "gamma(4), one-sided": (lambda r, n: r.gamma(4, 1, n), 4.0),
    "exponential, one-sided": (lambda r, n: r.exponential(1, n), 1.0),
    "lognormal(0.8), one-sided": (
        lambda r, n: r.lognormal(0, 0.8, n),
        float(np.exp(0.8**2 / 2)),
    ),
}


def paired_t(x, random):
    found = difference(x)
    return found.low, found.high


def johnson(x, random):
    """Johnson 1978: t with a shift that takes out the first order of the skewness."""
    n, mean, s = len(x), x.mean(), x.std(ddof=1)
    third = np.sum((x - mean) ** 3) * n / ((n - 1) * (n - 2))
    reach = stats.t.ppf(TAILS[1], n - 1) * s / np.sqrt(n)
    centre = mean + third / (6 * s**2 * n)
    return centre - reach, centre + reach


def percentile(x, random):
    return np.quantile(resampled(x, random).mean(axis=1), TAILS)


def bootstrap_t(x, random):
    n, mean = len(x), x.mean()
    drawn = resampled(x, random)
    errors = drawn.std(axis=1, ddof=1) / np.sqrt(n)
    # A resample of one value has no error: it says nothing.
    kept = errors > 1e-12
    high, low = np.quantile((drawn.mean(axis=1)[kept] - mean) / errors[kept], TAILS[::-1])
    error = x.std(ddof=1) / np.sqrt(n)
    return mean - high * error, mean - low * error


def bca(x, random):
    """Efron 1987: bias-corrected and accelerated percentiles."""
    n, mean = len(x), x.mean()
    means = resampled(x, random).mean(axis=1)
    below = np.clip(np.mean(means < mean), 1 / len(means), 1 - 1 / len(means))
    bias = ndtri(below)
    # The jackknife's means are (n mean - x_i) / (n - 1).
    left = mean - (n * mean - x) / (n - 1)
    acceleration = np.sum(left**3) / (6 * np.sum(left**2) ** 1.5)
    z = bias + ndtri(TAILS)
    return np.quantile(means, ndtr(bias + z / (1 - acceleration * z)))


def resampled(x, random):
    return x[random.integers(len(x), size=(RESAMPLES, len(x)))]


METHODS = {
    "paired t": paired_t,
    "Johnson's t": johnson,
    "bootstrap t": bootstrap_t,
    "BCa": bca,
    "percentile bootstrap": percentile,
}


def coverage(method, distribution, pairs, sets, seed=0):
    """The share of `sets` whose interval holds the true mean, and the median width."""
    draw, mean = DISTRIBUTIONS[distribution]
    random = np.random.default_rng([seed, pairs])
    samples = draw(random, (sets, pairs))
    bounds = np.array([METHODS[method](sample, random) for sample in samples])
    holds = (bounds[:, 0] <= mean) & (mean <= bounds[:, 1])
    deviation = draw(np.random.default_rng(seed), 1_000_000).std()
    return float(holds.mean()), float(np.median(bounds[:, 1] - bounds[:, 0]) / deviation)


def table(sets=2_000):
    """Every method, distribution and number of pairs."""
    rows = []
    for method in METHODS:
        for distribution in DISTRIBUTIONS:
            for pairs in PAIRS:
                share, width = coverage(method, distribution, pairs, sets)
                verdict = "holds" if 0.93 <= share <= 0.97 else "FAILS"
                rows.append((method, distribution, pairs, sets, share, round(width, 3), verdict))
    names = ["method", "distribution", "pairs", "sets", "coverage", "width", "93 to 97 %"]
    return pd.DataFrame(rows, columns=names)


if __name__ == "__main__":
    found = table()
    found.to_csv(OUT, index=False)
    grid = found.pivot_table(index=["method", "distribution"], columns="pairs", values="coverage")
    print(grid.to_string())
