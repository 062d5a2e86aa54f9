"""`python -m stac_bench.baselines`: trains a baseline of Stable-Baselines3 with our settings.

Standard input holds one JSON object: `algo` (ddpg, td3, sac or a2c), `env`, `seed`, `folder`,
`threads`, `env_import` (modules that register environments) and `settings`, the `config.yml` of a
run of ours. What it leaves in `folder` lies as in the folder of such a run; RL Zoo's own notes are
in `rl_zoo3/` there. Lines `steps return` on standard output tell how far it is, and the last one
how it scored. With STAC_BENCH_VERBOSE, what RL Zoo prints goes to standard error, and so do
tracebacks.

The exit status is 0 if all is done, 1 if training failed, 2 if something asked for cannot be, 130
or 143 after a signal.
"""

import argparse
import ctypes
import importlib.util
import os
import signal
import sys
import traceback
from typing import TextIO

from stac_bench.baselines.equal import Refused
from stac_bench.baselines.job import Job, line

VERBOSE = "STAC_BENCH_VERBOSE"
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m stac_bench.baselines")
    parser.add_argument("--check", action="store_true", help="check the settings, train nothing")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this parent does")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    if arguments.parent is not None:
        _end_with(arguments.parent)
    # Where environments of one's own may be. Last, so that a file there stands in for nothing else.
    sys.path.append("")
    try:
        job = Job.read(sys.stdin.read())
        job.equal()
        if not all(map(importlib.util.find_spec, ("rl_zoo3", "stable_baselines3"))):
            raise Refused("RL Zoo is not installed: pip install 'stac-bench[zoo]'")
    except Refused as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.check:
        return 0
    verbose = bool(os.environ.get(VERBOSE))
    try:
        with _standard_output(verbose) as out:
            from stac_bench.baselines.training import train

            print(train(job, out), file=out, flush=True)
    except Exception as error:
        if verbose:
            traceback.print_exc()
        print(line(error), file=sys.stderr)
        return 1
    return 0


def _standard_output(verbose: bool) -> TextIO:
    """Standard output, for us alone: what others print goes to standard error, or nowhere."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    elsewhere = os.dup(2) if verbose else os.open(os.devnull, os.O_WRONLY)
    os.dup2(elsewhere, 1)
    os.close(elsewhere)
    return out


def _stop(number: int, _frame: object) -> None:
    """Ends this process in good order; further signals would come across that."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _end_with(parent: int) -> None:
    """This process ends when its parent does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
