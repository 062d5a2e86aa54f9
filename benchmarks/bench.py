"""Measures speed against the peers, interleaved in one run; `make bench` runs it.

    .venv-bench/bin/python benchmarks/bench.py          # everything, into RESULTS.md
    .venv-bench/bin/python benchmarks/bench.py --quick  # does it run? Numbers mean nothing
    .venv-bench/bin/python benchmarks/bench.py --only sac --repeats 7

Each round measures every case once, in a new random order, so that whatever disturbs the machine
disturbs all alike. Only a run of everything goes to RESULTS.md and `results/`; others go to
`runs/speed/`.
"""

import argparse
import json
import platform
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import psutil
from cases import (
    CORES,
    EXAMPLES,
    PROGRAM,
    ROOT,
    SHORT_WARM_UP,
    WARM_UP,
    available,
    cases,
    cpu,
    last_json,
    measure,
    peak_memory,
)
from sections import README, write_section
from settings import ENV
from speed_report import claim, draw, render

PACKAGES = ["stable-baselines3", "sbx-rl", "rltools", "torch", "jax", "flax", "optax", "mkl"]
PACKAGES += ["gymnasium", "mujoco", "numpy"]
FULL_REPLAY = 1_000_000
# Physics that costs nothing, little and much.
ON_POLICY = ("CartPole-v1", "HalfCheetah-v4", "Humanoid-v4")
TURNS = 5


def program():
    """What the program says of its version, its commit, and what it runs on, line by line."""
    return subprocess.check_output([PROGRAM, "--version"], text=True).splitlines()


def versions():
    """Of the packages that this system has."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def describe():
    """Machine, versions and command of this run."""
    return {
        "cpu": cpu(),
        "cores": len(CORES),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "program": program(),
        "command": shlex.join(["benchmarks/bench.py", *sys.argv[1:]]),
        "load_before": psutil.getloadavg()[0],
    }


def rounds(tasks, repeats, into):
    """Runs every task once a round, in random order, until it fails."""
    order = np.random.default_rng(0)
    for repeat in range(repeats):
        for i in order.permutation(len(tasks)):
            name, task = tasks[i]
            if name in into["failures"]:
                continue
            begun = time.perf_counter()
            try:
                result = task(repeat)
            except (RuntimeError, OSError) as error:
                into["failures"][name] = str(error)
                print(f"{name}: {error}", flush=True)
                continue
            result["wall"] = time.perf_counter() - begun
            into["results"].setdefault(name, []).append(result)
            rate = f"{result['rate']:.0f} steps/s" if "rate" in result else json.dumps(result)
            print(f"round {repeat + 1}/{repeats}  {name}: {rate}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="cases whose names hold one of them"
    )
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.5, help="measured per case and round")
    parser.add_argument(
        "--quick", action="store_true", help="one short round: a test that all runs"
    )
    parser.add_argument("--report-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args()

    repeats, seconds, warm_up = arguments.repeats, arguments.seconds, WARM_UP
    turns = TURNS
    if arguments.quick:
        repeats, seconds, warm_up, turns = 1, 0.2, SHORT_WARM_UP, 1
    wanted = lambda name: not arguments.only or any(word in name for word in arguments.only)  # noqa: E731
    chosen = [case for case in cases(len(CORES)) if wanted(case.name)]
    tasks = [
        (case.name, lambda seed, c=case: measure(c, seconds, seed, warm_up)) for case in chosen
    ]
    tasks += [
        ("matrix products", lambda _: last_json([EXAMPLES / "matmul"])),
        ("bridge", lambda _: last_json([EXAMPLES / "env_step", ENV])),
    ]
    tasks += [
        (f"on policy, {env}", lambda _, e=env: last_json([EXAMPLES / "on_policy", e, turns], CORES))
        for env in ON_POLICY
    ]
    tasks = [(name, task) for name, task in tasks if wanted(name) or name == "matrix products"]
    if arguments.list:
        print("\n".join([*(name for name, _ in tasks), "memory"]))
        return

    whole = not (arguments.quick or arguments.only)
    folder = ROOT / "benchmarks" / "results" if whole else ROOT / "runs" / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.report_only:
        data = json.loads((folder / "speed.json").read_text())
    else:
        data = describe() | {
            "repeats": repeats,
            "window": seconds,
            "warm_up": warm_up,
            "results": {},
            "failures": {},
        }
        begun, known = time.perf_counter(), available()
        absent = {
            case.name for case in chosen if case.who == "stac-bench" and case.algo not in known
        }
        rounds([task for task in tasks if task[0] not in absent], repeats, data)
        if wanted("memory"):
            steps = 20_000 if arguments.quick else FULL_REPLAY
            data["memory"] = {name: peak_memory(steps, name == "full") for name in ("base", "full")}
            data["memory"]["steps"] = steps
        data["minutes"] = (time.perf_counter() - begun) / 60
        (folder / "speed.json").write_text(json.dumps(data, indent=1) + "\n")

    draw(data, folder / "speed.png")
    report = render(data)
    print(report)
    if whole:
        write_section("speed", report)
        write_section("fastest peer", claim(data), README)
    else:
        (folder / "speed.md").write_text(report + "\n")


if __name__ == "__main__":
    main()
