"""Run folders as tables: who ran what, how it scored, and what is wrong with it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from pandas import DataFrame

from stac_bench.report import folder as folders
from stac_bench.report.folder import Run

EVALUATIONS = ["env", "run", "seed", "harness", "folder", "step", "return", "returns"]
FACTS = [
    *("status", "steps", "seconds", "commit", "engine", "cpu", "command", "versions", "settings"),
]
RUNS = ["env", "run", "algo", "seed", "harness", "folder", "compared", *FACTS, *folders.GAME]


class NoRuns(ValueError):
    """The folders hold no run that can be read."""


@dataclass(frozen=True)
class Runs:
    """What was read.

    `evaluations` has a row per evaluation: env, run, seed, harness, folder, step, return (the mean
    over its episodes), returns (a list). `runs` has a row per run (see `RUNS`): `compared` tells
    whether `evaluations` has it; cosine, norm_ratio and saturation are means over the second half
    of training, NaN where they were not logged.
    `problems` has a line per thing that is wrong.
    """

    evaluations: DataFrame
    runs: DataFrame
    problems: list[str] = field(default_factory=list)


def read(given: Sequence[Path], unfinished: bool = False) -> Runs:
    """Reads all runs in the folders `given`, at any depth.

    A harmed run is a line in `problems`, and the rest goes on. Runs that have not reached their end
    have no evaluations unless `unfinished`. Raises NoRuns if there is none.
    """
    found: dict[Path, Run] = {}
    problems: list[str] = []
    for one in map(Path, given):
        if not one.is_dir():
            problems.append(f"{one}: no such folder")
        for path in folders.find(one):
            # The same folder by two ways is one run.
            if path.resolve() not in found:
                found[path.resolve()] = folders.read(path, one)
    runs = list(found.values())
    problems += [f"{run.folder}: {problem}" for run in runs for problem in run.problems]
    names = _names(runs, problems)
    scored = [
        (name, run)
        for name, run in zip(names, runs, strict=True)
        if run.evaluations and (unfinished or run.status not in folders.UNFINISHED)
    ]
    if not scored:
        where = ", ".join(map(str, given)) or "no folder"
        held = any(run.evaluations for run in runs)
        what = "finished run" if held else "run"
        hint = "; --unfinished takes those that are not finished" if held else ""
        raise NoRuns("\n".join([f"no {what} with evaluations in {where}{hint}", *problems]))
    problems += [*_lengths(scored), *_seeds(scored)]
    return Runs(_evaluations(scored), _facts(names, runs, scored), problems)


def _evaluations(scored: Iterable[tuple[str, Run]]) -> DataFrame:
    rows = [
        (
            *(run.env, name, run.seed, run.harness, str(run.folder)),
            *(step, float(returns.mean()), returns.tolist()),
        )
        for name, run in scored
        for step, returns in run.evaluations
    ]
    return DataFrame(rows, columns=EVALUATIONS)


def _facts(names: list[str], runs: list[Run], scored: list[tuple[str, Run]]) -> DataFrame:
    compared = {run.folder for _, run in scored}
    rows = [
        [
            *(run.env, name, run.algo, run.seed, run.harness, str(run.folder)),
            run.folder in compared,
            *(getattr(run, fact) for fact in FACTS),
            *(run.game.get(column, float("nan")) for column in folders.GAME),
        ]
        for name, run in zip(names, runs, strict=True)
    ]
    return pd.DataFrame(rows, columns=RUNS)


def _names(runs: list[Run], problems: list[str]) -> list[str]:
    """The name of each run, such that no two have the same name, environment and seed."""
    labels = [_label(run) for run in runs]
    names = [label.name for label in labels]
    for name in sorted(set(names)):
        members = [i for i, label in enumerate(labels) if label.name == name]
        if not _clashes(runs, members, names):
            continue
        problems.append(f"{name}: the same environment and seed in several places, shown apart")
        # As many folders above as tell the places apart.
        for depth in range(2, 1 + max(len(labels[i].parts) for i in members)):
            for i in members:
                names[i] = "/".join(labels[i].parts[-depth:])
            places = {labels[i] for i in members}
            if len({names[i] for i in members}) == len(places):
                break
        # Within one place: all the way down.
        for i in _clashes(runs, members, names):
            below = runs[i].folder.resolve().relative_to(labels[i])
            names[i] = "/".join([names[i], *below.parts])
    return names


def _label(run: Run) -> Path:
    """The folder that a run is named after: that above its algorithm's, if within the given."""
    path, given = run.folder.resolve(), run.given.resolve()
    algorithm = path.parent
    named = algorithm.parent != given and algorithm.parent.is_relative_to(given)
    return algorithm.parent if named else algorithm


def _clashes(runs: list[Run], members: list[int], names: list[str]) -> list[int]:
    same = defaultdict(list)
    for i in members:
        same[runs[i].env, names[i], runs[i].seed].append(i)
    return [i for several in same.values() if len(several) > 1 for i in several]


def _lengths(scored: list[tuple[str, Run]]) -> list[str]:
    """A line per environment whose runs end at different steps."""
    lines = []
    ends: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
    for name, run in scored:
        ends[run.env].append((run.evaluations[-1][0], name, run.seed))
    for env, these in ends.items():
        (first, name, seed), (last, *_) = min(these), max(these)
        if first != last:
            lines.append(
                f"{env}: unequal lengths: evaluations end between step {first:,} ({name}, seed "
                f"{seed}) and {last:,}; they are compared up to the first"
            )
    return lines


def _seeds(scored: list[tuple[str, Run]]) -> list[str]:
    """A line per run name that lacks seeds which others on that environment have."""
    lines = []
    seeds: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for name, run in scored:
        seeds[run.env][name].add(run.seed)
    for env, of in seeds.items():
        every = set().union(*of.values())
        for name, own in of.items():
            missing = ", ".join(map(str, sorted(every - own)))
            if missing:
                lines.append(f"{env}: {name} is without seed {missing}, which others have")
    return lines
