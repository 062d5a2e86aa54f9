"""`--resume`, `stac-bench resume` and the checkpoints that a run leaves."""

import os
import shutil
import signal
import tarfile
import time

import numpy as np
import pandas
import pytest
from conftest import ALLOWED, ROOT
from killing import generations, wait_until
from resuming import (
    POINT,
    SLOW,
    SLOWLY,
    contents,
    copy_of,
    finished,
    kill_at,
    manifest,
    run_in,
    words,
)
from same_run import differences
from stable_baselines3.common.results_plotter import load_results


@pytest.fixture(scope="module")
def kept_once(stac_bench, tmp_path_factory):
    """A finished run with its checkpoints; tests take copies."""
    return finished(stac_bench, tmp_path_factory.mktemp("kept"), *words(), "--keep-checkpoint")


@pytest.fixture
def kept(kept_once, tmp_path):
    return copy_of(kept_once, tmp_path)


def ended_like(whole, run, done):
    assert done.returncode == 0, done.stderr
    assert manifest(run)["status"] == "done"
    assert differences(whole, run) == []


def test_resume_of_nothing_starts(stac_bench, whole, tmp_path):
    done = stac_bench(tmp_path, *SLOW, "--resume")
    ended_like(whole, run_in(tmp_path), done)
    assert manifest(run_in(tmp_path)).get("resumes", []) == []


@pytest.mark.parametrize("algo", ["ddpg", "stsac-al", "ac", "stac"])
def test_a_killed_run_ends_as_if_nothing_had_been(start, stac_bench, tmp_path, algo):
    """Killed twice, and resumed once by the command line and once from its folder."""
    line = words(algo, POINT, *SLOWLY)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    assert stac_bench(whole, *line).returncode == 0
    run = run_in(killed, algo)
    kill_at(start(killed, *line), run, 200)
    assert manifest(run)["status"] == "running"
    kill_at(start(killed, *line, "--resume"), run, 300)
    done = stac_bench(tmp_path, "resume", run, *ALLOWED)
    ended_like(run_in(whole, algo), run, done)
    resumes = manifest(run)["resumes"]
    assert [entry["resumed"] for entry in resumes] == ["exact"] * 2
    assert [entry["step"] for entry in resumes] == sorted(entry["step"] for entry in resumes)
    assert resumes[0]["step"] >= 200 and resumes[1]["step"] >= 300


def test_the_whole_command_line_may_be_given_again(stac_bench, killed, whole, tmp_path):
    ended_like(whole, killed, stac_bench(tmp_path, *SLOW, "--resume"))


def test_clocks_go_on(stac_bench, killed, tmp_path):
    assert stac_bench(tmp_path, *SLOW, "--resume").returncode == 0
    elapsed = pandas.read_csv(killed / "progress.csv")["time/time_elapsed"]
    assert (elapsed.diff().dropna() > 0).all()
    assert (load_results(str(killed))["t"].diff().dropna() >= 0).all()


def test_a_run_killed_before_its_first_checkpoint_starts_anew(start, stac_bench, whole, tmp_path):
    run = run_in(tmp_path)
    process = start(tmp_path, *SLOW)
    wait_until(process, (run / "0.monitor.csv").exists, "the first files")
    process.kill()
    assert generations(run / "checkpoints") == []
    ended_like(whole, run, stac_bench(tmp_path, *SLOW, "--resume"))


def test_a_run_without_checkpoints_may_be_killed_again_as_it_starts(
    stac_bench, whole, killed, tmp_path
):
    """What the start removes goes in an order that leaves it a run."""
    shutil.rmtree(killed / "checkpoints")
    for name in ("config.yml", "0.monitor.csv", "progress.csv"):
        (killed / name).unlink()
        shutil.copytree(killed, tmp_path / name / killed.relative_to(tmp_path))
    for name in ("config.yml", "0.monitor.csv", "progress.csv"):
        done = stac_bench(tmp_path / name, *SLOW, "--resume")
        ended_like(whole, run_in(tmp_path / name), done)


def test_an_empty_folder_is_no_run_yet(stac_bench, whole, tmp_path):
    """As a kill leaves it between the making of the folder and that of its first file."""
    run_in(tmp_path).mkdir(parents=True)
    (run_in(tmp_path) / ".lock").write_text("1\n")
    (run_in(tmp_path) / "manifest.json.unfinished").write_text("{")
    ended_like(whole, run_in(tmp_path), stac_bench(tmp_path, *SLOW, "--resume"))


@pytest.mark.parametrize("how", ["command line", "folder"])
def test_a_finished_run_stays_as_it_is(stac_bench, train, tmp_path, how):
    run = train(tmp_path, "ddpg", *POINT, "--checkpoint-freq", 100)
    before = contents(run)
    again = [*words(), "--resume"] if how == "command line" else ["resume", run, *ALLOWED]
    done = stac_bench(tmp_path, *again)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout + done.stderr and "400" in done.stdout + done.stderr
    assert contents(run) == before


def test_a_run_killed_as_its_checkpoints_are_removed_is_tidied(stac_bench, train, kept, tmp_path):
    """The manifest says `done` first: what is removed is needed no more."""
    args = (kept / "args.yml").read_text()
    (kept / "args.yml").write_text(args.replace("keep_checkpoint: true", "keep_checkpoint: false"))
    done = stac_bench(tmp_path, "resume", kept, *ALLOWED)
    assert done.returncode == 0 and "done" in done.stdout
    assert not (kept / "checkpoints").exists()


REFUSED = {
    "--set gamma=0.9": [("gamma", "0.99", "0.9")],
    "--set gamma=0.9 --set batch_size=8": [("gamma", "0.99", "0.9"), ("batch_size", "16", "8")],
    "--set policy_kwargs.net_arch=[8,8]": [("net_arch", "16", "8")],
    "--eval-freq 100": [("eval_freq", "200", "100")],
    "--n-envs 2": [("n_envs", "1", "2")],
    "--threads 2": [("threads", "1", "2")],
    "--engine autograd": [("engine", "auto", "autograd")],
    "--set env_kwargs.pause=0.5": [("pause", "0.003", "0.5")],
    "--steps 300": [("n_timesteps", "400", "300")],
}


@pytest.mark.parametrize("options", REFUSED)
def test_other_settings_are_refused_by_name_with_both_values(stac_bench, killed, tmp_path, options):
    before = contents(killed)
    done = stac_bench(tmp_path, *SLOW, *options.split(), "--resume")
    assert done.returncode == 2, done.stderr
    assert "panicked" not in done.stderr
    for setting in REFUSED[options]:
        for part in setting:
            assert part in done.stderr, done.stderr
    assert contents(killed) == before


def test_settings_that_change_no_result_may_differ(stac_bench, killed, whole, tmp_path):
    ended_like(whole, killed, stac_bench(tmp_path, *SLOW, "--quiet", "-v", "--resume"))


@pytest.mark.parametrize("how", ["command line", "folder"])
def test_more_steps_extend_a_run_that_kept_its_checkpoint(stac_bench, train, kept, tmp_path, how):
    other = tmp_path / "other"
    other.mkdir()
    long = train(other, "ddpg", *POINT, "--steps", 800, "--checkpoint-freq", 100)
    again = [*words(), "--resume"] if how == "command line" else ["resume", kept, *ALLOWED]
    done = stac_bench(tmp_path, *again, "--steps", 800)
    ended_like(long, kept, done)
    assert manifest(kept)["steps"] == 800


def test_more_steps_extend_a_killed_run(stac_bench, killed, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    assert stac_bench(other, *SLOW, "--steps", 600).returncode == 0
    done = stac_bench(tmp_path, *SLOW, "--steps", 600, "--resume")
    ended_like(run_in(other), killed, done)


def test_more_steps_need_a_checkpoint(stac_bench, train, tmp_path):
    run = train(tmp_path, "ddpg", *POINT, "--checkpoint-freq", 100)
    before = contents(run)
    done = stac_bench(tmp_path, "resume", run, *ALLOWED, "--steps", 800)
    assert done.returncode in (1, 2)
    assert "--keep-checkpoint" in done.stderr and "panicked" not in done.stderr
    assert contents(run) == before


def test_checkpoints_go_with_a_good_end_unless_kept(whole, kept):
    assert not (whole / "checkpoints").exists()
    assert generations(kept / "checkpoints") == [300, 400]


def test_without_a_frequency_each_evaluation_makes_a_checkpoint(train, tmp_path):
    run = train(tmp_path, "ddpg", *POINT, "--steps", 600, "--keep-checkpoint")
    assert generations(run / "checkpoints") == [400, 600]


def test_a_frequency_of_zero_makes_none(start, tmp_path):
    process = start(tmp_path, *SLOW, "--checkpoint-freq", "0")
    run = run_in(tmp_path)
    wait_until(process, (run / "best_model").exists, "an evaluation")
    time.sleep(0.2)
    process.kill()
    assert not (run / "checkpoints").exists()


def test_several_seeds_are_resumed(start, stac_bench, whole, tmp_path):
    line = [*SLOW, "--seeds", "2", "--jobs", "2"]
    process = start(tmp_path, *line, start_new_session=True)
    runs = [run_in(tmp_path, seed=seed) for seed in range(2)]

    def both():
        return all(generations(run / "checkpoints") for run in runs)

    wait_until(process, both, "two checkpoints")
    os.killpg(process.popen.pid, signal.SIGKILL)
    process.end()
    done = stac_bench(tmp_path, *line, "--resume")
    ended_like(whole, runs[0], done)
    other = tmp_path / "other"
    other.mkdir()
    assert stac_bench(other, *SLOW, "--seed", 1).returncode == 0
    ended_like(run_in(other, seed=1), runs[1], done)
    assert all(manifest(run)["resumes"] for run in runs)


def test_of_several_seeds_those_that_are_done_stay(stac_bench, whole, tmp_path):
    first = copy_of(whole, tmp_path)
    before = contents(first)
    done = stac_bench(tmp_path, *SLOW, "--seeds", 2, "--resume")
    assert done.returncode == 0, done.stderr
    assert contents(first) == before
    assert manifest(run_in(tmp_path, seed=1))["status"] == "done"


@pytest.mark.parametrize("algo, env", [("sac", "Point-v0"), ("ddpg", "Unbounded-v0")])
def test_the_folder_of_another_run_is_refused(stac_bench, killed, tmp_path, algo, env):
    other = run_in(tmp_path, algo, env)
    other.parent.mkdir(exist_ok=True, parents=True)
    shutil.move(killed, other)
    before = contents(other)
    done = stac_bench(tmp_path, *words(algo, (env, *POINT[1:]), *SLOWLY), "--resume")
    assert done.returncode in (1, 2) and "panicked" not in done.stderr
    recorded, given = ("ddpg", "sac") if algo == "sac" else ("Point-v0", "Unbounded-v0")
    assert recorded in done.stderr and given in done.stderr
    assert contents(other) == before


def test_a_folder_that_is_no_run_is_no_run(stac_bench, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "t.txt").write_text("years of work")
    for folder in ("thesis", "nowhere"):
        done = stac_bench(tmp_path, "resume", folder, *ALLOWED)
        assert done.returncode == 2 and folder in done.stderr
        assert done.stderr.startswith("error: ") and "panicked" not in done.stderr


def test_eval_takes_a_checkpoint(stac_bench, kept, tmp_path):
    final = stac_bench(tmp_path, "eval", kept, *ALLOWED, "--model", "final")
    shutil.rmtree(kept / "best_model")
    shutil.rmtree(kept / "final_model")
    for words_ in ([kept, "--model", "checkpoint"], [kept / "checkpoints" / "400"]):
        done = stac_bench(tmp_path, "eval", *words_, *ALLOWED)
        assert done.returncode == 0, done.stderr
        assert done.stdout == final.stdout
    earlier = stac_bench(tmp_path, "eval", kept / "checkpoints" / "300", *ALLOWED)
    assert earlier.returncode == 0 and "after 300 steps" in earlier.stdout


def test_eval_of_a_run_that_has_no_checkpoint_says_so(stac_bench, whole, tmp_path):
    done = stac_bench(tmp_path, "eval", whole, *ALLOWED, "--model", "checkpoint")
    assert done.returncode == 2 and "checkpoint" in done.stderr


def test_of_two_processes_on_one_folder_the_second_is_refused(start, stac_bench, killed, tmp_path):
    line = [*SLOW, "--steps", 40_000]
    first = start(tmp_path, *line, "--resume")
    before = generations(killed / "checkpoints")
    wait_until(first, lambda: generations(killed / "checkpoints") != before, "a new checkpoint")
    again = ["resume", killed, *ALLOWED, "--steps", 40_000]
    for words_ in (again, [*line, "--resume"], [*line, "--overwrite"], [*SLOW, "--overwrite"]):
        done = stac_bench(tmp_path, *words_)
        assert done.returncode == 2, done.stderr
        assert str(first.popen.pid) in done.stderr and "going on" in done.stderr
    first.kill()
    # A lock that a dead owner does not hold.
    assert stac_bench(tmp_path, *SLOW, "--overwrite").returncode == 0


@pytest.mark.parametrize("algo", ["ddpg", "ac"])
@pytest.mark.parametrize("format_", [1])
def test_a_checkpoint_of_every_format_is_read(stac_bench, tmp_path, format_, algo):
    """A run of 300 steps that an earlier commit made."""
    with tarfile.open(ROOT / "tests" / "checkpoints" / f"format-{format_}-{algo}.tar.gz") as file:
        file.extractall(tmp_path, filter="data")
    run = run_in(tmp_path, algo)
    scores = np.load(run / "evaluations.npz")["results"]
    done = stac_bench(tmp_path, "resume", run, *ALLOWED, "--steps", 500)
    assert done.returncode == 0, done.stderr
    told = manifest(run)
    (resume,) = told["resumes"]
    assert (told["status"], told["steps"], resume["step"]) == ("done", 500, 300)
    assert resume["resumed"] in ("other-cpu", "other-version")
    assert any(change.startswith(("commit: ", "cpu: ")) for change in resume["changed"])
    assert "may differ" in done.stderr
    later = np.load(run / "evaluations.npz")
    assert later["timesteps"].tolist() == [100, 200, 300, 400, 500]
    assert (later["results"][:3] == scores).all()


@pytest.mark.parametrize("how", ["command line", "folder"])
def test_a_run_whose_manifest_cannot_be_read_is_not_started_anew(stac_bench, whole, tmp_path, how):
    run = copy_of(whole, tmp_path)
    (run / "manifest.json").write_text("{")
    before = contents(run)
    again = [*SLOW, "--resume"] if how == "command line" else ["resume", run, *ALLOWED]
    done = stac_bench(tmp_path, *again)
    assert done.returncode == 2, done.stderr
    assert "manifest.json" in done.stderr and "cannot be read" in done.stderr
    assert contents(run) == before
