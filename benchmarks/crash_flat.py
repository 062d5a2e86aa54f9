"""Memory and open files of a run that writes checkpoints: flat, or growing?"""

import os
import time
from pathlib import Path

from killing import Process

#: The replay memory is full before the first half is over.
WORDS = ["--checkpoint-freq", 500, "--eval-freq", 2_000, "--set", "log_freq=1000"]
FULL = ["--set", "buffer_size=1000"]
MOST = 16e6  # bytes of growth that are no leak: allocators round up


def sample(process):
    """Resident bytes and open files of a process; nothing once it has ended."""
    folder = Path(f"/proc/{process.popen.pid}")
    try:
        pages = int((folder / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(folder / "fd"))
    except (OSError, IndexError):
        return None


def samples(binary, out, case, steps, pause=0.05):
    """`(bytes, open files)` over a run, and its exit status."""
    full = FULL if any("batch_size" in word for word in case.words) else []
    process = Process([*case.command(binary, out, 0, steps), *WORDS, *full])
    found = []
    while process.running:
        if (one := sample(process)) and (case.folder(out, 0) / "checkpoints").exists():
            found.append(one)
        time.sleep(pause)
    return found, process.end(), process.stderr()


def growth(found):
    """By how much the last quarter's most bytes and fewest open files are above the second's.

    The first quarter has the start in it. Files are opened and closed again all the time; one that
    stays open raises the fewest.
    """
    quarter = len(found) // 4
    early, late = found[quarter : 2 * quarter], found[-quarter:]
    return tuple(
        of(one[i] for one in late) - of(one[i] for one in early) for i, of in enumerate((max, min))
    )


def check(binary, work, case, steps):
    """Prints how a long run grows; returns the exit status."""
    found, status, stderr = samples(binary, work, case, steps)
    if status or len(found) < 20:
        print(f"{case.name}: exit {status}, {len(found)} samples\n{stderr}")
        return 1
    memory, files = growth(found)
    print(f"{case.name}, {steps:,} steps, {len(found)} samples: the last quarter's most memory")
    print(f"is {memory / 1e6:.1f} MB above the second's, and its fewest open files {files}")
    return int(memory > MOST or files > 0)
