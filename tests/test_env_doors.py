"""Environments as they are: taken at their word, or refused by name."""

import json

import numpy as np
import pytest
from conftest import QUICK, QUICK_ON_POLICY
from same_run import scalars

IMPORT = ("--env-import", "odd_environments")


def run(stac_bench, folder, env, *more, algo="ddpg", **kwargs):
    """Trains; the finished process."""
    quick = QUICK_ON_POLICY if algo in ("ac", "stac") else QUICK
    sets = [
        word for k, v in kwargs.items() for word in ("--set", f"env_kwargs.{k}={json.dumps(v)}")
    ]
    return stac_bench(folder, "--env", env, "--algo", algo, *IMPORT, *quick, *sets, *more)


FORMS = {
    "four": ["`step` returned 4 values", "5 are needed"],
    "six": ["`step` returned 6 values", "5 are needed"],
    "list": ["`step` returned a value of type list"],
    "none": ["`step` returned a value of type NoneType"],
    "word": ["`terminated` of type str", "bool"],
    "number": ["`truncated` of type int", "bool"],
    "reset alone": [
        "`reset` returned a value of type ndarray",
        "2 are needed",
        "observation, info",
    ],
    "reset three": ["`reset` returned 3 values", "2 are needed"],
}


@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize("after", [0, 150])
@pytest.mark.parametrize("form", FORMS)
def test_answers_of_another_form_are_refused_at_every_step(
    stac_bench, tmp_path, form, after, n_envs
):
    done = run(stac_bench, tmp_path, "Form-v0", "--n-envs", n_envs, form=form, after=after)
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    for words in ["ValueError", *FORMS[form]]:
        assert words in errors[0]
    assert "panicked" not in done.stderr


@pytest.mark.parametrize("algo", ["ac", "stac"])
def test_a_discrete_action_is_the_spaces_numpy_integer(stac_bench, tmp_path, algo):
    done = run(stac_bench, tmp_path, "Item-v0", algo=algo)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("reversed", ["lower bound above its upper one"]),
        ("one number", ["1000000000.0 and 1000000001.0", "one number in float32"]),
    ],
)
@pytest.mark.parametrize("algo", ["ddpg", "sac", "ac"])
def test_bounds_that_no_agent_can_use_are_refused(stac_bench, tmp_path, algo, kind, words):
    done = run(stac_bench, tmp_path, "Bounds-v0", algo=algo, kind=kind)
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr
    assert "panicked" not in done.stderr


def test_bounds_that_change_later_change_no_action(stac_bench, tmp_path):
    done = run(stac_bench, tmp_path, "Moving-v0")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("algo", ["ddpg", "sac", "ac"])
def test_boxes_without_dimension_are_trained_and_evaluated(stac_bench, tmp_path, algo):
    done = run(stac_bench, tmp_path, "Scalar-v0", algo=algo)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / algo / "Scalar-v0_0"
    done = stac_bench(tmp_path, "eval", folder, *IMPORT, "--episodes", 2)
    assert done.returncode == 0, done.stderr


def test_an_episode_that_never_ends_is_cut_in_evaluations_and_told(stac_bench, tmp_path):
    done = run(stac_bench, tmp_path, "Endless-v0", "--set", "eval_max_steps=50")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 episodes did not end within 50 steps (`eval_max_steps`)" in done.stderr
    folder = tmp_path / "runs" / "ddpg" / "Endless-v0_0"
    evaluations = np.load(folder / "evaluations.npz")
    assert (evaluations["ep_lengths"] == 50).all()
    assert [value for _, value in scalars(folder)["eval/cut_episodes"]] == ["3.0", "3.0"]
    done = stac_bench(tmp_path, "eval", folder, *IMPORT, "--episodes", 2, "--max-steps", 70)
    assert done.returncode == 0, done.stderr
    assert "2 of them did not end within 70 steps (--max-steps) and were cut" in done.stdout
    assert "70 steps" in done.stdout.splitlines()[-1]


def test_whole_episodes_are_not_cut(stac_bench, tmp_path):
    # They have 20 steps.
    done = run(stac_bench, tmp_path, "Point-v0", "--set", "eval_max_steps=20")
    assert done.returncode == 0, done.stderr
    assert "cut" not in done.stderr
    folder = tmp_path / "runs" / "ddpg" / "Point-v0_0"
    assert [value for _, value in scalars(folder)["eval/cut_episodes"]] == ["0.0", "0.0"]


@pytest.mark.parametrize("of", ["reward", "observation"])
@pytest.mark.parametrize("value", [3e38, -2e19, 1e300])
def test_numbers_that_no_agent_can_square_are_named_with_their_step(
    stac_bench, tmp_path, of, value
):
    done = run(stac_bench, tmp_path, "Huge-v0", of=of, value=value)
    assert done.returncode == 1, done.stderr
    article = "a reward" if of == "reward" else "an observation"
    assert f"returned {article} of " in done.stderr and "at step 150" in done.stderr
    assert "learning_rate" not in done.stderr


def test_large_numbers_that_have_squares_are_taken(stac_bench, tmp_path):
    done = run(stac_bench, tmp_path, "Huge-v0", of="reward", value=1.8e19, after=399)
    assert "returned a reward" not in done.stderr


def test_a_reset_that_fails_after_an_episode_is_called_a_reset(stac_bench, tmp_path):
    done = run(stac_bench, tmp_path, "LateReset-v0")
    assert done.returncode == 1
    assert "failed in reset: RuntimeError: the door is stuck" in done.stderr


def test_a_fault_of_the_evaluation_is_called_so_with_both_step_counts(stac_bench, tmp_path):
    done = run(stac_bench, tmp_path, "SecondFails-v0")
    assert done.returncode == 1
    assert "in the evaluation after 200 steps of training: " in done.stderr
    assert "RuntimeError: the lamp is broken" in done.stderr
    done = run(
        stac_bench, tmp_path / "..", "Huge-v0", "--out", tmp_path / "other", after=30, value=1e30
    )
    assert "at step 30" in done.stderr
