"""Trains one peer for a while and prints how fast it was, as one line of JSON.

    .venv-bench/bin/python benchmarks/peer.py sbx ddpg Walker2d-v4 --warm-up 1500 --seconds 3

Measured are whole rounds (50 steps and their 50 updates) from step `warm-up` on, until `seconds`
have passed: what is compiled before is not among them. Hyperparameters are those of `settings.py`.
"""

import argparse
import json
import os
import time
import warnings
from importlib import import_module

from settings import ROUND

MODULES = {
    "sb3": "peers.stable_baselines",
    "sbx": "peers.stable_baselines",
    "cleanrl": "peers.cleanrl",
    "rltools": "peers.rltools",
}


class Stopwatch:
    """Notes the time at the start of each round from `warm_up` on, for `seconds`."""

    def __init__(self, warm_up, seconds):
        self.warm_up, self.enough, self.times = warm_up, seconds, []

    def __call__(self, step):
        """Whether to go on, after so many steps."""
        if step >= self.warm_up and step % ROUND == 0:
            self.times.append(time.perf_counter())
        return self.seconds < self.enough

    @property
    def seconds(self):
        return self.times[-1] - self.times[0] if self.times else 0.0

    @property
    def steps(self):
        return ROUND * (len(self.times) - 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=MODULES)
    parser.add_argument("algo", choices=["ddpg", "td3", "sac"])
    parser.add_argument("env")
    parser.add_argument("--warm-up", type=int, default=1_500)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    warnings.simplefilter("ignore")
    # Libraries write to standard output too, those in C++ as late as at the end.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    watch = Stopwatch(given.warm_up, given.seconds)
    train = import_module(MODULES[given.peer]).train
    train(given.peer, given.algo, given.env, given.seed, given.threads, watch)
    print(json.dumps({"steps": watch.steps, "seconds": watch.seconds}), file=answer)


if __name__ == "__main__":
    main()
