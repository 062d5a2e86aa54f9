"""Runs an experiment of `experiments.yml`, skipping runs that are done, and reports it.

    .venv/bin/python benchmarks/experiments.py pendulum --jobs 2

Runs go to `<out>/<experiment>/<run>/<algo>/<env>_<seed>`; the report is a picture of learning
curves, `results/<experiment>.png`, and a table in the section of that name in `RESULTS.md`.
"""

import argparse
import json
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import yaml

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from pytablewriter import MarkdownTableWriter

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parent / "target" / "release" / "stac-bench"


def command(experiment, run, env, seed, out):
    """The words after the program's name."""
    settings = [w for k, v in run.get("set", {}).items() for w in ("--set", f"{k}={json.dumps(v)}")]
    preset = ["--preset", run["preset"]] if "preset" in run else []
    words = ["--env", env, "--algo", run["algo"], "--seed", seed, "--steps", experiment["steps"]]
    words += [*preset, *settings, *experiment.get("options", []), "--out", out, "--overwrite"]
    return [str(word) for word in words]


def plan(name, experiment, out):
    """`(run's name, env, folder, command)` of every run."""
    for env in experiment["envs"]:
        for seed in range(experiment["seeds"]):
            for label, run in experiment["runs"].items():
                base = out / name / label.replace(" ", "-")
                folder = base / run["algo"] / f"{env}_{seed}"
                yield label, env, folder, command(experiment, run, env, seed, base)


def is_done(folder, words):
    """Whether this very command has run to its end there."""
    manifest, typed = folder / "manifest.json", folder / "command.txt"
    if not (manifest.exists() and typed.exists()):
        return False
    same = shlex.split(typed.read_text())[1:] == [*words, "--quiet"]
    return same and json.loads(manifest.read_text())["status"] == "done"


def train(program, task):
    label, _, folder, words = task
    if not is_done(folder, words):
        done = subprocess.run([program, *words, "--quiet"], capture_output=True, text=True)
        print(f"{label}: {folder.name} ends with {done.returncode}", flush=True)
        if done.returncode:
            print(done.stderr, flush=True)


def read(tasks):
    """A row per evaluation (run, env, seed, step, return), and a row per run with its measures."""
    curves, runs = [], []
    for label, env, folder, _ in tasks:
        if not (folder / "evaluations.npz").exists():
            continue
        file = np.load(folder / "evaluations.npz")
        returns = file["results"].mean(axis=1)
        curves.append(
            pd.DataFrame({"run": label, "env": env, "step": file["timesteps"], "return": returns})
        )
        curves[-1]["seed"] = folder.name
        progress = pd.read_csv(folder / "progress.csv")
        late = progress[
            progress["time/total_timesteps"] > progress["time/total_timesteps"].max() / 2
        ]
        manifest = json.loads((folder / "manifest.json").read_text())
        runs.append(
            {
                "run": label,
                "env": env,
                "last": returns[-1],
                "best": returns.max(),
                "area": returns.mean(),
                "status": manifest["status"],
                "minutes": manifest["seconds"] / 60,
                "engine": manifest["engine"],
            }
            | {tag: late[tag].mean() for tag in GAME if tag in late}
        )
    return pd.concat(curves), pd.DataFrame(runs)


GAME = {
    "game/cosine": "cosine",
    "game/implicit_ratio": "norm ratio",
    "game/policy_saturation": "saturation",
}


def draw(curves, picture):
    """A panel per environment, a line per run: the mean over seeds, and their range."""
    envs = curves["env"].unique()
    figure, axes = plt.subplots(1, len(envs), figsize=(6.5 * len(envs), 4), squeeze=False)
    for axis, env in zip(axes[0], envs, strict=True):
        for label, rows in curves[curves["env"] == env].groupby("run", sort=False):
            table = rows.pivot(index="step", columns="seed", values="return").dropna()
            (line,) = axis.plot(
                table.index, table.mean(axis=1), label=f"{label} ({table.shape[1]})"
            )
            axis.fill_between(
                table.index,
                table.min(axis=1),
                table.max(axis=1),
                alpha=0.15,
                color=line.get_color(),
            )
        axis.set(title=env, xlabel="environment steps", ylabel="evaluation return")
        axis.legend(title="run (seeds)")
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, dpi=100)


def spread(values):
    """Mean and sample standard deviation over seeds."""
    if len(values) == 1:
        return f"{values.iloc[0]:,.0f}"
    return f"{values.mean():,.0f} ± {values.std():,.0f}"


def table(runs):
    rows = []
    for (env, label), group in runs.groupby(["env", "run"], sort=False):
        measures = {
            name: f"{group[tag].mean():.2f}"
            if group.get(tag) is not None and group[tag].notna().any()
            else "-"
            for tag, name in GAME.items()
        }
        rows.append(
            {
                "environment": env,
                "run": label,
                "seeds": len(group),
                "last return": spread(group["last"]),
                "best return": spread(group["best"]),
                "mean of all evaluations": spread(group["area"]),
                **measures,
                "minutes per run": f"{group['minutes'].mean():.1f}",
            }
        )
    return MarkdownTableWriter(dataframe=pd.DataFrame(rows), margin=1).dumps()


READING = (
    "Last, best and mean are over evaluations of ten episodes, ± the deviation over seeds; "
    "cosine, norm ratio and saturation are means over the second half."
)


def describe(name, experiment, tasks, runs):
    """Where and with what the runs were made, as their manifests say."""
    folder = next(folder for _, _, folder, _ in tasks if (folder / "manifest.json").exists())
    manifest = json.loads((folder / "manifest.json").read_text())
    machine, versions = manifest["machine"], manifest["versions"]
    with_what = ", ".join(f"{package} {version}" for package, version in versions.items())
    return (
        f"{experiment['about'].capitalize()}. {experiment['steps']:,} steps. {READING}\n\n"
        f"`.venv/bin/python benchmarks/experiments.py {name}`, commit {manifest['commit']}, engine "
        f"{', '.join(sorted(runs['engine'].unique()))}, {with_what}, {machine['cpu']}, "
        f"{machine['cores']} cores.\n\n![{name}](results/{name}.png)"
    )


def write_section(name, text):
    """Replaces what stands between the section's marks in RESULTS.md, or appends it."""
    path = HERE / "RESULTS.md"
    old = path.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{begin}\n\n{text}\n\n{end}"
    if begin not in old:
        path.write_text(f"{old.rstrip()}\n\n## {name}\n\n{section}\n")
        return
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    path.write_text(re.sub(pattern, lambda _: section, old, flags=re.DOTALL))


def main():
    experiments = yaml.safe_load((HERE / "experiments.yml").read_text())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=experiments)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/experiments"))
    parser.add_argument("--program", type=Path, default=PROGRAM, help="another build of stac-bench")
    parser.add_argument("--report-only", action="store_true", help="train nothing")
    arguments = parser.parse_args()

    name, experiment = arguments.experiment, experiments[arguments.experiment]
    tasks = list(plan(name, experiment, arguments.out))
    if not arguments.report_only:
        with ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(partial(train, arguments.program), tasks))
    curves, runs = read(tasks)
    (HERE / "results").mkdir(exist_ok=True)
    draw(curves, HERE / "results" / f"{name}.png")
    report = f"{describe(name, experiment, tasks, runs)}\n\n{table(runs)}"
    write_section(name, report)
    print(report)


if __name__ == "__main__":
    main()
