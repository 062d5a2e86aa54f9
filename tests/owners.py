"""Environments that do what none should, for `test_one_owner.py`; `--env-import owners`."""

import atexit
import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import gymnasium as gym
from environments import Point


class Elsewhere(Point):
    """Changes the working folder on its way."""

    def __init__(self, folder, **kwargs):
        super().__init__(**kwargs)
        self.folder = folder

    def step(self, action):
        os.chdir(self.folder)
        return super().step(action)


class Quits(Point):
    """Ends the process as if all were well."""

    def step(self, action):
        os._exit(0)


class Dies(Point):
    """Ends the process as the system does when memory is short."""

    def step(self, action):
        os.kill(os.getpid(), signal.SIGKILL)


class Prints(Point):
    """Prints what is no UTF-8."""

    def reset(self, **kwargs):
        for file in (sys.stdout, sys.stderr):
            os.write(file.fileno(), b"caf\xe9\n")
        return super().reset(**kwargs)


class Hangs(Point):
    """A step that never returns."""

    def __init__(self, mark, **kwargs):
        super().__init__(**kwargs)

    def step(self, action):
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(600)


class Leaves(Point):
    """Leaves a daemonic process behind, and something to do at the end."""

    def __init__(self, mark, **kwargs):
        super().__init__(**kwargs)
        daemon = multiprocessing.get_context("fork").Process(
            target=time.sleep, args=(600,), daemon=True
        )
        daemon.start()
        atexit.register(lambda: Path(mark).write_text(json.dumps({"daemon": daemon.pid})))


for kind in (Elsewhere, Quits, Dies, Prints, Hangs, Leaves):
    gym.register(f"{kind.__name__}-v0", kind)
