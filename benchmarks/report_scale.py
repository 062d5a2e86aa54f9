"""Writes 1,000 runs of 200 evaluations of 10 episodes, reads them, and prints time and memory.

PYTHONPATH=bridge/python python benchmarks/report_scale.py [RUNS]
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from stac_bench.report import read, summarise

EVALUATIONS, EPISODES = 200, 10
ENVS, SEEDS = 5, 20


def write(folder, runs):
    """As many runs, twenty seeds each, on five environments."""
    random = np.random.default_rng(0)
    steps = np.arange(1, EVALUATIONS + 1) * 5_000
    for i in range(runs):
        label, env, seed = i // (ENVS * SEEDS), f"Env{i // SEEDS % ENVS}-v0", i % SEEDS
        run = folder / f"label{label}" / "ddpg" / f"{env}_{seed}"
        run.mkdir(parents=True)
        returns = np.sqrt(steps)[:, None] + random.gamma(2, 50, (EVALUATIONS, EPISODES))
        lengths = np.full(returns.shape, 1_000)
        np.savez(run / "evaluations.npz", timesteps=steps, results=returns, ep_lengths=lengths)
        settings = {f"setting_{k}": k for k in range(40)}
        args = {"algo": "ddpg", "env": env, "seed": seed}
        for name, values in {"config.yml": settings, "args.yml": args}.items():
            (run / name).write_text("".join(f"{k}: {v}\n" for k, v in values.items()))
        manifest = {"status": "done", "steps": int(steps[-1]), "seconds": 60.0}
        (run / "manifest.json").write_text(json.dumps(manifest))
        columns = ["time/total_timesteps", "eval/mean_reward", "game/cosine"]
        columns += [f"train/tag_{k}" for k in range(20)]
        rows = np.column_stack([steps, returns.mean(axis=1), random.random((len(steps), 21))])
        lines = [",".join(map(repr, row)) for row in rows.tolist()]
        (run / "progress.csv").write_text("\n".join([",".join(columns), *lines, ""]))
        episodes = "\n".join(f"{value},1000,{k}" for k, value in enumerate(returns[:, 0]))
        header = "#" + json.dumps({"t_start": 0.0, "env_id": env})
        (run / "0.monitor.csv").write_text(f"{header}\nr,l,t\n{episodes}\n")


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), runs)
        start = time.perf_counter()
        found = read([Path(folder)])
        reading = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{runs} runs, {len(found.evaluations):,} evaluations read in {reading:.1f} s;")
        print(f"at most {memory:.0f} MB; {len(found.problems)} problems")
        start = time.perf_counter()
        summarise(found, "label0" if runs > ENVS * SEEDS else None)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"summarised in {time.perf_counter() - start:.1f} s; at most {memory:.0f} MB")


if __name__ == "__main__":
    main()
