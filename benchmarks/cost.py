"""Measures how an update's cost grows with batch, width and actions, beside the formula of it.

    .venv-bench/bin/python benchmarks/cost.py           # everything, into RESULTS.md
    .venv-bench/bin/python benchmarks/cost.py --quick   # does it run? Numbers mean nothing
    .venv-bench/bin/python benchmarks/cost.py --line ddpg --line stddpg-cl solver=woodbury lam=10

A line is an algorithm with settings, as of `--set`. One number is changed at a time: the others
are those of Walker2d-v4 with batch 100 and (256, 256). The environment costs next to nothing, and
what a step takes without an update is subtracted. A line that the program refuses is named, and
the others go on. Only a run of everything goes to RESULTS.md and `results/`; others go to
`runs/cost/`.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import yaml
from cases import (
    CORES,
    EXAMPLES,
    NEVER,
    PROGRAM,
    ROOT,
    as_options,
    cpu,
    last_json,
    start,
    watched,
    window,
)
from cost_report import draw, render
from flops import WALKER, Shapes
from sections import write_section
from settings import OFF_POLICY

LINES = [
    ["ddpg"],
    ["stddpg-al", "solver=woodbury"],
    ["stddpg-cl", "solver=woodbury"],
    # All ten iterations, damped so that no run ends in NaN while it is timed.
    ["stddpg-cl", "solver=cg", "lam=100", "cg_tolerance=0", "curvature_stop=false"],
]
GRID = {
    "batch": [32, 64, 100, 128, 256, 512, 1024],
    "width": [64, 128, 256, 512, 1024],
    "actions": [1, 3, 6, 12, 17],
}
QUICK_GRID = {"batch": [32], "width": [64], "actions": [1]}
SMALLEST = Shapes(WALKER.obs, WALKER.actions, (1, 1), 1)
STARTS, ROUND = 1_000, 10


def points(grid):
    """The shapes, equal ones once."""
    changes = [(key, value) for key, values in grid.items() for value in values]
    as_fields = [{"hidden": (v, v)} if key == "width" else {key: v} for key, v in changes]
    return list(dict.fromkeys(replace(WALKER, **change) for change in as_fields))


def train(line, shapes, seconds, seed):
    """One process: microseconds per update, peak memory in MB, and the solver it took."""
    algo, *given = line
    settings = OFF_POLICY | {
        "batch_size": shapes.batch,
        "policy_kwargs.net_arch": list(shapes.hidden),
        "env_kwargs.observations": shapes.obs,
        "env_kwargs.actions": shapes.actions,
        "learning_starts": STARTS,
        "random_steps": STARTS,
        "buffer_size": 100_000,
        "train_freq": ROUND,
        "gradient_steps": ROUND,
        "log_freq": ROUND,
        "eval_freq": NEVER,
        "eval_episodes": 1,
    }
    words = [PROGRAM, "--env", "Sized-v0", "--env-import", "sized", "--algo", algo, "--quiet"]
    words += ["--seed", seed, "--steps", 10_000_000, *as_options(settings)]
    words += [word for setting in given for word in ("--set", setting)]
    with tempfile.TemporaryDirectory() as out:
        process = start([*words, "--out", out], CORES[-1:], 1)
        (rows,), peak = watched(process, out, 1, seconds, STARTS + ROUND)
        ran = yaml.safe_load(next(Path(out).rglob("config.yml")).read_text())
    busy, idle = window(rows, STARTS + ROUND), window(rows, STARTS // 2, STARTS - 1)
    per_step = [1e6 * w["seconds"] / w["steps"] for w in (busy, idle)]
    return {"us": per_step[0] - per_step[1], "mb": peak, "solver": ran.get("solver")}


def measure(lines, grid, seconds, repeats, gflops):
    """Every line at every point, once a round, in random order."""
    data = {"lines": [], "repeats": repeats, "window": seconds, "cpu": cpu(), "failures": {}}
    data["gflops"] = gflops or last_json([EXAMPLES / "matmul"])["gflops"]
    data["command"] = shlex.join(["benchmarks/cost.py", *sys.argv[1:]])
    order, results = np.random.default_rng(0), {}
    tasks = [
        (name, shapes) for name in map(" ".join, lines) for shapes in [SMALLEST, *points(grid)]
    ]
    for repeat in range(repeats):
        for name, shapes in (tasks[i] for i in order.permutation(len(tasks))):
            if name in data["failures"]:
                continue
            try:
                result = train(shlex.split(name), shapes, seconds, repeat)
            except RuntimeError as error:
                data["failures"][name] = str(error)
                print(f"{name}: {error}", flush=True)
                continue
            results.setdefault((name, shapes), []).append(result)
            print(f"round {repeat + 1}/{repeats}  {name}  {shapes}: {result}", flush=True)
    for (name, shapes), found in results.items():
        data["lines"].append({"line": name, "shapes": asdict(shapes), "rounds": found})
    return data


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--line", nargs="+", action="append", metavar="WORD")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--gflops", type=float, help="rate of matrix products, if known")
    parser.add_argument("--quick", action="store_true", help="few points, one short round")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "cost")
    given = parser.parse_args()

    whole = not (given.quick or given.line)
    folder = ROOT / "benchmarks" / "results" if whole else given.out
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = str(ROOT / "benchmarks")  # where the program finds `sized`
    grid, seconds, repeats = GRID, given.seconds, given.repeats
    if given.quick:
        grid, seconds, repeats = QUICK_GRID, 0.01, 1
    data = measure(given.line or LINES, grid, seconds, repeats, given.gflops)
    (folder / "cost.json").write_text(json.dumps(data, indent=1) + "\n")
    draw(data, folder / "cost.png")
    report = render(data)
    print(report)
    if whole:
        write_section("cost", report)
    else:
        (folder / "cost.md").write_text(report + "\n")


if __name__ == "__main__":
    main()
