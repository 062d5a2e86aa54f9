"""Tries the doors: files that others give us, environments that misbehave, settings that are odd.

    .venv/bin/python benchmarks/doors.py --files 3000 --environments 500
    .venv/bin/python benchmarks/doors.py report                  # the table into RESULTS.md

No try may end the program by a signal or a panic, hang it for 60 s, take 1 GB beyond what a good
run takes, run a file that it was not told to run, or end well with a wrong result. Every try is a
row of results/doors.csv; those that are there already are left out. A try is made again by its
number: `--only files:17`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from crash_cases import Ledger
from doors_environments import Environments
from doors_files import LOADS, Doors, finite
from doors_try import Try, attempt, bait
from pytablewriter import MarkdownTableWriter
from sections import write_section

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
COLUMNS = ["commit", "door", "number", "seed", "kind", "what", "status", "seconds", "mb", "verdict"]
TRAINED = [
    *("--env", "Pendulum-v1", "--algo", "ddpg", "--steps", "300", "--eval-freq", "150"),
    *("--eval-episodes", "1", "--keep-checkpoint", "--quiet"),
    *("--set", "policy_kwargs.net_arch=[8, 8]", "--set", "learning_starts=50"),
]
SAVES = """
import sys, stac_bench
model = stac_bench.DDPG("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [8, 8]}, seed=0)
model.learn(150).save(sys.argv[1])
"""


def prepare(binary, python, work):
    """A good run, a good zip and the settings of every algorithm."""
    subprocess.run([binary, *TRAINED, "--out", work / "good"], check=True)
    archive = work / "good.zip"
    subprocess.run([python, "-c", SAVES, archive], check=True)
    names = subprocess.run([binary, "algos"], check=True, capture_output=True, text=True).stdout
    schemas = {}
    for algo in [line.split()[0] for line in names.splitlines() if line.strip()]:
        words = [binary, "settings", algo, "--format", "json-schema"]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        schemas[algo] = json.loads(said)
    doors = Doors(binary, work / "good" / "ddpg" / "Pendulum-v1_0", archive, python)
    return {"files": doors, "environments": Environments(binary, schemas)}


def campaign(binary, python, work, tries, seed=0, ledger=None, commit=""):
    """Makes the tries `(door, number)`; the rows, and what is wrong with some of them."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    prepared = prepare(binary, python, work)
    usual = {door: megabytes(binary, python, work, door, environment) for door in ("zip", "")}
    rows, wrong = [], []
    for door, number in tries:
        folder = Path(tempfile.mkdtemp(dir=work))
        one = prepared[door].make(number, folder, seed)
        bait(folder)
        came = attempt(one, folder, environment, usual["zip" * (one.kind == "zip")])
        row = {"commit": commit, "door": door, "number": number, "seed": seed, "kind": one.kind}
        row |= {"what": one.what, "status": came.status, "seconds": round(came.seconds, 1)}
        row |= {
            "mb": round(came.megabytes),
            "verdict": came.wrong or VERDICTS.get(came.status, "refused"),
        }
        rows.append(row)
        if ledger:
            ledger.add([row])
        if came.wrong:
            wrong.append(
                f"{door}:{number} {one.kind} {one.what}: {came.wrong}\n{came.said[-2_000:]}"
            )
            print(wrong[-1], flush=True)
        shutil.rmtree(folder)
    return rows, wrong


VERDICTS = {0: "taken, right", 143: "goes on until told to end", -9: "ended by itself"}


def megabytes(binary, python, work, door, environment):
    """What a good run takes, or a good zip: if that were refused, refusals would mean nothing."""
    words = [binary, *TRAINED, "--out", work / "again", "--overwrite"]
    one = Try("good", "", [str(word) for word in words], (0,))
    if door == "zip":
        words = [str(python), "-P", "-c", LOADS, str(work / "good.zip")]
        one = Try("good", "", words, (0,), check=finite)
    folder = Path(tempfile.mkdtemp(dir=work))
    came = attempt(one, folder, environment, 1e9)
    assert came.wrong is None, came.said
    return came.megabytes


def table(rows):
    """How often each kind was tried, and what came of it."""
    counts = pd.crosstab(rows["kind"], rows["verdict"])
    counts.insert(0, "tried", counts.sum(axis=1))
    counts.loc["all"] = counts.sum()
    most = rows.groupby("kind")[["seconds", "mb"]].max()
    counts = counts.join(most.rename(columns={"seconds": "most seconds", "mb": "most MB"}))
    return MarkdownTableWriter(dataframe=counts.reset_index(), margin=1).dumps().strip()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["try", "report"], nargs="?", default="try")
    parser.add_argument("--files", type=int, default=3_000)
    parser.add_argument("--environments", type=int, default=500)
    parser.add_argument("--only", help="one try, `files:17`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ledger", type=Path, default=HERE / "results" / "doors.csv")
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "stac-bench")
    return parser.parse_args()


def main():
    arguments = parse()
    ledger = Ledger(arguments.ledger, COLUMNS)
    if arguments.what == "report":
        rows = ledger.read()
        commits = ", ".join(dict.fromkeys(rows["commit"]))
        text = f"`benchmarks/doors.py`, commits {commits}; every try is a line of "
        text += f"[results/doors.csv](results/doors.csv).\n\n{table(rows)}"
        write_section("doors", text)
        print(text)
        return
    numbers = [("files", n) for n in range(arguments.files)]
    numbers += [("environments", n) for n in range(arguments.environments)]
    if arguments.only:
        door, number = arguments.only.split(":")
        numbers, ledger = [(door, int(number))], None
    elif arguments.ledger.exists():
        rows = ledger.read()
        there = set(zip(rows["door"], rows["number"], rows["seed"], strict=True))
        numbers = [
            (door, n) for door, n in numbers if (door, str(n), str(arguments.seed)) not in there
        ]
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as work:
        binary = shutil.copy(arguments.binary, work)
        python = Path(sys.executable)
        rows, wrong = campaign(binary, python, Path(work), numbers, arguments.seed, ledger, commit)
    print(table(pd.DataFrame(rows)))
    sys.exit(int(bool(wrong)))


if __name__ == "__main__":
    main()
