"""`save_checkpoint` and `load_checkpoint`: training in Python goes on exactly."""

import subprocess
import sys
import time
from random import Random

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


def test_only_checkpoints_are_replaced(tmp_path):
    """A folder of numbered folders is not one for that: it may hold the work of years."""
    model = stac_bench.DDPG("MlpPolicy", make_vec_env("Pendulum-v1", 1), **OFF).learn(STEPS)
    for name in ("runs/1/model", "runs/2/model", "checkpoint.old/thesis", "checkpoint.new/thesis"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("years of work")
    with pytest.raises(ValueError, match="not replaced"):
        model.save_checkpoint(tmp_path / "runs")
    for _ in range(2):
        model.save_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "notes").write_text("years of work")
    with pytest.raises(ValueError, match="not replaced"):
        model.save_checkpoint(tmp_path / "checkpoint")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files].count(b"years of work") == 5


def test_a_checkpoint_whose_writer_was_killed_between_two_renames_is_found(tmp_path):
    """As it is where two folders cannot be exchanged at once."""
    env = make_vec_env("Pendulum-v1", 1)
    folder, old = tmp_path / "checkpoint", tmp_path / "checkpoint.old-checkpoint"
    stac_bench.DDPG("MlpPolicy", env, **OFF).learn(STEPS).save_checkpoint(folder)
    folder.rename(old)
    model = stac_bench.DDPG.load_checkpoint(folder, env)
    assert model.num_timesteps == STEPS
    model.save_checkpoint(folder)
    assert folder.exists() and not old.exists()


@pytest.mark.parametrize("left", ["new", "old"])
def test_what_a_killed_writer_left_is_in_nobodys_way(tmp_path, left):
    """Half of it was removed already."""
    model = stac_bench.DDPG("MlpPolicy", make_vec_env("Pendulum-v1", 1), **OFF).learn(STEPS)
    folder, other = tmp_path / "checkpoint", tmp_path / f"checkpoint.{left}-checkpoint"
    model.save_checkpoint(folder)
    (other / f"{STEPS}.old").mkdir(parents=True)
    (other / "replay").mkdir()
    model.save_checkpoint(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_folder_may_be_named_with_a_slash_at_its_end(tmp_path):
    env = make_vec_env("Pendulum-v1", 1)
    model = stac_bench.DDPG("MlpPolicy", env, **OFF).learn(STEPS)
    for name in ("checkpoint/", "checkpoint", "checkpoint/"):
        model.save_checkpoint(f"{tmp_path}/{name}")
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
        again = stac_bench.DDPG.load_checkpoint(f"{tmp_path}/{name}", env)
        assert again.num_timesteps == STEPS


SAVING = """
import sys
import stac_bench
from stable_baselines3.common.env_util import make_vec_env
from test_python_checkpoints import OFF
model = stac_bench.DDPG("MlpPolicy", make_vec_env("Pendulum-v1", 1), **OFF).learn(int(sys.argv[2]))
while True:
    model.num_timesteps += 1
    model.save_checkpoint(sys.argv[1])
    print(model.num_timesteps, flush=True)
"""


def test_a_process_that_is_killed_as_it_saves_leaves_a_checkpoint(tmp_path, environment):
    folder, random, newest = tmp_path / "checkpoint", Random(0), STEPS
    for _ in range(4):
        words = [sys.executable, "-c", SAVING, str(folder), str(newest)]
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(random.randint(1, 20)):
            newest = int(process.stdout.readline())
        time.sleep(random.uniform(0, 0.01))
        process.kill()
        newest = max([newest, *map(int, process.stdout.read().split())])
        process.wait()
        model = stac_bench.DDPG.load_checkpoint(folder, make_vec_env("Pendulum-v1", 1))
        assert model.num_timesteps in (newest, newest + 1)
        newest += 1
