"""Where the scores of a run come from, and files that do not belong to it."""

import numpy as np
import pytest
from run_folders import ENV, ours
from stac_bench import report


def problems(folder):
    return "\n".join(report.read([folder]).problems)


def evaluated(run, steps, returns):
    np.savez(run / "evaluations.npz", timesteps=np.array(steps), results=np.array(returns))


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    """A real run, the only thing in its folder."""
    return train(tmp_path_factory.mktemp("trained"), "ddpg", "InvertedPendulum-v4")


def test_a_real_run_has_no_problem(trained):
    found = report.read([trained.parent])
    assert found.problems == []
    with np.load(trained / "evaluations.npz") as arrays:
        assert found.evaluations["step"].tolist() == arrays["timesteps"].tolist() == [200, 400]
        assert found.evaluations["returns"].tolist() == arrays["results"].tolist()


def test_tensorboards_events_stand_in_where_nothing_else_is_there(train, tmp_path):
    run = train(tmp_path, "ddpg", "InvertedPendulum-v4")
    with np.load(run / "evaluations.npz") as arrays:
        means = arrays["results"].mean(axis=1)
    for name in ("evaluations.npz", "progress.csv", "0.monitor.csv"):
        (run / name).unlink()
    found = report.read([tmp_path])
    assert "means in TensorBoard events stand in" in "\n".join(found.problems)
    assert found.evaluations["step"].tolist() == [200, 400]
    # Events hold 32-bit numbers.
    assert found.evaluations["return"].to_numpy() == pytest.approx(means, rel=1e-6)


def test_means_in_progress_csv_stand_in_before_events(tmp_path):
    run = ours(tmp_path)
    for name in ("evaluations.npz", "0.monitor.csv"):
        (run / name).unlink()
    found = report.read([tmp_path])
    assert "means in progress.csv stand in" in "\n".join(found.problems)
    assert found.evaluations["return"].tolist() == [101.0, 201.0, 301.0]


@pytest.mark.parametrize("kept", [0, 1, 30, 200, -1])
def test_a_cut_evaluations_file_is_told_and_its_run_left_out(tmp_path, kept):
    ours(tmp_path)
    file = ours(tmp_path, 1) / "evaluations.npz"
    file.write_bytes(file.read_bytes()[:kept])
    found = report.read([tmp_path])
    assert "Hopper-v4_1: evaluations.npz cannot be read" in "\n".join(found.problems)
    assert set(found.evaluations["seed"]) == {0}
    assert found.runs.set_index("seed")["compared"].to_dict() == {0: True, 1: False}


@pytest.mark.parametrize(
    "steps, returns, said",
    [
        ([100, 200, 300], [[1.0], [2.0]], "do not fit"),
        ([100, 300, 200], [[1.0], [2.0], [3.0]], "its steps do not grow"),
        ([100, 100], [[1.0], [2.0]], "its steps do not grow"),
        ([[100, 200]], [[1.0, 2.0]], "do not fit"),
        (["100"], [[1.0]], "it does not hold numbers"),
        ([100, 200], [[], []], "do not fit"),
        ([150, 250], [[1.0], [2.0]], "share no step: one is of another run"),
        ([100, 200], [[1.0], [2.0]], "contradicts progress.csv"),
        ([100], [[np.nan]], "some returns are not finite"),
    ],
)
def test_evaluations_that_do_not_fit_are_told_and_left_out(tmp_path, steps, returns, said):
    ours(tmp_path)
    evaluated(ours(tmp_path, 1), steps, returns)
    found = report.read([tmp_path])
    assert said in "\n".join(found.problems)
    assert set(found.evaluations["seed"]) == {0}


def test_evaluations_past_the_end_of_training_are_of_another_run(tmp_path):
    ours(tmp_path)
    run = ours(tmp_path, 1)
    (run / "progress.csv").unlink()
    evaluated(run, [100, 200, 900], [[1.0], [2.0], [3.0]])
    found = report.read([tmp_path])
    assert "evaluated at step 900, but trained 300 steps" in "\n".join(found.problems)
    assert set(found.evaluations["seed"]) == {0}


def test_a_monitor_file_of_another_environment_puts_its_run_out(tmp_path):
    ours(tmp_path)
    (ours(tmp_path, 1) / "0.monitor.csv").write_text('#{"env_id": "Ant-v4"}\nr,l,t\n1.0,50,1\n')
    found = report.read([tmp_path])
    assert f"args.yml says {ENV}, but a monitor.csv is of Ant-v4" in "\n".join(found.problems)
    assert set(found.evaluations["seed"]) == {0}
