"""Draws evaluation returns: a panel per environment, a line per algorithm, the spread over seeds.

    python benchmarks/curves.py runs --output curves.png

`runs` holds `<algo>/<env>_<seed>/evaluations.npz`, as `stac-bench` leaves them.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def read(folder):
    """`{env: {algo: (timesteps, mean returns of each seed)}}`, cut to what all seeds have."""
    runs = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*/*/evaluations.npz")):
        env, _, _ = path.parent.name.rpartition("_")
        file = np.load(path)
        runs[env][path.parents[1].name].append((file["timesteps"], file["results"].mean(axis=1)))

    def joined(seeds):
        n = min(len(timesteps) for timesteps, _ in seeds)
        return seeds[0][0][:n], np.array([returns[:n] for _, returns in seeds])

    return {env: {algo: joined(s) for algo, s in algos.items()} for env, algos in runs.items()}


def draw(runs, output):
    figure, axes = plt.subplots(1, len(runs), figsize=(6 * len(runs), 4), squeeze=False)
    for axis, (env, algos) in zip(axes[0], runs.items(), strict=True):
        for algo, (timesteps, returns) in algos.items():
            mean = returns.mean(axis=0)
            (line,) = axis.plot(timesteps, mean, label=f"{algo} ({len(returns)} seeds)")
            low, high = returns.min(axis=0), returns.max(axis=0)
            axis.fill_between(timesteps, low, high, alpha=0.2, color=line.get_color())
        axis.set(title=env, xlabel="environment steps", ylabel="evaluation return")
        axis.legend()
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(output, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--output", type=Path, default=Path("curves.png"))
    arguments = parser.parse_args()
    runs = read(arguments.runs)
    if not runs:
        parser.error(f"{arguments.runs} holds no <algo>/<env>_<seed>/evaluations.npz")
    draw(runs, arguments.output)


if __name__ == "__main__":
    main()
