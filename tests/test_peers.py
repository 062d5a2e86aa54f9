"""The peers that `make bench` measures: each trains, and CleanRL's rule is what it should be."""

import json
import shutil
import subprocess

import pytest
from cases import OURS, PEER_PYTHON, SHORT_WARM_UP, cases, environment
from conftest import ROOT, need

CASES = {(case.who, case.algo, case.env) for case in cases(1) if case.who != OURS}


@pytest.fixture(scope="module")
def in_bench():
    """Runs a program of `benchmarks/` or `tests/` with the peers' Python."""
    bench = [] if PEER_PYTHON.exists() else [".venv-bench, which `make bench` sets up"]
    need("peers", bench, optional=True)

    def run(program, *words):
        line = [PEER_PYTHON, ROOT / program, *map(str, words)]
        return subprocess.run(line, env=environment(1), capture_output=True, text=True, timeout=580)

    return run


@pytest.mark.parametrize(("who", "algo", "env"), sorted(CASES))
def test_each_peer_trains_and_says_how_fast(in_bench, who, algo, env):
    if who == "RLtools":
        need("RLtools", [] if shutil.which("g++") or shutil.which("clang++") else ["C++ compiler"])
    words = [who.lower(), algo, env, "--warm-up", SHORT_WARM_UP, "--seconds", 0.01]
    done = in_bench("benchmarks/peer.py", *words)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["steps"] >= 50 and said["steps"] % 50 == 0
    assert said["seconds"] >= 0.01


@pytest.mark.parametrize("algo", ["ddpg", "td3"])
def test_cleanrls_rule_moves_the_networks_as_pytorch_does(in_bench, algo):
    done = in_bench("tests/cleanrl_by_torch.py", algo)
    assert done.returncode == 0, done.stderr
