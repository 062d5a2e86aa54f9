"""What a run leaves behind opens with the readers that users have."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas
import pytest
import yaml
from safetensors.numpy import load_file
from stable_baselines3.common.results_plotter import load_results
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ENV = "InvertedPendulum-v4"
GAME = {
    *("game/leader_grad_norm", "game/individual_grad_norm", "game/implicit_grad_norm"),
    *("game/follower_grad_norm", "game/cosine", "game/implicit_ratio", "game/lambda"),
    *("game/solver_residual", "game/solver_iterations", "game/negative_curvature"),
    *("game/fallbacks", "game/policy_saturation"),
    *("game/follower_eig_min", "game/follower_eig_max"),
    *("game/leader_eig_min", "game/leader_eig_max"),
}
COMMON = {
    *("rollout/ep_rew_mean", "rollout/ep_len_mean", "time/fps"),
    *("eval/mean_reward", "eval/mean_ep_length"),
    *("train/actor_loss", "train/critic_loss", "train/learning_rate"),
}


@pytest.fixture(scope="module")
def run(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), "stddpg-al", ENV)


def scalars(run):
    accumulator = EventAccumulator(str(run))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_has_every_tag(run):
    tags = scalars(run)
    assert set(tags) >= COMMON | GAME
    assert [step for step, _ in tags["eval/mean_reward"]] == [200, 400]
    # `learning_starts` is 100, and a rollout has 50 steps.
    assert [step for step, _ in tags["train/critic_loss"]] == [200, 300, 400]


def test_progress_csv_and_tensorboard_agree(run):
    table = pandas.read_csv(run / "progress.csv").set_index("time/total_timesteps")
    assert list(table.index) == [100, 200, 300, 400]
    for tag, events in scalars(run).items():
        for step, value in events:
            assert table[tag][step] == pytest.approx(value, rel=1e-6), (tag, step)


def test_evaluations_have_the_shapes_of_eval_callback(run):
    evaluations = np.load(run / "evaluations.npz")
    assert evaluations["timesteps"].tolist() == [200, 400]
    assert evaluations["results"].shape == evaluations["ep_lengths"].shape == (2, 3)
    # InvertedPendulum pays 1 per step, the last one of a failed episode excepted.
    assert (np.abs(evaluations["results"] - evaluations["ep_lengths"]) <= 1).all()
    logged = scalars(run)["eval/mean_reward"]
    assert np.allclose(evaluations["results"].mean(axis=1), [value for _, value in logged])


def test_monitor_file_is_read_by_stable_baselines3(run):
    episodes = load_results(str(run))
    assert len(episodes) > 5
    assert episodes["l"].sum() <= 400
    assert (np.abs(episodes["r"] - episodes["l"]) <= 1).all()
    assert (episodes["t"].diff().dropna() >= 0).all()
    header = json.loads((run / "0.monitor.csv").read_text().splitlines()[0][1:])
    assert header["env_id"] == ENV


def test_rl_zoo_plots_the_runs(run, tmp_path):
    out = tmp_path / "plot"
    plots = [
        *(sys.executable, "-m", "rl_zoo3.plots.all_plots"),
        *("--algos", "stddpg-al", "--env", ENV, "--exp-folders", run.parent.parent),
        *("--output", out, "--no-display"),
    ]
    done = subprocess.run(plots, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Its table holds the last evaluation of each run, and the error over runs.
    last = np.load(run / "evaluations.npz")["results"][-1].mean()
    assert re.search(rf"\|{ENV} *\|{last:.0f} \+/- 0 +\|", done.stdout), done.stdout


def test_description_of_the_run(run):
    config = yaml.safe_load((run / "config.yml").read_text())
    assert config["batch_size"] == 16
    assert config["policy_kwargs"]["net_arch"] == [16, 16]
    assert config["leader"] == "actor"
    args = yaml.safe_load((run / "args.yml").read_text())
    assert (args["env"], args["env_kwargs"], args["seed"]) == (ENV, {}, 0)
    assert "'policy_kwargs.net_arch=[16, 16]'" in (run / "command.txt").read_text()
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["exit_status"], manifest["steps"]) == ("done", 0, 400)
    assert {"libtorch", "python", "gymnasium", "mujoco"} <= manifest["versions"].keys()


def test_models_are_safetensors_with_the_names_of_stable_baselines3(run):
    for model in ("best_model", "final_model"):
        tensors = load_file(run / model / "model.safetensors")
        assert tensors["actor.mu.0.weight"].shape == (16, 4)
        assert tensors["critic.qf0.0.weight"].shape == (16, 5)
        assert tensors["critic_target.qf0.4.bias"].shape == (1,)
        assert all(np.isfinite(tensor).all() for tensor in tensors.values())


def test_same_seed_gives_the_same_bytes_and_another_seed_others(train, run, tmp_path):
    again = train(tmp_path, "stddpg-al", ENV)
    other = train(tmp_path, "stddpg-al", ENV, seed=1)

    def table(folder):
        rows = pandas.read_csv(folder / "progress.csv", dtype=str)
        return rows.drop(columns=["time/fps", "time/time_elapsed"]).to_csv()

    def content(folder, file):
        return (folder / file).read_bytes()

    assert table(again) == table(run) != table(other)
    model = "final_model/model.safetensors"
    assert content(again, model) == content(run, model) != content(other, model)
    assert content(again, "evaluations.npz") == content(run, "evaluations.npz")


def test_a_run_killed_at_any_time_leaves_whole_files(binary, tmp_path, environment):
    command = [binary, "--env", ENV, "--algo", "ddpg", "--steps", "100000", "--quiet"]
    settings = ["--eval-freq", "200", "--set", "random_steps=100", "--set", "learning_starts=100"]
    process = subprocess.Popen([*command, *settings], cwd=tmp_path, env=environment)
    run = tmp_path / "runs" / "ddpg" / f"{ENV}_0"
    try:
        while not (run / "best_model" / "model.safetensors").exists():
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert json.loads((run / "manifest.json").read_text())["status"] == "running"
    assert np.load(run / "evaluations.npz")["results"].shape[1] == 10
    assert scalars(run)["eval/mean_reward"]
    load_file(run / "best_model" / "model.safetensors")
    assert len(load_results(str(run))) > 0
