"""A signal that ends a run leaves a checkpoint of where it was, and the run goes on from there."""

import signal
import time

import pytest
from conftest import ALLOWED
from killing import generations, wait_until
from resuming import POINT, SLOWLY, manifest, run_in, words
from same_run import differences

#: Batch systems warn with SIGUSR1.
STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 143}
RESUMABLE = ["--env-import", "resumable"]
SECONDS = 5  # from the signal to the end


def ended_by(process, run, kind):
    """Sends the signal and waits for the end that belongs to it."""
    sent = time.monotonic()
    process.popen.send_signal(kind)
    assert process.end(60) == STATUS[kind], process.stderr()
    assert time.monotonic() - sent < SECONDS
    told = manifest(run)
    assert (told["status"], told["exit_status"]) == ("interrupted", STATUS[kind])
    assert generations(run / "checkpoints")
    return told["steps"]


def resumed(stac_bench, folder, line, run, whole):
    done = stac_bench(folder, *line, "--resume")
    assert done.returncode == 0, done.stderr
    assert [entry["resumed"] for entry in manifest(run)["resumes"]] == ["exact"]
    assert differences(whole, run) == []


@pytest.fixture
def whole(stac_bench, tmp_path):
    """Runs a command line to its end, elsewhere; returns the folder."""

    def make(line, algo="ddpg", env="Point-v0"):
        folder = tmp_path / "whole"
        folder.mkdir()
        done = stac_bench(folder, *line)
        assert done.returncode == 0, done.stderr
        return run_in(folder, algo, env)

    return make


@pytest.mark.parametrize("kind", STATUS)
@pytest.mark.parametrize("algo", ["ddpg", "ac"])
def test_a_signal_in_training(start, stac_bench, whole, tmp_path, algo, kind):
    line = words(algo, POINT, *SLOWLY)
    run = run_in(tmp_path, algo)
    process = start(tmp_path, *line)
    wait_until(process, lambda: 100 in generations(run / "checkpoints"), "a checkpoint")
    time.sleep(0.1)  # between two checkpoints
    steps = ended_by(process, run, kind)
    assert generations(run / "checkpoints")[-1] == steps > 100
    resumed(stac_bench, tmp_path, line, run, whole(line, algo))


@pytest.mark.parametrize("kind", STATUS)
def test_a_signal_within_an_evaluation(start, tmp_path, kind):
    """The 230th step of the process: after 200 of training, one of 3 x 20 of the evaluation."""
    mark = tmp_path / "mark"
    variables = {"MARK": str(mark), "MARK_AT": "230"}
    line = words("ddpg", ("Marked-v0", *RESUMABLE))
    run = run_in(tmp_path, env="Marked-v0")
    process = start(tmp_path, *line, variables=variables)
    wait_until(process, mark.exists, "the step in an evaluation")
    ended_by(process, run, kind)
    assert not (run / "best_model").exists()  # the evaluation was not over
    other = tmp_path / "other"
    other.mkdir()
    for folder, more in ((tmp_path, ["--resume"]), (other, [])):
        process = start(folder, *line, *more, variables=variables)
        assert process.end() == 0, process.stderr()
    assert [entry["resumed"] for entry in manifest(run)["resumes"]] == ["exact"]
    assert differences(run_in(other, env="Marked-v0"), run) == []


@pytest.mark.parametrize("kind", STATUS)
def test_a_signal_within_a_long_round_of_updates(start, stac_bench, whole, tmp_path, kind):
    rounds = ["--set", "gradient_steps=20000", "--set", "train_freq=100"]
    line = words("ddpg", POINT, *rounds, "--steps", 300)
    run = run_in(tmp_path)
    process = start(tmp_path, *line)
    # The evaluation at step 200 comes just before a round.
    wait_until(process, (run / "best_model" / "model.safetensors").exists, "the evaluation")
    time.sleep(0.2)
    assert process.running, process.stderr()
    ended_by(process, run, kind)
    resumed(stac_bench, tmp_path, line, run, whole(line))


def test_a_signal_to_a_resumed_run(start, stac_bench, whole, tmp_path):
    """The chain goes on: terminated, resumed, terminated, resumed."""
    line = words("sac", POINT, *SLOWLY)
    run = run_in(tmp_path, "sac")
    for step, more in ((100, []), (200, ["--resume"])):
        process = start(tmp_path, *line, *more)

        def reached(step=step):
            return (generations(run / "checkpoints") or [0])[-1] >= step

        wait_until(process, reached, f"step {step}")
        ended_by(process, run, signal.SIGTERM)
    done = stac_bench(tmp_path, *line, "--resume")
    assert done.returncode == 0, done.stderr
    assert [entry["resumed"] for entry in manifest(run)["resumes"]] == ["exact"] * 2
    assert differences(whole(line, "sac"), run) == []


def test_of_several_seeds_each_writes_its_checkpoint(start, stac_bench, whole, tmp_path):
    line = [*words("ddpg", POINT, *SLOWLY), "--seeds", "2", "--jobs", "2"]
    runs = [run_in(tmp_path, seed=seed) for seed in range(2)]
    process = start(tmp_path, *line)

    def both():
        return all(generations(run / "checkpoints") for run in runs)

    wait_until(process, both, "a checkpoint of each")
    process.popen.send_signal(signal.SIGTERM)
    assert process.end(60) == 143, process.stderr()
    assert [manifest(run)["status"] for run in runs] == ["interrupted"] * 2
    done = stac_bench(tmp_path, *line, "--resume")
    assert done.returncode == 0, done.stderr
    assert differences(whole(line[:-4]), runs[0]) == []


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGUSR1])
def test_an_environment_with_handlers_of_its_own_is_ended_all_the_same(start, tmp_path, kind):
    line = words("ddpg", ("Deaf-v0", *RESUMABLE), "--set", "env_kwargs.pause=0.003")
    run = run_in(tmp_path, env="Deaf-v0")
    process = start(tmp_path, *line)
    wait_until(process, lambda: 100 in generations(run / "checkpoints"), "a checkpoint")
    ended_by(process, run, kind)


@pytest.mark.parametrize("name", ["Stubborn", "Native"])
def test_a_second_signal_ends_a_run_that_the_first_does_not(start, tmp_path, name):
    """What is kept is the last checkpoint."""
    mark = tmp_path / "mark"
    line = words("ddpg", (f"{name}-v0", *RESUMABLE))
    run = run_in(tmp_path, env=f"{name}-v0")
    process = start(tmp_path, *line, variables={"MARK": str(mark)})
    wait_until(process, mark.exists, "the step that hangs")
    process.popen.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.running
    sent = time.monotonic()
    process.popen.send_signal(signal.SIGINT)
    assert process.end(60) == 130, process.stderr()
    assert time.monotonic() - sent < SECONDS
    assert generations(run / "checkpoints") == [100, 200]


@pytest.mark.parametrize(
    ("algo", "setting"), [("ac", "critic_steps"), ("stac", "critic_steps"), ("stddpg-al", "unroll")]
)
def test_a_second_signal_ends_an_update_that_takes_for_ever(start, tmp_path, algo, setting):
    line = words(algo, POINT, "--set", f"{setting}=1000000000000")
    run = run_in(tmp_path, algo)
    process = start(tmp_path, *line)
    wait_until(process, (run / "manifest.json").exists, "the start")
    time.sleep(3)  # it has come to an update by now
    process.popen.send_signal(signal.SIGINT)
    time.sleep(0.5)
    sent = time.monotonic()
    if process.running:
        process.popen.send_signal(signal.SIGINT)
    assert process.end(60) == 130, process.stderr()
    assert time.monotonic() - sent < SECONDS


@pytest.mark.parametrize("kind", STATUS)
def test_a_signal_ends_eval_at_its_next_step(start, train, tmp_path, kind):
    run = train(tmp_path, "ddpg", *POINT)
    process = start(tmp_path, "eval", run, "--episodes", "1000000000", *ALLOWED)
    time.sleep(3)
    assert process.running, process.stderr()
    sent = time.monotonic()
    process.popen.send_signal(kind)
    assert process.end(60) == STATUS[kind], process.stderr()
    # Not after the patience that a step is given.
    assert time.monotonic() - sent < SECONDS - 1
