"""The README's picture: `stac-bench toy` with the individual and the Stackelberg gradient.

    python benchmarks/toy_picture.py

It runs the program of the release build, and writes docs/cycling.png.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
PLAYS = {
    "1a": ("Actor follows its plain gradient: it cycles", "#d55e00"),
    "1b": ("Actor leads: it goes to the equilibrium", "#0072b2"),
}


def draw(tables, picture):
    """A panel for each play in the folder `tables`: its field, and its way from the start."""
    figure, axes = plt.subplots(1, len(PLAYS), figsize=(10, 4.4), sharey=True)
    for axis, (number, (title, color)) in zip(axes, PLAYS.items(), strict=True):
        way = pd.read_csv(tables / f"figure{number}.csv")
        field = pd.read_csv(tables / f"figure{number}_field.csv")
        length = np.hypot(field["d_theta"], field["d_w"])
        directions = field["d_theta"] / length, field["d_w"] / length
        axis.quiver(field["theta"], field["w"], *directions, color="0.8", width=0.004, scale=26)
        axis.plot(way["theta"], way["w"], color=color, linewidth=2.2)
        axis.plot(-1, 1, "o", color="black", markersize=7, label="start")
        axis.plot(0, 0, "*", color="black", markersize=13, label="equilibrium")
        axis.set_title(title, color=color, fontweight="bold")
        axis.set(xlabel="actor θ", xlim=(-1.1, 1.1), ylim=(-0.6, 1.1))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("critic w")
    axes[1].legend(loc="upper right", framealpha=1)
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=ROOT / "target" / "release" / "stac-bench")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "cycling.png")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([options.program, "toy", "--out", folder, "--overwrite"], check=True)
        draw(Path(folder), options.out)
    print(options.out)


if __name__ == "__main__":
    main()
