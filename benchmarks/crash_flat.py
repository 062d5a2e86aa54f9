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
    """By how many bytes and open files the last half's most is above the first half's."""
    half = len(found) // 2
    return tuple(
        max(one[i] for one in found[half:]) - max(one[i] for one in found[:half]) for i in (0, 1)
    )


def check(binary, work, case, steps):
    """Prints how a long run grows; returns the exit status."""
    found, status, stderr = samples(binary, work, case, steps)
    if status or len(found) < 20:
        print(f"{case.name}: exit {status}, {len(found)} samples\n{stderr}")
        return 1
    memory, files = growth(found)
    print(f"{case.name}, {steps:,} steps, {len(found)} samples: the last half's most is above the")
    print(f"first half's by {memory / 1e6:.1f} MB of memory and {files} open files")
    return int(memory > MOST or files > 0)
