"""What the whole-program tests share: the program as a user runs it, and a folder for its runs."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from killing import Process

# Where this variable is set, nothing may be lacking: a test that would skip itself fails.
COMPLETE = "STAC_BENCH_TEST_ALL"
ROOT = Path(__file__).resolve().parent.parent

# A run of a second: small networks, few steps.
SHORT = [
    *("--steps", "400", "--eval-freq", "200", "--eval-episodes", "3"),
    *("--set", "log_freq=100", "--set", "policy_kwargs.net_arch=[16, 16]"),
]
QUICK = [
    *(*SHORT, "--set", "batch_size=16"),
    *("--set", "learning_starts=100", "--set", "random_steps=100"),
]
QUICK_ON_POLICY = [*SHORT, "--set", "n_steps=100"]
# What `eval` and `resume` are told, since runs cannot ask for it.
ALLOWED = [*("--env-import", "environments", "--env-import", "resumable"), "--accept-env-kwargs"]


def need(what, lacking, optional=False):
    """Skips a test of `what` if something is lacking; fails it where nothing may be lacking that is
    not `optional`.
    """
    if lacking:
        give_up = pytest.fail if os.environ.get(COMPLETE) and not optional else pytest.skip
        give_up(f"{what}: there is no {', no '.join(lacking)}")


@pytest.fixture(scope="session")
def binary():
    """The release build of `stac-bench`; `make test` builds it."""
    path = ROOT / "target" / "release" / "stac-bench"
    assert path.exists(), f"{path} is not there: cargo build --release"
    return path


@pytest.fixture(scope="session")
def python():
    """The Python of `.venv`, where `make test` has installed the wheel."""
    return ROOT / ".venv" / "bin" / "python"


@pytest.fixture(scope="session")
def environment():
    """Variables under which `--env-import environments` finds `tests/environments.py`."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "tests")}


@pytest.fixture(scope="session")
def stac_bench(binary, environment):
    """Runs `stac-bench ARGUMENTS` in `folder`; returns the finished process.

    `variables` go on top of the environment's.
    """

    def run(folder, *arguments, timeout=300, variables=(), **options):
        return subprocess.run(
            [binary, *map(str, arguments)],
            cwd=folder,
            env={**environment, **dict(variables)},
            capture_output=True,
            text=True,
            timeout=timeout,
            **options,
        )

    return run


@pytest.fixture(scope="session")
def train(stac_bench):
    """Trains quickly in `folder`, expecting success; returns the folder of the run."""

    def run(folder, algo, env, *arguments, seed=0):
        quick = QUICK_ON_POLICY if algo in ("ac", "stac") else QUICK
        done = stac_bench(
            folder, "--algo", algo, "--env", env, "--seed", seed, *quick, "--quiet", *arguments
        )
        assert done.returncode == 0, done.stderr
        return folder / "runs" / algo / f"{env}_{seed}"

    return run


@pytest.fixture(scope="session")
def start(binary, environment):
    """Starts `stac-bench ARGUMENTS` in `folder`; `variables` go on top of the environment's."""

    def begin(folder, *arguments, variables=(), **options):
        variables = {**environment, **dict(variables)}
        return Process([binary, *arguments], cwd=folder, env=variables, **options)

    return begin


@pytest.fixture(scope="session")
def baseline(python):
    """Runs `python -m stac_bench.baselines` on a job; returns the finished process."""

    def run(given, *options, **variables):
        return subprocess.run(
            [python, "-m", "stac_bench.baselines", *options],
            input=given if isinstance(given, str) else json.dumps(given),
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The compiled `faults.c`: preloaded, it makes one call below a folder fail, or kills at it."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler: nothing that makes calls fail")
    out = tmp_path_factory.mktemp("library") / "faults.so"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    source = ROOT / "tests" / "faults.c"
    subprocess.run([compiler, *warnings, "-shared", "-fPIC", "-o", out, source, "-ldl"], check=True)
    return out


# What `resuming.py` has is imported where it is used, since that imports this file.


@pytest.fixture(scope="session")
def whole(stac_bench, tmp_path_factory):
    """A run of `SLOW` that nothing came across."""
    from resuming import SLOW, finished

    return finished(stac_bench, tmp_path_factory.mktemp("whole"), *SLOW)


@pytest.fixture(scope="session")
def killed_once(start, tmp_path_factory):
    """The same, killed after step 200; tests take copies."""
    from resuming import SLOW, kill_at, run_in

    folder = tmp_path_factory.mktemp("killed")
    kill_at(start(folder, *SLOW), run_in(folder), 200)
    return run_in(folder)


@pytest.fixture
def killed(killed_once, tmp_path):
    from resuming import copy_of

    return copy_of(killed_once, tmp_path)
