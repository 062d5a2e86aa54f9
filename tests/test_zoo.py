"""RL Zoo end to end on short runs, with our algorithms beside Stable-Baselines3's."""

import contextlib
import os
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from algorithms import OFF_POLICY_NAMES, ZOO_NAMES
from conftest import need
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.support.ui import WebDriverWait
from stac_bench import STDDPG, report

ENV = "InvertedPendulum-v4"
SETTINGS = {"learning_starts": 100, "random_steps": 100, "batch_size": 16}
ZOO_PARAMS = [f"{key}:{value}" for key, value in SETTINGS.items()]
ZOO_PARAMS += ["policy_kwargs:dict(net_arch=[16,16])"]
OUR_PARAMS = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
OUR_PARAMS += ["--set", "policy_kwargs.net_arch=[16, 16]"]


@pytest.fixture(scope="session")
def zoo(python):
    """Runs one of RL Zoo's scripts in a folder, expecting success; returns what it printed."""

    def run(folder, script, *arguments):
        done = subprocess.run(
            [python, "-m", "stac_bench.zoo", script, *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "MPLBACKEND": "Agg"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def train(zoo, folder, algo, *arguments, params=ZOO_PARAMS, seed=3, steps=1000):
    run = ["--algo", algo, "--env", ENV, "-n", steps, "--seed", seed, "-f", "logs"]
    evaluation = ["--eval-freq", 500, "--eval-episodes", 3, "--verbose", 0]
    zoo(folder, "train", *run, *evaluation, *arguments, "-params", *params)


@pytest.fixture(scope="module")
def logs(zoo, tmp_path_factory):
    """A folder with two runs of ours and two of Stable-Baselines3's DDPG in `logs`."""
    folder = tmp_path_factory.mktemp("zoo")
    train(zoo, folder, "stddpg-al", "--save-replay-buffer", "-tb", "tensorboard")
    params = ["learning_starts:100", "batch_size:16", "policy_kwargs:dict(net_arch=[16,16])"]
    conf = folder / "ddpg.yml"
    conf.write_text("default:\n  policy: MlpPolicy\n  n_timesteps: 1000\n")
    train(zoo, folder, "ddpg", "-tb", "tensorboard", "-conf", conf, params=params)
    # A figure needs several runs.
    train(zoo, folder, "stddpg-al", seed=4)
    train(zoo, folder, "ddpg", "-conf", conf, params=params, seed=4)
    return folder


def assert_same_evaluations(folder, ours, theirs):
    with (
        np.load(folder / "runs" / ours / f"{ENV}_3" / "evaluations.npz") as expected,
        np.load(folder / "logs" / theirs / f"{ENV}_1" / "evaluations.npz") as got,
    ):
        for name in ("timesteps", "results", "ep_lengths"):
            # `Monitor` rounds returns to six decimals.
            assert np.allclose(got[name], expected[name], atol=1e-6), name
        assert len(set(expected["results"].ravel())) > 1


@pytest.mark.parametrize(
    "algo, envs", [*((name, 1) for name in OFF_POLICY_NAMES), (OFF_POLICY_NAMES[0], 2)]
)
def test_a_run_through_the_zoo_is_a_run_of_the_command_line(zoo, stac_bench, tmp_path, algo, envs):
    theirs = ZOO_NAMES[algo]
    train(zoo, tmp_path, theirs, params=[*ZOO_PARAMS, f"n_envs:{envs}", "train_freq:5"])
    run = ["--algo", algo, "--env", ENV, "--seed", 3, "--steps", 1000, "--quiet"]
    run += ["--n-envs", envs, "--set", "train_freq=5"]
    evaluation = ["--eval-freq", 500, "--eval-episodes", 3]
    done = stac_bench(tmp_path, *run, *evaluation, *OUR_PARAMS)
    assert done.returncode == 0, done.stderr
    assert_same_evaluations(tmp_path, algo, theirs)


@pytest.mark.parametrize("envs", [1, 2])
def test_on_policy_too(zoo, stac_bench, tmp_path, envs):
    # RL Zoo replaces `policy_kwargs` as a whole.
    params = ["n_steps:100", "policy_kwargs:dict(net_arch=[16,16],log_std_init=-0.5)"]
    train(zoo, tmp_path, "stac", params=[*params, f"n_envs:{envs}"])
    run = ["--algo", "stac", "--env", ENV, "--seed", 3, "--steps", 1000, "--quiet"]
    params = ["--set", "n_steps=100", "--set", "policy_kwargs.net_arch=[16, 16]"]
    params += ["--n-envs", envs]
    done = stac_bench(tmp_path, *run, "--eval-freq", 500, "--eval-episodes", 3, *params)
    assert done.returncode == 0, done.stderr
    assert_same_evaluations(tmp_path, "stac", "stac")


def test_a_preset_through_the_zoo_is_that_of_the_command_line(zoo, stac_bench, tmp_path):
    train(zoo, tmp_path, "stddpg-al", params=[*ZOO_PARAMS, "train_freq:5", "preset:'paper'"])
    run = ["--algo", "stddpg-al", "--env", ENV, "--seed", 3, "--steps", 1000, "--quiet"]
    run += ["--preset", "paper", "--set", "train_freq=5"]
    evaluation = ["--eval-freq", 500, "--eval-episodes", 3]
    done = stac_bench(tmp_path, *run, *evaluation, *OUR_PARAMS)
    assert done.returncode == 0, done.stderr
    assert_same_evaluations(tmp_path, "stddpg-al", "stddpg-al")
    config = tmp_path / "logs" / "stddpg-al" / f"{ENV}_1" / ENV / "config.yml"
    assert re.search(r"- solver\n\s+- cg", config.read_text())


def test_a_file_of_hyperparameters_can_name_a_preset(zoo, tmp_path):
    conf = tmp_path / "conf.yml"
    conf.write_text(
        "default: {policy: MlpPolicy, n_timesteps: 50, preset: paper, cg_iterations: 3}\n"
    )
    params = ["policy_kwargs:dict(net_arch=[16,16])"]
    train(zoo, tmp_path, "stddpg-al", "-conf", conf, params=params, steps=50)
    model = STDDPG.load(tmp_path / "logs" / "stddpg-al" / f"{ENV}_1" / f"{ENV}.zip")
    assert (model.preset, model.solver, model.lam, model.cg_iterations) == ("paper", "cg", 0, 3)


def test_enjoy_and_continue(zoo, logs):
    printed = zoo(
        logs, "enjoy", "--algo", "stddpg-al", "--env", ENV, "-f", "logs", "-n", 50, "--no-render"
    )
    assert "Episode Reward" in printed
    agent = f"logs/stddpg-al/{ENV}_1/{ENV}.zip"
    run = ["--algo", "stddpg-al", "--env", ENV, "-n", 200, "--seed", 4, "-f", "continued"]
    printed = zoo(logs, "train", *run, "-i", agent, "--eval-freq", -1, "-params", "random_steps:0")
    assert "Loading replay buffer" in printed
    assert (logs / "continued" / "stddpg-al" / f"{ENV}_1" / f"{ENV}.zip").exists()


def test_the_report_reads_rl_zoos_runs(logs):
    found = report.read([logs / "logs"])
    assert found.problems == []
    rows = found.runs[["run", "seed", "status", "harness"]].to_numpy().tolist()
    assert sorted(rows) == [
        [algo, seed, "done", "rl_zoo3"] for algo in ("ddpg", "stddpg-al") for seed in (3, 4)
    ]
    for algo in ("ddpg", "stddpg-al"):
        # RL Zoo numbers its folders by itself: seed 3 came first.
        for number, seed in ((1, 3), (2, 4)):
            with np.load(logs / "logs" / algo / f"{ENV}_{number}" / "evaluations.npz") as arrays:
                expected = arrays["timesteps"].tolist(), arrays["results"].tolist()
            rows = found.evaluations
            of = rows[(rows["run"] == algo) & (rows["seed"] == seed)]
            assert (of["step"].tolist(), of["returns"].tolist()) == expected
    summary = report.summarise(found, None)
    assert summary.baseline == "ddpg"
    assert summary.per_env.set_index("run")["pairs"].dropna().to_dict() == {"stddpg-al": 2}


def test_training_episodes_stand_in_where_rl_zoo_did_not_evaluate(logs, tmp_path):
    run = tmp_path / "ddpg" / f"{ENV}_1"
    shutil.copytree(logs / "logs" / "ddpg" / run.name, run)
    (run / "evaluations.npz").unlink()
    (run / f"{ENV}.zip").unlink()
    found = report.read([tmp_path])
    said = "\n".join(found.problems)
    assert "episodes of training (monitor.csv) stand in" in said
    assert "its last model is not there" in said
    table = pd.read_csv(run / "0.monitor.csv", skiprows=1)
    assert found.evaluations["return"].tolist() == table["r"].tolist()
    assert found.evaluations["step"].tolist() == table["l"].cumsum().tolist()


def test_plots_and_tables(zoo, logs):
    algos = ["stddpg-al", "ddpg"]
    table = zoo(
        logs, "all_plots", "-a", *algos, "-e", ENV, "-f", "logs", "-o", "all", "--no-display"
    )
    assert "STDDPG-AL" in table and "DDPG" in table
    zoo(logs, "plot_from_file", "-i", "all.pkl", "-l", *algos, "-o", "curves", "--format", "png")
    for algo in algos:
        zoo(logs, "plot_train", "-a", algo, "-e", ENV, "-f", "logs")


@pytest.fixture
def tensorboard(python, logs):
    """The address of a TensorBoard on the runs' logs."""
    command = [python, "-m", "tensorboard.main", "--logdir", logs / "tensorboard", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said = []
        for line in process.stderr:
            said.append(line)
            if address := re.search(r"http://\S+:\d+/", line):
                break
        else:
            pytest.fail(f"TensorBoard gave no address: {''.join(said)}")
        yield address.group()
        process.terminate()


@pytest.fixture
def browser(tmp_path):
    """A headless Chromium."""
    if (driver := shutil.which("chromedriver")) is None:
        need("the browser", ["chromedriver"])
    options = webdriver.ChromeOptions()
    for flag in [
        "headless",
        "no-sandbox",
        "disable-dev-shm-usage",
        "disable-background-networking",
    ]:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path}")
    options.add_argument("--window-size=1280,2500")
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as browser:
        yield browser


def test_tensorboards_page_shows_our_tags_next_to_theirs(tensorboard, browser):
    tags = {"eval/mean_reward", "rollout/ep_rew_mean", "train/critic_loss", "game/cosine"}
    runs = {"DDPG_1", "STDDPG_AL_1"}
    # Without a filter the page opens the first groups of tags alone.
    tag_filter = "%7C".join(tag.split("/")[1] for tag in tags)
    browser.get(f"{tensorboard}?tagFilter={tag_filter}#timeseries")

    text = ""

    def shown(browser):
        nonlocal text
        # A card's title breaks its tag at the slash.
        text = browser.find_element("tag name", "body").text.replace("\n/", "/")
        if all(name in text for name in tags | runs):
            return True
        browser.refresh()  # TensorBoard reads its logs in the background, a page asks once
        return False

    with contextlib.suppress(TimeoutException):
        WebDriverWait(browser, timeout=180, poll_frequency=10).until(shown)
    assert all(name in text for name in tags | runs), text


def test_two_trials_of_a_search(zoo, tmp_path):
    run = ["--algo", "stsac-al", "--env", ENV, "-n", 200, "--seed", 4, "-f", "logs"]
    search = ["-optimize", "--n-trials", 2, "--no-optim-plots"]
    small = ["random_steps:50", "learning_starts:50", "policy_kwargs:dict(net_arch=[16,16])"]
    printed = zoo(tmp_path, "train", *run, *search, "-params", *small)
    assert "Number of finished trials:  2" in printed
    assert len(list((tmp_path / "logs" / "stsac-al").glob("report_*.csv"))) == 1


def test_every_algorithm_is_registered_by_one_import(python):
    code = (
        "import stac_bench.zoo, rl_zoo3.train, sys\n"
        "from rl_zoo3.utils import ALGOS\n"
        "from rl_zoo3.hyperparams_opt import HYPERPARAMS_SAMPLER, HYPERPARAMS_CONVERTER\n"
        "import stable_baselines3 as sb3\n"
        "assert ALGOS['ddpg'] is sb3.DDPG and ALGOS['sac'] is sb3.SAC\n"
        "for table in (ALGOS, HYPERPARAMS_SAMPLER, HYPERPARAMS_CONVERTER):\n"
        "    assert set(sys.argv[1:]) <= set(table)\n"
    )
    subprocess.run([python, "-c", code, *ZOO_NAMES.values()], check=True)


def test_the_zoo_records_a_video(zoo, tmp_path):
    run = ["--algo", "stddpg-al", "--env", "Pendulum-v1", "-f", "logs"]
    small = ["learning_starts:100", "policy_kwargs:dict(net_arch=[16,16])"]
    zoo(tmp_path, "train", *run, "-n", 200, "--verbose", 0, "-params", *small)
    zoo(tmp_path, "record_video", *run, "-n", 20, "-o", tmp_path / "videos")
    (video,) = (tmp_path / "videos").glob("*stddpg-al*.mp4")
    assert video.stat().st_size > 1_000
