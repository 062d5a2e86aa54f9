"""AC and STAC as a user runs them: choices, pushes, several environments, models SB3 can load."""

import re

import gymnasium as gym
import numpy as np
import pandas
import pytest
import torch
from conftest import ALLOWED
from safetensors.numpy import load_file
from stable_baselines3 import A2C
from stable_baselines3.common.results_plotter import load_results
from test_bad_input import POINT, wrong
from test_run_directory import GAME, scalars

STEPS = ["--steps", "2000", "--eval-freq", "1000", "--eval-episodes", "3", "--quiet"]
SMALL = ["--set", "n_steps=500", "--set", "log_freq=500"]
LED = ["--set", "lam=1.0"]
LOSSES = {
    *("train/policy_loss", "train/value_loss", "train/entropy_loss"),
    *("train/explained_variance", "train/learning_rate"),
}


@pytest.fixture(scope="module")
def train(stac_bench, tmp_path_factory):
    """Trains into a folder of its own, expecting success; returns the folder of the run."""

    def run(algo, env, *arguments):
        folder = tmp_path_factory.mktemp("run")
        led = LED if algo == "stac" or "step_match=true" in arguments else []
        done = stac_bench(folder, "--algo", algo, "--env", env, *STEPS, *SMALL, *led, *arguments)
        assert done.returncode == 0, done.stderr
        return folder / "runs" / algo / f"{env}_0"

    return run


@pytest.fixture(scope="module")
def run(train):
    return train("stac", "CartPole-v1")


def test_every_measure_is_logged(run, train):
    tags = scalars(run)
    assert set(tags) >= LOSSES | GAME - {"game/policy_saturation"}
    assert [step for step, _ in tags["train/policy_loss"]] == [500, 1000, 1500, 2000]
    assert all(value > 0 for _, value in tags["game/implicit_ratio"])
    boxed = scalars(train("stac", "InvertedPendulum-v4"))
    assert set(boxed) >= LOSSES | GAME
    assert all(0 <= value < 0.5 for _, value in boxed["game/policy_saturation"])
    assert "game/cosine" not in scalars(train("ac", "CartPole-v1"))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_results_depend_on_the_seed_and_the_number_of_environments_alone(train, n):
    a, b = (train("stac", "CartPole-v1", "--n-envs", n) for _ in range(2))
    model = "final_model/model.safetensors"
    assert (a / model).read_bytes() == (b / model).read_bytes()
    assert (a / "evaluations.npz").read_bytes() == (b / "evaluations.npz").read_bytes()
    for i in range(n):
        tables = [pandas.read_csv(run / f"{i}.monitor.csv", skiprows=1) for run in (a, b)]
        assert (tables[0][["r", "l"]] == tables[1][["r", "l"]]).all().all()
    episodes = load_results(str(a))
    assert (episodes["r"] == episodes["l"]).all()
    # All but the episodes that were running at the end.
    assert 2000 - 500 * n < episodes["l"].sum() <= 2000 + n
    assert not (a / f"{n}.monitor.csv").exists()
    if n > 1:
        first, second = (pandas.read_csv(a / f"{i}.monitor.csv", skiprows=1) for i in (0, 1))
        assert list(first["l"]) != list(second["l"])


@pytest.mark.parametrize("env", ["CartPole-v1", "InvertedPendulum-v4"])
def test_stable_baselines3_loads_the_model_and_acts_alike(stac_bench, train, tmp_path, env):
    """The same names, shapes and policy: every episode has the same return."""
    run = train("stac", env, "--set", "learning_rate=0.5")
    kwargs = {"net_arch": [64, 32], "activation_fn": torch.nn.Tanh}
    model = A2C("MlpPolicy", env, policy_kwargs=kwargs, device="cpu")
    tensors = load_file(run / "best_model" / "model.safetensors")
    state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    model.policy.load_state_dict(state, strict=True)

    done = stac_bench(tmp_path, "eval", run, *ALLOWED, "--episodes", 4, "--seed", 5)
    theirs = [float(x) for x in re.findall(r"episode .* return ([\d.]+),", done.stdout)]
    world, ours = gym.make(env), []
    obs, _ = world.reset(seed=5)
    for _ in range(4):
        total, ended = 0.0, False
        while not ended:
            action, _ = model.predict(obs, deterministic=True)
            obs, reward, terminated, truncated, _ = world.step(action)
            total, ended = total + reward, terminated or truncated
        ours.append(total)
        obs, _ = world.reset()
    assert theirs == pytest.approx(ours, abs=0.01)


def test_the_control_has_the_baselines_direction_and_another_step(train):
    control = train("ac", "CartPole-v1", "--set", "step_match=true")
    tags = scalars(control)
    assert all(cosine == pytest.approx(1, abs=1e-5) for _, cosine in tags["game/cosine"])
    assert all(value > 0 for _, value in tags["game/implicit_ratio"])
    models = [
        load_file(run / "final_model" / "model.safetensors")["action_net.weight"]
        for run in (control, train("ac", "CartPole-v1"), train("stac", "CartPole-v1"))
    ]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(models[i] - models[j]).max() > 1e-4


SETTINGS = {
    "n_steps=0": ["`n_steps` is 0"],
    "critic_steps=0": ["`critic_steps` is 0"],
    "gae_lambda=1.5": ["`gae_lambda` is 1.5", "between 0 and 1"],
    "ent_coef=-1": ["`ent_coef` is -1"],
    "critic=w": ["`critic`", "`v`", "`q`"],
    "surrogate=proposition2": ["the nearest is `proposition1`"],
    "step_match=true": ["control of baselines", "`ac`"],
    "leader=critic": ["`stac` fixes who leads"],
    "n_envs=0": ["`n_envs` is 0"],
    "policy_kwargs.log_std_init=9": ["`policy_kwargs.log_std_init` is 9"],
    "batch_size=10": ["unknown key `batch_size`"],
}


@pytest.mark.parametrize("assignment", SETTINGS)
def test_a_wrong_setting(stac_bench, tmp_path, assignment):
    done = stac_bench(tmp_path, *POINT, "--algo", "stac", "--set", assignment)
    wrong(done, *SETTINGS[assignment])


def test_a_divergence_is_an_error_and_no_model(stac_bench, tmp_path):
    rate = ["--set", "learning_rate=1.0e+30"]
    done = stac_bench(tmp_path, *POINT, "--algo", "stac", *STEPS, *SMALL, *rate)
    wrong(done, "non-finite", "`learning_rate`", status=1)


def test_an_exception_in_one_of_several_environments(stac_bench, tmp_path):
    fault = ["--set", "env_kwargs={fault: exception, after: 250}", "--n-envs", 3]
    done = stac_bench(tmp_path, *POINT, "--algo", "stac", *STEPS, *SMALL, *fault)
    wrong(done, "failed in step", "RuntimeError: the motor is on fire", status=1)
