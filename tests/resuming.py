"""What the tests of checkpoints and resume share: short runs, killed ones, and how to compare."""

import json
import shutil

from conftest import QUICK, QUICK_ON_POLICY
from killing import generations, wait_until

POINT = ("Point-v0", "--env-import", "environments")
#: So long a step that a run of 400 of them is met on its way.
SLOWLY = ("--set", "env_kwargs.pause=0.003")


def words(algo="ddpg", env=POINT, *more):
    """The options of a quick run with a checkpoint every 100 steps."""
    quick = QUICK_ON_POLICY if algo in ("ac", "stac") else QUICK
    options = ["--algo", algo, "--env", *env, *quick, "--checkpoint-freq", 100, *more]
    return [str(word) for word in options]


SLOW = words("ddpg", POINT, *SLOWLY)


def run_in(folder, algo="ddpg", env="Point-v0", seed=0):
    """Where such a run lies below the folder it was started in."""
    return folder / "runs" / algo / f"{env}_{seed}"


def finished(stac_bench, folder, *line):
    """Runs this line to its end; where the run lies."""
    done = stac_bench(folder, *line)
    assert done.returncode == 0, done.stderr
    return run_in(folder)


def manifest(run):
    return json.loads((run / "manifest.json").read_text())


def contents(folder):
    """The bytes of every file below it; the lock has the number of whoever looked last."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {path: path.read_bytes() for path in files}


def copy_of(run, folder):
    """A copy of a run as if it had been made in `folder`."""
    there = folder / run.relative_to(run.parents[2])
    shutil.copytree(run, there)
    return there


def kill_at(process, run, step):
    """Kills a run once it has two checkpoints, the newest from this step or later."""

    def reached():
        steps = generations(run / "checkpoints")
        return len(steps) > 1 and steps[-1] >= step

    wait_until(process, reached, f"a checkpoint at step {step}")
    assert process.kill(), process.stderr()
