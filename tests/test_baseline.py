"""What Stable-Baselines3's own algorithms are given through RL Zoo is equal to our settings."""

import argparse
import copy
import json
import os
import subprocess

import numpy as np
import pytest
import stac_bench
import torch as th
import yaml
from algorithms import RUN
from baselines import ENVS, KINDS, OFF_POLICY, OURS, job, settings
from conftest import ROOT
from rl_zoo3.exp_manager import ExperimentManager
from stable_baselines3.common.callbacks import EvalCallback, LogEveryNTimesteps
from stable_baselines3.common.logger import configure
from stac_bench import _native
from stac_bench.baselines.equal import TABLE, Refused, document, equal, flat
from stac_bench.baselines.job import Job
from stac_bench.baselines.training import arguments

EACH = pytest.mark.parametrize("algo", TABLE)


def set_up(algo, folder, **given):
    """RL Zoo's manager and the model that it makes of our settings."""
    one = Job.read(json.dumps(job(algo, folder, **given)))
    folder.mkdir(exist_ok=True)
    arguments(one, folder)
    manager = ExperimentManager(
        *(argparse.Namespace(), algo, one.env, str(folder)),
        **{"config": str(folder / "hyperparameters.yml"), "seed": 3, "verbose": 0},
        **{"device": "cpu", "eval_freq": one.equal().options["--eval-freq"]},
    )
    model, _ = manager.setup_experiment()
    model.set_logger(configure(None, []))
    return manager, model


# -- the table -------------------------------------------------------------------------------------


@EACH
def test_every_setting_of_ours_has_a_rule_and_nothing_else_has(algo):
    for env in (ENVS[algo], "Hopper-v4"):
        ours = json.loads(_native.settings(OURS[algo], env, None))
        assert set(flat(ours)) == set(TABLE[algo])


def test_the_settings_are_those_that_a_run_leaves(train, tmp_path):
    folder = train(tmp_path, "td3", ENVS["td3"])
    assert set(flat(yaml.safe_load((folder / "config.yml").read_text()))) == set(TABLE["td3"])


def test_the_document_is_the_table():
    """Written anew from `python -m stac_bench.baselines.equal`."""
    text = (ROOT / "docs" / "baselines.md").read_text()
    begin, end = "<!-- python -m stac_bench.baselines.equal -->\n", "<!-- -->\n"
    assert text.split(begin)[1].split(end)[0] == document()


UNUSUAL = {
    "ddpg": {
        **{"gamma": 0.9, "learning_rate": 0.002, "critic_learning_rate": 0.002, "tau": 0.02},
        **{"batch_size": 17, "buffer_size": 1000, "train_freq": [3, "step"], "gradient_steps": 5},
        **{"policy_kwargs.activation_fn": "tanh", "optimizer": "sgd", "noise_std": 0.3},
    },
    "td3": {
        **{"policy_kwargs.n_critics": 3, "policy_delay": 4, "target_policy_noise": 0.3},
        **{"target_noise_clip": 0.4, "n_envs": 2, "buffer_size": 3000, "gradient_steps": -1},
    },
    "sac": {
        **{"ent_coef": "auto_0.3", "target_entropy": -2.5, "target_update_interval": 5},
        **{"use_sde": True, "sde_sample_freq": 4, "use_sde_at_warmup": True, "random_steps": 9},
        **{"policy_kwargs.clip_mean": 1.5, "policy_kwargs.log_std_init": -2.0},
        **{"policy_kwargs.use_expln": True},
    },
    "a2c": {
        **{"gamma": 0.95, "learning_rate": 0.2, "critic_learning_rate": 0.05, "n_envs": 4},
        **{"ent_coef": 0.01, "normalize_advantage": False, "policy_kwargs.log_std_init": -0.7},
    },
}


@EACH
@pytest.mark.parametrize("unusual", [False, True])
def test_the_model_of_stable_baselines3_has_our_values(algo, unusual, tmp_path):
    given = UNUSUAL[algo] if unusual else {}
    ours = flat(settings(algo, **given))
    manager, model = set_up(algo, tmp_path, **given)
    assert type(model) is KINDS[algo] and model.seed == 3
    names = ("gamma", "learning_rate", "tau", "batch_size", "learning_starts", "gradient_steps")
    names += ("policy_delay", "target_policy_noise", "target_noise_clip", "n_steps", "gae_lambda")
    names += ("normalize_advantage", "target_update_interval", "use_sde", "sde_sample_freq")
    names += ("use_sde_at_warmup", "ent_coef", "n_envs")
    for name in set(names) & set(ours):
        found = getattr(model, name)
        assert (found(1) if callable(found) else found) == ours[name], name
    policy = model.policy
    assert policy.net_arch == [16, 8]
    activation = {"relu": th.nn.ReLU, "tanh": th.nn.Tanh}[ours["policy_kwargs.activation_fn"]]
    assert policy.activation_fn is activation
    optimizers = [policy.optimizer] if algo == "a2c" else [model.actor.optimizer]
    optimizers += [] if algo == "a2c" else [model.critic.optimizer]
    for optimizer in optimizers:
        (group,) = optimizer.param_groups
        assert group["lr"] == ours["learning_rate"]
        if ours["optimizer"] == "adam":
            assert type(optimizer) is th.optim.Adam
            assert (group["betas"], group["eps"]) == ((0.9, 0.999), 1e-8)
        else:
            assert type(optimizer) is th.optim.SGD and group["momentum"] == 0
        assert group["weight_decay"] == 0
    if algo == "a2c":
        rates = ours["learning_rate"], ours["critic_learning_rate"]
        assert model.vf_coef * rates[0] == pytest.approx(rates[1])
        assert model.max_grad_norm == float("inf") and not policy.ortho_init
    else:
        assert model.replay_buffer.buffer_size * model.n_envs == ours["buffer_size"]
        assert len(model.critic.q_networks) == ours.get("policy_kwargs.n_critics", 1)
        freq = ours["train_freq"]
        assert model.train_freq.frequency == (freq[0] if isinstance(freq, list) else freq)
        assert model.train_freq.unit.value == "step"
    if algo in ("ddpg", "td3"):
        assert np.all(model.action_noise._sigma == ours["noise_std"])
        assert np.all(model.action_noise._mu == 0)
    if algo == "sac" and unusual:
        actor = model.actor
        assert actor.log_std_init == -2 and actor.use_expln and actor.clip_mean == 1.5
        assert model.target_entropy == -2.5 and model.log_ent_coef.exp().item() == pytest.approx(
            0.3
        )
    (evaluation,) = (one for one in manager.callbacks if isinstance(one, EvalCallback))
    assert evaluation.eval_freq * model.n_envs <= ours["eval_freq"] and evaluation.deterministic
    (log,) = (one for one in manager.callbacks if isinstance(one, LogEveryNTimesteps))
    assert log.n_steps == ours["log_freq"]


# -- what they compute -----------------------------------------------------------------------------


@pytest.mark.parametrize("algo, optimizer", [*((a, "adam") for a in OFF_POLICY), ("td3", "sgd")])
def test_from_the_same_weights_updates_on_the_same_step_are_ours(algo, optimizer, tmp_path):
    """In a memory of one step no draw counts, but those of policies, which are held down."""
    quiet = {"td3": {"target_policy_noise": 0.0}, "sac": {"ent_coef": 0.0}}.get(algo, {})
    given = {"optimizer": optimizer, "target_update_interval": 1, "batch_size": 8, "tau": 0.1}
    given = {key: value for key, value in given.items() if key in TABLE[algo]} | quiet
    _, theirs = set_up(algo, tmp_path, **given)
    if algo == "sac":
        with th.no_grad():
            theirs.actor.log_std.weight.zero_()
            theirs.actor.log_std.bias.fill_(-40.0)
    keywords = {k: v for k, v in settings(algo, **given).items() if k not in {*RUN, "device"}}
    ours = getattr(stac_bench, algo.upper())("MlpPolicy", ENVS[algo], **keywords)
    ours.set_logger(configure(None, []))
    ours.policy.load_state_dict(theirs.policy.state_dict())
    before = copy.deepcopy(theirs.policy.state_dict())
    rng = np.random.default_rng(0)
    row = [rng.normal(size=(1, *theirs.observation_space.shape)) for _ in "ab"]
    row += [rng.uniform(-1, 1, (1, 1)), np.array([-0.7]), np.array([False]), [{}]]
    for model in (theirs, ours):
        model.replay_buffer.add(*row)
        model.train(gradient_steps=6, batch_size=8)
    expected, found = theirs.policy.state_dict(), ours.policy.state_dict()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        moved = (tensor - before[name]).abs().max()
        assert (tensor - found[name]).abs().max() <= 1e-6 + 0.02 * moved, name
    assert all((expected[name] != before[name]).any() for name in expected if "mu" in name)


@pytest.mark.parametrize("normalize", [False, True])
def test_an_update_of_a2c_descends_our_losses(normalize, tmp_path):
    """Of `ac`: f1 = -mean(log pi A) - ent_coef H and f2 = mean (V - R)^2, each at its own rate."""
    given = {"normalize_advantage": normalize, "ent_coef": 0.03, "n_envs": 2, "n_steps": 60}
    _, model = set_up("a2c", tmp_path, **given)
    ours = flat(settings("a2c", **given))
    begin = copy.deepcopy(model.policy)
    steps = []
    model.learn(120, lambda now, _: not steps.append((now["rewards"].copy(), now["dones"])))
    rewards, dones = (np.array(column) for column in zip(*steps, strict=True))
    assert dones.any()
    returns = np.zeros_like(rewards)
    last = th.as_tensor(model._last_obs)
    with th.no_grad():
        following = begin.predict_values(last).numpy().ravel()
    for t in reversed(range(60)):
        following = rewards[t] + ours["gamma"] * following * ~dones[t]
        returns[t] = following
    buffer = model.rollout_buffer
    target = th.as_tensor(returns.T.ravel(), dtype=th.float32)
    states = th.as_tensor(buffer.observations)
    values, log_pi, entropy = begin.evaluate_actions(states, th.as_tensor(buffer.actions).ravel())
    advantages = target - values.ravel().detach()
    if normalize:
        advantages = (advantages - advantages.mean()) / advantages.std()
    actor = -(log_pi * advantages).mean() - ours["ent_coef"] * entropy.mean()
    critic = (values.ravel() - target).square().mean()
    rates = ours["learning_rate"], ours["critic_learning_rate"]
    (rates[0] * actor + rates[1] * critic).backward()
    for expected, found in zip(begin.parameters(), model.policy.parameters(), strict=True):
        assert th.allclose(expected - expected.grad, found, rtol=1e-4, atol=1e-6)


# -- refusals --------------------------------------------------------------------------------------

REFUSALS = [
    ("ddpg", {"update_order": "simultaneous"}, "is simultaneous; .*updates the critic first"),
    ("ddpg", {"target_policy": "current"}, "is current; .*average of the actor: set it to target"),
    ("ddpg", {"random_steps": 10000}, "is 10000; .*`learning_starts` steps, here 60"),
    ("td3", {"critic_learning_rate": 0.5}, "is 0.5; .*one step size .*: set it to null"),
    ("td3", {"unroll": 2}, "is 2; .*one step of the critic per update: set it to 1"),
    ("td3", {"step_match": True}, "is true; .*has no leader.*: set it to false"),
    ("td3", {"noise_match": True}, "is true; .*has no leader.*: set it to false"),
    ("td3", {"train_freq": [1, "episode"], "n_envs": 2}, "is .1, .episode..;.*one environment"),
    ("td3", {"buffer_size": 1001, "n_envs": 2}, "is 1001; .*a multiple of `n_envs`"),
    ("sac", {"optimizer": "sgd"}, "is sgd; Stable-Baselines3's SAC .*Adam: set it to adam"),
    ("sac", {"target_update_interval": 3, "gradient_steps": 50}, "is 3; .*anew in each round"),
    ("sac", {"target_update_interval": 3, "gradient_steps": -1}, "is 3; .*anew in each round"),
    ("sac", {"eval_freq": 1001, "n_envs": 2}, "is 1001; .*a multiple of `n_envs`"),
    ("a2c", {"gae_lambda": 0.97}, "is 0.97; .*fits its critic to λ-returns.*: set it to 1"),
    ("a2c", {"critic": "q"}, "is q; Stable-Baselines3's A2C has a critic of states"),
    ("a2c", {"critic_steps": 3}, "is 3; .*one step of the critic per update"),
    ("a2c", {"use_sde": True}, "is true; .*gSDE"),
    ("a2c", {"optimizer": "adam"}, "`critic_learning_rate` is 0.01; .*one step size"),
    ("a2c", {"n_steps": 1}, "`normalize_advantage` is true; .*set it to false"),
    ("a2c", {"lam": 1}, "`lam` is 1; it has no counterpart in Stable-Baselines3's A2C"),
]


@pytest.mark.parametrize("algo, given, said", REFUSALS)
def test_what_stable_baselines3_cannot_take_is_refused_with_what_it_does(algo, given, said):
    key = next(iter(given))
    with pytest.raises(Refused, match=said if said[0] == "`" else f"^`{key}` {said}"):
        equal(algo, settings(algo, **given))


def test_with_noise_that_depends_on_the_state_at_the_start_there_are_no_random_steps():
    given = {"random_steps": 9, "use_sde": True, "use_sde_at_warmup": True}
    equal("sac", settings("sac", **given))


def test_a_check_is_silent_or_says_what_is_wrong_in_a_line(baseline, tmp_path):
    folder = tmp_path / "run"
    done = baseline(job("ddpg", folder), "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for given, said in [
        (job("ddpg", folder, unroll=2), "`unroll` is 2; Stable-Baselines3's DDPG takes one step"),
        ({**job("a2c", folder), "algo": "ppo"}, "no baseline ppo: there are ddpg, td3, sac, a2c"),
        ({**job("a2c", folder), "seed": -1}, "`seed` is -1; Stable-Baselines3 takes 0 to"),
        ({**job("a2c", folder), "more": 1}, "standard input must be a JSON object of algo, env,"),
        ("{", "standard input must be a JSON object of algo, env, seed, folder, threads,"),
    ]:
        done = baseline(given, "--check")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(said) and done.stderr.count("\n") == 1
    assert not folder.exists()


def test_without_rl_zoo_it_says_how_to_install_it(python, tmp_path):
    done = subprocess.run(
        [python, "-S", "-m", "stac_bench.baselines", "--check"],  # without installed packages
        input=json.dumps(job("sac", tmp_path)),
        env={**os.environ, "PYTHONPATH": str(ROOT / "bridge" / "python")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == "RL Zoo is not installed: pip install 'stac-bench[zoo]'\n"
