"""`harness: rl_zoo3` in a grid: Stable-Baselines3's own algorithms beside ours, in one layout."""

import json
import signal

import numpy as np
import pytest
from killing import wait_until
from resuming import manifest
from same_run import differences
from stac_bench import report
from test_sweep import grid

ENV = "InvertedPendulum-v4"
SET = {"learning_starts": 100, "random_steps": 100, "batch_size": 16}
SET |= {"critic_learning_rate": None, "policy_kwargs.net_arch": [16, 16]}
OPTIONS = ["--eval-freq", "200", "--eval-episodes", "2"]
RUNS = {
    "ours": {"algo": "ddpg", "set": SET},
    "theirs": {"algo": "ddpg", "harness": "rl_zoo3", "set": SET},
}


def file_in(folder, **changes):
    """A grid of ours and theirs, with one seed."""
    defaults = {"envs": [ENV], "options": OPTIONS, "runs": RUNS, "seeds": 1}
    return grid(folder, **defaults | changes)


def folder_of(folder, label, seed=0):
    return folder / "runs" / "small" / label / "ddpg" / f"{ENV}_{seed}"


@pytest.fixture(scope="module")
def whole(stac_bench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    done = stac_bench(folder, "sweep", file_in(folder))
    assert done.returncode == 0, done.stderr
    assert "2 runs, all done" in done.stdout
    return folder


def test_theirs_lies_where_ours_does(whole):
    ours, theirs = folder_of(whole, "ours"), folder_of(whole, "theirs")
    record = manifest(theirs)
    assert (record["status"], record["steps"], record["engine"]) == ("done", 400, "rl_zoo3")
    tables = ["evaluations.npz", "progress.csv", "0.monitor.csv", "config.yml", "command.txt"]
    for name in [*tables, "args.yml"]:
        assert (ours / name).is_file() and (theirs / name).is_file(), name
    with np.load(ours / "evaluations.npz") as one, np.load(theirs / "evaluations.npz") as other:
        assert one["timesteps"].tolist() == other["timesteps"].tolist() == [200, 400]
    assert (ours / "config.yml").read_text() == (theirs / "config.yml").read_text()


def test_again_it_runs_nothing(stac_bench, whole):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    done = stac_bench(whole, "sweep", whole / "grid.yml")
    assert (done.returncode, done.stdout) == (0, "2 runs, all done\n")
    assert before == {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}


def test_the_command_of_the_plan_trains_the_same(stac_bench, whole, tmp_path):
    words = ["--env", ENV, "--algo", "ddpg", "--harness", "rl_zoo3", "--steps", 400, *OPTIONS]
    sets = [f"--set={key}={json.dumps(value)}" for key, value in SET.items()]
    done = stac_bench(tmp_path, *words, *sets)
    assert done.returncode == 0, done.stderr
    other = tmp_path / "runs" / "ddpg" / f"{ENV}_0"
    with (
        np.load(folder_of(whole, "theirs") / "evaluations.npz") as one,
        np.load(other / "evaluations.npz") as same,
    ):
        assert np.array_equal(one["results"], same["results"])
    assert "last evaluation" in done.stdout


def test_a_report_knows_whose_runs_are_whose(whole):
    runs = report.load(whole / "runs")
    assert set(zip(runs["run"], runs["harness"], strict=True)) == {
        ("ours", "stac-bench"),
        ("theirs", "rl_zoo3"),
    }


def test_a_killed_run_begins_again(start, stac_bench, whole, tmp_path):
    file = file_in(tmp_path, runs={"theirs": RUNS["theirs"]})
    process = start(tmp_path, "sweep", file)
    theirs = folder_of(tmp_path, "theirs")
    wait_until(process, lambda: (theirs / "rl_zoo3.unfinished").exists(), "RL Zoo")
    process.popen.send_signal(signal.SIGKILL)
    assert process.end(30) == -9
    wait_until(None, lambda: not (theirs / "rl_zoo3.unfinished").exists(), "its end")
    done = stac_bench(tmp_path, "sweep", file)
    assert done.returncode == 0, done.stderr
    one, other = (folder_of(folder, "theirs") for folder in (whole, tmp_path))
    assert not [line for line in differences(one, other) if "evaluations" in line]


def test_a_file_in_the_working_folder_stands_in_for_no_module(stac_bench, tmp_path):
    for name in ("json", "numpy", "gymnasium"):
        (tmp_path / f"{name}.py").write_text("open('bait', 'w')")
    done = stac_bench(tmp_path, "report", tmp_path)
    assert done.returncode == 1 and "no run" in done.stderr, done.stderr
    words = ["--env", ENV, "--algo", "ddpg", "--harness", "rl_zoo3", "--steps", 300, *OPTIONS]
    sets = [f"--set={key}={json.dumps(value)}" for key, value in SET.items()]
    sets += ["--set=update_order=simultaneous"]
    done = stac_bench(tmp_path, *words, *sets)
    assert done.returncode == 2 and "`update_order`" in done.stderr, done.stderr
    assert not (tmp_path / "bait").exists()


REFUSED = {
    "another order": (
        {"set": SET | {"update_order": "simultaneous"}},
        ["grid.yml:", "`update_order` is simultaneous", "sequential"],
    ),
    "an algorithm of ours": ({"algo": "stddpg-al"}, ["grid.yml:", "`stddpg-al`", "a2c"]),
    "another harness": ({"harness": "rlzoo"}, ["grid.yml:", "harness", "rl_zoo3"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_told_before_anything_starts(stac_bench, tmp_path, name):
    change, words = REFUSED[name]
    file = file_in(tmp_path, runs={"ours": RUNS["ours"], "theirs": RUNS["theirs"] | change})
    done = stac_bench(tmp_path, "sweep", file)
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert not (tmp_path / "runs").exists()
