"""Files given to us run nothing, and take neither all time nor all memory."""

import json
import os
import resource
import subprocess
import time

import numpy as np
import pytest
import yaml
from conftest import ALLOWED, QUICK
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

SECONDS = 5  # Python's start among them
MOST = 4 << 30  # bytes of addresses; a command that does nothing takes half of it


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("trained"), "ddpg", "Pendulum-v1")


def forged(trained, folder, values=None, **changes):
    """A copy of the trained model below `folder` whose card says something else; its run folder."""
    source = trained / "best_model" / "model.safetensors"
    with safe_open(source, "numpy") as file:
        card = json.loads(file.metadata()["stac_bench"])
    card |= changes
    there = folder / "run" / "best_model"
    there.mkdir(parents=True)
    tensors = load_file(source) if values is None else values
    save_file(tensors, there / "model.safetensors", {"stac_bench": json.dumps(card)})
    return folder / "run"


def payload(path):
    """A module that leaves a mark beside it when it is run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"open({str(path.with_suffix('.mark'))!r}, 'w').close()\n")
    return path.with_suffix(".mark")


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"env_import": ["run.best_model.payload"]}, ["--env-import run.best_model.payload"]),
        ({"env": "run.best_model.payload:Pendulum-v1"}, ["--env-import run.best_model.payload"]),
        ({"env_kwargs": {"g": 9.0}}, ["--accept-env-kwargs", '{"g":9.0}']),
        ({"env_kwargs": {"render_mode": "human"}}, ["--accept-env-kwargs", "human"]),
    ],
)
def test_a_model_imports_and_sets_nothing_that_its_reader_has_not_named(
    stac_bench, trained, tmp_path, changes, options
):
    run = forged(trained, tmp_path, **changes)
    mark = payload(run / "best_model" / "payload.py")
    done = stac_bench(tmp_path, "eval", run, "--episodes", 1)
    assert done.returncode == 2, done.stderr
    for words in options:
        assert words in done.stderr
    assert not mark.exists() and "mean return" not in done.stdout


def test_a_model_whose_reader_allows_it_is_evaluated(stac_bench, trained, tmp_path):
    run = forged(trained, tmp_path, env_import=["payload"], env_kwargs={"g": 9.0})
    mark = payload(tmp_path / "payload.py")
    allowed = ["--env-import", "payload", "--accept-env-kwargs"]
    done = stac_bench(tmp_path, "eval", run, "--episodes", 1, *allowed)
    assert done.returncode == 0, done.stderr
    assert mark.exists()


def test_a_run_folder_that_is_resumed_imports_nothing_by_itself(stac_bench, train, tmp_path):
    run = train(tmp_path, "ddpg", "Pendulum-v1", "--keep-checkpoint")
    args = yaml.safe_load((run / "args.yml").read_text())
    args["gym_packages"] = ["payload"]
    (run / "args.yml").write_text(yaml.safe_dump(args))
    mark = payload(tmp_path / "payload.py")
    done = stac_bench(tmp_path, "resume", run, "--steps", 500)
    assert done.returncode == 2, done.stderr
    assert "--env-import payload" in done.stderr
    assert not mark.exists()


@pytest.mark.parametrize("name", ["json", "random", "warnings", "site", "gymnasium", "numpy"])
def test_a_file_in_the_working_folder_stands_in_for_no_library(stac_bench, trained, tmp_path, name):
    mark = payload(tmp_path / f"{name}.py")
    done = stac_bench(tmp_path, "eval", trained, "--episodes", 1)
    assert done.returncode == 0, done.stderr
    done = stac_bench(tmp_path, "--env", "Pendulum-v1", "--algo", "ddpg", *QUICK)
    assert done.returncode == 0, done.stderr
    assert not mark.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_with_a_parameter_that_is_no_number_is_refused(
    stac_bench, trained, tmp_path, value
):
    tensors = load_file(trained / "best_model" / "model.safetensors")
    name = sorted(tensors)[0]
    tensors[name].flat[3] = value
    done = stac_bench(tmp_path, "eval", forged(trained, tmp_path, tensors), "--episodes", 1)
    assert done.returncode == 1, done.stderr
    assert f"`{name}` holds values that are not finite" in done.stderr
    assert "mean return" not in done.stdout


def limited(binary, environment, folder, *words, most=MOST):
    """Runs the program with that many bytes of addresses; `(status, stderr, seconds)`."""
    began = time.monotonic()
    done = subprocess.run(
        [binary, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )
    return done.returncode, done.stderr, time.monotonic() - began


@pytest.mark.parametrize("net_arch", [[16384] * 100, [10**9], {"pi": [8], "qf": [16384] * 3}])
def test_a_model_that_asks_for_networks_it_does_not_hold_is_refused_before_they_are_made(
    binary, environment, trained, tmp_path, net_arch
):
    with safe_open(trained / "best_model" / "model.safetensors", "numpy") as file:
        settings = json.loads(file.metadata()["stac_bench"])["settings"]
    settings["policy_kwargs"]["net_arch"] = net_arch
    run = forged(trained, tmp_path, settings=settings)
    status, stderr, seconds = limited(binary, environment, tmp_path, "eval", run)
    assert status == 1, stderr
    assert "parameters do not fit" in stderr
    assert seconds < SECONDS


def configuration(folder, name):
    """A file for `--config` that swallows a careless reader."""
    path = folder / "config.yml"
    if name == "more than a megabyte":
        path.write_text("default:\n  gamma: 0.9\n" + "# x\n" * 300_000)
    elif name == "aliases of a string":
        word = "x" * 400_000
        aliases = ", ".join(["*a"] * 5_000)
        path.write_text(f"default:\n  env_kwargs: {{a: &a {word}, b: [{aliases}]}}\n")
    elif name == "aliases of lists":
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 12)]
        path.write_text("\n".join(lines))
    elif name == "deep":
        path.write_text("default: " + "[" * 200 + "]" * 200)
    elif name == "never closed":
        path.write_text("default: " + "[" * 400_000)
    elif name == "a pipe":
        os.mkfifo(path)
    elif name == "a device":
        path.symlink_to("/dev/zero")
    elif name == "a folder":
        path.mkdir()
    return path


FILES = {
    "more than a megabyte": "more than 1000000 bytes",
    "aliases of a string": "aliases",
    "aliases of lists": "aliases",
    "deep": "nested more than 64 deep",
    "never closed": "brackets are open",
    "a pipe": "no regular file",
    "a device": "no regular file",
    "a folder": "folder",
}


@pytest.mark.parametrize("as_grid", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_configuration_that_swallows_its_reader_is_refused_at_once(
    binary, environment, tmp_path, name, as_grid
):
    path = configuration(tmp_path, name)
    words = ["--env", "Pendulum-v1", "--algo", "ddpg", "--config", path]
    words = ["sweep", path] if as_grid else words
    status, stderr, seconds = limited(binary, environment, tmp_path, *words)
    assert status == 2, stderr
    assert FILES[name] in stderr and len(stderr) < 2_000
    assert seconds < SECONDS


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_a_model_that_is_no_file_is_refused_at_once(binary, environment, tmp_path, kind):
    model = tmp_path / "run" / "best_model" / "model.safetensors"
    model.parent.mkdir(parents=True)
    if kind == "a pipe":
        os.mkfifo(model)
    else:
        model.symlink_to("/dev/zero")
    status, stderr, seconds = limited(binary, environment, tmp_path, "eval", "run")
    assert status in (1, 2) and "no regular file" in stderr
    assert seconds < SECONDS


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "a" + ".a" * 60_000 + "=1"], "nested more than 32 deep"),
        (["--set", "env_kwargs.a=" + "[" * 60_000], "brackets are open"),
        (["--n-envs", 2**64 - 1], "`n_envs` is 18446744073709551615"),
        (["--n-envs", 1025], "`n_envs` is 1025"),
        (
            ["--env", "Humanoid-v4", "--set", "buffer_size=1000000000", "--steps", 10**12],
            "`buffer_size` is 1000000000: the replay memory would take 3",
        ),
    ],
)
def test_options_that_ask_for_too_much_are_refused_at_once(
    binary, environment, tmp_path, words, told
):
    words = ["--env", "Pendulum-v1", "--algo", "ddpg", *words]
    status, stderr, seconds = limited(binary, environment, tmp_path, *words)
    assert status == 2, stderr
    assert told in stderr and "panicked" not in stderr and len(stderr) < 2_000
    assert seconds < SECONDS


def test_a_replay_memory_that_will_not_be_filled_takes_no_room(stac_bench, tmp_path):
    words = ["--set", "buffer_size=1000000000"]
    done = stac_bench(tmp_path, "--env", "Pendulum-v1", "--algo", "ddpg", *QUICK, *words)
    assert done.returncode == 0, done.stderr


def test_a_dense_matrix_that_no_machine_holds_is_refused_with_its_size(stac_bench, tmp_path):
    words = ["--set", "solver=dense", "--set", "policy_kwargs.net_arch=[1500, 1500]"]
    words = ["--env", "Pendulum-v1", "--algo", "stddpg-al", *QUICK, *words]
    done = stac_bench(tmp_path, *words)
    assert done.returncode in (1, 2), done.stderr
    assert "`solver` is dense: the matrix of " in done.stderr and " GB" in done.stderr


@pytest.mark.parametrize(
    "words",
    [["learning_rate=1e38", "train_freq=1", "gradient_steps=1"], ["noise_std=1e300"]],
    ids=" ".join,
)
def test_an_action_that_is_no_number_is_our_error_and_reaches_no_environment(
    stac_bench, tmp_path, words
):
    sets = [word for setting in words for word in ("--set", setting)]
    line = ["--env", "InvertedPendulum-v4", "--algo", "ddpg", *QUICK, *sets]
    done = stac_bench(tmp_path, *line)
    assert done.returncode == 1 and "non-finite" in done.stderr, done.stderr
    assert "CTRL" not in done.stderr and "the environment returned" not in done.stderr


def test_a_model_of_ones_own_environment_is_evaluated_as_before(stac_bench, train, tmp_path):
    run = train(tmp_path, "ddpg", "Point-v0", "--env-import", "environments")
    assert stac_bench(tmp_path, "eval", run).returncode == 2
    done = stac_bench(tmp_path, "eval", run, *ALLOWED, "--episodes", 1)
    assert done.returncode == 0, done.stderr
