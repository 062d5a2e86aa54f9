"""The Python package against PyTorch, Stable-Baselines3 and its own promises."""

import functools
import inspect
import os
import re
import signal
import subprocess
import threading
import typing

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import stac_bench
import torch as th
from conftest import ROOT
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor, VecNormalize
from stac_bench import (
    AC,
    DDPG,
    SAC,
    STAC,
    STDDPG,
    STSAC,
    game_gradients,
    game_solve,
    keywords,
    on_policy,
)

QUICK = {
    "seed": 0,
    "learning_starts": 50,
    "batch_size": 16,
    "policy_kwargs": {"net_arch": [16, 16]},
}


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert th.equal(a[name], b[name]), name


class Short(gym.Env):
    """Episodes of three steps that terminate, or of five that are cut; states count up."""

    observation_space = gym.spaces.Box(-100, 100, (2,), np.float32)
    action_space = gym.spaces.Box(-2, 4, (1,), np.float32)

    def __init__(self, poison=None, fail=None):
        self.poison, self.fail = poison, fail
        self.total = self.episode = 0

    def observation(self):
        return np.array([self.total, -self.step_in_episode], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_in_episode = 0
        self.episode += 1
        return self.observation(), {}

    def step(self, action):
        self.step_in_episode += 1
        self.total += 1
        if self.total == self.fail:
            raise LookupError("out of luck")
        reward = float("nan") if self.total == self.poison else float(self.total)
        short = self.episode % 2 == 1
        terminated = short and self.step_in_episode == 3
        truncated = not short and self.step_in_episode == 5
        return self.observation(), reward, terminated, truncated, {}


# -- exchange with Stable-Baselines3 -------------------------------------------------------------


@pytest.mark.parametrize("ours, theirs", [(DDPG, sb3.DDPG), (SAC, sb3.SAC)])
def test_zips_load_in_both_directions_with_the_optimisers_state(ours, theirs, tmp_path):
    model = ours("MlpPolicy", "Pendulum-v1", **QUICK).learn(120)
    model.save(tmp_path / "ours.zip")
    other = theirs.load(tmp_path / "ours.zip", env=model.get_env())
    assert_same(state_of(model), state_of(other))
    for mine, their in [
        (model.actor.optimizer, other.actor.optimizer),
        (model.critic.optimizer, other.critic.optimizer),
    ]:
        mine, their = mine.state_dict()["state"], their.state_dict()["state"]
        assert mine and mine.keys() == their.keys()
        for key in mine:
            assert float(mine[key]["step"]) == float(their[key]["step"]) > 0
            assert th.equal(mine[key]["exp_avg_sq"], their[key]["exp_avg_sq"])

    other.learn(60, reset_num_timesteps=False)
    other.save(tmp_path / "theirs.zip")
    back = ours.load(tmp_path / "theirs.zip", env=other.get_env())
    assert_same(state_of(back), state_of(other))
    steps = float(next(iter(back.actor.optimizer.state.values()))["step"])
    back.learn(10, reset_num_timesteps=False)
    assert float(next(iter(back.actor.optimizer.state.values()))["step"]) == steps + 10


@pytest.mark.parametrize("kind", [DDPG, STDDPG, SAC, STSAC, AC, STAC])
def test_saved_models_act_the_same(kind, tmp_path):
    keywords = {"n_steps": 40} if issubclass(kind, AC) else {"learning_starts": 50}
    model = kind("MlpPolicy", "Pendulum-v1", seed=1, **keywords).learn(80)
    obs = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    expected = model.predict(obs, deterministic=True)[0]
    assert expected.shape == (7, 1)
    assert np.allclose(expected, model.policy.predict(obs, deterministic=True)[0], atol=1e-5)
    model.save(tmp_path / "model.zip")
    again = kind.load(tmp_path / "model.zip")
    assert np.array_equal(again.predict(obs, deterministic=True)[0], expected)
    assert np.array_equal(again.predict(obs[0], deterministic=True)[0], expected[0])


@pytest.mark.parametrize("kind", [STDDPG, STSAC])
def test_learning_in_two_halves_is_learning_once(kind):
    whole = kind("MlpPolicy", "Pendulum-v1", **QUICK).learn(160)
    halves = kind("MlpPolicy", "Pendulum-v1", **QUICK).learn(90)
    halves.policy, halves.replay_buffer.pos  # noqa: B018  looking changes nothing
    halves.learn(70, reset_num_timesteps=False)
    assert_same(state_of(whole), state_of(halves))
    assert halves._n_updates == whole._n_updates


def test_parameters_travel_to_callbacks_and_back():
    seen = []

    class Meddler(BaseCallback):
        def _on_step(self):
            if self.num_timesteps in (60, 70):
                seen.append(state_of(self.model))
            if self.num_timesteps == 80:
                state = self.model.policy.state_dict()
                self.model.policy.load_state_dict({k: th.zeros_like(v) for k, v in state.items()})
            if self.num_timesteps == 81:
                seen.append(state_of(self.model))
            return self.num_timesteps < 81

    DDPG("MlpPolicy", "Pendulum-v1", **QUICK).learn(200, callback=Meddler())
    name = "critic.qf0.0.weight"
    assert not th.equal(seen[0][name], seen[1][name])
    # One Adam step from zero moves no weight by more than the step size.
    assert float(seen[2][name].abs().max()) < 2e-3


def test_parameters_set_by_hand_are_what_learns():
    model = DDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    vector = th.zeros_like(th.as_tensor(model.policy.parameters_to_vector()))
    model.policy.load_from_vector(vector.numpy())
    obs = np.ones((1, 3), np.float32)
    assert model.predict(obs)[0] == 0.0
    model.learn(20)  # random steps only
    assert np.array_equal(model.policy.parameters_to_vector(), vector.numpy())


# -- the memory ----------------------------------------------------------------------------------


def test_the_memory_tells_termination_from_truncation():
    model = DDPG("MlpPolicy", Short(), seed=0, buffer_size=100, learning_starts=1000).learn(16)
    buffer = model.replay_buffer
    assert buffer.pos == 16 and not buffer.full
    states, following = buffer.observations[:16, 0], buffer.next_observations[:16, 0]
    assert np.array_equal(following[:, 0], np.arange(1, 17))
    assert np.array_equal(states[:, 0], np.arange(16))
    assert np.flatnonzero(buffer.dones[:16, 0]).tolist() == [2, 7, 10, 15]
    assert np.flatnonzero(buffer.timeouts[:16, 0]).tolist() == [7, 15]
    # The state that ends an episode, not the first one of the next.
    assert following[2, 1] == -3 and following[7, 1] == -5
    assert np.all(np.abs(buffer.actions[:16]) <= 1)


def test_a_loaded_memory_is_what_is_learnt_from(tmp_path):
    model = DDPG("MlpPolicy", "Pendulum-v1", **QUICK, buffer_size=64).learn(100)
    model.save_replay_buffer(tmp_path / "memory.pkl")
    kept = model.replay_buffer.rewards.copy()
    assert model.replay_buffer.full and model.replay_buffer.pos == 36
    other = DDPG("MlpPolicy", "Pendulum-v1", **QUICK, buffer_size=64)
    other.load_replay_buffer(tmp_path / "memory.pkl")
    other.learn(1)
    assert np.array_equal(np.delete(other.replay_buffer.rewards, 36), np.delete(kept, 36))
    assert other.replay_buffer.pos == 37


def test_the_memory_keeps_what_vec_normalize_was_given():
    env = VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")] * 2))
    originals = []
    model = STSAC("MlpPolicy", env, **QUICK)
    model.learn(120, callback=lambda *_: originals.append(env.get_original_reward().copy()) or True)
    assert np.allclose(model.replay_buffer.rewards[: len(originals)], originals)
    assert np.isfinite(model.predict(env.reset())[0]).all()


@pytest.mark.parametrize("wrap", [SubprocVecEnv, lambda envs: VecMonitor(DummyVecEnv(envs))])
def test_other_vec_envs_learn(wrap):
    env = wrap([lambda: gym.make("Pendulum-v1")] * 2)
    noise = NormalActionNoise(np.zeros(1), 0.1 * np.ones(1))
    model = STDDPG("MlpPolicy", env, **QUICK, action_noise=noise).learn(120)
    env.close()
    assert model.num_timesteps == 120 and model._n_updates > 0


class Parts(gym.Env):
    """An observation of several parts; rewards depend on the action."""

    observation_space = gym.spaces.Dict(
        {
            "speed": gym.spaces.Box(-1e4, 1e4, (2,), np.float32),
            "gear": gym.spaces.Discrete(3),
            "place": gym.spaces.Box(-1e4, 1e4, (1,), np.float32),
        }
    )
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def observation(self):
        speed = 50 + 30 * self.np_random.normal(size=2)
        place = self.np_random.normal(size=1) - 200
        return {
            "speed": speed.astype(np.float32),
            "gear": int(self.np_random.integers(3)),
            "place": place.astype(np.float32),
        }

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation(), {}

    def step(self, action):
        return self.observation(), float(action[0]), False, bool(self.np_random.random() < 0.1), {}


@pytest.mark.parametrize("keys", [["speed", "place"], ["place"]])
def test_vec_normalize_over_dictionaries(keys):
    """It was an AttributeError: the statistics of a dictionary are one."""
    env = VecNormalize(DummyVecEnv([Parts]), norm_obs_keys=keys, clip_obs=0.5)
    model = DDPG("MultiInputPolicy", env, **QUICK, noise_std=0.0, random_steps=0)
    seen, taken = [], []

    class Watch(BaseCallback):
        def _on_step(self):
            seen.append({key: values.copy() for key, values in self.locals["new_obs"].items()})
            taken.append(self.locals["actions"].copy())
            return True

    model.learn(40, callback=Watch())  # no update yet: the policy stays
    assert np.abs(seen[-1]["place"]).max() <= 0.5
    if "speed" not in keys:
        assert np.abs(seen[-1]["speed"]).max() > 0.5
    for obs, action in zip(seen, taken[1:], strict=False):
        assert np.allclose(model.policy.predict(obs, deterministic=True)[0], action, atol=1e-5)
    model.learn(60, reset_num_timesteps=False)
    assert model._n_updates > 0


def test_images_that_are_not_to_be_normalised_are_not():
    """`normalize_images=False` reached prediction, but not training."""

    class Pictures(gym.Env):
        observation_space = gym.spaces.Box(0, 255, (3, 3, 3), np.uint8)
        action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.np_random.integers(256, size=(3, 3, 3), dtype=np.uint8), {}

        def step(self, action):
            return self.reset()[0], 0.0, False, False, {}

    for normalize in (False, True):
        keywords = {**QUICK, "policy_kwargs": {"net_arch": [8], "normalize_images": normalize}}
        model = DDPG("MlpPolicy", Pictures(), **keywords, random_steps=0)
        seen, taken = [], []

        def watch(local, _, seen=seen, taken=taken):
            seen.append(local["new_obs"].copy())
            taken.append(local["actions"].copy())
            return True

        model.learn(10, callback=watch)
        for obs, action in zip(seen, taken[1:], strict=False):
            expected = model.policy.predict(obs, deterministic=True)[0]
            assert np.allclose(expected, action, atol=1e-4), normalize
        assert np.array_equal(model.replay_buffer.next_observations[9], seen[-1])


def test_actions_that_do_not_start_at_zero_are_shifted_when_drawn():
    """Stochastic predictions came from PyTorch, which counts from zero."""

    class Four(Short):
        action_space = gym.spaces.Discrete(2, start=4)

    model = AC("MlpPolicy", Four(), seed=0, n_steps=20)
    obs = np.zeros((50, 2), np.float32)
    for deterministic in (False, True):
        actions, _ = model.predict(obs, deterministic=deterministic)
        assert set(actions) <= {4, 5} and actions.shape == (50,)
    assert len(set(model.predict(obs)[0])) == 2
    assert model.predict(obs[0])[0] in (4, 5)


def test_predictions_take_one_observation_or_a_row_of_them():
    """Two by two observations were read as four."""
    model = DDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    for shape in [(2, 2, 3), (1, 1, 3)]:
        with pytest.raises(ValueError, match="Unexpected observation shape"):
            model.predict(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "given, start, learnt", [("0.1", 0.1, False), ("auto_0.1", 0.1, True), ("auto", 1.0, True)]
)
def test_entropy_coefficients_as_words(given, start, learnt):
    """A number in quotes was refused."""
    model = SAC("MlpPolicy", "Pendulum-v1", **QUICK, ent_coef=given)
    if learnt:
        assert np.isclose(model.log_ent_coef.exp().item(), start)
    else:
        assert model.log_ent_coef is None and model._settings()["ent_coef"] == start
    model.learn(60)
    assert (model.log_ent_coef is not None) == learnt
    assert np.isclose(model._agent.metrics()["train/ent_coef"], start, atol=0.05)


def test_sacs_targets_follow_every_kth_update():
    """`target_update_interval` was refused."""
    followed = []

    def watch(local, _):
        state = local["self"].policy.state_dict()
        critics = {k: v for k, v in state.items() if k.startswith("critic.")}
        targets = [state[k.replace("critic", "critic_target")] for k in critics]
        apart = [float((c - t).abs().max()) for c, t in zip(critics.values(), targets, strict=True)]
        followed.append(max(apart) < 1e-6)
        return True

    model = SAC("MlpPolicy", "Pendulum-v1", **QUICK, tau=1.0, target_update_interval=3)
    model.learn(58, callback=watch)
    # A callback sees the updates before its step's own.
    assert model._n_updates == 8
    assert followed[-7:] == [True, False, False, True, False, False, True]


@pytest.mark.parametrize("keywords", [{}, {"device": "auto"}])
@pytest.mark.parametrize("kind", [AC, DDPG, STSAC])
def test_a_gpu_is_taken_only_if_named(kind, keywords, monkeypatch, tmp_path):
    """RL Zoo passes `auto`, which took a GPU where there was one, and with it another engine."""
    monkeypatch.setattr(th.cuda, "is_available", lambda: True)
    model = kind("MlpPolicy", "Pendulum-v1", **keywords)
    assert model.device.type == "cpu" and model._settings()["device"] == "cpu"


def test_threads_reach_the_fused_engine_and_leave_pytorchs_alone():
    """They were libtorch's alone."""
    before = th.get_num_threads()
    weights = []
    for threads in (1, 2, 2):
        model = STDDPG("MlpPolicy", "Pendulum-v1", **QUICK, engine="fused", threads=threads)
        seen = set()
        model.learn(80, callback=lambda *_, seen=seen: seen.add(th.get_num_threads()) or True)
        assert seen == {threads} and th.get_num_threads() == before
        weights.append(model.policy.parameters_to_vector())
    one, two, again = weights
    assert np.array_equal(two, again)
    # Sums over two halves of a batch differ in the last digits from sums over the whole.
    assert not np.array_equal(one, two) and np.allclose(one, two, atol=1e-3)


def test_type_checkers_know_our_keywords_and_attributes(python):
    """`leader`, `lam` and the others were unknown to mypy."""

    def mypy(name):
        command = [python, "-m", "mypy", "--no-error-summary", f"tests/typed/{name}.py"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout

    assert mypy("right") == ""
    found = {int(line.split(":")[1]) for line in mypy("wrong").splitlines() if "error:" in line}
    lines = (ROOT / "tests/typed/wrong.py").read_text().splitlines()
    assert found == {i for i, line in enumerate(lines, 1) if line.endswith("# wrong")}


@pytest.mark.parametrize("kind", [AC, STAC, DDPG, STDDPG, SAC, STSAC])
def test_every_setting_is_a_typed_keyword_and_a_typed_attribute(kind):
    words = typing.get_type_hints(getattr(keywords, f"{kind.__name__}Keywords"))
    attributes = {name for base in kind.__mro__ for name in getattr(base, "__annotations__", {})}
    for name in kind.own_defaults:
        assert name in words and name in attributes, name
    foreign = {"policy", "env", "_init_setup_model", *on_policy.FOREIGN}
    base = sb3.A2C if issubclass(kind, AC) else sb3.SAC if issubclass(kind, SAC) else sb3.DDPG
    theirs = set(inspect.signature(base).parameters) - foreign
    assert set(words) == theirs | set(kind.own_defaults) | {"_init_setup_model"}


# -- gradients -----------------------------------------------------------------------------------


def batch_of(seed, size=12, noise=False):
    rng = np.random.default_rng(seed)
    batch = {
        "obs": rng.normal(size=(size, 3)),
        "actions": rng.uniform(-1, 1, (size, 1)),
        "rewards": rng.normal(size=size),
        "next_obs": rng.normal(size=(size, 3)),
        "dones": rng.integers(0, 2, size),
    }
    if noise:
        batch |= {"noise": rng.normal(size=(size, 1)), "next_noise": rng.normal(size=(size, 1))}
    return {name: values.astype(np.float32) for name, values in batch.items()}


def oracle(model, batch, lam, gamma=0.99):
    """The total derivative by PyTorch in float64, with the follower's whole Hessian."""
    b = {name: th.as_tensor(values, dtype=th.float64) for name, values in batch.items()}
    state = {k: v.double() for k, v in model.policy.state_dict().items()}
    names = {p: [k for k in state if k.startswith(f"{p}.")] for p in ("actor", "critic")}
    flat = {p: th.cat([state[k].flatten() for k in names[p]]) for p in names}

    def unflatten(vector, player):
        sizes = [state[k].numel() for k in names[player]]
        parts = th.split(vector, sizes)
        return {k: part.view_as(state[k]) for k, part in zip(names[player], parts, strict=True)}

    def layers(parameters, prefix, x):
        indices = sorted(
            {
                int(k[len(prefix) + 1 :].split(".")[0])
                for k in parameters
                if k.startswith(prefix + ".")
            }
        )
        for i in indices:
            x = x @ parameters[f"{prefix}.{i}.weight"].T + parameters[f"{prefix}.{i}.bias"]
            x = th.relu(x) if i != indices[-1] else x
        return x

    def mu(theta, obs):
        return th.tanh(layers(theta, "actor.mu", obs))

    def q(w, name, obs, actions):
        return layers(w, name, th.cat([obs, actions], 1)).squeeze(1)

    def losses(theta, w):
        theta, w = unflatten(theta, "actor"), unflatten(w, "critic")
        actor = -q(w, "critic.qf0", b["obs"], mu(theta, b["obs"])).mean()
        target = q(state, "critic_target.qf0", b["next_obs"], mu(theta, b["next_obs"]))
        y = b["rewards"] + gamma * (1 - b["dones"]) * target
        critic = ((q(w, "critic.qf0", b["obs"], b["actions"]) - y) ** 2).mean()
        return {"actor": actor, "critic": critic}

    leader = getattr(model, "leader", "actor")
    follower = "critic" if leader == "actor" else "actor"
    x = {p: v.clone().requires_grad_(True) for p, v in flat.items()}
    f = losses(x["actor"], x["critic"])
    d1f1, d2f1 = th.autograd.grad(f[leader], [x[leader], x[follower]], create_graph=True)
    d2f2 = th.autograd.grad(f[follower], x[follower], create_graph=True)[0]
    rows = [th.autograd.grad(g, x[follower], retain_graph=True)[0] for g in d2f2]
    hessian = th.stack(rows) + lam * th.eye(len(rows), dtype=th.float64)
    solution = th.linalg.solve(hessian, d2f1.detach())
    implicit = th.autograd.grad(d2f2 @ solution, x[leader])[0]
    return {
        "leader_gradient": unflatten(d1f1.detach(), leader),
        "implicit_term": unflatten(implicit, leader),
        "total_derivative": unflatten((d1f1 - implicit).detach(), leader),
        "follower_gradient": unflatten(d2f2.detach(), follower),
    }


@pytest.mark.parametrize("leader", ["actor", "critic"])
def test_game_gradients_are_those_of_pytorch(leader):
    keywords = {**QUICK, "policy_kwargs": {"net_arch": [5]}}
    model = STDDPG("MlpPolicy", "Pendulum-v1", leader=leader, **keywords).learn(70)
    batch = batch_of(0)
    ours = game_gradients(model, batch, solver="dense", lam=1.0)
    for kind, expected in oracle(model, batch, lam=1.0).items():
        assert list(ours[kind]) == list(expected), kind
        for name, values in expected.items():
            scale = max(1e-3, float(values.abs().max()))
            assert np.allclose(ours[kind][name], values, atol=1e-3 * scale), (kind, name)
    norm = np.sqrt(sum((v**2).sum() for v in ours["implicit_term"].values()))
    assert norm > 1e-5


def test_game_gradients_of_sac_take_the_noise_and_add_up():
    model = STSAC("MlpPolicy", "Pendulum-v1", **QUICK).learn(70)
    batch = batch_of(1, noise=True)
    ours = game_gradients(model, batch, solver="cg", lam=10.0, cg_iterations=50, cg_tolerance=1e-8)
    dense = game_gradients(model, batch, solver="dense", lam=10.0)
    for name, total in ours["total_derivative"].items():
        parts = ours["leader_gradient"][name] - ours["implicit_term"][name]
        assert np.allclose(total, parts, atol=1e-6)
        assert np.allclose(total, dense["total_derivative"][name], atol=1e-4)
    other = game_gradients(model, {**batch, "noise": -batch["noise"]}, solver="dense", lam=10.0)
    weight = "actor.mu.weight"
    assert not np.allclose(other["leader_gradient"][weight], dense["leader_gradient"][weight])
    with pytest.raises(ValueError, match="next_noise"):
        game_gradients(model, batch_of(1))
    with pytest.raises(ValueError, match=r"obs has shape"):
        game_gradients(model, {**batch, "obs": batch["obs"][:, :2]})


def test_an_empty_batch_is_a_value_error():
    """It was a panic in Rust."""
    model = STDDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    with pytest.raises(ValueError, match="empty"):
        game_gradients(model, batch_of(0, size=0))


@pytest.mark.parametrize("lam", [float("nan"), float("inf"), -1.0])
def test_a_lam_that_is_none_is_refused_by_name(lam):
    """NaN ended in a message about JSON's line and column."""
    model = STDDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    with pytest.raises(ValueError, match="lam"):
        game_gradients(model, batch_of(0), lam=lam)


def test_a_failed_solve_is_told():
    """An implicit term of zero was all that told of it."""
    model = STDDPG("MlpPolicy", "Pendulum-v1", leader="critic", **QUICK).learn(70)
    batch = batch_of(0)
    weights = {k: 1e18 * v for k, v in model.get_parameters()["policy"].items()}
    good = game_solve(model, batch, solver="dense", lam=100.0)
    assert good["residual"] < 1e-3 and not good["fallback"]
    rough = game_solve(model, batch, solver="cg", lam=0.1, cg_iterations=1, curvature_stop=False)
    assert rough["residual"] > good["residual"] and rough["iterations"] == 1
    model.policy.load_state_dict(weights)
    with pytest.warns(RuntimeWarning, match="the implicit term is zero"):
        gradients = game_gradients(model, batch, solver="cg")
    assert not any(v.any() for v in gradients["implicit_term"].values())
    assert game_solve(model, batch, solver="cg")["fallback"]


@pytest.mark.parametrize("kind", [AC, STAC])
def test_gradients_on_a_batch_are_the_off_policy_classes_alone(kind):
    """It ended in an error about a batch's keys."""
    with pytest.raises(TypeError, match=f"the model is {kind.__name__}"):
        game_gradients(kind("MlpPolicy", "Pendulum-v1"), batch_of(0))


def test_a_batch_with_nan_is_refused_by_name():
    batch = batch_of(0)
    batch["next_obs"][3, 1] = np.nan
    with pytest.raises(ValueError, match="next_obs"):
        game_gradients(STDDPG("MlpPolicy", "Pendulum-v1", **QUICK), batch)


def test_a_critic_that_policies_cannot_hold_is_refused_by_name():
    """It ended in an error about the sizes of tensors."""
    with pytest.raises(ValueError, match="critic='q'"):
        stac_bench.STAC("MlpPolicy", "CartPole-v1", critic="q").learn(10)


def test_a_schedule_of_ones_own_is_taken():
    model = stac_bench.DDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    model.lr_schedule = lambda _: 1e-4
    model.learn(60)
    assert model.num_timesteps == 60


@pytest.mark.parametrize("n_critics", [1, 2, 3])
def test_engines_agree_on_any_number_of_critics(n_critics):
    keywords = {**QUICK, "policy_kwargs": {"net_arch": [6, 5], "n_critics": n_critics}}
    batch, gradients = batch_of(2, noise=True), []
    for engine in ("autograd", "fused"):
        model = STSAC("MlpPolicy", "Pendulum-v1", engine=engine, **keywords)
        gradients.append(game_gradients(model, batch, solver="woodbury", lam=0.1))
    for kind, expected in gradients[0].items():
        for name, values in expected.items():
            scale = max(1e-4, np.abs(values).max())
            assert np.allclose(gradients[1][kind][name], values, atol=1e-3 * scale), (kind, name)


# -- what goes wrong -----------------------------------------------------------------------------


def test_nan_rewards_raise_value_error_and_leave_the_model_usable():
    model = DDPG("MlpPolicy", Short(poison=60), **QUICK)
    with pytest.raises(ValueError, match=r"reward of NaN at step 60"):
        model.learn(100)
    assert np.isfinite(model.predict(np.zeros((1, 2), np.float32))[0]).all()


def test_an_environments_exception_comes_through_as_it_is():
    with pytest.raises(LookupError, match="out of luck"):
        DDPG("MlpPolicy", Short(fail=30), **QUICK).learn(100)


def test_a_callbacks_exception_comes_through_as_it_is():
    def fail(*_):
        raise ZeroDivisionError("callback")

    with pytest.raises(ZeroDivisionError, match="callback"):
        DDPG("MlpPolicy", "Pendulum-v1", **QUICK).learn(100, callback=fail)


@pytest.mark.parametrize(
    "kind, keywords, words",
    [
        (SAC, {"n_steps": 3}, "n_steps"),
        (SAC, {"target_update_interval": 0}, "target_update_interval"),
        (SAC, {"ent_coef": "auto_0"}, "ent_coef"),
        (STDDPG, {"lam": float("nan")}, "lam=nan"),
        (STDDPG, {"lam": -1.0}, "lam"),
        (DDPG, {"threads": 0}, "threads"),
        (DDPG, {"replay_buffer_kwargs": {"handle_timeout_termination": False}}, "handle_timeout"),
        (DDPG, {"policy_kwargs": {"net_arch": {"pi": [8], "qf": [9]}}}, "net_arch"),
        (DDPG, {"policy_kwargs": {"activation_fn": "gelu"}}, "gelu"),
        (STDDPG, {"leader": "referee"}, "referee"),
        (STDDPG, {"solver": "magic"}, "magic"),
        (STDDPG, {"leader": "critic", "solver": "woodbury"}, "woodbury"),
        (STDDPG, {"target_policy": "target"}, "target_policy"),
        (STAC, {"leader": "critic"}, "leader"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(kind, keywords, words):
    with pytest.raises((ValueError, AssertionError), match=words):
        kind("MlpPolicy", "Pendulum-v1", **keywords)


@pytest.mark.parametrize("kind", [AC, DDPG, STSAC])
@pytest.mark.parametrize(
    "name, value",
    [
        ("optimizer_class", th.optim.RMSprop),
        ("optimizer_kwargs", {"eps": 1e-5}),
        ("features_extractor_class", BaseFeaturesExtractor),
        ("features_extractor_kwargs", {"features_dim": 3}),
    ],
)
def test_policy_keywords_are_not_ignored(kind, name, value):
    """Training went on with Adam's defaults, flat features and our own first weights."""
    with pytest.raises(ValueError, match=f"{name}={re.escape(repr(value))}"):
        kind("MlpPolicy", "Pendulum-v1", policy_kwargs={name: value})


def test_policy_keywords_at_what_they_are_here_are_taken():
    adam = {"optimizer_class": th.optim.Adam, "optimizer_kwargs": {"betas": [0.9, 0.999]}}
    flat = {"share_features_extractor": True, "features_extractor_class": FlattenExtractor}
    DDPG("MlpPolicy", "Pendulum-v1", policy_kwargs={**adam, **flat, "n_critics": 1})
    with pytest.raises(ValueError, match="ortho_init=False"):
        AC("MlpPolicy", "Pendulum-v1", policy_kwargs={"ortho_init": False})


@pytest.mark.parametrize("kind", [AC, DDPG, STDDPG, SAC, STSAC, STAC])
def test_unknown_keywords_are_type_errors_that_name_them(kind):
    with pytest.raises(TypeError, match="lamda"):
        kind("MlpPolicy", "Pendulum-v1", lamda=1.0)
    with pytest.raises(TypeError, match="n_actors"):
        kind("MlpPolicy", "Pendulum-v1", policy_kwargs={"n_actors": 2})
    with pytest.raises(TypeError, match="rollout_buffer_class"):
        kind("MlpPolicy", "Pendulum-v1", rollout_buffer_class=None)


def test_ctrl_c_stops_learning_and_keeps_what_was_learnt(python, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import stac_bench\n"
        "model = stac_bench.DDPG('MlpPolicy', 'Pendulum-v1', learning_starts=10, seed=0)\n"
        "try:\n"
        "    model.learn(10**7, callback=lambda l, g: print('step', flush=True) or True)\n"
        "except KeyboardInterrupt:\n"
        "    steps = next(iter(model.actor.optimizer.state.values()))['step']\n"
        "    print('interrupted', model.num_timesteps > 0, float(steps) > 0)\n"
    )
    # A shell gives its background jobs an ignored SIGINT, and Python then leaves it so.
    default = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        [python, script], stdout=subprocess.PIPE, text=True, preexec_fn=default
    ) as process:
        for _ in range(30):
            assert process.stdout.readline().strip() == "step"
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert output.splitlines()[-1] == "interrupted True True"


def test_other_threads_run_during_updates():
    counts, done = [0], threading.Event()

    def count():
        while not done.is_set():
            counts[0] += 1

    before_and_after = []
    counter = threading.Thread(target=count)
    counter.start()
    try:
        # The first round of updates falls between the callbacks of steps 100 and 101.
        model = DDPG(
            "MlpPolicy", Short(), seed=0, learning_starts=99, train_freq=100, gradient_steps=300
        )
        model.learn(101, callback=lambda *_: before_and_after.append(counts[0]) or True)
    finally:
        done.set()
        counter.join()
    steps = np.diff(before_and_after)
    during, usual = steps[99], np.median(steps)
    assert during > 10 * max(usual, 100)


@pytest.mark.parametrize("version", ["2.12.1", None])
def test_another_pytorch_is_an_import_error_that_says_what_to_do(python, tmp_path, version):
    (tmp_path / "torch").mkdir()
    text = f"__version__ = '{version}+cpu'" if version else "raise ImportError('no torch')"
    (tmp_path / "torch" / "__init__.py").write_text(text)
    done = subprocess.run(
        [python, "-c", "import stac_bench"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "pip install 'torch==2.13.*'" in done.stderr.splitlines()[-1]


def test_versions_agree():
    from importlib.metadata import version

    from stac_bench import _native

    assert version("stac-bench") == stac_bench.__version__
    assert _native.libtorch().split("+")[0] == th.__version__.split("+")[0]
