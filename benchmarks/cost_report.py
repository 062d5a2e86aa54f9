"""What `cost.py` measured, as a table and a figure, beside what the formulas say."""

from itertools import pairwise

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from flops import WALKER, Shapes, operations
from speed_report import markdown

CHANGES = {
    "batch": lambda shapes: shapes.batch,
    "width": lambda shapes: shapes.hidden[0],
    "actions": lambda shapes: shapes.actions,
}


def megabytes(algo, solver, shapes):
    """What an update cannot do without, in f32: weights, targets, both moments of Adam and the
    gradient of each network; inputs and derivatives of the hidden units in the five passes, mu and
    Q at s, mu and Q at s', Q at the action taken; a leader's system in output space."""
    b, m = shapes.batch, shapes.actions
    networks = (shapes.obs, *shapes.hidden, m), (shapes.obs + m, *shapes.hidden, 1)
    floats = 5 * sum(n * k + k for widths in networks for n, k in pairwise(widths))
    floats += 5 * 2 * b * sum(shapes.hidden)
    if solver == "woodbury":
        rows = b if algo.endswith("-al") else b * m
        floats += rows**2
    return 4 * floats / 1e6


class Measured:
    """Medians of one line, by shapes."""

    def __init__(self, data, name):
        self.name, self.algo = name, name.split()[0]
        found = [entry for entry in data["lines"] if entry["line"] == name]
        self.rounds = {shapes_of(entry): entry["rounds"] for entry in found}
        self.solver = next((r[0]["solver"] for r in self.rounds.values()), None)
        base = [shapes for shapes in self.rounds if shapes.batch == 1]
        self.base = self.median(base[0], "mb") if base else np.nan
        self.shapes = [shapes for shapes in self.rounds if shapes not in base]
        self.gflops = data["gflops"]

    def median(self, shapes, key):
        return float(np.median([r[key] for r in self.rounds[shapes]]))

    def milliseconds(self, shapes):
        return self.median(shapes, "us") / 1e3

    def formula(self, shapes):
        """Milliseconds of the products at the measured rate."""
        return operations(self.algo, self.solver, shapes=shapes) / self.gflops / 1e6

    def memory(self, shapes):
        """MB beyond a run of networks of one unit."""
        return self.median(shapes, "mb") - self.base

    def needed(self, shapes):
        return megabytes(self.algo, self.solver, shapes)

    def along(self, key):
        """The shapes in which nothing but this is changed, in its order."""
        others = [get for other, get in CHANGES.items() if other != key]
        same = [s for s in self.shapes if all(get(s) == get(WALKER) for get in others)]
        return sorted(same, key=CHANGES[key])


def shapes_of(entry):
    shapes = entry["shapes"]
    return Shapes(**{**shapes, "hidden": tuple(shapes["hidden"])})


def measured(data):
    return [Measured(data, name) for name in dict.fromkeys(e["line"] for e in data["lines"])]


def render(data):
    """The section's text."""
    lines = [
        "Time of one update and memory, where one of batch, width and actions is changed and the "
        f"rest stays (17 observations, 6 actions, (256, 256), batch 100). Medians of "
        f"{data['repeats']} rounds of {data['window']:g} s, one thread. The formula counts matrix "
        f"products (`flops.py`) at {data['gflops']:.0f} GFLOP/s, the rate of 100 x 256 x 256; `cg` "
        "takes ten iterations, `woodbury` of a leading critic all batch x actions rows. Memory is "
        "resident, beyond a run with networks of one unit; its formula is what an update cannot "
        "do without (`cost_report.py`).",
        f"`{data['command']}`, {data['cpu']}.",
        "![cost](results/cost.png)",
    ]
    rows = []
    for line in measured(data):
        for s in sorted(line.shapes, key=lambda s: [get(s) for get in CHANGES.values()]):
            row = {"": line.name} | {key: get(s) for key, get in CHANGES.items()}
            row["ms per update"] = f"{line.milliseconds(s):,.2f}"
            row["formula, ms"] = f"{line.formula(s):,.2f}"
            row["MB"] = f"{line.memory(s):,.0f}"
            rows.append(row | {"formula, MB": f"{line.needed(s):,.0f}"})
    lines.append(markdown(rows).strip() if rows else "")
    if data["failures"]:
        said = "; ".join(f"{name}: {why.splitlines()[0]}" for name, why in data["failures"].items())
        lines.append(f"Did not run: {said}.")
    return "\n\n".join(line for line in lines if line)


def draw(data, picture):
    """Time above, memory below; a column for each of batch, width and actions."""
    figure, axes = plt.subplots(2, len(CHANGES), figsize=(13, 7.5), sharex="col", sharey="row")
    for i, line in enumerate(measured(data)):
        for key, column in zip(CHANGES, axes.T, strict=True):
            shapes = line.along(key)
            x = [CHANGES[key](s) for s in shapes]
            pairs = ((line.milliseconds, line.formula), (line.memory, line.needed))
            for axis, (real, formula) in zip(column, pairs, strict=True):
                axis.plot(x, [real(s) for s in shapes], "o-", color=f"C{i}", label=line.name)
                axis.plot(x, [formula(s) for s in shapes], "--", color=f"C{i}", alpha=0.6)
    for key, (time, memory) in zip(CHANGES, axes.T, strict=True):
        memory.set_xlabel(key)
        for axis in (time, memory):
            axis.set(xscale="log", yscale="log")
            axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("ms per update")
    axes[1, 0].set_ylabel("MB beyond the smallest run")
    if data["lines"]:
        axes[0, 0].legend(fontsize=8)
    figure.suptitle("Cost of an update: measured (points) and by formula (dashed)")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    plt.close(figure)
