"""Kills runs at random instants, resumes them, and compares them with runs that nobody killed.

    .venv/bin/python benchmarks/crash.py --kills 200 --jobs 2     # appended to results/crash.csv
    .venv/bin/python benchmarks/crash.py --only stsac-al --kills 20
    .venv/bin/python benchmarks/crash.py damage --cases 2000      # bytes of checkpoints changed
    .venv/bin/python benchmarks/crash.py flat --steps 200000      # memory and open files
    .venv/bin/python benchmarks/crash.py report                   # the tables into RESULTS.md

A case is an algorithm on an environment, one or two at a time. A chain is one run of it: killed by
SIGKILL, resumed by the same command line, killed again, and so on to its end. Half of the kills
come at an instant that is uniform over what is left of the run; the others wait from there on for
a file or folder below `checkpoints/` to come or go, and kill within a millisecond. The verdict of
a chain is that of each of its kills: `same`, if files and scalars are those of an uninterrupted
run. It ends with 1 if one is not; such a run's folder is kept.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import crash_damage
import crash_flat
import crash_kills
from crash_cases import Ledger, all_cases
from sections import write_section

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parent / "target" / "release" / "stac-bench"
LEDGER = HERE / "results" / "crash.csv"


def section(rows, damages):
    """The section of RESULTS.md: what was done, and the tables of both ledgers."""
    commits = ", ".join(dict.fromkeys(rows["commit"]))
    text = (
        "A run of 3,000 steps with a checkpoint every 250 is killed by SIGKILL at seeded random "
        "instants, some of them as a checkpoint is written, and resumed until its end. It ended "
        "the same if models, evaluations, monitor files and `progress.csv` have the bytes, and "
        "TensorBoard the scalars, of a run that nobody killed, clocks aside. Every kill is a line "
        f"of [results/crash.csv](results/crash.csv).\n\n`benchmarks/crash.py`, commits {commits}."
        f"\n\n{crash_kills.table(rows)}"
    )
    if not damages.empty:
        text += (
            "\n\nBytes of checkpoints flipped, or all from there on cut off, before a resume "
            f"([results/damage.csv](results/damage.csv)):\n\n{crash_damage.table(damages)}"
        )
    return text


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog=__doc__.partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = ("kills", "damage", "flat", "report")
    parser.add_argument("what", choices=what, nargs="?", default="kills")
    parser.add_argument("--kills", type=int, default=100, help="how many in all")
    parser.add_argument("--cases", type=int, default=2_000, help="of damage")
    parser.add_argument("--steps", type=int, default=200_000, help="of `flat`")
    parser.add_argument("--only", help="algorithms, with commas between")
    parser.add_argument("--seed", type=int, help="of runs and kills [default: the ledger's next]")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--ledger", type=Path, default=LEDGER)
    parser.add_argument("--binary", type=Path, default=PROGRAM)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def main():
    arguments = parse()
    binary = arguments.binary.resolve()
    ledger = Ledger(arguments.ledger, crash_kills.COLUMNS)
    damage_ledger = Ledger(arguments.ledger.with_name("damage.csv"), crash_damage.COLUMNS)
    if arguments.what == "report":
        text = section(ledger.read(), damage_ledger.read())
        write_section("crash", text)
        print(text)
        return 0
    used = (ledger if arguments.what == "kills" else damage_ledger).read()["seed"]
    seed = arguments.seed if arguments.seed is not None else max(map(int, used), default=-1) + 1
    words = [word for setting in arguments.set for word in ("--set", setting)]
    wanted = arguments.only.split(",") if arguments.only else None
    cases = [c for c in all_cases(binary, words) if wanted is None or c.algo in wanted]
    if not cases:
        sys.exit(f"no algorithm is called {arguments.only}")
    work = Path(tempfile.mkdtemp(prefix="crash-"))
    if arguments.what == "flat":
        return crash_flat.check(binary, work, cases[0], arguments.steps)
    how = (cases, seed, arguments.jobs)
    if arguments.what == "damage":
        return crash_damage.campaign(binary, work, arguments.cases, *how, damage_ledger)
    rows, wrong = crash_kills.campaign(binary, work, arguments.kills, *how, ledger)
    print(crash_kills.table(rows))
    print("\n".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
