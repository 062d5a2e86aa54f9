"""What the whole-program tests share: the program as a user runs it, and a folder for its runs."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def binary():
    """The release build of `stac-bench`; `make test` builds it."""
    path = ROOT / "target" / "release" / "stac-bench"
    assert path.exists(), f"{path} is not there: cargo build --release"
    return path


@pytest.fixture
def stac_bench(binary, tmp_path):
    """Runs `stac-bench ARGUMENTS` in an empty folder; returns the finished process."""

    def run(*arguments, timeout=300, **options):
        return subprocess.run(
            [binary, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            **options,
        )

    return run


@pytest.fixture
def train(stac_bench, tmp_path):
    """Trains, expecting success; returns the folder of the run."""

    def run(algo, env, *arguments, seed=0, **options):
        done = stac_bench(
            "--algo", algo, "--env", env, "--seed", seed, "--quiet", *arguments, **options
        )
        assert done.returncode == 0, done.stderr
        return tmp_path / "runs" / algo / f"{env}_{seed}"

    return run
