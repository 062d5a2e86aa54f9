"""The command line: help, lists, seeds, evaluation, interruption, and what must not be lost."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ALLOWED, QUICK, QUICK_ON_POLICY, ROOT

POINT = ["--env", "Point-v0", "--env-import", "environments"]


def test_help_names_every_option_and_shows_examples(stac_bench, tmp_path):
    text = stac_bench(tmp_path, "--help").stdout
    options = "env algo steps seed seeds jobs config set out device threads engine eval-freq"
    for option in [*options.split(), "eval-episodes", "env-import", "overwrite"]:
        assert f"--{option}" in text
    assert "stac-bench --env Walker2d-v4 --algo stddpg-al" in text


def test_version_names_what_it_runs_on(stac_bench, tmp_path):
    text = stac_bench(tmp_path, "--version").stdout
    for name in ("stac-bench", "libtorch 2.13.0", "python 3.", "gymnasium 1.4", "mujoco"):
        assert name in text


def algorithms(stac_bench, folder):
    return [line.split()[0] for line in stac_bench(folder, "algos").stdout.splitlines()]


def test_every_file_in_configs_is_that_of_a_baseline(stac_bench, tmp_path):
    files = [path.stem for path in (ROOT / "configs").glob("*.yml")]
    assert set(files) <= set(algorithms(stac_bench, tmp_path))


def test_the_papers_settings_are_one_flag_away(stac_bench, train, tmp_path):
    paper = {"solver": "cg", "curvature": "hessian", "cg_iterations": 10, "curvature_stop": False}
    paper |= {"norm_ratio_clamp": None, "cg_tolerance": 0}
    for algo in algorithms(stac_bench, tmp_path):
        run = train(tmp_path, algo, *POINT[1:], "--preset", "paper", "--overwrite")
        config = yaml.safe_load((run / "config.yml").read_text())
        assert config.get("target_policy", "current") == "current"
        if "leader" in config:
            assert {key: config[key] for key in paper} == paper
            assert config["lam"] == (500 if algo == "stac" else 0)
        else:
            assert not paper.keys() & config.keys()


def test_damping_and_curvature_follow_the_solver_and_are_said(train, tmp_path):
    for solver, own in {
        "woodbury": ("gauss_newton", 0.1, set()),
        "cg": ("hessian", 100, {"cg_iterations", "cg_tolerance", "curvature_stop", "warm_start"}),
        "nystrom": ("hessian", 100, {"solver_rank"}),
        "dense": ("hessian", 100, set()),
    }.items():
        choice = ["--set", f"solver={solver}", "--overwrite", "--steps", 50]
        run = train(tmp_path, "stddpg-al", *POINT[1:], *choice)
        config = yaml.safe_load((run / "config.yml").read_text())
        curvature, lam, keys = own
        assert (config["curvature"], config["lam"]) == (curvature, lam)
        of_solvers = (
            "cg_iterations",
            "cg_tolerance",
            "curvature_stop",
            "warm_start",
            "solver_rank",
        )
        assert keys == {key for key in of_solvers if key in config}


def test_a_baseline_with_step_match_has_a_leaders_settings(train, tmp_path):
    run = train(tmp_path, "ac", *POINT[1:], "--set", "step_match=true", "--set", "lam=7")
    config = yaml.safe_load((run / "config.yml").read_text())
    assert (config["solver"], config["curvature"], config["lam"]) == ("cg", "gauss_newton", 7)


def test_what_the_papers_settings_say_of_cg_gives_way_to_another_solver(train, tmp_path):
    choice = ["--preset", "paper", "--set", "solver=woodbury", "--set", "lam=0.5"]
    run = train(tmp_path, "stddpg-al", *POINT[1:], *choice)
    config = yaml.safe_load((run / "config.yml").read_text())
    assert config["curvature"] == "gauss_newton" and "cg_tolerance" not in config


def test_a_setting_beats_the_preset(train, tmp_path):
    arguments = ["--preset", "paper", "--set", "lam=7", "--set", "cg_iterations=2"]
    run = train(tmp_path, "stddpg-al", *POINT[1:], *arguments)
    config = yaml.safe_load((run / "config.yml").read_text())
    assert (config["lam"], config["cg_iterations"], config["curvature_stop"]) == (7, 2, False)


@pytest.mark.parametrize("arguments", [["algos"], ["--version"], ["completions", "bash"], []])
def test_a_reader_that_has_gone_is_no_panic(binary, environment, tmp_path, arguments):
    """`stac-bench algos | head -1`: `println!` panics on a closed pipe."""
    command = [binary, *(arguments or [*POINT, "--algo", "ddpg", *QUICK])]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*map(str, command)], cwd=tmp_path, env=environment, stdout=write, stderr=write
    )
    os.close(write)
    assert done.returncode == 0


def test_completions(stac_bench, tmp_path):
    for shell in ("bash", "zsh", "fish"):
        assert "env-import" in stac_bench(tmp_path, "completions", shell).stdout


def test_an_environment_of_ones_own_with_asymmetric_actions_and_shaped_observations(
    train, tmp_path
):
    # The environment itself asserts that each action lies in its box.
    run = train(tmp_path, "stddpg-al", *POINT[1:])
    assert np.load(run / "evaluations.npz")["ep_lengths"].tolist() == [[20, 20, 20]] * 2


@pytest.mark.parametrize("env", ["OddBounds", "DoubleBounds", "IntegerActions", "Fixed"])
@pytest.mark.parametrize("algo", ["ddpg", "stsac-al"])
def test_actions_lie_in_boxes_of_any_kind(train, tmp_path, algo, env):
    """The environment asserts that actions lie in their bounds in spite of float32's rounding, and
    that integers are rounded, so that the outermost occur."""
    train(tmp_path, algo, f"{env}-v0", *POINT[2:])


def test_whole_numbers_may_be_written_as_floats(train, tmp_path):
    """As in RL Zoo's files."""
    (tmp_path / "c.yml").write_text("default:\n  buffer_size: !!float 1e4\n  batch_size: 16.0\n")
    run = train(tmp_path, "ddpg", *POINT[1:], "--config", "c.yml")
    config = yaml.safe_load((run / "config.yml").read_text())
    assert (config["buffer_size"], config["batch_size"]) == (10_000, 16)


def test_summary_without_a_terminal_has_no_bar(stac_bench, tmp_path):
    done = stac_bench(tmp_path, *POINT, "--algo", "ddpg", *QUICK)
    assert re.search(r"last evaluation -?[\d.]+ ± [\d.]+ at step 400", done.stdout)
    assert re.search(r"best evaluation -?[\d.]+ ± [\d.]+ at step (200|400)", done.stdout)
    assert "run: runs/ddpg/Point-v0_0" in done.stdout
    assert "tensorboard --logdir runs" in done.stdout
    assert "\r" not in done.stderr and "█" not in done.stderr
    assert "step 200: evaluation" in done.stderr


def test_quiet_says_nothing(stac_bench, tmp_path):
    done = stac_bench(tmp_path, *POINT, "--algo", "ddpg", *QUICK, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_deprecated_ids_are_warned_about_once(stac_bench, tmp_path):
    done = stac_bench(tmp_path, "--env", "InvertedPendulum-v4", "--algo", "ddpg", *QUICK)
    assert done.stderr.count("out of date") == 1
    assert "\x1b" not in done.stderr, "colours of a terminal that is not there"
    seeds = ["--seeds", 2, "--out", "others"]
    done = stac_bench(tmp_path, "--env", "InvertedPendulum-v4", "--algo", "ddpg", *QUICK, *seeds)
    assert done.stderr.count("out of date") == 1


def test_an_existing_run_is_replaced_only_when_asked(stac_bench, train, tmp_path):
    run = train(tmp_path, "ddpg", *POINT[1:])
    before = (run / "manifest.json").read_bytes()
    again = ["--algo", "ddpg", *POINT, *QUICK]
    refused = stac_bench(tmp_path, *again)
    assert refused.returncode == 2
    assert "runs/ddpg/Point-v0_0" in refused.stderr and "--overwrite" in refused.stderr
    assert (run / "manifest.json").read_bytes() == before
    # A mistake elsewhere must not cost the old run.
    assert stac_bench(tmp_path, *again, "--overwrite", "--set", "gamma=2").returncode == 2
    assert (run / "manifest.json").read_bytes() == before
    assert stac_bench(tmp_path, *again, "--overwrite").returncode == 0
    assert (run / "manifest.json").read_bytes() != before


def test_several_seeds_are_the_runs_one_by_one(stac_bench, train, tmp_path):
    several = ["--seed", 3, "--seeds", 2, "--jobs", 2]
    done = stac_bench(tmp_path, *POINT, "--algo", "ddpg", *QUICK, *several)
    assert done.returncode == 0, done.stderr
    for seed in (3, 4):
        assert re.search(rf"seed {seed}: last evaluation", done.stderr)
        run = tmp_path / "runs" / "ddpg" / f"Point-v0_{seed}"
        alone = train(tmp_path / f"{seed}", "ddpg", *POINT[1:], seed=seed)
        for file in ("evaluations.npz", "final_model/model.safetensors"):
            assert (run / file).read_bytes() == (alone / file).read_bytes()


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for seed in (3, 4):
        (tmp_path / f"{seed}").mkdir()


def test_a_seed_that_fails_does_not_stop_the_others(stac_bench, tmp_path):
    # Where the folder of seed 1 should be, there is a file.
    (tmp_path / "runs" / "ddpg").mkdir(parents=True)
    (tmp_path / "runs" / "ddpg" / "Point-v0_1").write_text("in the way")
    done = stac_bench(tmp_path, *POINT, "--algo", "ddpg", *QUICK, "--seeds", 3, "--jobs", 2)
    assert done.returncode == 1
    assert "1 of 3 seeds failed" in done.stderr
    assert "runs: runs/ddpg" in done.stdout and "tensorboard --logdir runs" in done.stdout
    assert f"seed 1: error: cannot create {tmp_path}/runs/ddpg/Point-v0_1" in done.stderr
    assert (tmp_path / "runs" / "ddpg" / "Point-v0_1").read_text() == "in the way"
    for seed in (0, 2):
        manifest = tmp_path / "runs" / "ddpg" / f"Point-v0_{seed}" / "manifest.json"
        assert json.loads(manifest.read_text())["status"] == "done"


def test_eval_prints_mean_deviation_and_each_return(stac_bench, train, tmp_path):
    run = train(tmp_path, "ddpg", *POINT[1:])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for model in ("best", "final"):
        done = stac_bench(elsewhere, "eval", run, *ALLOWED, "--episodes", 4, "--model", model)
        assert done.returncode == 0, done.stderr
        returns = [float(r) for r in re.findall(r"episode \d+ +return (-?[\d.]+)", done.stdout)]
        mean, std = map(float, re.search(r"return (-?[\d.]+) ± ([\d.]+)", done.stdout).groups())
        assert len(returns) == 4
        assert (mean, std) == pytest.approx((np.mean(returns), np.std(returns)), abs=0.011)
    # Seeded: the same episodes again; those of another seed are others.
    same = stac_bench(elsewhere, "eval", run, *ALLOWED, "--episodes", 4, "--model", "final")
    assert same.stdout == done.stdout
    other = stac_bench(
        elsewhere, "eval", run, *ALLOWED, "--episodes", 4, "--model", "final", "--seed", 5
    )
    assert other.stdout != done.stdout


@pytest.mark.parametrize(
    "model, freq, rollout", [("best", 400, 50), ("final", 1000, 50), ("final", 400, 70)]
)
def test_eval_reproduces_the_evaluation_at_the_end_of_a_run(
    stac_bench, train, tmp_path, model, freq, rollout
):
    # An evaluation comes before the updates that are due, but what ends a run after them.
    settings = ["--eval-freq", freq, "--set", f"train_freq={rollout}"]
    run = train(tmp_path, "ddpg", *POINT[1:], *settings)
    done = stac_bench(tmp_path, "eval", run, *ALLOWED, "--episodes", 3, "--model", model)
    returns = [float(r) for r in re.findall(r"episode \d+ +return (-?[\d.]+)", done.stdout)]
    assert returns == pytest.approx(np.load(run / "evaluations.npz")["results"][0], abs=0.0051)


def test_eval_renders_a_video_of_each_episode_and_no_more(stac_bench, train, tmp_path):
    run = train(tmp_path, "ddpg", *POINT[1:])
    done = stac_bench(tmp_path, "eval", run, *ALLOWED, "--episodes", 2, "--render")
    assert done.returncode == 0, done.stderr
    videos = [tmp_path / path for path in re.findall(r"video (.+\.mp4)", done.stdout)]
    assert sorted(videos) == sorted((run / "videos").glob("*.mp4"))
    assert [video.read_bytes()[4:8] for video in videos] == [b"ftyp"] * 2


def test_an_agent_trained_on_a_gpu_is_evaluated_without_one(stac_bench, train, tmp_path):
    """`eval` needs no GPU to act."""
    run = train(tmp_path, "ddpg", *POINT[1:])
    model = run / "best_model" / "model.safetensors"
    bytes_ = model.read_bytes()
    assert bytes_.count(b'\\"device\\":\\"cpu\\"') == 1
    patched = bytes_.replace(b'\\"device\\":\\"cpu\\"', b'\\"device\\":\\"cuda\\"')
    length = int.from_bytes(bytes_[:8], "little") + 1
    model.write_bytes(length.to_bytes(8, "little") + patched[8:])
    assert stac_bench(tmp_path, "eval", run, *ALLOWED, "--episodes", 1).returncode == 0


def test_a_model_with_settings_that_do_not_apply_is_evaluated(stac_bench, train, tmp_path):
    """As models of before such settings were refused have them: acting needs no solver."""
    run = train(tmp_path, "stddpg-al", *POINT[1:])
    expected = stac_bench(tmp_path, "eval", run, *ALLOWED, "--episodes", 2).stdout
    model = run / "best_model" / "model.safetensors"
    content = model.read_bytes()
    old, new = (
        f'\\"curvature\\":\\"{curvature}\\"{more}'.encode()
        for curvature, more in (("gauss_newton", ""), ("hessian", ',\\"cg_iterations\\":10'))
    )
    assert content.count(old) == 1
    length = int.from_bytes(content[:8], "little") + len(new) - len(old)
    model.write_bytes(length.to_bytes(8, "little") + content[8:].replace(old, new))
    done = stac_bench(tmp_path, "eval", run, *ALLOWED, "--episodes", 2)
    assert (done.returncode, done.stdout) == (0, expected), done.stderr


@pytest.mark.parametrize("content", [None, "nothing", "garbage"])
def test_eval_of_what_is_no_run(stac_bench, tmp_path, content):
    if content:
        (tmp_path / "runs").mkdir()
    if content == "garbage":
        (tmp_path / "runs" / "best_model").mkdir()
        (tmp_path / "runs" / "best_model" / "model.safetensors").write_bytes(b"\0" * 100)
    done = stac_bench(tmp_path, "eval", "runs")
    assert done.returncode == 2
    assert done.stderr.startswith("error: runs") and "panicked" not in done.stderr


def wait_for(process, *paths):
    while not all(path.exists() for path in paths):
        assert process.poll() is None, "it ended before it was interrupted"
        time.sleep(0.05)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interruption_ends_a_run_in_good_order(binary, environment, tmp_path, kind):
    command = [binary, *POINT, "--algo", "ddpg", *QUICK, "--steps", "10000000"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # Not as under `nohup`, which these tests themselves may run under.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    run = tmp_path / "runs" / "ddpg" / "Point-v0_0"
    wait_for(process, run / "best_model")
    process.send_signal(kind)
    _, stderr = process.communicate(timeout=60)
    status, word = (130, "interrupted") if kind == signal.SIGINT else (143, "terminated")
    assert process.returncode == status
    assert f"error: {word}" in stderr and "runs/ddpg/Point-v0_0" in stderr
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["exit_status"]) == ("interrupted", status)
    assert manifest["steps"] >= 200
    assert (run / "final_model" / "model.safetensors").exists()


def test_ctrl_c_reaches_a_round_of_updates_that_never_ends(binary, environment, tmp_path):
    endless = ["--set", "gradient_steps=100000000", "--set", "train_freq=100"]
    process = subprocess.Popen(
        [binary, *POINT, "--algo", "ddpg", *QUICK, *endless], cwd=tmp_path, env=environment
    )
    # The evaluation at step 200 comes just before the round.
    wait_for(process, tmp_path / "runs" / "ddpg" / "Point-v0_0" / "best_model")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130


def test_ctrl_c_reaches_a_step_that_never_returns(binary, environment, tmp_path):
    arguments = ["--env", "Slow-v0", "--env-import", "environments", "--algo", "ddpg", *QUICK]
    process = subprocess.Popen(
        [binary, *arguments], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "sleeping\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130


def test_interruption_of_several_seeds_ends_them_all(binary, environment, tmp_path):
    arguments = [*POINT, "--algo", "ddpg", *QUICK, "--steps", "10000000"]
    process = subprocess.Popen(
        [binary, *arguments, "--seeds", "3", "--jobs", "2"], cwd=tmp_path, env=environment
    )
    runs = [tmp_path / "runs" / "ddpg" / f"Point-v0_{seed}" for seed in range(3)]
    wait_for(process, *(run / "best_model" for run in runs[:2]))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    for run in runs[:2]:
        assert json.loads((run / "manifest.json").read_text())["status"] == "interrupted"
    assert not runs[2].exists()


@pytest.mark.parametrize("seeds", [1, 2])
def test_runs_under_nohup_survive_the_end_of_the_terminal(binary, environment, tmp_path, seeds):
    command = ["nohup", binary, *POINT, "--algo", "ddpg", *QUICK, "--steps", "3000"]
    process = subprocess.Popen(
        [*command, "--seeds", str(seeds), "--jobs", "2"], cwd=tmp_path, env=environment
    )
    runs = [tmp_path / "runs" / "ddpg" / f"Point-v0_{seed}" for seed in range(seeds)]
    wait_for(process, *(run / "best_model" for run in runs))
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 0
    for run in runs:
        assert json.loads((run / "manifest.json").read_text())["status"] == "done"


IN_A_PROCESS = """
import os, time
import gymnasium as gym
from environments import Point

class InAProcess(Point):
    def step(self, action):
        if self.steps == 50 and os.getppid() != int(os.environ["TESTS"]):
            with open("process", "w") as file:
                file.write(str(os.getpid()))
            time.sleep(float(os.environ["PAUSE"]))
        return super().step(action)

gym.register("InAProcess-v0", InAProcess, max_episode_steps=20)
"""


def alive(process):
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: no other process")
@pytest.mark.parametrize("kind, pause", [(signal.SIGINT, 1000), (signal.SIGKILL, 0.1)])
def test_environment_processes_end_with_their_run(binary, environment, tmp_path, kind, pause):
    """Also where the environment hangs, and where the run is killed."""
    (tmp_path / "in_a_process.py").write_text(IN_A_PROCESS)
    more = {"PYTHONPATH": f"{tmp_path}:{environment['PYTHONPATH']}", "TESTS": str(os.getpid())}
    arguments = ["--env", "InAProcess-v0", "--env-import", "in_a_process", "--algo", "ac"]
    run = subprocess.Popen(
        [binary, *arguments, *QUICK_ON_POLICY, "--n-envs", "2", "--steps", "10000000"],
        cwd=tmp_path,
        env={**environment, **more, "PAUSE": str(pause)},
    )
    told = tmp_path / "process"
    wait_for(run, told)
    time.sleep(0.2)  # until it is written
    run.send_signal(kind)
    assert run.wait(timeout=60) == (130 if kind == signal.SIGINT else -signal.SIGKILL)
    process, patience = int(told.read_text()), time.monotonic() + 30
    while alive(process) and time.monotonic() < patience:
        time.sleep(0.1)
    assert not alive(process)
