"""How reliably runs learn, after Chan et al. 2019 (arXiv:1912.05663).

`curves` is a matrix (seeds, evaluations) of one kind of run on one environment. All measures are in
units of the return, and NaN where there are too few evaluations or seeds.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ALPHA = 0.05
WINDOW = 5


def _iqr(values: Array, axis: int) -> Array:
    low, high = np.quantile(values, [0.25, 0.75], axis=axis)
    return np.asarray(high - low)


def cvar(values: Array, alpha: float = ALPHA) -> float:
    """The mean of the worst `alpha` of `values`: of those at or below that quantile."""
    if values.size == 0:
        return float("nan")
    # E[x | x <= quantile(x, alpha)]
    return float(values[values <= np.quantile(values, alpha)].mean())


def dispersion_across_time(curves: Array, window: int = WINDOW) -> float:
    """How unsteady learning is: the IQR of the changes within `window` of them, averaged.

    Differences take the trend out: y_t = x_t - x_(t-1).
    """
    changes = np.diff(curves, axis=1)
    if changes.shape[1] < 2:
        return float("nan")
    window = min(window, changes.shape[1])
    # mean over seeds and windows of IQR(y_t, ..., y_(t + window - 1))
    windows = np.lib.stride_tricks.sliding_window_view(changes, window, axis=1)
    return float(_iqr(windows, -1).mean())


def dispersion_across_runs(curves: Array) -> float:
    """How far seeds lie apart: the IQR across seeds at each evaluation, averaged.

    The paper smooths the curves first; here they are as they were evaluated.
    """
    if len(curves) < 2:
        return float("nan")
    # mean over t of IQR over seeds of x_t
    return float(_iqr(curves, 0).mean())


def short_term_risk(curves: Array, alpha: float = ALPHA) -> float:
    """The worst changes from one evaluation to the next, averaged over seeds; below 0 is a fall."""
    # CVaR(x_t - x_(t-1))
    return float(np.mean([cvar(np.diff(curve), alpha) for curve in curves]))


def long_term_risk(curves: Array, alpha: float = ALPHA) -> float:
    """The worst drawdowns, averaged over seeds: how far a run falls below its best so far.

    0 is a run that never falls.
    """
    # drawdown_t = max(x_1, ..., x_t) - x_t; its largest `alpha` are the worst.
    drawdowns = np.maximum.accumulate(curves, axis=1) - curves
    return float(np.mean([-cvar(-drawdown, alpha) for drawdown in drawdowns]))


def risk_across_runs(curves: Array, alpha: float = ALPHA) -> float:
    """The mean final value of the worst seeds."""
    # CVaR over seeds of x_T
    return cvar(curves[:, -1], alpha) if len(curves) > 1 else float("nan")
