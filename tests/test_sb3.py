"""Stable-Baselines3's own tests, from its source distribution, run against our classes."""

import os
import subprocess
import tarfile
import xml.etree.ElementTree as ET
from importlib.metadata import version

import pytest
from conftest import ROOT

FILES = [
    *("run", "save_load", "predict", "deterministic", "callbacks", "tensorboard", "identity"),
    *("spaces", "vec_normalize"),
]
# By the names that pytest gives them: of a class of ours, or of a test that uses one.
OURS = [
    *("A2C", "DDPG", "SAC", "TD3", "a2c", "sac", "td3"),
    *("n_critics", "train_freq", "pytorch_var", "sde", "her_"),
    *("eval_callback_vec_env", "eval_friendly_error", "multidim_binary"),
]


@pytest.fixture(scope="session")
def sb3_tests(python):
    """The folder of Stable-Baselines3's tests, of the version that is installed."""
    release = version("stable_baselines3")
    cache = ROOT / ".venv" / "sb3-tests"
    folder = cache / f"stable_baselines3-{release}" / "tests"
    if not folder.is_dir():
        pip = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
        source = ["--no-binary", ":all:", "--dest", cache, f"stable-baselines3=={release}"]
        subprocess.run([*pip, *source], check=True)
        with tarfile.open(next(cache.glob(f"*{release}.tar.gz"))) as archive:
            archive.extractall(cache, filter="data")
    return folder


def exclusions():
    lines = (ROOT / "tests" / "sb3_exclusions.txt").read_text().splitlines()
    return [line.split(None, 1) for line in lines if line and not line.startswith("#")]


def run(python, folder, report, *arguments):
    """Runs tests in `folder`; returns their names by outcome, and what was printed."""
    options = ["-p", "sb3_substitution", "-p", "no:cacheprovider", "-q", "--rootdir=."]
    done = subprocess.run(
        [python, "-m", "pytest", *options, f"--junit-xml={report}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
    )
    outcomes = {"passed": [], "skipped": [], "failed": []}
    for case in ET.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        kind = "failed" if kinds & {"failure", "error"} else "passed"
        outcomes["skipped" if "skipped" in kinds else kind].append(case.get("name"))
    return outcomes, done.stdout


def test_what_baselines_pass_ours_pass(python, sb3_tests, tmp_path):
    without = [f"--deselect={case}" for case, _ in exclusions()]
    files = [f"test_{name}.py" for name in FILES]
    selected = ["-k", " or ".join(OURS), *files]
    outcomes, output = run(python, sb3_tests, tmp_path / "report.xml", *selected, *without)
    assert not outcomes["failed"], output
    assert len(outcomes["passed"]) >= 100, output


def test_each_exclusion_is_needed_and_says_why(python, sb3_tests, tmp_path):
    cases = exclusions()
    assert all(len(case) == 2 for case in cases)
    ids = [case for case, _ in cases]
    outcomes, output = run(python, sb3_tests, tmp_path / "report.xml", *ids)
    assert sorted(outcomes["failed"]) == sorted(case.split("::")[1] for case in ids), output
