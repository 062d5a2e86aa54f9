"""Runs of Stable-Baselines3's own algorithms through RL Zoo, in our layout."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from baselines import ENVS, EQUAL, KINDS, OURS, job, settings
from conftest import ROOT
from stac_bench.baselines.equal import TABLE
from stac_bench.baselines.training import RESULTS, UNFINISHED, evaluated
from stac_bench.report.folder import read

EACH = pytest.mark.parametrize("algo", TABLE)
SHORT = {"n_timesteps": 330, "eval_freq": 100, "eval_episodes": 2, "log_freq": 50}


@pytest.fixture(scope="module")
def ran(baseline, tmp_path_factory):
    """Runs each algorithm once per seed; returns its folder and what it printed."""
    done = {}

    def run(algo, again=False, seed=3):
        if (algo, again, seed) not in done:
            root = tmp_path_factory.mktemp("baseline")
            folder = root / algo / f"{ENVS[algo]}_{seed}"
            n_envs = 2 if algo in ("td3", "a2c") else 1
            given = job(algo, folder, seed, **SHORT, n_envs=n_envs)
            finished = baseline(given, "--parent", str(os.getpid()))
            assert finished.returncode == 0, finished.stderr
            done[algo, again, seed] = folder, finished.stdout
        return done[algo, again, seed]

    return run


def evaluations(folder):
    with np.load(folder / "evaluations.npz") as table:
        return {name: table[name] for name in ("timesteps", "results", "ep_lengths")}


@EACH
def test_a_run_leaves_our_layout(algo, ran):
    folder, printed = ran(algo)
    env, n_envs = ENVS[algo], 2 if algo in ("td3", "a2c") else 1
    names = {path.name for path in folder.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents.")}
    monitors = {f"{i}.monitor.csv" for i in range(n_envs)}
    models = {"best_model.zip", "final_model.zip"}
    assert len(events) == 1
    assert names == {"evaluations.npz", "progress.csv", "rl_zoo3"} | events | monitors | models
    notes = {"config.yml", "args.yml", "command.txt", "hyperparameters.yml"}
    assert {path.name for path in (folder / "rl_zoo3").iterdir()} == notes
    for name in models:
        model = KINDS[algo].load(folder / name)
        assert model.num_timesteps == 330 or name == "best_model.zip"
    *progress, last = printed.splitlines()
    assert all(re.fullmatch(r"\d+ (nan|-?\d+\.\d)", line) for line in progress)
    table = evaluations(folder)
    means, stds = table["results"].mean(axis=1), table["results"].std(axis=1)
    best = means.argmax()
    assert last == (
        f"last evaluation {means[-1]:.1f} ± {stds[-1]:.1f} at step 330, "
        f"best evaluation {means[best]:.1f} ± {stds[best]:.1f} at step {table['timesteps'][best]}"
    )
    assert f'"env_id": "{env}"' in (folder / "0.monitor.csv").read_text()


@EACH
def test_the_same_seed_gives_the_same_evaluations(algo, ran):
    first, second = (evaluations(ran(algo, again)[0]) for again in (False, True))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_another_seed_gives_others(ran):
    first, second = (evaluations(ran("ddpg", seed=seed)[0]) for seed in (3, 4))
    assert not np.array_equal(first["results"], second["results"])


@EACH
def test_evaluations_and_logs_come_when_ours_do(algo, ran, stac_bench, tmp_path):
    given = {**EQUAL[algo], **SHORT, "n_envs": 2 if algo in ("td3", "a2c") else 1}
    words = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    run = ["--algo", OURS[algo], "--env", ENVS[algo], "--seed", 3, "--quiet", *words]
    done = stac_bench(tmp_path, *run)
    assert done.returncode == 0, done.stderr
    ours = evaluations(tmp_path / "runs" / OURS[algo] / f"{ENVS[algo]}_3")
    theirs = evaluations(ran(algo)[0])
    assert ours["timesteps"].tolist() == theirs["timesteps"].tolist() == [100, 200, 300, 330]
    assert ours["results"].shape == theirs["results"].shape


def test_the_report_reads_the_folders(ran, python, tmp_path):
    """With what the command line writes beside it."""
    for algo in TABLE:
        folder, _ = ran(algo)
        copied = tmp_path / "sb3" / algo / folder.name
        shutil.copytree(folder, copied)
        manifest = {"status": "done", "steps": 330, "seconds": 1.0, "error": None}
        (copied / "manifest.json").write_text(json.dumps(manifest))
        (copied / "config.yml").write_text(yaml.safe_dump(settings(algo)))
        (copied / "args.yml").write_text(f"algo: {algo}\nenv: {ENVS[algo]}\nseed: 3\n")
        found = read(copied, tmp_path)
        assert found.problems == []
        assert (found.algo, found.env, found.seed, found.status) == (algo, ENVS[algo], 3, "done")
        assert [step for step, _ in found.evaluations] == [100, 200, 300, 330]
    done = subprocess.run(
        [python, "-m", "stac_bench.report", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.html").is_file()


def test_evaluations_are_cut_where_ours_are():
    limit = {"max_episode_steps": 50}
    assert evaluated("Pendulum-v1", {"g": 9.8}, limit) == {"g": 9.8, **limit}
    assert evaluated("Pendulum-v1", {}, {"max_episode_steps": 200}) == {}
    assert evaluated("Pendulum-v1", {"max_episode_steps": 30}, limit) == {"max_episode_steps": 30}
    assert evaluated("Pendulum-v1", {"max_episode_steps": -1}, limit) == limit


def test_keywords_of_the_environment_reach_both(baseline, tmp_path):
    given = {**SHORT, "env_kwargs": {"max_episode_steps": 30}, "eval_max_steps": 20}
    done = baseline(job("ddpg", tmp_path, **given))
    assert done.returncode == 0, done.stderr
    assert np.all(evaluations(tmp_path)["ep_lengths"] == 20)
    rows = (tmp_path / "0.monitor.csv").read_text().splitlines()[2:]
    assert {row.split(",")[1] for row in rows} == {"30"}


@pytest.mark.parametrize(
    "env, imports", [("Point-v0", ["environments"]), ("environments:Point-v0", [])]
)
def test_environments_of_ones_own_are_imported(baseline, tmp_path, env, imports):
    path = f"{ROOT / 'tests'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    one = {**job("sac", tmp_path, **SHORT), "env": env, "env_import": imports}
    done = baseline(one, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert evaluations(tmp_path)["timesteps"].tolist() == [100, 200, 300, 330]
    one["settings"]["env_kwargs"] = {"fault": "exception", "after": 150}
    done = baseline(one, PYTHONPATH=path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "RuntimeError: the motor is on fire"
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_one_line_and_leaves_nothing(baseline, tmp_path):
    wrong = {**job("ddpg", tmp_path), "env": "Nowhere-v0"}
    done = baseline(wrong)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Nowhere" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert "Traceback" in baseline(wrong, STAC_BENCH_VERBOSE="1").stderr
    discrete = {**job("ddpg", tmp_path, **SHORT), "env": "CartPole-v1"}
    assert baseline(discrete).returncode == 1
    assert list(tmp_path.iterdir()) == []


# -- signals ---------------------------------------------------------------------------------------


@pytest.fixture
def started(python, tmp_path):
    """A run that would take long, on its way, and its folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "evaluations.npz").write_text("of an earlier try")
    (folder / UNFINISHED).mkdir()
    (folder / UNFINISHED / "rest").touch()
    (folder / "manifest.json").write_text("{}")
    given = tmp_path / "job.json"
    given.write_text(json.dumps(job("ddpg", folder, n_timesteps=10**7, eval_freq=500)))
    command = [python, "-m", "stac_bench.baselines"]
    with given.open() as source:
        process = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, text=True)
    assert re.fullmatch(r"\d+ \S+\n", process.stdout.readline())
    yield process, folder
    process.kill()
    process.wait()


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_and_leaves_no_part_of_a_run(started, number, status):
    process, folder = started
    assert (folder / UNFINISHED).is_dir() and not (folder / UNFINISHED / "rest").exists()
    process.send_signal(number)
    assert process.wait(60) == status
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]


def test_results_are_named_as_the_folder_of_a_run_has_them():
    """Nothing that the command line writes is among them."""
    theirs = ("config.yml", "args.yml", "manifest.json", "command.txt", ".lock")
    assert not any(Path(name).match(result) for name in theirs for result in RESULTS)


def test_it_ends_with_its_parent(python, tmp_path):
    given = tmp_path / "job.json"
    given.write_text(json.dumps(job("ddpg", tmp_path / "run", n_timesteps=10**7)))
    code = (
        "import os, subprocess, sys\n"
        "command = [sys.executable, '-m', 'stac_bench.baselines']\n"
        "command += ['--parent', str(os.getpid())]\n"
        "with open(sys.argv[1]) as job, subprocess.Popen(command, stdin=job) as child:\n"
        "    print(child.pid, flush=True)\n"
    )
    parent = subprocess.Popen([python, "-c", code, given], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert re.fullmatch(r"\d+ \S+\n", parent.stdout.readline())
    parent.kill()
    parent.wait()
    ends = time.monotonic() + 60
    while running(child):
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert list((tmp_path / "run").iterdir()) == []


def running(pid):
    """Whether `pid` is a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_parent_that_is_gone_ends_it_at_once(baseline, tmp_path):
    done = baseline(job("ddpg", tmp_path), "--parent", "1")
    assert done.returncode == 143 or os.getpid() == 1
