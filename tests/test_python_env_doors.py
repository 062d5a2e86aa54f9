"""Environments as they are, for the Python classes: actions and numbers as on the command line."""

import gymnasium as gym
import numpy as np
import odd_environments  # noqa: F401
import pytest
from safetensors.torch import load_file
from stac_bench import AC, DDPG, SAC, STDDPG
from test_env_doors import IMPORT, run
from test_python import QUICK

POLICY = {"net_arch": [16, 16]}


@pytest.mark.parametrize("kind", [DDPG, SAC, AC])
def test_predicted_actions_of_whole_numbers_are_rounded_as_in_training(kind):
    model = kind("MlpPolicy", gym.make("Whole-v0"), seed=0, policy_kwargs=POLICY)
    model.learn(200)
    obs = 3 * np.random.default_rng(0).normal(size=(500, 2, 2))
    for deterministic in (True, False):
        actions, _ = model.predict(obs, deterministic=deterministic)
        assert actions.dtype == np.int64
        assert ((actions >= -3) & (actions <= 3)).all()
    raw, _ = model.policy.predict(obs, deterministic=True)
    actions, _ = model.predict(obs, deterministic=True)
    assert np.array_equal(actions, np.clip(np.round(raw), -3, 3))
    # The check sees a difference: some would be cut to another number.
    assert (np.round(raw) != np.trunc(raw)).any()


@pytest.mark.parametrize("kind", [DDPG, SAC, AC])
def test_boxes_without_dimension_are_learned_and_predicted(kind):
    env = gym.make("Scalar-v0")
    model = kind("MlpPolicy", env, seed=0, policy_kwargs=POLICY)
    model.learn(200)
    obs, _ = env.reset(seed=0)
    for deterministic in (True, False):
        action, _ = model.predict(obs, deterministic=deterministic)
        assert action.shape == ()
        env.step(action)


@pytest.mark.parametrize(("algo", "kind"), [("ddpg", DDPG), ("sac", SAC)])
def test_images_are_the_same_numbers_as_for_the_command_line(stac_bench, tmp_path, algo, kind):
    done = run(stac_bench, tmp_path, "Picture-v0", algo=algo)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / algo / "Picture-v0_0"
    done = stac_bench(
        *(tmp_path, "eval", folder, *IMPORT, "--model", "final", "--episodes", 3, "--seed", 7)
    )
    assert done.returncode == 0, done.stderr
    told = [line.split()[3] for line in done.stdout.splitlines() if line.startswith("episode ")]
    env = gym.make("Picture-v0")
    model = kind("MlpPolicy", env, seed=1, policy_kwargs=POLICY)
    model.policy.load_state_dict(load_file(folder / "final_model" / "model.safetensors"))
    for episode, total in enumerate(told):
        obs, _ = env.reset(seed=7 if episode == 0 else None)
        returned, ended = 0.0, False
        while not ended:
            action, _ = model.predict(obs, deterministic=True)
            obs, reward, terminated, truncated, _ = env.step(action)
            returned, ended = returned + reward, terminated or truncated
        assert f"{returned:.2f}" == total.rstrip(",")


def test_a_loaded_memory_with_a_number_that_is_none_is_named(tmp_path):
    model = STDDPG("MlpPolicy", gym.make("Pendulum-v1"), **QUICK)
    model.learn(150)
    model.replay_buffer.rewards[70] = np.nan
    model.save_replay_buffer(tmp_path / "memory")
    model.load_replay_buffer(tmp_path / "memory")
    with pytest.raises(ValueError, match=r"row 70 of the replay memory has a reward of NaN"):
        model.learn(100, reset_num_timesteps=False)
