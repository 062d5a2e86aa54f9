"""A run folder has one owner, and says what became of its run whatever ends it."""

import json
import os
import shutil
import signal
import time

import pytest
from killing import generations, wait_until
from resuming import POINT, SLOWLY, contents, manifest, run_in, words

OWNERS = ("--env-import", "owners")
LONG = words("ddpg", POINT, *SLOWLY, "--steps", 40_000)


def test_an_environment_that_changes_the_folder_splits_no_run(stac_bench, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    at = ("--set", f"env_kwargs.folder={elsewhere}")
    done = stac_bench(tmp_path, *words("ddpg", ("Elsewhere-v0", *OWNERS), *at))
    assert done.returncode == 0, done.stderr
    run = run_in(tmp_path, env="Elsewhere-v0")
    assert manifest(run)["status"] == "done"
    for name in ("best_model", "final_model", "evaluations.npz", "progress.csv", "0.monitor.csv"):
        assert (run / name).exists()
    assert contents(elsewhere) == {}


@pytest.mark.parametrize("what", ["moved", "deleted"])
def test_a_folder_that_goes_away_is_noticed(start, tmp_path, what):
    process = start(tmp_path, *LONG)
    run, other = run_in(tmp_path), tmp_path / "other"
    wait_until(process, lambda: generations(run / "checkpoints"), "a checkpoint")
    # Not in the middle of one, whose files would be missed first.
    if what == "moved":
        run.rename(other)
    else:
        shutil.rmtree(run, ignore_errors=True)
    assert process.end(60) == 1, process.stderr()
    said = process.stderr()
    assert "panicked" not in said
    assert str(run) in said
    assert not run.exists(), "nothing is made anew"
    if what == "moved":
        assert "moved or deleted" in said or "No such file" in said
        assert (other / "0.monitor.csv").exists()


def test_what_is_no_run_is_not_replaced(stac_bench, tmp_path):
    thesis = run_in(tmp_path) / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years of work")
    for option in ("--overwrite", "--resume"):
        done = stac_bench(tmp_path, *words(), option)
        assert done.returncode == 2 and "manifest.json" in done.stderr
    assert thesis.read_text() == "years of work"


def test_a_killed_run_leaves_whole_rows(start, tmp_path):
    """Of many short episodes, more than one buffer holds."""
    line = words("ddpg", POINT, "--steps", 400_000, "--set", "learning_starts=1000000")
    process = start(tmp_path, *line, "--eval-freq", 3_000, "--checkpoint-freq", 0)
    monitor = run_in(tmp_path) / "0.monitor.csv"
    wait_until(process, lambda: monitor.exists() and monitor.stat().st_size > 10_000, "rows")
    process.kill()
    _, header, *rows = monitor.read_text().split("\n")
    assert header == "r,l,t" and rows.pop() == ""
    assert all(row.count(",") == 2 for row in rows)


def test_a_run_whose_process_was_ended_by_its_environment_is_not_done(stac_bench, tmp_path):
    line = words("ddpg", ("Quits-v0", *OWNERS), "--seeds", 2)
    done = stac_bench(tmp_path, *line)
    assert done.returncode == 1, done.stderr
    assert "2 of 2 seeds failed: 0, 1" in done.stderr
    assert "seed 0: failed: its process ended before the run was done" in done.stderr


def test_without_a_terminal_each_seed_says_what_it_died_of(stac_bench, tmp_path):
    line = words("ddpg", ("Dies-v0", *OWNERS), "--seeds", 2)
    done = stac_bench(tmp_path, *line)
    assert done.returncode == 1
    for seed in range(2):
        assert f"seed {seed}: failed, signal: 9 (SIGKILL)" in done.stderr


def test_bytes_that_are_no_text_fail_no_run(stac_bench, tmp_path):
    done = stac_bench(tmp_path, *words("ddpg", ("Prints-v0", *OWNERS), "--seeds", 2))
    assert done.returncode == 0, done.stderr
    assert "caf\N{REPLACEMENT CHARACTER}" in done.stderr
    statuses = [manifest(run_in(tmp_path, env="Prints-v0", seed=seed))["status"] for seed in (0, 1)]
    assert statuses == ["done"] * 2


def processes_of(mark):
    """Processes whose command line has this word."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if mark.encode() in file.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def test_seeds_and_their_workers_end_with_the_process_that_trains_them(start, tmp_path):
    mark = f"env_kwargs.mark={tmp_path.name}"
    line = words("ddpg", ("Hangs-v0", *OWNERS), "--n-envs", 2, "--set", mark)
    process = start(tmp_path, *line, "--seeds", 2, "--jobs", 2)
    runs = [run_in(tmp_path, env="Hangs-v0", seed=seed) for seed in range(2)]
    wait_until(process, lambda: all((run / "manifest.json").exists() for run in runs), "both")
    time.sleep(1)
    assert len(processes_of(mark)) > 2
    process.kill()
    ends = time.monotonic() + 60
    while processes_of(mark) and time.monotonic() < ends:
        time.sleep(0.2)
    assert processes_of(mark) == []


def test_a_closed_terminal_ends_seeds_in_good_order(binary, environment, tmp_path):
    import pty
    import subprocess

    ours, theirs = pty.openpty()
    line = [str(word) for word in (binary, *LONG, "--seeds", 2, "--jobs", 2)]
    process = subprocess.Popen(
        line, cwd=tmp_path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
        # Not as under `nohup`, which these tests themselves may run under.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )  # fmt: skip
    os.close(theirs)
    runs = [run_in(tmp_path, seed=seed) for seed in range(2)]
    ends = time.monotonic() + 60
    while not all(generations(run / "checkpoints") for run in runs):
        os.read(ours, 65_536)
        assert process.poll() is None and time.monotonic() < ends
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 143
    assert [manifest(run)["status"] for run in runs] == ["interrupted"] * 2


def test_what_python_does_at_its_end_is_done(stac_bench, tmp_path):
    mark = tmp_path / "mark"
    line = words("ddpg", ("Leaves-v0", *OWNERS), "--set", f"env_kwargs.mark={mark}")
    done = stac_bench(tmp_path, *line)
    assert done.returncode == 0, done.stderr
    told = json.loads(mark.read_text())
    assert not os.path.exists(f"/proc/{told['daemon']}"), "a daemonic process ends"


@pytest.mark.parametrize("words_", ["algos", "settings ddpg", "--version"])
def test_a_full_disk_behind_standard_output_is_an_error(binary, environment, tmp_path, words_):
    import subprocess

    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [binary, *words_.split()], stdout=full, stderr=subprocess.PIPE, text=True,
            env=environment, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 1
    assert "standard output" in done.stderr and "No space left" in done.stderr
