"""`stac-bench sweep`: a grid is trained once, whoever stops it and how often it is started."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from random import Random

import pytest
from conftest import ROOT
from killing import generations, wait_until
from resuming import manifest
from same_run import differences

OPTIONS = [
    *("--env-import", "environments", "--eval-freq", "200", "--eval-episodes", "3"),
    *("--checkpoint-freq", "100", "--set", "log_freq=100", "--set", "batch_size=16"),
    *("--set", "learning_starts=100", "--set", "random_steps=100"),
    *("--set", "policy_kwargs.net_arch=[16, 16]"),
]
SLOW = {"env_kwargs": {"pause": 0.003}}
RUNS = {"ddpg": {"algo": "ddpg"}, "with lam 2": {"algo": "stddpg-al", "set": {"lam": 2}}}


def grid(folder, **changes):
    """A grid of four runs in `folder`; its file."""
    content = {"name": "small", "envs": ["Point-v0"], "seeds": 2, "steps": 400}
    content |= {"options": OPTIONS, "runs": RUNS} | changes
    path = folder / "grid.yml"
    # JSON is YAML.
    path.write_text(json.dumps(content, indent=1))
    return path


def folders(folder, env="Point-v0", seeds=(0, 1)):
    """Where the runs of that grid go."""
    small = folder / "runs" / "small"
    algos = {"ddpg": "ddpg", "with-lam-2": "stddpg-al"}
    return [small / label / algos[label] / f"{env}_{seed}" for seed in seeds for label in algos]


def event_files(run):
    """One for each process that trained."""
    return len(list(run.glob("events.out.tfevents.*")))


@pytest.fixture(scope="module")
def whole(stac_bench, tmp_path_factory):
    """The grid's runs, that nothing came across."""
    folder = tmp_path_factory.mktemp("whole")
    done = stac_bench(folder, "sweep", grid(folder, runs=slow()), "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert "4 runs, all done" in done.stdout
    return folders(folder)


def slow():
    """The runs of the grid, so slow that they are met on their way."""
    return {label: run | {"set": run.get("set", {}) | SLOW} for label, run in RUNS.items()}


def all_equal(whole, folder):
    for one, other in zip(whole, folders(folder), strict=True):
        assert manifest(other)["status"] == "done"
        assert differences(one, other) == []


def test_a_sweep_is_the_runs_one_by_one_and_again_it_does_nothing(stac_bench, whole, tmp_path):
    file = grid(tmp_path, runs=slow())
    plan = stac_bench(tmp_path, "sweep", file, "--dry-run").stdout
    commands = [line.strip() for line in plan.splitlines() if line.startswith("  stac-bench")]
    assert len(commands) == 4
    assert not (tmp_path / "runs").exists()
    for command in commands:
        done = stac_bench(tmp_path, *shlex.split(command)[1:])
        assert done.returncode == 0, done.stderr
    all_equal(whole, tmp_path)
    times = [(run / "manifest.json").stat().st_mtime_ns for run in folders(tmp_path)]
    done = stac_bench(tmp_path, "sweep", file)
    assert (done.returncode, done.stdout) == (0, "4 runs, all done\n")
    assert times == [(run / "manifest.json").stat().st_mtime_ns for run in folders(tmp_path)]
    plan = stac_bench(tmp_path, "sweep", file, "--dry-run").stdout
    assert plan.splitlines()[-1] == "4 runs, 0 to do: nothing"


def test_more_seeds_train_what_is_missing(stac_bench, tmp_path):
    assert stac_bench(tmp_path, "sweep", grid(tmp_path, seeds=1)).returncode == 0
    times = [run.stat().st_mtime_ns for run in folders(tmp_path, seeds=[0])]
    file = grid(tmp_path, seeds=[0, 5])
    plan = stac_bench(tmp_path, "sweep", file, "--dry-run").stdout
    assert "4 runs, 2 to do: about" in plan
    assert stac_bench(tmp_path, "sweep", file).returncode == 0
    assert [run.stat().st_mtime_ns for run in folders(tmp_path, seeds=[0])] == times
    assert [manifest(run)["status"] for run in folders(tmp_path, seeds=[5])] == ["done"] * 2


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_goes_on_where_it_was(start, stac_bench, whole, tmp_path, kind):
    file = grid(tmp_path, runs=slow())
    process = start(tmp_path, "sweep", file, "--jobs", "2")
    runs = folders(tmp_path)
    wait_until(process, lambda: any(generations(run / "checkpoints") for run in runs), "one")
    process.popen.send_signal(kind)
    assert process.end(60) == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[kind]
    # Killed, it could not wait for its runs: they end by themselves.
    ends = time.monotonic() + 60
    while any(manifest(run)["status"] == "running" for run in runs if run.exists()):
        assert time.monotonic() < ends
        time.sleep(0.1)
    table = stac_bench(tmp_path, "sweep", file, "--status").stdout
    assert "interrupted" in table.splitlines()[0]
    done = stac_bench(tmp_path, "sweep", file, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    all_equal(whole, tmp_path)
    assert not list((tmp_path / "runs").rglob("*.claim*"))


def test_two_sweeps_of_one_folder_train_nothing_twice(start, whole, tmp_path):
    file = grid(tmp_path, runs=slow())
    processes = [start(tmp_path, "sweep", file, "--jobs", "2") for _ in range(2)]
    assert [process.end(120) for process in processes] == [0, 0], processes[0].stderr()
    all_equal(whole, tmp_path)
    assert [event_files(run) for run in folders(tmp_path)] == [1] * 4


def test_the_table_tells_how_far_each_run_is_while_a_sweep_goes_on(start, stac_bench, tmp_path):
    file = grid(tmp_path, runs=slow())
    process = start(tmp_path, "sweep", file, "--jobs", "1")
    first = folders(tmp_path)[0]
    wait_until(process, lambda: generations(first / "checkpoints"), "a checkpoint")
    rows = [
        line.split() for line in stac_bench(tmp_path, "sweep", file, "--status").stdout.splitlines()
    ]
    assert rows[0] == ["run", "environment", "running", "missing"]
    assert rows[1] == ["ddpg", "Point-v0", "1", "1"]
    assert rows[2] == ["with", "lam", "2", "Point-v0", "-", "2"]
    process.popen.send_signal(signal.SIGINT)
    assert process.end(60) == 130


def test_a_run_that_fails_is_tried_again_told_and_no_reason_to_stop(stac_bench, tmp_path):
    fault = {"env_kwargs": {"fault": "exception", "after": 150}}
    runs = {"ddpg": {"algo": "ddpg", "set": fault}, "with lam 2": RUNS["with lam 2"]}
    file = grid(tmp_path, runs=runs, seeds=1)
    done = stac_bench(tmp_path, "sweep", file, "--jobs", 2, "--retries", 2)
    assert done.returncode == 1
    assert "1 of 2 runs failed" in done.stderr
    assert done.stderr.count("is tried again") == 2
    broken, other = folders(tmp_path, seeds=[0])
    assert (manifest(broken)["status"], manifest(other)["status"]) == ("failed", "done")
    table = stac_bench(tmp_path, "sweep", file, "--status").stdout
    assert "the motor is on fire" in table.splitlines()[-1]
    assert table.splitlines()[-1].startswith("ddpg Point-v0 seed 0: failed: ")


def test_folders_that_hold_other_runs_are_left_alone(stac_bench, tmp_path):
    file = grid(tmp_path, seeds=1)
    assert stac_bench(tmp_path, "sweep", file).returncode == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    other = grid(tmp_path, runs=RUNS | {"ddpg": {"algo": "ddpg", "set": {"gamma": 0.5}}})
    done = stac_bench(tmp_path, "sweep", other)
    assert done.returncode == 2
    assert "`gamma` was 0.99 and is 0.5 now" in done.stderr and "--out" in done.stderr
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {k: v for k, v in after.items() if k != other} == {
        k: v for k, v in before.items() if k != other
    }


def test_processes_keep_to_cores_of_their_own(start, tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core: nothing to share")
    process = start(tmp_path, "sweep", grid(tmp_path, runs=slow()), "--jobs", "2")
    runs = folders(tmp_path)
    wait_until(process, lambda: all(generations(run / "checkpoints") for run in runs[:2]), "both")
    children = [
        int(pid)
        for pid in os.listdir("/proc")
        if pid.isdigit() and parent(pid) == process.popen.pid
    ]
    kept = sorted(sorted(os.sched_getaffinity(child)) for child in children)
    half = len(cores) // 2
    assert kept == [cores[:half], cores[half : 2 * half]]
    process.popen.send_signal(signal.SIGINT)
    assert process.end(60) == 130


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


MISTAKES = {
    "unknown key": ({"sead": 3}, ["grid.yml:", "`sead`", "`seeds`"]),
    "unknown key of a run": (
        {"runs": {"a": {"algo": "ddpg", "sett": {}}}},
        ["grid.yml:", "runs.a.sett", "`set`"],
    ),
    "unknown algorithm": ({"runs": {"a": {"algo": "ddgp"}}}, ["grid.yml:", "`a`", "ddpg"]),
    "no algorithm": ({"runs": {"a": {}}}, ["grid.yml:", "`runs.a`", "`algo`"]),
    "unknown setting": (
        {"runs": {"a": {"algo": "ddpg", "set": {"gama": 0.9}}}},
        ["grid.yml:", "`gama`", "`gamma`"],
    ),
    "value out of range": (
        {"runs": {"a": {"algo": "ddpg", "set": {"gamma": 7}}}},
        ["grid.yml:", "`gamma` is 7"],
    ),
    "unknown preset": (
        {"runs": {"a": {"algo": "ddpg", "preset": "papper"}}},
        ["grid.yml:", "papper"],
    ),
    "labels of one folder": (
        {"runs": {"a b": {"algo": "ddpg"}, "a-b": {"algo": "ddpg"}}},
        ["grid.yml:", "`a b`", "`a-b`"],
    ),
    "no runs": ({"runs": {}}, ["grid.yml:", "`runs`"]),
    "no environment": ({"envs": []}, ["grid.yml:", "`envs`"]),
    "an environment twice": ({"envs": ["A-v0", "A-v0"]}, ["grid.yml:", "`A-v0`", "twice"]),
    "seeds below 0": ({"seeds": -1}, ["grid.yml:", "`seeds` is -1"]),
    "a billion seeds": ({"seeds": 10**9}, ["grid.yml:", "1000000000", "10000"]),
    "no seeds": ({"seeds": []}, ["grid.yml:", "`seeds`"]),
    "a seed twice": ({"seeds": [1, 2, 1]}, ["grid.yml:", "`seeds`", "1", "twice"]),
    "no steps": ({"steps": 0}, ["grid.yml:", "`steps` is 0"]),
    "a name that leads elsewhere": ({"name": "../other"}, ["grid.yml:", "../other"]),
    "an option of its own": ({"options": ["--seed=3"]}, ["grid.yml:", "`--seed`"]),
    "an unknown option": ({"options": ["--evalfreq", "3"]}, ["grid.yml:", "--evalfreq"]),
    "no mapping": ({"runs": {"a": 3}}, ["grid.yml:", "`runs.a` is 3"]),
    "an unknown environment": ({"envs": ["Pont-v0"]}, ["Pont-v0", "Point"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_file_is_told_before_anything_starts(stac_bench, tmp_path, name):
    changes, words = MISTAKES[name]
    done = stac_bench(tmp_path, "sweep", grid(tmp_path, **changes))
    assert done.returncode == 2, done.stderr
    assert "panicked" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_label_twice_is_a_mistake(stac_bench, tmp_path):
    file = grid(tmp_path)
    file.write_text(
        "name: x\nenvs: [Point-v0]\nsteps: 10\nruns:\n  a: {algo: ddpg}\n  a: {algo: sac}\n"
    )
    done = stac_bench(tmp_path, "sweep", file)
    assert done.returncode == 2
    assert "`a`" in done.stderr or '"a"' in done.stderr


def test_the_documents_example_is_a_grid(stac_bench, tmp_path):
    text = (ROOT / "docs" / "experiments.md").read_text()
    file = tmp_path / "hopper.yml"
    file.write_text(text.split("```yaml\n")[1].split("```")[0])
    done = stac_bench(tmp_path, "sweep", file, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "20 runs, 20 to do" in done.stdout


def test_a_damaged_folder_is_told_and_the_rest_goes_on(stac_bench, tmp_path):
    file = grid(tmp_path)
    first, second, third, _ = folders(tmp_path)
    assert stac_bench(tmp_path, "sweep", file).returncode == 0
    (first / "manifest.json").unlink()
    (second / "config.yml").write_text("gamma: [")
    shutil.rmtree(third)
    damaged = {path: path.read_bytes() for run in (first, second) for path in run.glob("*.*")}
    done = stac_bench(tmp_path, "sweep", file)
    assert done.returncode == 1
    assert manifest(third)["status"] == "done"
    last = done.stdout.splitlines()[-2:]
    assert last[0].startswith("ddpg Point-v0 seed 0: damaged: ") and "manifest.json" in last[0]
    assert last[1].startswith("with lam 2 Point-v0 seed 0: damaged: ") and "config.yml" in last[1]
    assert all(path.read_bytes() == bytes for path, bytes in damaged.items())


def test_the_python_package_sweeps_too(python, environment, tmp_path):
    file = grid(tmp_path, seeds=1)
    words = [python, "-m", "stac_bench", "sweep", file, "--jobs", "2"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 runs, all done" in done.stdout


def test_a_task_that_a_scheduler_ends_says_whether_its_run_came_any_further(start, tmp_path):
    # Else the scheduler would try it again for ever.
    first = folders(tmp_path)[0]
    for more, status in [(["--checkpoint-freq", "0"], 1), ([], 143)]:
        file = grid(tmp_path, runs=slow(), options=[*OPTIONS, *more], seeds=1)
        process = start(tmp_path, "sweep", file, "--only", "0")
        log = first / "progress.csv"
        seen = log.exists if more else lambda: generations(first / "checkpoints")
        wait_until(process, seen, "its first steps")
        process.popen.send_signal(signal.SIGTERM)
        assert process.end(60) == status, process.stderr()
        assert ("--slurm time=" in process.stderr()) == (status == 1)
        shutil.rmtree(tmp_path / "runs")


def test_a_submission_that_cannot_be_read_is_named_and_nothing_is_submitted(stac_bench, tmp_path):
    file = grid(tmp_path)
    jobs = tmp_path / "runs" / "small" / "slurm" / "1" / "jobs.json"
    jobs.parent.mkdir(parents=True)
    jobs.write_text("{[")
    done = stac_bench(tmp_path, "sweep", file, "--on", "slurm")
    assert done.returncode == 2
    assert str(jobs) in done.stderr and "remove it" in done.stderr
    done = stac_bench(tmp_path, "sweep", file, "--status")
    assert done.returncode == 0
    assert str(jobs) in done.stderr and "missing" in done.stdout


def test_a_plan_counts_what_is_left_alone(stac_bench, tmp_path):
    file = grid(tmp_path, seeds=1)
    assert stac_bench(tmp_path, "sweep", file).returncode == 0
    first, second = folders(tmp_path, seeds=[0])
    (second / "manifest.json").unlink()
    for seconds in (-5, 1e300):
        record = manifest(first) | {"seconds": seconds}
        (first / "manifest.json").write_text(json.dumps(record))
        done = stac_bench(tmp_path, "sweep", grid(tmp_path), "--dry-run", "--jobs", 1)
        assert done.returncode == 0, done.stderr
        assert "4 runs, 2 to do: about" in done.stdout


def test_kills_at_random_lose_nothing_and_run_nothing_twice(start, stac_bench, whole, tmp_path):
    random = Random(0)
    file = grid(tmp_path, runs=slow())
    process = start(tmp_path, "sweep", file, "--jobs", "2", "--retries", "9")
    for _ in range(6):
        time.sleep(random.uniform(0.5, 2.0))
        workers = [int(pid) for pid in os.listdir("/proc") if pid.isdigit()]
        workers = [pid for pid in workers if parent(pid) == process.popen.pid]
        for pid in random.choice([[process.popen.pid], workers[:1], workers]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not process.running:
            process = start(tmp_path, "sweep", file, "--jobs", "2", "--retries", "9")
    process.end(60)
    done = stac_bench(tmp_path, "sweep", file, "--jobs", 2)
    assert (done.returncode, done.stdout) == (0, "4 runs, all done\n")
    all_equal(whole, tmp_path)
    assert not list((tmp_path / "runs").rglob("*.claim*"))
