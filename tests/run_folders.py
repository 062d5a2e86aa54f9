"""Run folders as `stac-bench` leaves them, written by hand."""

import json

import numpy as np

ENV = "Hopper-v4"


def ours(root, seed=0, env=ENV, algo="ddpg", steps=(100, 200, 300), add=0.0, status="done"):
    """A run folder as `stac-bench` leaves it."""
    run = root / algo / f"{env}_{seed}"
    run.mkdir(parents=True)
    returns = np.array([[step + seed + add, step + seed + add + 2] for step in steps], dtype=float)
    np.savez(run / "evaluations.npz", timesteps=np.array(steps), results=returns)
    manifest = {"status": status, "steps": steps[-1], "seconds": 60.0, "error": None}
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "config.yml").write_text("batch_size: 16\npolicy_kwargs:\n  net_arch: [16, 16]\n")
    (run / "args.yml").write_text(f"algo: {algo}\nenv: {env}\nseed: {seed}\n")
    rows = [f"{step},{mean},0.5" for step, mean in zip(steps, returns.mean(axis=1), strict=True)]
    header = "time/total_timesteps,eval/mean_reward,game/cosine"
    (run / "progress.csv").write_text("\n".join([header, *rows, ""]))
    (run / "0.monitor.csv").write_text(f'#{{"env_id": "{env}"}}\nr,l,t\n1.0,50,1\n2.0,60,2\n')
    return run
