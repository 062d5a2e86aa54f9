"""The Python classes do what Stable-Baselines3's do, or say that they do not."""

import io
import json
import signal
import subprocess
import threading
import time
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import stac_bench
import torch as th
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from stac_bench import AC, DDPG, SAC, STDDPG, STSAC


def small(**more):
    """Keywords of a small model: anew for each, since models write to them."""
    return {"seed": 0, "policy_kwargs": {"net_arch": [16, 16]}} | more


def short(**more):
    """The same of one that soon learns."""
    return small(batch_size=16, learning_starts=50) | more


class Names(BaseCallback):
    """What the logger holds at each hundredth step, and then a dump of it."""

    def __init__(self):
        super().__init__()
        self.found = []

    def _on_step(self):
        if self.n_calls % 100 == 0:
            self.found.append(dict(self.logger.name_to_value))
            self.logger.dump(self.num_timesteps)
        return True


def test_losses_stand_in_the_logger_between_dumps_as_in_stable_baselines3():
    names = {}
    for module in (stable_baselines3, stac_bench):
        callback = Names()
        module.SAC("MlpPolicy", "Pendulum-v1", **short()).learn(300, callback, log_interval=None)
        names[module] = [set(values) for values in callback.found]
    for theirs, ours in zip(names[stable_baselines3], names[stac_bench], strict=True):
        assert {n for n in ours if n.startswith("train/")} - {"train/entropy"} == theirs
    assert names[stac_bench][-1] & {"game/leader_grad_norm"}


def test_a_leaders_measures_stand_in_the_logger_between_dumps():
    callback = Names()
    STSAC("MlpPolicy", "Pendulum-v1", **short()).learn(300, callback, log_interval=None)
    for values in callback.found[1:]:
        assert {"game/cosine", "game/implicit_ratio", "train/critic_loss"} <= set(values)
        assert np.isfinite(list(values.values())).all()


def test_values_between_dumps_are_the_means_of_the_updates_since():
    """Of two dumps far apart: the mean of the means of dumps at every update."""

    class Each(Names):
        every = 1

        def _on_step(self):
            if self.n_calls % self.every == 0:
                self.found.append(self.logger.name_to_value.get("train/critic_loss"))
                self.logger.dump(self.num_timesteps)
            return True

    each, seldom = Each(), Each()
    seldom.every = 100
    for callback in (each, seldom):
        DDPG("MlpPolicy", "Pendulum-v1", **short()).learn(200, callback, log_interval=None)
    # Step 200 sees the updates after steps 100 to 199, the losses of which steps 101 to 200 saw.
    assert seldom.found[-1] == pytest.approx(np.mean(each.found[100:200]), rel=1e-6)


def test_rows_of_an_eval_callback_have_the_losses(tmp_path):
    evaluation = EvalCallback(gym.make("Pendulum-v1"), eval_freq=100, n_eval_episodes=1, verbose=0)
    model = SAC("MlpPolicy", "Pendulum-v1", **short())
    model.set_logger(stable_baselines3.common.logger.configure(str(tmp_path), ["csv"]))
    model.learn(300, evaluation, log_interval=None)
    header = (tmp_path / "progress.csv").read_text().splitlines()[0]
    assert "train/critic_loss" in header and "eval/mean_reward" in header


class Episodes(gym.Env):
    """Observations are the episode and the step within it; it is cut after five."""

    observation_space = Box(-1e6, 1e6, (2,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)
    episode = -1

    def reset(self, seed=None, options=None):
        self.episode, self.t = self.episode + 1, 0
        return np.float32([self.episode, 0]), {}

    def step(self, action):
        self.t += 1
        return np.float32([self.episode, self.t]), 0.0, False, self.t == 5, {}


def saving():
    """A model whose buffer saves memory, after two episodes and a step."""
    kwargs = {"handle_timeout_termination": False}
    kwargs = {"optimize_memory_usage": True, "replay_buffer_kwargs": kwargs, "buffer_size": 1000}
    model = DDPG("MlpPolicy", Episodes(), **short(learning_starts=10**6), **kwargs)
    return model.learn(11)


def first_observations(model):
    obs, _, _, next_obs, dones, cut = model._agent.recall(model.replay_buffer.size())
    return obs.reshape(-1, 2), next_obs.reshape(-1, 2), dones, cut


def test_a_memory_saving_buffer_that_was_looked_at_keeps_each_episodes_first_observation():
    model = saving()
    assert model.replay_buffer.rewards.sum() == 0
    model.learn(1, reset_num_timesteps=False)
    obs, next_obs, dones, cut = first_observations(model)
    steps = np.arange(12)
    assert np.array_equal(obs[:11], np.stack([steps // 5, steps % 5], 1)[:11])
    # Where an episode was cut its last observation is still what Rust bootstraps from.
    assert np.array_equal(next_obs[:11], np.stack([steps // 5, steps % 5 + 1], 1)[:11])
    assert cut[4] and cut[9] and not dones.any()


@pytest.mark.parametrize("way", ["changed", "saved and loaded"])
def test_a_memory_saving_buffer_that_replaces_rusts_keeps_first_observations(tmp_path, way):
    model = saving()
    if way == "changed":
        model.replay_buffer.rewards[0] = 7.0
    else:
        model.save_replay_buffer(tmp_path / "buffer")
        model.load_replay_buffer(tmp_path / "buffer")
    model.learn(1, reset_num_timesteps=False)
    obs, next_obs, dones, _ = first_observations(model)
    steps = np.arange(11)
    assert np.array_equal(obs[:11], np.stack([steps // 5, steps % 5], 1))
    # As in Stable-Baselines3, where a cut is an end: nothing is bootstrapped from another episode.
    inside = steps[:10] % 5 != 4
    assert np.array_equal(
        next_obs[:10][inside], np.stack([steps // 5, steps % 5 + 1], 1)[:10][inside]
    )
    assert np.array_equal(dones[:10] == 1, ~inside)


@pytest.mark.parametrize("kind", [DDPG, STDDPG, SAC])
def test_a_thread_that_only_reads_changes_nothing(kind):
    results = []
    for reads in (False, True):
        model = kind("MlpPolicy", "Pendulum-v1", **short())
        stop = threading.Event()

        def look(model=model, stop=stop):
            while not stop.is_set():
                model.replay_buffer.rewards.mean()
                sum(float(p.sum()) for p in model.policy.parameters())
                model.replay_buffer.size()
                time.sleep(0.001)

        thread = threading.Thread(target=look)
        if reads:
            thread.start()
        model.learn(1500)
        stop.set()
        if reads:
            thread.join()
        steps = {int(s["step"]) for s in model.policy.critic.optimizer.state.values()}
        assert model.num_timesteps == model.replay_buffer.size() == 1500
        assert steps == {model._n_updates} == {1450}
        state = {name: t.clone() for name, t in model.policy.state_dict().items()}
        results.append((state, model.replay_buffer.rewards.copy()))
    (alone, rewards), (read, others) = results
    assert all(th.equal(alone[name], read[name]) for name in alone)
    assert np.array_equal(rewards, others)


class Scale(BaseFeaturesExtractor):
    """Changes the computation without a parameter."""

    def __init__(self, space):
        super().__init__(space, int(np.prod(space.shape)))

    def forward(self, x):
        return x.flatten(1) * 0.01


class Scaled(SACPolicy):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, "features_extractor_class": Scale})


class Halved(TD3Policy):
    def _predict(self, observation, deterministic=False):
        return 0.5 * super()._predict(observation, deterministic)


class Plain(SACPolicy):
    """Sets itself up in another way, and computes the same."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, "net_arch": [8, 8]})


def test_a_network_that_computes_something_else_is_refused_by_name():
    with pytest.raises(ValueError, match=r"policy: Scale\.forward"):
        STSAC(Scaled, "Pendulum-v1", seed=0)
    with pytest.raises(ValueError, match=r"policy: Halved\._predict"):
        STDDPG(Halved, "Pendulum-v1", seed=0)
    model = SAC(Plain, "Pendulum-v1", seed=0).learn(150)
    obs = np.float32([[0.5, -0.5, 3.0]])
    ours = model.predict(obs, deterministic=True)[0]
    assert ours == pytest.approx(model.policy.predict(obs, deterministic=True)[0], abs=1e-5)


@pytest.mark.parametrize(
    "name", ["train", "collect_rollouts", "_store_transition", "_sample_action"]
)
def test_an_overridden_method_that_would_not_be_called_is_refused_by_name(name):
    kind = type("Mine", (DDPG,), {name: lambda self, *args, **kwargs: None})
    model = kind("MlpPolicy", "Pendulum-v1", **short())
    with pytest.raises(ValueError, match=rf"Mine\.{name} would never be called"):
        model.learn(100)


class Newest(ReplayBuffer):
    def sample(self, batch_size, env=None):
        raise AssertionError("never called")


def test_a_buffer_with_a_sample_of_its_own_is_refused_by_name():
    model = DDPG("MlpPolicy", "Pendulum-v1", **short())
    buffer = Newest(100, model.observation_space, model.action_space)
    with pytest.raises(ValueError, match="Newest"):
        model.replay_buffer = buffer


@pytest.mark.parametrize("kind", [DDPG, SAC, AC])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_no_numbers_are_refused_wherever_they_come_from(tmp_path, kind, value):
    model = kind("MlpPolicy", "Pendulum-v1", **small())
    good = model.get_parameters()
    bad = {**good, "policy": {name: t.clone() for name, t in good["policy"].items()}}
    name = next(name for name, t in bad["policy"].items() if t.dim() == 2)
    bad["policy"][name].view(-1)[0] = value
    observation = np.zeros(3, np.float32)

    def uses(model):
        model.predict(observation, deterministic=True)
        model.learn(200)

    for way in ("set_parameters", "load_state_dict", "load"):
        one = kind("MlpPolicy", "Pendulum-v1", **small())
        with pytest.raises(ValueError, match="not finite"):
            if way == "set_parameters":
                one.set_parameters({"policy": bad["policy"]}, exact_match=False)
            elif way == "load_state_dict":
                one.policy.load_state_dict(bad["policy"])
            else:
                with th.no_grad():
                    dict(one.policy.named_parameters())[name].view(-1)[0] = value
                one.save(tmp_path / "model")
                one = kind.load(tmp_path / "model", env="Pendulum-v1")
            uses(one)


@pytest.mark.parametrize("kind", [DDPG, SAC, AC])
def test_a_file_that_asks_for_larger_networks_than_it_holds_is_refused_before_they_are_made(
    tmp_path, kind
):
    kind("MlpPolicy", "Pendulum-v1", **small()).save(tmp_path / "good.zip")
    with zipfile.ZipFile(tmp_path / "good.zip") as file:
        members = {name: file.read(name) for name in file.namelist()}
    data = json.loads(members["data"])
    # Its weights alone take 2 GB.
    data["policy_kwargs"] = {"net_arch": [16_384, 16_384, 16_384]}
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        for name, content in {**members, "data": json.dumps(data)}.items():
            file.writestr(name, content)
    for path in (tmp_path / "bad.zip", io.BytesIO((tmp_path / "bad.zip").read_bytes())):
        with pytest.raises(ValueError, match=r"16384.* but the file holds"):
            kind.load(path)
    again = io.BytesIO((tmp_path / "good.zip").read_bytes())
    assert kind.load(again, gym.make("Pendulum-v1")).policy is not None


def test_columns_of_unequal_length_are_refused():
    model = STDDPG("MlpPolicy", "Pendulum-v1", **short())
    columns = {"obs": 6, "actions": 2, "rewards": 2, "next_obs": 6, "dones": 2}
    good = {name: np.zeros(size, np.float32) for name, size in columns.items()}
    settings = '{"solver": "woodbury", "curvature": "gauss_newton", "lam": 1.0}'
    for name in columns:
        bad = {**good, name: np.zeros(columns[name] + 1, np.float32)}
        with pytest.raises(ValueError, match=r"has \d+ numbers"):
            model._agent.game_gradients(bad, settings)


def test_a_second_command_line_in_one_process_is_refused(python):
    code = "from stac_bench import _native as n; n.main(['x', 'algos']); n.main(['x', 'algos'])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "RuntimeError: main() runs once in a process" in done.stderr
    assert "panicked" not in done.stderr


def test_ctrl_c_ends_several_seeds_of_the_module_with_130(python, tmp_path):
    words = ["-m", "stac_bench", "--env", "Pendulum-v1", "--algo", "ddpg", "--seeds", "2"]
    process = subprocess.Popen(
        [python, *words, "--jobs", "2"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    runs = [tmp_path / "runs" / "ddpg" / f"Pendulum-v1_{seed}" for seed in range(2)]
    ends = time.monotonic() + 60
    while not all((run / "manifest.json").exists() for run in runs):
        assert time.monotonic() < ends and process.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
