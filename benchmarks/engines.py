"""Trains grids/engines.yml on this machine, on SLURM and on Ray, and compares the results.

    .venv/bin/python benchmarks/engines.py runs/engines

The SLURM cluster, of two nodes, is started here (`apt install slurm-wlm munge`, as root), and so is
Ray's. The exit status is 1 if a run differs between two engines, or if a second call trains.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from same_run import differences

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.append(str(ROOT / "tests"))
import slurm  # noqa: E402

PROGRAM = ROOT / "target" / "release" / "stac-bench"


@contextmanager
def local():
    yield ["--jobs", "2"], {}, lambda: None


@contextmanager
def on_slurm():
    with tempfile.TemporaryDirectory() as folder:
        cluster = slurm.Cluster(folder)
        try:
            cluster.start()

            def wait():
                cluster.wait(lambda: not cluster.queue(), "the end of all tasks", 3600)

            yield ["--on", "slurm"], cluster.variables, wait
        finally:
            cluster.stop()


@contextmanager
def on_ray():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    try:
        yield ["--on", "ray", "--address", cluster.address], {}, lambda: None
    finally:
        cluster.shutdown()


ENGINES = {"local": local, "slurm": on_slurm, "ray": on_ray}


def train(name, out):
    """Trains the grid on an engine, twice; the seconds of both, and what the second one said."""
    with ENGINES[name]() as (words, variables, wait):
        command = [PROGRAM, "sweep", HERE / "grids" / "engines.yml", "--out", out / name, *words]
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            done = subprocess.run(
                list(map(str, command)),
                env={**os.environ, **variables},
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            wait()
            seconds.append(time.perf_counter() - began)
        return seconds, done.stdout.strip().splitlines()[-1]


def same(one, other):
    """What differs between two runs; those of RL Zoo have no more than their evaluations."""
    if (one / "final_model").is_dir():
        return differences(one, other)
    with np.load(one / "evaluations.npz") as a, np.load(other / "evaluations.npz") as b:
        return [name for name in a.files if not np.array_equal(a[name], b[name])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="where the runs go")
    parser.add_argument("--on", nargs="+", choices=ENGINES, default=list(ENGINES))
    options = parser.parse_args()
    wrong = 0
    for name in options.on:
        (first, again), said = train(name, options.out)
        print(f"{name}: {first:.0f} s; again {again:.0f} s: {said}")
        wrong += "all done" not in said and "none that is not done" not in said
    first, *others = (options.out / name / "engines" for name in options.on)
    runs = sorted(path.parent.relative_to(first) for path in first.rglob("manifest.json"))
    wrong += len(runs) != 18
    for other in others:
        for run in runs:
            found = same(first / run, other / run)
            wrong += bool(found)
            print(f"{other.parent.name}: {run}: {', '.join(map(str, found)) or 'the same'}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
