"""Two folders of the same run: what differs, but for times?"""

import csv
import json
from itertools import pairwise

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

BYTES = ("best_model/model.safetensors", "final_model/model.safetensors", "evaluations.npz")
CLOCKS = ("time/fps", "time/time_elapsed")  # columns that no two runs share


def first_apart(one, other):
    """The first place where two sequences differ, or `None`."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return None if len(one) == len(other) else min(len(one), len(other))


def progress(path):
    """The lines of a `progress.csv` without its clocks."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    kept = [i for i, name in enumerate(rows[0]) if name not in CLOCKS]
    return [[row[i] if i < len(row) else "no cell" for i in kept] for row in rows]


def episodes(path):
    """The lines of a monitor file, without the seconds at their end and the time of the start."""
    header, *rows = path.read_text().split("\n")
    start = {key: value for key, value in json.loads(header[1:]).items() if key != "t_start"}
    # A row that has not three cells was cut, or ends the file: it counts as it is.
    return [start, *(row.rpartition(",")[0] if row.count(",") == 2 else row for row in rows)]


def scalars(run):
    """`(step, value)` by tag, in the order of steps, of all event files of a run together."""
    # Every value, and those that TensorBoard would hide since another file repeats their steps.
    accumulator = EventAccumulator(str(run), {"scalars": 0}, purge_orphaned_data=False)
    accumulator.Reload()
    return {
        tag: sorted((event.step, repr(event.value)) for event in accumulator.Scalars(tag))
        for tag in accumulator.Tags()["scalars"]
        if tag not in CLOCKS
    }


def scalars_apart(one, other):
    """What differs between the scalars of two runs, in words."""
    one, other = scalars(one), scalars(other)
    if not one and not other:
        yield "TensorBoard: missing in both"
    for tag in sorted(one.keys() | other.keys()):
        for events in (one, other):
            steps = [step for step, _ in events.get(tag, [])]
            if twice := [a for a, b in pairwise(steps) if a == b]:
                yield f"TensorBoard: {tag} has step {twice[0]} twice"
        place = first_apart(one.get(tag, []), other.get(tag, []))
        if place is not None:
            yield f"TensorBoard: {tag} from its value {place} on"


def files_apart(one, other, names, read, unit):
    """Which files of these names differ in what `read` makes of them, and from where on."""
    for name in names:
        paths = [folder / name for folder in (one, other)]
        missing = [path for path in paths if not path.exists()]
        if missing:
            yield f"{name}: missing" if len(missing) == 1 else f"{name}: missing in both"
            continue
        try:
            place = first_apart(*map(read, paths))
        except (ValueError, IndexError) as error:
            yield f"{name}: unreadable: {error}"
            continue
        if place is not None:
            yield f"{name}: from {unit} {place} on"


def differences(one, other):
    """What differs between two runs' folders, in words: nothing where the run is the same."""
    monitors = {path.name for folder in (one, other) for path in folder.glob("*.monitor.csv")}
    return [
        *files_apart(one, other, BYTES, lambda path: path.read_bytes(), "byte"),
        *files_apart(one, other, ["progress.csv"], progress, "row"),
        *files_apart(one, other, sorted(monitors) or ["0.monitor.csv"], episodes, "line"),
        *scalars_apart(one, other),
    ]
