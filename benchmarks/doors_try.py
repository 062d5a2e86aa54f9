"""One try at a door: what came in, what the program made of it, and whether that is right."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS, MOST = 60, 1_000  # seconds, and MB beyond what a good run takes
ENDING, TOLD = 10, (143, 1, 2)  # seconds to end in when told, and what comes of that
LOOK = 0.01  # seconds between two looks at its memory
ENDS = (0, 1, 2)  # done, failed, refused
#: Modules that stand in the working folder under names that Python or the program imports.
BAIT = ("json", "random", "numpy", "gymnasium", "payload")


@dataclass
class Try:
    """A file or setting, the command that meets it, and what may come of it."""

    kind: str
    what: str
    words: list[str]
    #: Exit statuses that are right.
    right: tuple[int, ...] = ENDS
    #: Seconds after which it is told to end, where it may be asked for more than anyone waits for.
    patience: float = SECONDS
    #: Looks at what a good end printed and left; what is wrong with it, if anything.
    check: Callable[[str], str | None] = lambda said: None


@dataclass
class Came:
    """What came of a try."""

    status: int
    seconds: float
    megabytes: float
    said: str
    wrong: str | None


def taken(process: int) -> float:
    """The most megabytes that a process has had so far: those of its parent do not count."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1_000
    return 0.0


def bait(folder: Path) -> None:
    """Puts modules into the working folder that leave a mark if they are run."""
    for name in BAIT:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'a').write({name!r})\n")


def attempt(one: Try, folder: Path, environment: dict[str, str], usual: float) -> Came:
    """Runs the command in `folder`; `usual` are the megabytes that a good run takes."""
    said, began, megabytes, told, hangs = folder / "said", time.monotonic(), 0.0, 0, False
    with said.open("wb") as out:
        process = subprocess.Popen(
            one.words, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    while process.poll() is None:
        megabytes = max(megabytes, taken(process.pid))
        late = time.monotonic() - began - one.patience
        if one.patience < SECONDS and told < 2 and late > told * ENDING / 2:
            # The first leaves a checkpoint; the second ends an update that goes on and on.
            told += 1
            process.terminate()
        elif late > (ENDING if told else 0):
            hangs = True
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        time.sleep(LOOK)
    seconds = time.monotonic() - began
    text = said.read_bytes().decode(errors="replace")
    faults = {
        "hangs": hangs,
        f"exit {process.returncode}": process.returncode not in (TOLD if told else one.right),
        "panicked": "panicked" in text,
        "takes too much memory": megabytes > usual + MOST,
        "ran a file of the working folder": (folder / "ran").exists(),
    }
    wrong = next((name for name, holds in faults.items() if holds), None)
    if wrong is None and process.returncode == 0:
        wrong = one.check(text)
    return Came(process.returncode, seconds, megabytes, text, wrong)
