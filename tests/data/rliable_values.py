"""Computes with rliable 1.2.0 what `test_report_statistics.py` expects, into `rliable_values.json`.

python tests/data/rliable_values.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rliable import library, metrics

SEED = 3
TAUS = [0.0, 0.25, 0.5, 1.0, 1.5]
MEASURES = {
    "iqm": metrics.aggregate_iqm,
    "mean": metrics.aggregate_mean,
    "median": metrics.aggregate_median,
    "optimality_gap": metrics.aggregate_optimality_gap,
}


def main():
    random = np.random.default_rng(SEED)
    x, y = random.gamma(2, 0.4, (7, 5)), random.gamma(2, 0.3, (6, 5))
    # Ties, within and between.
    x[:3, 0] = y[:2, 0] = 0.5
    together = lambda scores: np.array([of(scores) for of in MEASURES.values()])  # noqa: E731
    points, bounds = library.get_interval_estimates({"x": x}, together, reps=20_000)
    better = {"x,y": (x, y)}
    point, bound = library.get_interval_estimates(
        better, metrics.probability_of_improvement, reps=5_000
    )
    profile, _ = library.create_performance_profile({"x": x}, np.array(TAUS), reps=10)
    values = {
        "rliable": version("rliable"),
        **{"x": x.tolist(), "y": y.tolist(), "taus": TAUS},
        "points": dict(zip(MEASURES, points["x"].tolist(), strict=True)),
        "intervals": dict(zip(MEASURES, bounds["x"].T.tolist(), strict=True)),
        "improvement": float(point["x,y"]),
        "improvement_interval": np.ravel(bound["x,y"]).tolist(),
        "profile": profile["x"].tolist(),
    }
    out = Path(__file__).with_suffix(".json")
    out.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
