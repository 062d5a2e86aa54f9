"""What a callback or a user changes in a model of the Python package, and what copies keep."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stac_bench import DDPG, STAC, STDDPG, STSAC
from test_python import QUICK, Short, assert_same, state_of
from test_python_learning import Change, small

# -- settings ------------------------------------------------------------------------------------


def setting(name, value):
    return pytest.param(lambda model: setattr(model, name, value), id=f"{name}={value}")


CHANGES = [
    *(setting("gamma", 0.5), setting("tau", 0.5), setting("batch_size", 7)),
    *(setting("gradient_steps", 3), setting("ent_coef", 3.0), setting("lam", 30.0)),
    *(setting("norm_ratio_clamp", 1e-3), setting("unroll", 2)),
    setting("target_update_interval", 3),
    pytest.param(lambda model: setattr(model, "lr_schedule", lambda _: 1e-5), id="lr_schedule"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_setting_changed_by_a_callback_counts_from_the_next_update(change):
    def model():
        return STSAC("MlpPolicy", "Pendulum-v1", **QUICK, ent_coef=0.1, solver="cg", lam=10.0)

    changed, between, unchanged = model(), model(), model().learn(100)
    changed.learn(100, callback=Change(61, change))
    # The next update after step 60 is that of step 61. Nothing but the setting has changed: streams
    # of random numbers, moments and memory go on.
    between.learn(60)
    change(between)
    between.learn(40, reset_num_timesteps=False)
    assert_same(state_of(changed), state_of(between))
    name = "critic.qf0.0.weight"
    assert not th.equal(state_of(changed)[name], state_of(unchanged)[name])


@pytest.mark.parametrize("kind", [DDPG, STSAC, STAC])
def test_a_changed_setting_keeps_random_streams(kind):
    keywords = {"n_steps": 20, "seed": 0} if kind is STAC else QUICK
    whole = kind("MlpPolicy", "Pendulum-v1", **keywords).learn(160)
    halves = kind("MlpPolicy", "Pendulum-v1", **keywords).learn(100)
    for gamma in (0.5, 0.99):
        halves.gamma = gamma
        halves._build()
    halves.learn(60, reset_num_timesteps=False)
    assert_same(state_of(whole), state_of(halves))


def test_action_noise_given_by_a_callback_counts_from_the_next_rollout():
    class Wide(gym.Env):
        observation_space = gym.spaces.Box(-1, 1, (2,))
        action_space = gym.spaces.Box(-1, 1, (2,))

        def reset(self, *, seed=None, options=None):
            return np.zeros(2, np.float32), {}

        def step(self, action):
            return np.zeros(2, np.float32), 0.0, False, False, {}

    def bring(model):
        model.action_noise = NormalActionNoise(np.full(2, 9.0), np.zeros(2))

    model = DDPG("MlpPolicy", DummyVecEnv([Wide] * 2), **small(), learning_starts=2)
    model.learn(12, callback=Change(6, bring))
    assert np.abs(model.replay_buffer.actions[1:3]).max() < 0.9
    assert (model.replay_buffer.actions[3:6] == 1).all()


def test_set_random_seed_works_in_a_callback():
    def seed(model):
        model.set_random_seed(5)

    runs = []
    for first in (0, 1):
        model = DDPG("MlpPolicy", "Pendulum-v1", **{**QUICK, "seed": first})
        model.learn(40, callback=Change(10, seed))
        runs.append(model.replay_buffer.actions[10:40].copy())
    assert np.array_equal(*runs), "random actions of one seed, from step 11 on"


def test_a_wrong_batch_size_is_refused_at_the_next_update():
    model = DDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    with pytest.raises(ValueError, match="batch_size"):
        model.learn(100, callback=Change(60, lambda m: setattr(m, "batch_size", 0)))
    assert model.num_timesteps == 60


# -- parameters ----------------------------------------------------------------------------------


def zero(model):
    for tensor in model.policy.parameters():
        tensor.data[:] = 0.0


def test_writes_through_data_reach_the_agent():
    model = DDPG("MlpPolicy", "Pendulum-v1", **QUICK).learn(60)
    policy = model.policy
    for tensor in policy.parameters():
        tensor.data[:] = 0.0
    assert model.predict(np.ones((1, 3), np.float32))[0] == 0.0
    for tensor in policy.parameters():
        tensor.data.copy_(th.ones_like(tensor))
    assert model.predict(np.ones((1, 3), np.float32))[0] == 2.0
    model = DDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    model.learn(61, callback=Change(61, zero))
    weight = state_of(model)["critic.qf0.0.weight"]
    assert float(weight.abs().max()) < 2e-3, "one Adam step from zero"


def test_polyak_update_by_hand_reaches_the_agent():
    model = DDPG("MlpPolicy", "Pendulum-v1", **QUICK, tau=0.0)

    def follow(model):
        polyak_update(model.critic.parameters(), model.critic_target.parameters(), 1.0)

    model.learn(70, callback=Change(65, follow))
    state, start = state_of(model), state_of(DDPG("MlpPolicy", "Pendulum-v1", **QUICK))
    name = "qf0.0.weight"
    assert not th.equal(state[f"critic_target.{name}"], start[f"critic_target.{name}"])
    assert th.equal(state["actor_target.mu.0.weight"], start["actor_target.mu.0.weight"])


@pytest.mark.parametrize("kind", [STDDPG, STSAC, STAC])
@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_and_pickles_of_models_keep_what_was_learnt(kind, way):
    keywords = {"n_steps": 20} if kind is STAC else {**QUICK, "buffer_size": 100}
    model = kind("MlpPolicy", "Pendulum-v1", **keywords).learn(80)
    other, before = way(model), state_of(model)
    assert_same(before, state_of(other))
    obs = np.ones((1, 3), np.float32)
    assert np.array_equal(
        model.predict(obs, deterministic=True)[0], other.predict(obs, deterministic=True)[0]
    )
    if kind is not STAC:
        assert type(pickle.loads(pickle.dumps(model.replay_buffer))) is ReplayBuffer
        assert np.array_equal(model.replay_buffer.rewards, other.replay_buffer.rewards)
    other.learn(60, reset_num_timesteps=False)
    assert other.num_timesteps == 140 and other._n_updates > model._n_updates
    assert_same(before, state_of(model))
    assert not th.equal(*(next(iter(state_of(m).values())) for m in (model, other)))


@pytest.mark.parametrize("way", ["save", "pickle"])
def test_a_loaded_model_continues_with_its_adaptive_damping(way, tmp_path):
    keywords = {**QUICK, "solver": "cg", "lam": 1e9, "lam_decay": "adaptive"}
    model = STDDPG("MlpPolicy", "Pendulum-v1", **keywords).learn(90)
    # By 1 % down in each of the 40 updates.
    assert model._agent.damping == pytest.approx(1.01**-40)
    model.save(tmp_path / "model.zip")
    other = STDDPG.load(tmp_path / "model.zip", env=model.get_env())
    other = pickle.loads(pickle.dumps(model)) if way == "pickle" else other
    other.learn(10, reset_num_timesteps=False)
    assert other._agent.damping == pytest.approx(1.01**-50)


def test_an_environment_without_vec_normalize_is_not_normalised():
    env = VecNormalize(DummyVecEnv([Short]))
    model = DDPG("MlpPolicy", env, **QUICK, noise_std=0.0).learn(60)
    model.set_env(DummyVecEnv([Short]))

    def acts_as_predicted(local, _):
        predicted, _ = local["self"].predict(local["self"]._last_obs, deterministic=True)
        return np.allclose(local["actions"], predicted, atol=1e-6)

    model.learn(20, callback=acts_as_predicted, reset_num_timesteps=False)
    assert model.num_timesteps == 80
