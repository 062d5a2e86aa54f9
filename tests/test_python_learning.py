"""The Python package's learning loop, held against Stable-Baselines3's own."""

import copy
import functools
import signal
import subprocess
import time

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch as th
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stac_bench import AC, DDPG, STSAC
from test_python import QUICK, Short, assert_same, state_of


def small():
    """Keywords; Stable-Baselines3 writes into them."""
    return {"policy_kwargs": {"net_arch": [8, 8]}, "seed": 0}


def shorts(n):
    return DummyVecEnv([Short] * n)


class Diary(BaseCallback):
    """Writes down where the model stands whenever it is called."""

    def __init__(self, stop=None):
        super().__init__()
        self.stop, self.entries = stop, []

    def write(self, event):
        model = self.model
        buffer = getattr(model, "replay_buffer", None)
        held = None if buffer is None else (buffer.pos, buffer.full)
        self.entries.append((event, model.num_timesteps, model._n_updates, held))

    def _on_training_start(self):
        self.write("training starts")

    def _on_rollout_start(self):
        self.write("rollout starts")

    def _on_step(self):
        self.write("step")
        if "replay_buffer" in self.locals:
            assert self.locals["replay_buffer"].pos == self.model.replay_buffer.pos
        return self.num_timesteps != self.stop

    def _on_rollout_end(self):
        self.write("rollout ends")

    def _on_training_end(self):
        self.write("training ends")


def diary(kind, envs, steps, stop=None, **keywords):
    model, callback = kind("MlpPolicy", shorts(envs), **small(), **keywords), Diary(stop)
    model.learn(steps, callback=callback)
    callback.write("over")
    return callback.entries


# -- order and schedule --------------------------------------------------------------------------


@pytest.mark.parametrize("ours, theirs", [(DDPG, sb3.DDPG), (STSAC, sb3.SAC)])
@pytest.mark.parametrize("stop", [None, 6, 7])
def test_callbacks_see_a_step_before_the_updates_that_it_makes_due(ours, theirs, stop):
    keywords = {"learning_starts": 4, "train_freq": 3, "gradient_steps": 2, "buffer_size": 10}
    expected = diary(theirs, 1, 14, stop, **keywords)
    assert diary(ours, 1, 14, stop, **keywords) == expected
    assert expected[-1][2] == {None: 8, 6: 0, 7: 2}[stop]


def test_on_policy_callbacks_see_a_step_before_the_update_that_it_makes_due():
    expected = diary(sb3.A2C, 2, 20, n_steps=4)
    assert diary(AC, 2, 20, n_steps=4) == expected


@pytest.mark.parametrize("envs", [1, 2])
@pytest.mark.parametrize("train_freq", [1, 5, (2, "episode")])
@pytest.mark.parametrize("gradient_steps", [-1, 0, 3])
@pytest.mark.parametrize("learning_starts", [0, 7, 10])
def test_updates_come_when_stable_baselines3_makes_them(
    envs, train_freq, gradient_steps, learning_starts
):
    if envs > 1 and isinstance(train_freq, tuple):
        train_freq = 2  # in episodes, Stable-Baselines3 takes a single environment
    keywords = {"train_freq": train_freq, "gradient_steps": gradient_steps, "batch_size": 2}
    counts = []
    for kind in (sb3.DDPG, DDPG):
        model = kind(
            "MlpPolicy", shorts(envs), **small(), **keywords, learning_starts=learning_starts
        )
        counts.append([])
        for more in (5, 8, 12):
            model.learn(more, reset_num_timesteps=False)
            counts[-1].append((model.num_timesteps, model._n_updates))
    assert counts[0] == counts[1]


# -- the replay buffer ---------------------------------------------------------------------------


def rust_memory(model):
    """All that the Rust memory holds: rewards, and which are the last of an episode cut short."""
    rewards, timeouts = np.array(model._agent.recall(10**6), dtype=object)[[2, 5]]
    return rewards.tolist(), timeouts.tolist()


class Change(BaseCallback):
    """Does something to the model at one step."""

    def __init__(self, at, change):
        super().__init__()
        self.at, self.change = at, change

    def _on_step(self):
        if self.num_timesteps == self.at:
            self.change(self.model)
        return True


def demonstrate(model):
    obs, action = np.zeros((1, 2), np.float32), np.zeros((1, 1), np.float32)
    for _ in range(3):
        model.replay_buffer.add(obs, obs, action, np.array([-7.0]), np.array([False]), [{}])


def forget(model):
    model.replay_buffer.reset()


def replace(model):
    old, buffer = model.replay_buffer, ReplayBuffer(30, *model_spaces(model), device="cpu")
    for i in range(2):
        row = [old.observations[i], old.next_observations[i], old.actions[i], old.rewards[i]]
        buffer.add(*row, np.array([False]), [{}])
    model.replay_buffer = buffer


def model_spaces(model):
    return model.observation_space, model.action_space


def relabel(model):
    model.replay_buffer.rewards[:5] = -1.0


@pytest.mark.parametrize("change", [demonstrate, forget, replace, relabel])
@pytest.mark.parametrize("during", [True, False])
def test_changes_to_the_replay_buffer_reach_the_memory(change, during):
    held = []
    for kind in (sb3.DDPG, DDPG):
        model = kind("MlpPolicy", Short(), **small(), buffer_size=20, learning_starts=100)
        if during:
            # In Stable-Baselines3 a buffer that replaces another counts from the next rollout on.
            freq = 12 if change is replace else 1
            model.train_freq = freq
            model._convert_train_freq()
            model.learn(24, callback=Change(12, change))
        else:
            model.learn(11)
            change(model)
            model.learn(13, reset_num_timesteps=False)
        buffer = model.replay_buffer
        size = buffer.size()
        held.append((buffer.pos, buffer.full, buffer.rewards[:size].ravel().tolist()))
        if change is not replace or not during:
            held[-1] += (buffer.timeouts[:size].ravel().tolist(),)
    if change is replace and during:
        # Ours takes it at once: the step at which it came is in the new buffer, not in the old.
        assert held[1][2][:2] == held[0][2][:2] and held[1][0] == held[0][0] + 1
    else:
        assert held[0] == held[1]
    rewards = rust_memory(model)[0]
    start = buffer.pos if buffer.full else 0
    assert rewards == np.roll(buffer.rewards[:size].ravel(), -start).tolist()


def test_a_buffer_kept_by_a_callback_is_up_to_date():
    kept, sizes = [], []

    def keep(locals_, _):
        kept.append(locals_["replay_buffer"])
        sizes.append((kept[0].pos, len(kept[0].sample(1).rewards) if kept[0].pos else 0))
        return True

    DDPG("MlpPolicy", Short(), **small(), learning_starts=100).learn(10, callback=keep)
    assert sizes == [(0, 0), *((i, 1) for i in range(1, 10))]


def test_reading_a_full_buffer_does_not_change_what_is_sampled():
    keywords = {**QUICK, "buffer_size": 70}
    whole = DDPG("MlpPolicy", "Pendulum-v1", **keywords).learn(160)
    halves = DDPG("MlpPolicy", "Pendulum-v1", **keywords).learn(101)
    assert halves.replay_buffer.full and halves.replay_buffer.rewards.any()
    halves.learn(59, reset_num_timesteps=False)
    assert_same(state_of(whole), state_of(halves))


@pytest.mark.parametrize("kind", [DDPG, sb3.DDPG])
def test_a_model_saved_with_its_replay_buffer_loads_with_it(kind, tmp_path):
    model = DDPG("MlpPolicy", "Pendulum-v1", **QUICK, buffer_size=200).learn(60)
    model.save(tmp_path / "with.zip", include=["replay_buffer"])
    model.save(tmp_path / "without.zip")
    loaded = kind.load(tmp_path / "with.zip", env=gym.make("Pendulum-v1"))
    assert loaded.replay_buffer.pos == 60
    assert np.array_equal(loaded.replay_buffer.rewards, model.replay_buffer.rewards)
    assert kind.load(tmp_path / "without.zip").replay_buffer.pos == 0
    loaded.learn(10, reset_num_timesteps=False)
    assert loaded.replay_buffer.pos == 70
    if kind is DDPG:
        assert loaded._agent.remembered == 70


# -- interruptions -------------------------------------------------------------------------------

# A shell gives its background jobs an ignored SIGINT, and Python then leaves it so.
default = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_interrupts_a_round_of_updates(python, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import stac_bench\n"
        "model = stac_bench.DDPG(\n"
        "    'MlpPolicy', 'Pendulum-v1', learning_starts=9, train_freq=10, gradient_steps=10**7\n"
        ")\n"
        "def announce(l, g):\n"
        "    print('step', flush=True)\n"
        "    return True\n"
        "try:\n"
        "    model.learn(10**7, callback=announce)\n"
        "except KeyboardInterrupt:\n"
        "    steps = next(iter(model.actor.optimizer.state.values()))['step']\n"
        "    steps = float(steps)\n"
        "    print(model.num_timesteps, 0 < steps < 10**7, model._n_updates == steps)\n"
    )
    with subprocess.Popen(
        [python, script], stdout=subprocess.PIPE, text=True, preexec_fn=default
    ) as process:
        for _ in range(10):
            assert process.stdout.readline().strip() == "step"
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert output.splitlines()[-1] == "10 True True"


def test_a_signal_handlers_exception_keeps_its_type():
    class Enough(Exception):
        pass

    def handler(*_):
        raise Enough("time is up")

    keywords = {"learning_starts": 9, "train_freq": 10, "gradient_steps": 10**7}
    model = DDPG("MlpPolicy", "Pendulum-v1", **keywords, **small())
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        with pytest.raises(Enough, match="time is up"):
            model.learn(100)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert model._n_updates > 0


def test_predicting_in_a_callback_keeps_running_statistics():
    runs = []
    for look in (False, True):
        env = VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]))
        model = STSAC("MlpPolicy", env, **QUICK)

        def predict(locals_, _):
            obs = 3.0 * np.ones((2, 3), np.float32)
            locals_["self"].predict(obs, deterministic=True)
            locals_["self"].predict(obs)
            return True

        model.learn(100, callback=predict if look else None)
        runs.append((state_of(model), env.obs_rms.mean.tolist(), env.ret_rms.var.tolist()))
    assert_same(runs[0][0], runs[1][0])
    assert runs[0][1:] == runs[1][1:]


# -- rollouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["box", "discrete"])
def test_the_rollout_buffer_holds_the_rollout(space):
    class Coins(Short):
        action_space = gym.spaces.Discrete(3)

    rollouts, steps = [], []

    class Keep(BaseCallback):
        def _on_step(self):
            names = ("rewards", "dones", "infos", "clipped_actions")
            steps.append({name: copy.deepcopy(self.locals[name]) for name in names})
            return True

        def _on_rollout_end(self):
            buffer = self.locals["rollout_buffer"]
            assert buffer is self.model.rollout_buffer and buffer.full
            rollouts.append((copy.deepcopy(buffer), copy.deepcopy(self.model.policy)))

    n, envs = 7, 2
    env = shorts(envs) if space == "box" else DummyVecEnv([Coins] * envs)
    model = AC("MlpPolicy", env, seed=0, n_steps=n, gamma=0.9, gae_lambda=0.7)
    model.learn(2 * n * envs, callback=Keep())
    last = env.buf_obs[None]
    buffer, policy = rollouts[1]
    data = steps[n:]
    # As the observations count, so do their rows.
    assert np.array_equal(
        buffer.observations[1:, :, 0] - buffer.observations[:-1, :, 0], np.ones((n - 1, envs))
    )
    starts = np.stack([step["dones"] for step in steps[n - 1 : -1]])
    assert np.array_equal(buffer.episode_starts, starts) and starts.any()
    with th.no_grad():
        obs = th.as_tensor(buffer.observations.reshape(n * envs, 2))
        actions = th.as_tensor(buffer.actions.reshape(n * envs, 1))
        actions = actions if space == "box" else actions.flatten()
        values, log_probs, _ = policy.evaluate_actions(obs, actions)
        assert np.allclose(buffer.values, values.reshape(n, envs), atol=1e-5)
        assert np.allclose(buffer.log_probs, log_probs.reshape(n, envs), atol=1e-5)
        following = policy.predict_values(th.as_tensor(last)).numpy().ravel()
        sent = np.stack([step["clipped_actions"] for step in data]).reshape(n, envs)
        drawn = buffer.actions.reshape(n, envs)
        assert np.array_equal(np.clip(drawn, -2, 4) if space == "box" else drawn, sent)
        # A_t = delta_t + gamma lambda (1 - d_t) A_{t+1}
        # delta_t = r_t + gamma (1 - d_t) V_{t+1} - V_t
        advantage = np.zeros(envs)
        for t in reversed(range(n)):
            reward, goes_on = data[t]["rewards"].copy(), 1.0 - data[t]["dones"]
            for i, info in enumerate(data[t]["infos"]):
                if info.get("TimeLimit.truncated"):
                    terminal = th.as_tensor(info["terminal_observation"])[None]
                    reward[i] += 0.9 * policy.predict_values(terminal).item()
            assert np.allclose(buffer.rewards[t], reward, atol=1e-4)
            delta = reward + 0.9 * goes_on * following - buffer.values[t]
            advantage = delta + 0.9 * 0.7 * goes_on * advantage
            assert np.allclose(buffer.advantages[t], advantage, atol=1e-4), t
            following = buffer.values[t]
    assert np.allclose(buffer.returns, buffer.advantages + buffer.values, atol=1e-5)
    assert any(info.get("TimeLimit.truncated") for step in data for info in step["infos"])
