"""`save_checkpoint` and `load_checkpoint`: training in Python goes on exactly."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import resumable  # noqa: F401  (registers environments)
import stac_bench
from gymnasium.wrappers import NormalizeReward
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

NET = {"policy_kwargs": {"net_arch": [16]}, "seed": 3}
OFF = {**NET, "learning_starts": 50, "batch_size": 8, "buffer_size": 150, "train_freq": 5}
ON = {**NET, "n_steps": 25}
CASES = [
    ("DDPG", "Hopper-v4", OFF),
    ("STDDPG", "InvertedPendulum-v4", OFF),
    ("TD3", "Pendulum-v1", OFF),
    ("SAC", "Walker2d-v5", OFF),
    ("STSAC", "Wrapped-v0", OFF),
    ("AC", "CartPole-v1", ON),
    ("STAC", "Acrobot-v1", ON),
]
STEPS = 100  # of each half; rollouts end there


def after(model):
    """All that training has come to."""
    state = dict(model._agent.parameters())
    state |= {f"moment {name}": np.hstack(m[1:]) for name, m in model._agent.moments().items()}
    if hasattr(model, "replay_buffer"):
        state |= {f"column {i}": c for i, c in enumerate(model._agent.recall(1_000))}
    state["episodes"] = np.array([[e["r"], e["l"]] for e in model.ep_info_buffer])
    state["steps"] = np.array([model.num_timesteps, model._n_updates])
    state["observation"] = np.asarray(model._last_obs)
    return state


def same(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert np.array_equal(values, other[name]), name


def halves(kind, make, settings, folder):
    """A model trained in two calls of `learn`, with a checkpoint between them."""
    model = kind("MlpPolicy", make(), **settings)
    model.learn(STEPS)
    model.save_checkpoint(folder)
    return model.learn(STEPS, reset_num_timesteps=False)


@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize("name, env, settings", CASES)
def test_training_goes_on_exactly(tmp_path, name, env, settings, n_envs):
    kind = getattr(stac_bench, name)

    def make():
        return make_vec_env(env, n_envs=n_envs, seed=5)

    whole = halves(kind, make, settings, tmp_path / "checkpoint")
    again = kind.load_checkpoint(tmp_path / "checkpoint", make())
    assert again.num_timesteps == STEPS
    again.learn(STEPS, reset_num_timesteps=False)
    same(after(whole), after(again))
    # The chain goes on.
    again.save_checkpoint(tmp_path / "checkpoint")
    third = kind.load_checkpoint(tmp_path / "checkpoint", make())
    third.learn(STEPS, reset_num_timesteps=False)
    whole.learn(STEPS, reset_num_timesteps=False)
    same(after(whole), after(third))


HALF = """
import sys
import stac_bench, numpy as np
from stable_baselines3.common.env_util import make_vec_env
from test_python_checkpoints import OFF, STEPS, after, halves
part, folder, out = sys.argv[1:]
if part == "whole":
    model = halves(stac_bench.STDDPG, lambda: make_vec_env("Hopper-v4", 2), OFF, folder)
else:
    model = stac_bench.STDDPG.load_checkpoint(folder, make_vec_env("Hopper-v4", 2))
    model.learn(STEPS, reset_num_timesteps=False)
np.savez(out, **after(model))
"""


def test_another_process_goes_on_exactly(tmp_path, environment):
    # Both are fresh: other tests import RL Zoo, which exchanges a wrapper of Gymnasium's.
    for part in ("whole", "again"):
        words = [sys.executable, "-c", HALF, part, tmp_path / "checkpoint", tmp_path / part]
        subprocess.run([str(word) for word in words], env=environment, check=True)
    same(*(dict(np.load(tmp_path / f"{part}.npz")) for part in ("whole", "again")))


def test_normalised_environments_and_noise_go_on_exactly(tmp_path):
    def make():
        venv = DummyVecEnv([lambda: Monitor(NormalizeReward(gym.make("Pendulum-v1")))] * 2)
        venv.seed(4)
        return VecNormalize(venv)

    noise = OrnsteinUhlenbeckActionNoise(np.zeros(1), 0.2 * np.ones(1))
    settings = {**OFF, "action_noise": noise}
    whole = halves(stac_bench.DDPG, make, settings, tmp_path / "checkpoint")
    env = make()
    again = stac_bench.DDPG.load_checkpoint(tmp_path / "checkpoint", env)
    again.learn(STEPS, reset_num_timesteps=False)
    same(after(whole), after(again))
    assert np.array_equal(whole.get_vec_normalize_env().obs_rms.mean, env.obs_rms.mean)


def test_hidden_state_begins_a_new_episode_with_a_warning(tmp_path):
    def make():
        return make_vec_env("Hidden-v0", 1)

    model = stac_bench.DDPG("MlpPolicy", make(), **OFF).learn(STEPS - 10)
    model.save_checkpoint(tmp_path / "checkpoint")
    with pytest.warns(UserWarning, match=r"environments \[0\]"):
        again = stac_bench.DDPG.load_checkpoint(tmp_path / "checkpoint", make())
    again.learn(STEPS, reset_num_timesteps=False)
    assert again.num_timesteps > STEPS


def test_environments_in_other_processes_begin_a_new_episode(tmp_path):
    def make(kind):
        return make_vec_env("Pendulum-v1", 2, vec_env_cls=kind)

    env = make(SubprocVecEnv)
    model = stac_bench.DDPG("MlpPolicy", env, **OFF).learn(STEPS)
    model.save_checkpoint(tmp_path / "checkpoint")
    env.close()
    with pytest.warns(UserWarning, match=r"environments \[0, 1\]"):
        stac_bench.DDPG.load_checkpoint(tmp_path / "checkpoint", make(DummyVecEnv)).learn(50)


def test_checkpoint_callback_keeps_working(tmp_path):
    env = make_vec_env("Pendulum-v1", 1)
    callback = CheckpointCallback(50, str(tmp_path), save_replay_buffer=True)
    stac_bench.DDPG("MlpPolicy", env, **OFF).learn(STEPS, callback)
    assert stac_bench.DDPG.load(tmp_path / "rl_model_100_steps.zip", env).num_timesteps == 100
    assert (tmp_path / "rl_model_replay_buffer_100_steps.pkl").exists()


def test_wrong_folders_classes_and_moments_are_errors(tmp_path):
    env = make_vec_env("Pendulum-v1", 1)
    model = stac_bench.DDPG("MlpPolicy", env, **OFF)
    folder = tmp_path / "checkpoint"
    model.learn(STEPS).save_checkpoint(folder)
    with pytest.raises(ValueError, match="DDPG, not of SAC"):
        stac_bench.SAC.load_checkpoint(folder, env)
    with pytest.raises(ValueError, match="no checkpoint is there"):
        stac_bench.DDPG.load_checkpoint(tmp_path / "nowhere", env)
    with pytest.raises(ValueError, match="spaces do not match"):
        stac_bench.DDPG.load_checkpoint(folder, make_vec_env("Hopper-v4", 1))
    (tmp_path / "thesis").mkdir()
    with pytest.raises(ValueError, match="not replaced"):
        model.save_checkpoint(tmp_path / "thesis")
    with pytest.raises(RuntimeError, match="within `learn`"):
        model.learn(10, lambda *_: model.save_checkpoint(folder))
    learner = folder / "100" / "learner.bin"
    learner.write_bytes(learner.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"learner\.bin"):
        stac_bench.DDPG.load_checkpoint(folder, env)
