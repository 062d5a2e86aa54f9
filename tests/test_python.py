"""The Python package against PyTorch, Stable-Baselines3 and its own promises."""

import subprocess

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch as th
from algorithms import CLASSES, LED_OFF_POLICY
from conftest import ROOT
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor, VecNormalize
from stac_bench import (
    AC,
    DDPG,
    SAC,
    STDDPG,
    STSAC,
)

QUICK = {
    "seed": 0,
    "learning_starts": 50,
    "random_steps": 50,
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


@pytest.mark.parametrize("kind", CLASSES)
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


@pytest.mark.parametrize("kind", LED_OFF_POLICY)
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
    """Statistics are a dictionary there."""
    env = VecNormalize(DummyVecEnv([Parts]), norm_obs_keys=keys, clip_obs=0.5)
    model = DDPG("MultiInputPolicy", env, **{**QUICK, "random_steps": 0}, noise_std=0.0)
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
    """`normalize_images=False` holds in training as in prediction."""

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
        keywords |= {"random_steps": 0, "noise_std": 0.0}
        model = DDPG("MlpPolicy", Pictures(), **keywords)
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
    """Stochastic predictions come from PyTorch, which counts from zero."""

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
    """An array of two by two observations is neither."""
    model = DDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    for shape in [(2, 2, 3), (1, 1, 3)]:
        with pytest.raises(ValueError, match="Unexpected observation shape"):
            model.predict(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "given, start, learnt", [("0.1", 0.1, False), ("auto_0.1", 0.1, True), ("auto", 1.0, True)]
)
def test_entropy_coefficients_as_words(given, start, learnt):
    """A number in quotes is a number."""
    model = SAC("MlpPolicy", "Pendulum-v1", **QUICK, ent_coef=given)
    if learnt:
        assert np.isclose(model.log_ent_coef.exp().item(), start)
    else:
        assert model.log_ent_coef is None and model._settings()["ent_coef"] == start
    model.learn(60)
    assert (model.log_ent_coef is not None) == learnt
    assert np.isclose(model.logger.name_to_value["train/ent_coef"], start, atol=0.05)


def test_sacs_targets_follow_every_kth_update():
    """`target_update_interval` is k."""
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
    """RL Zoo passes `auto`; on a GPU the engine would be another."""
    monkeypatch.setattr(th.cuda, "is_available", lambda: True)
    model = kind("MlpPolicy", "Pendulum-v1", **keywords)
    assert model.device.type == "cpu" and model._settings()["device"] == "cpu"


def test_threads_reach_the_fused_engine_and_leave_pytorchs_alone():
    """`threads` counts those of both, while the model learns."""
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
    """mypy accepts what is right and finds each line that is wrong."""

    def mypy(name):
        command = [python, "-m", "mypy", "--no-error-summary", f"tests/typed/{name}.py"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout

    assert mypy("right") == ""
    found = {int(line.split(":")[1]) for line in mypy("wrong").splitlines() if "error:" in line}
    lines = (ROOT / "tests/typed/wrong.py").read_text().splitlines()
    assert found == {i for i, line in enumerate(lines, 1) if line.endswith("# wrong")}
