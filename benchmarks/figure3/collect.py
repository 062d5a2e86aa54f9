"""Brings finished runs into `data/`, and gives them back to a sweep.

    python benchmarks/figure3/collect.py runs/figure3             # what is new goes into data/
    python benchmarks/figure3/collect.py runs/figure3 --restore   # what data/ holds is done there

A file of `data/` is a panel: the runs of one grid's name on one environment, a row each. It has who
ran (run, algo, seed, harness, commit, cpu, hash of the settings), how it went (status, steps,
seconds), at each evaluation its step, the mean return of the evaluation and that of the training
episodes since the one before, and each measure of `progress.csv` as its means over `SPANS` equal
parts of the run. `manifest.json`, `config.yml` and `args.yml` are in it as they are: with these
three in its folder, `stac-bench sweep` takes a run for done, or says which settings differ.
"""

import argparse
import hashlib
import os
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from stac_bench.report import folder, scores

DATA = Path(__file__).resolve().parent / "data"
KEY = ["run", "seed", "settings"]
KEPT = ["manifest.json", "config.yml", "args.yml"]
SPANS = 30
MOST_BYTES = 15_000_000
LOSSES = [f"train/{name}_loss" for name in ("actor", "critic", "policy", "value")]
DIVERGED = "became non-finite"


def main(arguments=None):
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="what `stac-bench sweep --out` was given")
    parser.add_argument("--restore", action="store_true", help="from the data to the folders")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args(arguments)
    if options.restore:
        print(restore(options.runs, options.data), "runs of the data count as done")
        return 0
    for line in collect(options.runs, options.data):
        print(line)
    size = sum(path.stat().st_size for path in options.data.glob("*.parquet"))
    print(f"{size / 1e6:.2f} MB in all")
    if size > MOST_BYTES:
        print(f"error: that is more than {MOST_BYTES / 1e6:.0f} MB", file=sys.stderr)
        return 1
    return 0


def collect(runs, data):
    """Writes the new runs in `runs` to `data`; yields a line per file that has new ones."""
    found = defaultdict(list)
    for path in folder.find(runs):
        grid, label, _, name = path.relative_to(runs).parts
        env, _, seed = name.rpartition("_")
        found[f"{grid}-{env}"].append((label, int(seed), path))
    for panel, members in found.items():
        file = data / f"{panel}.parquet"
        known = pd.read_parquet(file) if file.is_file() else pd.DataFrame(columns=KEY)
        hashes = known.set_index(["run", "seed"])["settings"].to_dict()
        new = []
        for label, seed, path in members:
            if (label, seed) in hashes:
                if digest(path) != hashes[label, seed]:
                    raise SystemExit(f"error: {path}: {file} holds that run with other settings")
            elif row := read(path, label, runs):
                new.append(row)
        if new:
            table = pd.concat([known, pd.DataFrame(new)]).sort_values(["run", "seed"])
            write(table, file)
            yield f"{panel}: {len(new)} new, {len(table)} in all"


def read(path, label, runs):
    """The row of a run; None if it has not come to its end."""
    run = folder.read(path, runs)
    over = run.status == "done" or (run.status == "failed" and DIVERGED in run.error)
    if not over or not run.evaluations:
        return None
    steps = np.array([step for step, _ in run.evaluations])
    row = {
        **{"run": label, "algo": run.algo, "env": run.env, "seed": run.seed},
        **{"harness": run.harness, "status": run.status, "steps": run.steps},
        **{"seconds": run.seconds, "commit": run.commit, "cpu": run.cpu},
        "settings": digest(path),
        "step": steps.astype(np.int32),
        "evaluation": np.array([returns.mean() for _, returns in run.evaluations], np.float32),
        "training": training(path, steps),
        **measures(path, run.steps),
    }
    return row | {name: (path / name).read_text() for name in KEPT}


def digest(path):
    """Of all settings of a run."""
    return hashlib.sha256((path / "config.yml").read_bytes()).hexdigest()[:12]


def training(path, steps):
    """The mean return of the episodes that ended since the step before, NaN of none."""
    episodes = scores.monitor(path).rows
    ends = np.array([step for step, _ in episodes])
    returns = np.array([float(value[0]) for _, value in episodes])
    within = np.searchsorted(steps, ends)
    parts = [returns[within == i] for i in range(len(steps))]
    return np.array([part.mean() if len(part) else np.nan for part in parts], np.float32)


def measures(path, steps):
    """Column of `progress.csv`: its means over equal parts of the run, NaN where it has none."""
    table = pd.read_csv(path / "progress.csv")
    game = [name for name in table if name.startswith("game/")]
    wanted = [*game, *(name for name in LOSSES if name in table)]
    parts = np.ceil(table[scores.STEP] / steps * SPANS).clip(1, SPANS).astype(int)
    means = table[wanted].groupby(parts).mean().reindex(range(1, SPANS + 1)).astype(np.float32)
    return {name: means[name].to_numpy() for name in wanted if means[name].notna().any()}


def write(table, file):
    """The whole file or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    table.to_parquet(part, index=False, compression="zstd", compression_level=15)
    os.replace(part, file)


def restore(runs, data):
    """Writes what a sweep knows a run by, where there is no folder; returns how many are there."""
    count = 0
    for file in sorted(data.glob("*.parquet")):
        table = pd.read_parquet(file, columns=["run", "algo", "env", "seed", *KEPT])
        for row in table.to_dict("records"):
            grid = file.stem.removesuffix(f"-{row['env']}")
            path = runs / grid / row["run"] / row["algo"] / f"{row['env']}_{row['seed']}"
            count += 1
            if not path.exists():
                path.mkdir(parents=True)
                for name in KEPT:
                    (path / name).write_text(row[name])
    return count


if __name__ == "__main__":
    sys.exit(main())
