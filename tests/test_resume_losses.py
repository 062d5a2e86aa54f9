"""What a resume looks at before it touches anything: each of these once lost a run or result."""

import shutil
import signal

import pytest
import yaml
from conftest import ALLOWED
from killing import generations, wait_until
from resuming import (
    POINT,
    SLOW,
    contents,
    copy_of,
    kill_at,
    manifest,
    run_in,
    words,
)
from same_run import differences


def test_a_resume_in_the_last_moments_of_a_run_finds_it_done(start, stac_bench, whole, tmp_path):
    """It waits for the run's end, and looks only then."""
    run = run_in(tmp_path)
    first = start(tmp_path, *SLOW)
    wait_until(
        first, lambda: 300 in generations(run / "checkpoints"), "the last checkpoint but one"
    )
    done = stac_bench(tmp_path, *SLOW, "--resume")
    assert done.returncode == 0, done.stderr
    assert "is done: 400 steps" in done.stdout
    assert first.end() == 0, first.stderr()
    assert differences(whole, run) == []
    assert manifest(run)["resumes"] == [] and len(list(run.glob("events*"))) == 1


@pytest.mark.parametrize("how", ["command line", "folder"])
def test_checkpoints_that_cannot_be_looked_at_are_not_none(stac_bench, killed, tmp_path, how):
    """As on a disk that is not mounted: the folder is a link to nothing."""
    (killed / "checkpoints").rename(tmp_path / "elsewhere")
    (killed / "checkpoints").symlink_to(tmp_path / "not mounted")
    before = contents(killed)
    again = [*SLOW, "--resume"] if how == "command line" else ["resume", killed, *ALLOWED]
    done = stac_bench(tmp_path, *again)
    assert done.returncode == 1 and "checkpoints" in done.stderr, done.stderr
    assert contents(killed) == before
    (killed / "checkpoints").unlink()
    (tmp_path / "elsewhere").rename(killed / "checkpoints")
    assert stac_bench(tmp_path, *again).returncode == 0


@pytest.fixture
def stopped(start, tmp_path):
    """A run that a signal ended and that keeps no checkpoints."""
    run = run_in(tmp_path)
    process = start(tmp_path, *SLOW, "--checkpoint-freq", 0)
    wait_until(process, (run / "best_model").exists, "an evaluation")
    process.popen.send_signal(signal.SIGTERM)
    assert process.end() == 143
    assert manifest(run)["steps"] > 0
    return run


def test_resume_leaves_a_run_without_checkpoints_as_it_is(stac_bench, stopped, tmp_path):
    before = contents(stopped)
    done = stac_bench(tmp_path, "resume", stopped, *ALLOWED)
    assert done.returncode == 2
    assert "left no checkpoint" in done.stderr and "--overwrite" in done.stderr
    assert contents(stopped) == before


def test_the_command_line_says_that_it_begins_such_a_run_again(
    stac_bench, whole, stopped, tmp_path
):
    steps = manifest(stopped)["steps"]
    done = stac_bench(tmp_path, *SLOW, "--checkpoint-freq", 0, "--resume")
    assert done.returncode == 0, done.stderr
    assert f"stopped after {steps} steps and left no checkpoint" in done.stderr
    assert "it begins again" in done.stderr
    assert differences(whole, stopped) == []


@pytest.mark.parametrize("what", ["checkpoint-freq 0", "not copied", "not mounted"])
def test_a_killed_run_without_checkpoints_is_not_begun_again_in_silence(
    start, stac_bench, killed, tmp_path, what
):
    """Its process has not said how many steps it took; what it left shows that it took some."""
    if what == "checkpoint-freq 0":
        shutil.rmtree(killed)
        process = start(tmp_path, *SLOW, "--checkpoint-freq", 0)
        wait_until(process, (killed / "evaluations.npz").exists, "an evaluation")
        process.kill()
        assert manifest(killed)["steps"] == 0
    else:
        shutil.rmtree(killed / "checkpoints")
    if what == "not mounted":
        (killed / "checkpoints").mkdir()
    before = contents(killed)
    done = stac_bench(tmp_path, "resume", killed, *ALLOWED)
    assert done.returncode == 2 and "left no checkpoint" in done.stderr, done.stderr
    assert contents(killed) == before
    done = stac_bench(tmp_path, *SLOW, "--resume")
    assert done.returncode == 0 and "it begins again" in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["config.yml", "args.yml"])
def test_a_run_that_is_done_with_unknown_settings_is_not_called_done(
    stac_bench, whole, tmp_path, name
):
    run = copy_of(whole, tmp_path)
    (run / name).unlink()
    before = contents(run)
    done = stac_bench(tmp_path, *SLOW, "--set", "gamma=0.5", "--resume")
    assert done.returncode == 2 and "nothing says with which settings" in done.stderr
    assert contents(run) == before


def test_a_run_that_was_being_replaced_is_not_done(library, start, stac_bench, train, tmp_path):
    """Killed at any of the removals that clear the old run away."""
    (tmp_path / "old").mkdir()
    old = train(tmp_path / "old", "ddpg", *POINT)
    line = [*words(), "--set", "gamma=0.5"]
    log = tmp_path / "log"
    faults = {"LD_PRELOAD": library, "FAULT_UNDER": "runs/ddpg/", "FAULT": "KILL"}

    def overwrite(**more):
        run = copy_of(old, tmp_path)
        variables = {name: str(value) for name, value in {**faults, **more}.items()}
        status = start(tmp_path, *line, "--overwrite", variables=variables).end()
        return run, status

    run, status = overwrite(FAULT_LOG=log)
    assert status == 0
    calls = [call.split() for call in log.read_text().splitlines()]
    removals = [n for n, call, path in calls if call == "unlink" and "unfinished" not in path]
    assert len(removals) > 5
    for n in removals[:6]:
        shutil.rmtree(run)
        run, status = overwrite(FAULT_AT=n)
        assert status == -9
        done = stac_bench(tmp_path, *line, "--resume")
        assert "is done" not in done.stdout
        if done.returncode == 0:
            assert "gamma: 0.5" in (run / "config.yml").read_text()
        else:  # the settings of the old run are still there
            assert done.returncode == 2 and "gamma" in done.stderr, done.stderr


def test_checkpoints_that_are_to_be_kept_are_kept(stac_bench, whole, killed_once, tmp_path):
    """Of a run that did not ask for it, by a line that does."""
    run = copy_of(whole, tmp_path)
    shutil.copytree(killed_once / "checkpoints", run / "checkpoints")
    kept = generations(run / "checkpoints")
    for option, left in (["--keep-checkpoint"], kept), ([], []):
        done = stac_bench(tmp_path, *SLOW, *option, "--resume")
        assert done.returncode == 0 and "is done" in done.stdout
        assert generations(run / "checkpoints") == left


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_as_an_episode_is_played_again(start, stac_bench, tmp_path, kind):
    """The signal ends the process; the run can still go on exactly."""
    env = ("Marked-v0", "--env-import", "resumable")
    # The 110th step is in the middle of an episode of 20.
    line = words("ddpg", env, "--checkpoint-freq", 110)
    mark, never = tmp_path / "mark", {"MARK": str(tmp_path / "other"), "MARK_AT": "0"}
    run = run_in(tmp_path, env="Marked-v0")
    process = start(tmp_path, *line, variables={"MARK": str(mark), "MARK_AT": "130"})
    wait_until(process, mark.exists, "a step after the checkpoint")
    process.kill()
    mark.unlink()
    process = start(tmp_path, *line, "--resume", variables={"MARK": str(mark), "MARK_AT": "3"})
    wait_until(process, mark.exists, "the third step of the episode")
    process.popen.send_signal(kind)
    assert process.end() == 128 + kind, process.stderr()
    assert manifest(run)["resumes"] == []
    other = tmp_path / "whole"
    other.mkdir()
    for folder, more in ((tmp_path, ["--resume"]), (other, [])):
        process = start(folder, *line, *more, variables=never)
        assert process.end() == 0, process.stderr()
    assert [entry["resumed"] for entry in manifest(run)["resumes"]] == ["exact"]
    assert differences(run_in(other, env="Marked-v0"), run) == []


def test_a_run_that_was_moved_writes_nothing_into_the_one_in_its_place(start, whole, tmp_path):
    run = run_in(tmp_path)
    process = start(tmp_path, *SLOW, "--steps", 40_000, "--checkpoint-freq", 0)
    wait_until(process, (run / "best_model").exists, "an evaluation")
    shutil.copytree(whole, tmp_path / "next")
    before = contents(tmp_path / "next")
    run.rename(tmp_path / "moved")
    (tmp_path / "next").rename(run)
    assert process.end(60) == 1, process.stderr()
    assert str(tmp_path / "moved") in process.stderr()
    assert {path.name: data for path, data in contents(run).items()} == {
        path.name: data for path, data in before.items()
    }


@pytest.mark.parametrize("what", ["seed", "env"])
def test_a_checkpoint_of_another_run_is_refused_by_name(stac_bench, start, killed, tmp_path, what):
    """The folder says another seed or environment than its checkpoints do."""
    args = yaml.safe_load((killed / "args.yml").read_text())
    other = {"seed": 7, "env": "IntegerActions-v0" if what == "env" else None}[what]
    (killed / "args.yml").write_text(yaml.safe_dump({**args, what: other}))
    before = contents(killed)
    done = stac_bench(tmp_path, "resume", killed, *ALLOWED)
    assert done.returncode == 1, done.stderr
    assert str(args[what]) in done.stderr and str(other) in done.stderr
    assert contents(killed) == before


def test_checkpoints_copied_from_another_seed_are_refused(stac_bench, start, killed, tmp_path):
    other = run_in(tmp_path, seed=1)
    kill_at(start(tmp_path, *SLOW, "--seed", 1), other, 200)
    shutil.rmtree(other / "checkpoints")
    shutil.copytree(killed / "checkpoints", other / "checkpoints")
    before = contents(other)
    done = stac_bench(tmp_path, *SLOW, "--seed", 1, "--resume")
    assert done.returncode == 1 and "seed is 0, and that of the run 1" in done.stderr
    assert contents(other) == before


def test_a_checkpoint_of_other_threads_is_refused_without_settings_too(
    stac_bench, killed, tmp_path
):
    (killed / "config.yml").unlink()
    before = contents(killed)
    done = stac_bench(tmp_path, *SLOW, "--threads", 2, "--resume")
    assert done.returncode == 1 and "threads is 1, and that of the run 2" in done.stderr
    assert contents(killed) == before


@pytest.mark.parametrize("harm", ["missing", "short"])
def test_files_that_cannot_go_on_are_found_before_any_is_cut(stac_bench, killed, tmp_path, harm):
    monitor = killed / "0.monitor.csv"
    if harm == "missing":
        monitor.unlink()
    else:
        monitor.write_bytes(monitor.read_bytes()[:20])
    before = contents(killed)
    done = stac_bench(tmp_path, *SLOW, "--resume")
    assert done.returncode == 1 and "0.monitor.csv" in done.stderr, done.stderr
    assert contents(killed) == before


def test_a_file_as_an_older_checkpoint_knows_it_is_enough(stac_bench, whole, killed, tmp_path):
    """A copy of a run that was going on: the monitor file is of before the newest checkpoint."""
    monitor = killed / "0.monitor.csv"
    older, newest = generations(killed / "checkpoints")
    rows = monitor.read_text().splitlines(keepends=True)
    monitor.write_text("".join(rows[: 2 + older // 20]))
    done = stac_bench(tmp_path, *SLOW, "--resume")
    assert done.returncode == 0, done.stderr
    assert manifest(killed)["resumes"][0]["step"] == older < newest
    assert differences(whole, killed) == []


def test_a_damaged_best_model_harms_no_checkpoint(stac_bench, whole, killed, tmp_path):
    """Written over in place, as some editors and copies do."""
    with (killed / "best_model" / "model.safetensors").open("r+b") as file:
        file.seek(2_000)
        file.write(bytes(100))
    done = stac_bench(tmp_path, *SLOW, "--resume")
    assert done.returncode == 0 and "left out" not in done.stderr, done.stderr
    assert differences(whole, killed) == []


def test_a_run_that_cannot_write_what_it_is_has_failed(stac_bench, whole, killed, tmp_path):
    (killed / "config.yml").unlink()
    (killed / "config.yml").mkdir()
    kept = generations(killed / "checkpoints")
    done = stac_bench(tmp_path, *SLOW, "--resume")
    assert done.returncode == 1 and "config.yml" in done.stderr
    told = manifest(killed)
    assert (told["status"], told["exit_status"]) == ("failed", 1)
    assert "config.yml" in told["error"]
    assert generations(killed / "checkpoints") == kept
    (killed / "config.yml").rmdir()
    assert stac_bench(tmp_path, *SLOW, "--resume").returncode == 0
    assert differences(whole, killed) == []
