"""Environments with more state than a position: wrappers with statistics, processes, secrets."""

import pandas
import pytest
from crash_cases import OFF_POLICY, ON_POLICY, Case, refer
from crash_kills import chain
from killing import generations
from resuming import kill_at, manifest, run_in, words
from same_run import differences

RESUMABLE = ("--env-import", "resumable")


@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize("algo, settings", [("ddpg", OFF_POLICY), ("ac", ON_POLICY)])
def test_wrappers_with_statistics_are_resumed_exactly(
    binary, environment, tmp_path, monkeypatch, algo, settings, n_envs
):
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    case = Case(algo, "Wrapped-v0", n_envs, (*settings, *RESUMABLE))
    reference = refer(binary, case, 0, tmp_path / "reference")
    rows, verdict, said = chain(binary, case, 0, 0, reference, tmp_path / "killed", most=3)
    assert rows
    assert verdict == "same", said


@pytest.mark.parametrize("n_envs", [1, 2])
def test_hidden_state_is_found_out_and_said_once(start, stac_bench, tmp_path, n_envs):
    """Episodes end every 20 steps; a checkpoint at step 195 lies within one."""
    slowly = ("--set", "env_kwargs.pause=0.003", "--n-envs", n_envs)
    line = words("ddpg", ("Hidden-v0", *RESUMABLE), *slowly, "--checkpoint-freq", 65)
    run = run_in(tmp_path, env="Hidden-v0")
    kill_at(start(tmp_path, *line), run, 195)
    checkpoint = generations(run / "checkpoints")[-1]
    done = stac_bench(tmp_path, *line, "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("new episode") == 1, done.stderr
    told = manifest(run)
    (resume,) = told["resumes"]
    assert (resume["resumed"], resume["step"]) == ("episode", checkpoint)
    assert (told["status"], told["steps"]) == ("done", 400)
    steps = pandas.read_csv(run / "progress.csv")["time/total_timesteps"]
    assert list(steps) == [100, 200, 300, 400]


def test_an_environment_without_hidden_state_is_not_suspected(start, stac_bench, tmp_path):
    """Episodes of `Point-v0` end every 20 steps; a checkpoint at step 130 lies within one."""
    point = ("Point-v0", "--env-import", "environments", "--set", "env_kwargs.pause=0.003")
    line = words("ddpg", point, "--checkpoint-freq", 65)
    other = tmp_path / "other"
    other.mkdir()
    assert stac_bench(other, *line).returncode == 0
    run = run_in(tmp_path)
    kill_at(start(tmp_path, *line), run, 195)
    done = stac_bench(tmp_path, *line, "--resume")
    assert done.returncode == 0, done.stderr
    assert "new episode" not in done.stderr
    assert differences(run_in(other), run) == []
