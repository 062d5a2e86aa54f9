"""One run folder, of stac-bench or of RL Zoo, harmed or whole."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml  # type: ignore[import-untyped]

from stac_bench.report import scores

OURS = "stac-bench"
ZOO = "rl_zoo3"
# What one of our runs has once it is done.
WHOLE = ("manifest.json", "config.yml", "args.yml", "evaluations.npz", "progress.csv")
MARKERS = {*WHOLE, "monitor.csv", ".lock"}
# Statuses of runs that have not reached their end.
UNFINISHED = ("running", "interrupted", "failed")
MOST_BYTES = 1_000_000
# How deep and how long settings may be: aliases in YAML can stand for more than memory holds.
DEEPEST, MOST_SETTINGS = 20, 5_000
# Column of `Runs.runs`: column of progress.csv.
GAME = {
    "cosine": "game/cosine",
    "norm_ratio": "game/implicit_ratio",
    "saturation": "game/policy_saturation",
}


@dataclass
class Run:
    """What one folder says; `problems` are clauses without the folder's name."""

    folder: Path
    given: Path
    harness: str = OURS
    algo: str = ""
    env: str = ""
    seed: int = -1
    status: str = "unknown"
    error: str = ""
    steps: int = 0
    seconds: float = float("nan")
    commit: str = ""
    engine: str = ""
    cpu: str = ""
    command: str = ""
    versions: str = ""
    settings: str = "{}"
    game: dict[str, float] = field(default_factory=dict)
    evaluations: scores.Evaluations = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def is_run(folder: Path, folders: list[str], files: list[str]) -> bool:
    """Whether `folder`, which holds these, is that of a run, whole or not."""
    if not MARKERS.isdisjoint(files) or any(name.endswith(".monitor.csv") for name in files):
        return True
    numbered = re.fullmatch(r"(.+)_\d+", folder.name)
    if not numbered:
        return False
    # RL Zoo keeps the settings of `<env>_<number>` in a folder `<env>` within it.
    return numbered[1] in folders or any(name.endswith(".zip") for name in files)


def find(given: Path) -> Iterator[Path]:
    """Folders of runs in `given`, at any depth, in order; links are not followed."""
    for name, folders, files in os.walk(given):
        folders.sort()
        if is_run(Path(name), folders, files):
            folders.clear()
            yield Path(name)


def read(folder: Path, given: Path) -> Run:
    """All that the run in `folder` left; what is wrong is in `problems`, never raised."""
    run = Run(folder, given)
    zoo = not ((folder / "manifest.json").is_file() or (folder / "args.yml").is_file())
    env_folder = folder / (re.sub(r"_\d+$", "", folder.name) if zoo else "")
    config, args = _yaml(run, env_folder / "config.yml"), _yaml(run, env_folder / "args.yml")
    run.harness = ZOO if zoo else OURS
    _identify(run, args)
    run.settings = json.dumps(dict(_flat(config)), default=str)
    run.command = _text(run, folder / "command.txt").strip()
    if not zoo:
        _manifest(run)
        if run.engine == "rl_zoo3":
            run.harness = ZOO
        missing = [name for name in WHOLE if not (folder / name).is_file()]
        if missing and run.harness == OURS and run.status not in UNFINISHED:
            run.problems.append(f"copied half? {_and(missing)} not there")
    else:
        if not args:
            run.problems.append("copied half? its args.yml is not there or says nothing")
        # RL Zoo saves the last model at the end.
        if (folder / f"{env_folder.name}.zip").is_file():
            run.status = "done"
        else:
            run.problems.append("its last model is not there: who knows whether it has ended")
    _evaluations(run)
    if run.status == "failed":
        run.problems.append(f"failed at step {run.steps:,}: {run.error}")
    return run


def _identify(run: Run, args: dict[str, Any]) -> None:
    numbered = re.fullmatch(r"(.+)_(\d+)", run.folder.name)
    by_name, number = (numbered[1], int(numbered[2])) if numbered else (run.folder.name, -1)
    run.algo = str(args.get("algo") or run.folder.parent.name)
    run.env = str(args.get("env") or by_name)
    try:
        run.seed = int(args.get("seed", number))
    except (TypeError, ValueError):
        run.problems.append(f"args.yml has no seed: {number}, the folder's number, stands in")
        run.seed = number
    if numbered and run.env.replace("/", "-") != by_name:
        run.problems.append(f"the folder is named after {by_name}, but args.yml says {run.env}")


def _evaluations(run: Run) -> None:
    episodes, logged = scores.Monitor(), pd.DataFrame()
    try:
        episodes = scores.monitor(run.folder)
    except Exception as error:
        run.problems.append(f"a monitor.csv cannot be read ({_short(error)})")
    try:
        logged = scores.progress(run.folder / "progress.csv", list(GAME.values()))
    except Exception as error:
        run.problems.append(f"progress.csv cannot be read ({_short(error)})")
    _game(run, logged)
    if np.isnan(run.seconds):
        run.seconds = episodes.seconds
    # Readers of zip, numpy and csv raise nearly anything at harmed bytes, and the rest must go on.
    try:
        run.evaluations = scores.evaluations(run.folder / "evaluations.npz")
    except Exception as error:
        run.problems.append(f"evaluations.npz cannot be read ({_short(error)}): left out")
        return
    foreign = _foreign(run, episodes, logged)
    if foreign:
        run.problems.append(f"{foreign}: its evaluations are left out")
        run.evaluations = []
        return
    if not run.evaluations:
        _stand_in(run, episodes, scores.logged(logged))
    if not all(np.isfinite(returns).all() for _, returns in run.evaluations):
        run.problems.append("some returns are not finite: its evaluations are left out")
        run.evaluations = []
    last = run.evaluations[-1][0] if run.evaluations else 0
    # The manifest of a run that goes on lags behind its files.
    if not run.steps or run.status in UNFINISHED:
        run.steps = max(run.steps, last, sum(episodes.lengths))
    elif last > run.steps:
        run.problems.append(
            f"evaluated at step {last:,}, but trained {run.steps:,} steps: its evaluations, of "
            "another run, are left out"
        )
        run.evaluations = []
    if len(run.evaluations) > 1 and run.status == "done":
        every = run.evaluations[-1][0] - run.evaluations[-2][0]
        if run.steps - last >= max(every, 1) and run.harness == OURS:
            run.problems.append(f"trained {run.steps:,} steps, but its evaluations end at {last:,}")


def _stand_in(run: Run, episodes: scores.Monitor, logged: scores.Evaluations) -> None:
    """Takes the next best source of scores, and says so, where there are no evaluations."""
    if episodes.rows:
        run.evaluations, source = episodes.rows, "episodes of training (monitor.csv)"
    elif logged:
        run.evaluations, source = logged, "means in progress.csv"
    else:
        try:
            run.evaluations = scores.tensorboard(run.folder)
        except Exception as error:
            run.problems.append(f"its TensorBoard events cannot be read ({_short(error)})")
        source = "means in TensorBoard events"
    found = f"{source} stand in" if run.evaluations else "nothing else has scores"
    run.problems.append(f"no evaluations.npz: {found}")


def _foreign(run: Run, episodes: scores.Monitor, logged: pd.DataFrame) -> str:
    """What shows that files here are of different runs, if anything does."""
    bare = run.env.rsplit(":", 1)[-1]
    others = {env for env in episodes.envs if env.rsplit(":", 1)[-1] != bare} - {"None"}
    if others:
        return f"args.yml says {run.env}, but a monitor.csv is of {_and(sorted(others))}"
    evaluated = {step: returns.mean() for step, returns in run.evaluations}
    own = [(step, value[0]) for step, value in scores.logged(logged, ["eval/mean_reward"])]
    both = [(value, evaluated[step]) for step, value in own if step in evaluated]
    if evaluated and own and not both:
        return "evaluations.npz and progress.csv share no step: one is of another run"
    # Logs are rounded at most to 32-bit numbers or six digits.
    if any(abs(a - b) > 1e-4 * max(1.0, abs(a), abs(b)) for a, b in both):
        return "evaluations.npz contradicts progress.csv: one is of another run or environment"
    return ""


def _game(run: Run, logged: pd.DataFrame) -> None:
    """Means over the second half of training."""
    if scores.STEP not in logged or logged.empty:
        return
    late = logged[logged[scores.STEP] > logged[scores.STEP].max() / 2]
    run.game = {name: float(late[tag].mean()) for name, tag in GAME.items() if tag in late}


def _manifest(run: Run) -> None:
    text = _text(run, run.folder / "manifest.json")
    if not text:
        return
    try:
        found = json.loads(text)
        run.status, run.steps = str(found["status"]), int(found["steps"])
        run.seconds = float(found["seconds"])
        run.commit, run.engine = str(found.get("commit", "")), str(found.get("engine", ""))
        run.cpu = str(found.get("machine", {}).get("cpu") or "")
        versions = sorted(found.get("versions", {}).items())
        run.versions = ", ".join(f"{name} {version}" for name, version in versions)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        run.problems.append(f"manifest.json cannot be read ({_short(error)})")
        return
    run.error = str(found.get("error") or "")


def _text(run: Run, path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        if path.stat().st_size > MOST_BYTES:
            run.problems.append(f"{path.name} has more than a megabyte: not read")
            return ""
        return path.read_text(errors="replace")
    except OSError as error:
        run.problems.append(f"{path.name} cannot be read ({_short(error)})")
        return ""


def _yaml(run: Run, path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, {} if it has none. Tags of Python objects are not executed."""
    text = _text(run, path)
    if not text:
        return {}
    try:
        found = yaml.load(text, _Loader)
        # RL Zoo writes an OrderedDict: a list of its pairs, in a list of arguments.
        if isinstance(found, list):
            pairs = found[0] if len(found) == 1 and isinstance(found[0], list) else found
            found = dict(pairs)
        return dict(found or {})
    except Exception as error:
        run.problems.append(f"{path.name} cannot be read ({_short(error)})")
    return {}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader, for which a Python object is the plain data that it was made of."""


def _plain(loader: Any, _suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _plain)


def _flat(config: dict[str, Any]) -> list[tuple[str, Any]]:
    """`(dotted key, value)` of all settings, as many as may be."""
    pairs: list[tuple[str, Any]] = []

    def add(key: str, value: Any, depth: int) -> None:
        if len(pairs) >= MOST_SETTINGS:
            return
        if isinstance(value, dict) and value and depth < DEEPEST:
            for name, inner in value.items():
                add(f"{key}.{name}" if key else str(name), inner, depth + 1)
        elif isinstance(value, (str, int, float, bool, type(None))):
            pairs.append((key, value))
        else:
            # Never its text: of a few aliases that may be more than memory holds.
            pairs.append((key, "{}" if value == {} else _list(value)))

    add("", config, 0)
    return pairs


def _list(value: Any) -> Any:
    """A short list as it is; of anything else, only its kind."""
    plain = isinstance(value, list) and len(value) <= 100
    if plain and all(isinstance(one, (str, int, float, bool, type(None))) for one in value):
        return value
    return f"<{type(value).__name__}>"


def _and(names: list[str]) -> str:
    verb = " are" if len(names) > 1 else " is"
    return ", ".join(names) + verb


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]
