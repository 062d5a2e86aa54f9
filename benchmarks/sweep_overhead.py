"""What a sweep costs beyond its runs: a grid of many short runs against the same commands alone.

    .venv/bin/python benchmarks/sweep_overhead.py --runs 300

Prints seconds per run in the sweep, of the command by itself (the median of some before and some
after), and their ratio.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GRID = {
    "name": "overhead",
    "envs": ["CartPole-v1"],
    "steps": 200,
    "options": ["--eval-freq", "200", "--eval-episodes", "1"],
    "runs": {"ac": {"algo": "ac", "set": {"n_steps": 100}}},
}


def seconds(*words, cwd):
    """How long a command takes."""
    began = time.perf_counter()
    subprocess.run(list(map(str, words)), cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - began


def alone(program, command, folder, times):
    """Seconds of the command of a run by itself, each time elsewhere."""
    folder.mkdir()
    return [
        seconds(program, *command, "--out", folder / str(number), cwd=folder)
        for number in range(times)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--alone", type=int, default=20, help="before, and again after")
    parser.add_argument("--program", type=Path, default=ROOT / "target" / "release" / "stac-bench")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        grid = folder / "grid.yml"
        grid.write_text(json.dumps(GRID | {"seeds": options.runs}))
        sweep = [options.program, "sweep", grid, "--jobs", 1]
        plan = subprocess.run(
            list(map(str, [*sweep, "--dry-run"])),
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        line = next(line for line in plan.splitlines() if line.startswith("  stac-bench "))
        command = shlex.split(line)[1:]
        before = alone(options.program, command, folder / "before", options.alone)
        whole = seconds(*sweep, cwd=folder) / options.runs
        after = alone(options.program, command, folder / "after", options.alone)
    one = statistics.median(before + after)
    print(f"{options.runs} runs: {whole:.3f} s each in the sweep, {one:.3f} s alone, ", end="")
    print(f"{whole / one:.3f} times")


if __name__ == "__main__":
    main()
