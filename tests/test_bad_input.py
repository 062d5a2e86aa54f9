"""Whatever a user gets wrong: one message that says what, where, and what would be right."""

import json
import re
import subprocess

import pytest
from algorithms import LED_OFF_POLICY, OFF_POLICY_NAMES
from conftest import QUICK
from safetensors.numpy import load_file

POINT = ["--env", "Point-v0", "--env-import", "environments"]
DDPG = ["--algo", "ddpg"]


def wrong(done, *fragments, status=2):
    """Asserts one line on standard error with these fragments, and the exit status."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == status, done.stderr
    assert len(errors) == 1, done.stderr
    assert "panicked" not in done.stderr
    for fragment in fragments:
        assert fragment in done.stderr, done.stderr
    return errors[0]


SETTINGS = {
    "gama=0.9": ["--set", "unknown key `gama`", "nearest is `gamma`"],
    "policy_kwargs.net_arc=[4]": ["unknown key `policy_kwargs.net_arc`", "`net_arch`"],
    "gamma=1.5": ["--set", "`gamma` is 1.5", "between 0 and 1"],
    "gamma=.nan": ["not a finite number"],
    "learning_rate=fast": ['`learning_rate` is "fast"', "f64"],
    "learning_rate=-1": ["`learning_rate` is -1", "above 0"],
    "learning_rate=.inf": ["not a finite number"],
    "batch_size=0": ["`batch_size` is 0", "at least 1"],
    "batch_size=2.5": ["`batch_size` is 2.5"],
    "batch_size=2000000": ["`batch_size` is 2000000", "buffer_size"],
    "buffer_size=-1": ["`buffer_size` is -1"],
    "tau=-0.1": ["`tau` is -0.1"],
    "train_freq=0": ["`train_freq` is 0"],
    "gradient_steps=0": ["`gradient_steps` is 0"],
    "noise_std=-1": ["`noise_std` is -1"],
    "unroll=0": ["`unroll` is 0"],
    "policy_kwargs.net_arch=[0]": ["`policy_kwargs.net_arch` is 0"],
    "policy_kwargs.activation_fn=rellu": ["`rellu`", "the nearest is `relu`"],
    "optimizer=adma": ["the nearest is `adam`"],
    "update_order=simultanous": ["the nearest is `simultaneous`"],
    "device=tpu": ["`device`", "`cpu`"],
    "n_timesteps=0": ["`n_timesteps` is 0"],
    "eval_freq=0": ["`eval_freq` is 0"],
    "eval_episodes=0": ["`eval_episodes` is 0"],
    "gamma": ["--set gamma", "no `=`"],
    "env_kwargs=3": ["`env_kwargs` is 3"],
}


@pytest.mark.parametrize("assignment", SETTINGS)
def test_a_wrong_setting(stac_bench, tmp_path, assignment):
    done = stac_bench(tmp_path, *POINT, *DDPG, "--set", assignment)
    wrong(done, *SETTINGS[assignment])
    assert not (tmp_path / "runs").exists()


LEADER = {
    "solver=woodberry": ["`woodberry`", "the nearest is `woodbury`"],
    "lam=-1": ["`lam` is -1"],
    "lam_decay=exponentail": ["the nearest is `exponential`"],
    "cg_iterations=0": ["`cg_iterations` is 0"],
    "cg_tolerance=-1": ["`cg_tolerance` is -1"],
    "norm_ratio_clamp=0": ["`norm_ratio_clamp` is 0"],
    "leader=critic": ["`leader`", "`stddpg-al` fixes who leads"],
    "target_policy=target": ["`target_policy`", "implicit term"],
    "independent_minibatches=true": ["`independent_minibatches`", "`woodbury`", "Gram"],
}


@pytest.mark.parametrize("assignment", LEADER)
def test_a_wrong_setting_of_a_leader(stac_bench, tmp_path, assignment):
    done = stac_bench(tmp_path, *POINT, "--algo", "stddpg-al", "--set", assignment)
    wrong(done, *LEADER[assignment])


# What would have no effect: the algorithm, and a setting of somebody else's.
FOREIGN = {
    ("stddpg-al", "cg_iterations=20"): ["`cg` and `neumann`", "`woodbury`"],
    ("stddpg-al", "cg_iterations=10"): ["`cg_iterations` is 10"],  # the default, but it was said
    ("stsac-al", "solver_rank=3"): ["`nystrom`"],
    ("stddpg-cl", "solver_rank=3"): ["`nystrom`", "not of `cg`"],
    ("stsac-cl", "step_match=true"): ["control of baselines", "`sac`"],
    ("ddpg", "lam=3"): ["`ddpg` has none", "`stddpg-al` or `stddpg-cl`", "step_match"],
    ("ddpg", "step_match=true"): ["`step_match` is true", "`target_policy: current`"],
    ("ddpg", "noise_match=true"): ["`noise_match` is true", "`target_policy: current`"],
    ("stsac-al", "noise_match=true"): ["control of baselines", "`sac`"],
    ("ac", "solver=cg"): ["`ac` has none", "`stac`", "step_match"],
    ("sac", "leader=actor"): ["nobody leads in `sac`", "`stsac-al` or `stsac-cl`"],
    ("stddpg-al", "curvature=hessian"): ["Gauss-Newton", "take `cg`"],
}


@pytest.mark.parametrize("algo, assignment", FOREIGN)
def test_a_setting_that_does_not_apply(stac_bench, tmp_path, algo, assignment):
    done = stac_bench(tmp_path, *POINT, "--algo", algo, "--set", assignment)
    wrong(done, "--set", *FOREIGN[algo, assignment])
    key, value = assignment.split("=")
    (tmp_path / "c.yml").write_text(f"Point-v0:\n  {key}: {value}\n")
    done = stac_bench(tmp_path, *POINT, "--algo", algo, "--config", "c.yml")
    wrong(done, "c.yml:2", *FOREIGN[algo, assignment])


@pytest.mark.parametrize("algo", [kind.forms["critic"] for kind in LED_OFF_POLICY])
def test_woodbury_for_curved_critics_that_lead(stac_bench, tmp_path, algo):
    tanh = ("--set", "solver=woodbury", "--set", "policy_kwargs.activation_fn=tanh")
    done = stac_bench(tmp_path, *POINT, "--algo", algo, *tanh)
    wrong(done, "`solver` is woodbury", "`tanh`", "take `cg`")


ENTROPY = {
    "ent_coef=-0.1": ["`ent_coef` is -0.1"],
    "ent_coef=automatic": ["`ent_coef` is automatic", "`auto`"],
    "target_entropy=low": ["`target_entropy` is low", "`auto`"],
    "noise_std=0.1": ["unknown key `noise_std`"],
    "target_policy=target": ["unknown key `target_policy`"],
}


@pytest.mark.parametrize("assignment", ENTROPY)
def test_a_wrong_setting_of_sac(stac_bench, tmp_path, assignment):
    done = stac_bench(tmp_path, *POINT, "--algo", "sac", "--set", assignment)
    wrong(done, *ENTROPY[assignment])


FILES = {
    "default:\n  gamma: 0.9\n  bach_size: 3\n": ["c.yml:3", "`bach_size`", "`batch_size`"],
    "Point-v0:\n\n  gamma: 2\n": ["c.yml:3", "`gamma` is 2"],
    "default:\n  policy_kwargs:\n    activation_fn: tahn\n": ["c.yml:3", "`tanh`"],
    "default:\n  gamma: [\n": ["c.yml", "line 3"],
    "gamma: 0.9\n": ["c.yml:1", "under `default:`"],
    "default: 3\n": ["c.yml:1", "`default` is 3"],
    "- 1\n": ["c.yml", "not a mapping"],
    "defalt:\n  gamma: 0.9\n": ["c.yml", "neither `default` nor `Point-v0`", "`defalt`"],
    "Pointy-v0:\n  gamma: 0.9\n": ["neither", "the nearest is `Pointy-v0`"],
    "default:\n  learning_rate: .nan\n": ["c.yml", "`learning_rate`", "not a finite number"],
    "default:\n  gamma: 0.9\n  gamma: 0.8\n": ["c.yml", "gamma"],
}


@pytest.mark.parametrize("text", FILES)
def test_a_wrong_file(stac_bench, tmp_path, text):
    (tmp_path / "c.yml").write_text(text)
    wrong(stac_bench(tmp_path, *POINT, *DDPG, "--config", "c.yml"), *FILES[text])


def test_a_file_replaces_defaults_and_set_replaces_both(train, tmp_path):
    (tmp_path / "c.yml").write_text("default:\n  gamma: 0.5\nPoint-v0:\n  tau: 0.25\n")
    run = train(tmp_path, "ddpg", *POINT[1:], "--config", "c.yml", "--set", "noise_std=0.3")
    text = (run / "config.yml").read_text()
    for line in ("gamma: 0.5", "tau: 0.25", "noise_std: 0.3", "batch_size: 16"):
        assert line in text.splitlines()


OPTIONS = {
    ("--steps", "-5"): ["--steps", "-5"],
    ("--steps", "many"): ["--steps", "many"],
    ("--steps", "0"): ["--steps", "`n_timesteps` is 0"],
    ("--seed", "-1"): ["--seed", "-1"],
    ("--seeds", "0"): ["--seeds", "0"],
    ("--seeds", "1000000000000"): ["--seeds", "1000000000000"],
    ("--seed", str(2**64 - 1), "--seeds", "2"): ["--seeds 2", str(2**64 - 1)],
    ("--threads", "65535"): ["threads", "cores"],
    ("--set", "policy_kwargs.net_arch=[1000000000000]"): ["net_arch", "at most"],
    ("--set", "buffer_size=1000000000000"): ["buffer_size", "at most"],
    ("--jobs", "0"): ["--jobs", "0"],
    ("--threads", "0"): ["--threads", "0"],
    ("--config", "none.yml"): ["none.yml", "No such file"],
    ("--eval-episodes", "0"): ["--eval-episodes", "`eval_episodes` is 0"],
    ("--stpes", "5"): ["--steps"],
    ("--engine", "warp"): ["--engine", "`auto`"],
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_wrong_option(stac_bench, tmp_path, option):
    wrong(stac_bench(tmp_path, *POINT, *DDPG, *option), *OPTIONS[option])


ENVIRONMENTS = {
    "Walkr2d-v4": ["Walkr2d", "Walker2d"],
    "Walker2d-v99": ["v99", "v5"],
    "CartPole-v1": ["`ddpg` needs Box actions", "Discrete(2)"],
    "Choice-v0": ["`ddpg` needs Box actions", "Discrete(3)"],
    "DictPoint-v0": ["Dict", "FlattenObservation"],
    "Unbounded-v0": ["infinite bounds", "RescaleAction"],
    "Vast-v0": ["infinite bounds"],
    "NoObservation-v0": ["observation space", "holds no numbers"],
    "NoAction-v0": ["action space", "holds no numbers"],
}


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_an_environment_that_cannot_be(stac_bench, tmp_path, env):
    done = stac_bench(tmp_path, "--env", env, "--env-import", "environments", *DDPG)
    wrong(done, *ENVIRONMENTS[env])
    assert not (tmp_path / "runs").exists()


def test_an_algorithm_that_is_not(stac_bench, tmp_path):
    done = stac_bench(tmp_path, *POINT, "--algo", "stdpg-al")
    wrong(done, "`stdpg-al`", "the nearest is `stddpg-al`", "stac-bench algos")


def test_a_module_that_is_not(stac_bench, tmp_path):
    done = stac_bench(tmp_path, "--env", "Point-v0", "--env-import", "nowhere", *DDPG)
    wrong(done, "ModuleNotFoundError", "nowhere")


def test_cuda_without_cuda_is_an_error_at_once(stac_bench, tmp_path):
    done = stac_bench(tmp_path, *POINT, *DDPG, *QUICK, "--device", "cuda")
    if done.returncode == 0:
        pytest.skip("this machine has CUDA")
    wrong(done, "device `cuda` is not available", "`cpu`")


def test_an_exception_in_the_environment(stac_bench, tmp_path):
    fault = ["--set", "env_kwargs={fault: exception, after: 250}"]
    plain = stac_bench(tmp_path, *POINT, *DDPG, *QUICK, *fault)
    wrong(plain, "failed in step", "RuntimeError: the motor is on fire", status=1)
    assert "Traceback" not in plain.stderr
    manifest = json.loads((tmp_path / "runs/ddpg/Point-v0_0/manifest.json").read_text())
    assert (manifest["status"], manifest["exit_status"]) == ("failed", 1)
    assert "motor" in manifest["error"]
    verbose = stac_bench(tmp_path, *POINT, *DDPG, *QUICK, *fault, "--seed", 1, "-v")
    assert "Traceback" in verbose.stderr and "environments.py" in verbose.stderr


def test_a_reward_that_is_nan(stac_bench, tmp_path):
    fault = ["--set", "env_kwargs={fault: nan, after: 250}"]
    wrong(stac_bench(tmp_path, *POINT, *DDPG, *QUICK, *fault), "reward of NaN", status=1)


@pytest.mark.parametrize("algo", ["ddpg", "sac", "ac"])
@pytest.mark.parametrize(
    "env, reason",
    [("NanReset-v0", "an observation of NaN at step 0"), ("HugeReward-v0", "a reward of 1")],
)
def test_numbers_that_training_cannot_use_are_named(stac_bench, tmp_path, algo, env, reason):
    """A first observation of NaN and rewards beyond float32 are named, not the learning rate."""
    run = ["--env", env, "--env-import", "environments", "--algo", algo, "--steps", 400]
    wrong(stac_bench(tmp_path, *run), reason, status=1)


def test_an_output_folder_that_is_not_text(binary, environment, tmp_path):
    """A name that is no UTF-8 is an error, not a panic."""
    command = [str(binary), *POINT, *DDPG, *map(str, QUICK), "--out", b"bad\xff"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_a_run_without_an_update_says_so(stac_bench, tmp_path):
    done = stac_bench(tmp_path, *POINT, *DDPG, *QUICK, "--steps", 50)
    assert done.returncode == 0 and "nothing was learned" in done.stderr


def test_a_reward_that_is_nan_in_evaluation_is_no_best_model(stac_bench, tmp_path):
    """Evaluation has an environment of its own, and NaN compares as no return."""
    fault = ["--set", "env_kwargs={fault: nan, after: 50}", "--eval-freq", 40, "--steps", 40]
    done = stac_bench(tmp_path, *POINT, *DDPG, *QUICK, *fault)
    wrong(done, "reward of NaN", status=1)
    assert not (tmp_path / "runs/ddpg/Point-v0_0/best_model").exists()


@pytest.mark.parametrize("algo", OFF_POLICY_NAMES)
def test_divergence_never_reaches_a_saved_model(stac_bench, tmp_path, algo):
    rate = ["--set", "learning_rate=1.0e+30"]
    done = stac_bench(tmp_path, *POINT, "--algo", algo, *QUICK, *rate)
    wrong(done, "non-finite", "`learning_rate`", status=1)
    for file in tmp_path.rglob("model.safetensors"):
        for tensor in load_file(file).values():
            assert abs(tensor).max() < float("inf")


def test_a_folder_that_cannot_be_written(stac_bench, tmp_path):
    (tmp_path / "out").write_text("a file")
    done = stac_bench(tmp_path, *POINT, *DDPG, *QUICK, "--out", "out")
    wrong(done, f"cannot create {tmp_path}/out/ddpg/Point-v0_0", status=1)


def test_a_full_disk_is_an_error_and_no_panic(stac_bench, binary, tmp_path):
    """A limit on the size of files does to the event file what a full disk does."""
    import resource
    import signal

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = stac_bench(tmp_path, *POINT, *DDPG, *QUICK, "--set", "log_freq=1", preexec_fn=limit)
    error = wrong(done, f"cannot write {tmp_path}/runs/ddpg/Point-v0_0/", status=1)
    assert re.search(r"File too large|events\.out", error)
