"""Runs of the program that are killed, and what a kill leaves of their checkpoints."""

import contextlib
import os
import subprocess
import tempfile
import time

POLL = 0.0002  # seconds between two looks at the folder of checkpoints
PATIENCE = 300  # seconds after which a run hangs
HANGS = "hangs"
UNFINISHED = (".unfinished", ".tmp", ".old")  # what is not whole, or no longer


class Process:
    """A run of the program; what it says on standard error is kept."""

    def __init__(self, command, **options):
        self.said = tempfile.TemporaryFile()  # noqa: SIM115
        words = [str(word) for word in command]
        self.popen = subprocess.Popen(words, stderr=self.said, stdout=subprocess.DEVNULL, **options)
        self.began = time.monotonic()

    @property
    def seconds(self):
        """Seconds since it was started."""
        return time.monotonic() - self.began

    @property
    def running(self):
        return self.popen.poll() is None

    def kill(self):
        """SIGKILL; whether it was running until then."""
        self.popen.kill()
        return self.popen.wait() == -9

    def end(self, patience=PATIENCE):
        """Waits for the end; the exit status, or that it hangs."""
        try:
            return self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            return HANGS

    def stderr(self):
        self.said.seek(0)
        return self.said.read().decode(errors="replace")


def wait_until(process, holds, what="that", patience=60):
    """Looks all the time until `holds()`; an error if the process, if any, has ended before."""
    ends = time.monotonic() + patience
    while not holds():
        if process:
            assert process.running, f"the run ended before {what}: {process.stderr()}"
        assert time.monotonic() < ends, f"no {what} within {patience} s"
        time.sleep(POLL)


def names(folder):
    """The path of every file and folder below `folder`."""
    found, folders = set(), [str(folder)]
    while folders:
        # Entries come and go while it is read.
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                found.add(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return found


def generations(checkpoints):
    """The steps of the whole checkpoints in this folder, in order."""
    with contextlib.suppress(OSError):
        folders = [path for path in checkpoints.iterdir() if path.name.isdigit()]
        return sorted(int(path.name) for path in folders if (path / "MANIFEST").exists())
    return []


def unfinished(checkpoints):
    """What of a checkpoint that is not whole lies there: folders and temporary files."""
    return {
        name
        for name in names(checkpoints)
        if name.endswith(UNFINISHED)
        or (os.path.basename(name).isdigit() and not os.path.exists(os.path.join(name, "MANIFEST")))
    }


def wait_for_change(process, folder, changes):
    """Waits until names below `folder` have changed this often, or the process has ended."""
    before = names(folder)
    while changes > 0 and process.running:
        now = names(folder)
        if now != before:
            before, changes = now, changes - 1
        else:
            time.sleep(POLL)
