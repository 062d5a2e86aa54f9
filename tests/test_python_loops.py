"""Loops, environments and threads of the user's own, as Stable-Baselines3 takes them."""

import subprocess
import threading

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from algorithms import OFF_POLICY
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper, VecNormalize
from stac_bench import AC, DDPG, SAC, STAC, STDDPG, STSAC

NET = {"net_arch": [16, 16]}


def model_of(kind, env="Pendulum-v1", **more):
    settings = {"seed": 0, "batch_size": 16, "policy_kwargs": dict(NET)}
    return kind("MlpPolicy", env, **settings | more)


def learnt(model):
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


def same(one, other):
    return all(th.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", OFF_POLICY)
@pytest.mark.parametrize("normalized", [False, True])
def test_updates_of_a_loop_of_ones_own_are_those_of_learn(kind, normalized):
    models = []
    for starts in (199, 1_000):
        env = DummyVecEnv([lambda: gym.make("Pendulum-v1")])
        env.seed(0)
        env = VecNormalize(env) if normalized else env
        rounds = {"train_freq": 200, "gradient_steps": 10}
        model = model_of(kind, env, learning_starts=starts, random_steps=199, **rounds)
        models.append(model.learn(200))
    by_learn, by_hand = models
    assert (by_learn._n_updates, by_hand._n_updates) == (10, 0)
    before = learnt(by_hand)
    by_hand.train(gradient_steps=10, batch_size=16)
    assert by_hand._n_updates == 10
    assert not same(before, learnt(by_hand))
    assert same(learnt(by_learn), learnt(by_hand))


def test_a_loop_of_ones_own_fills_the_memory_and_trains_with_any_batch_size():
    env = gym.make("Pendulum-v1")
    model = model_of(SAC, env)
    model.set_logger(configure(None, []))
    obs, _ = env.reset(seed=0)
    with pytest.raises(ValueError, match="replay memory is empty"):
        model.train(1)
    for _ in range(40):
        action = env.action_space.sample()
        new, reward, terminated, truncated, info = env.step(action)
        scaled = model.policy.scale_action(action)
        done = np.array([terminated or truncated])
        model.replay_buffer.add(
            obs[None], new[None], scaled[None], np.array([reward]), done, [info]
        )
        obs = new
    for size in (8, 64):
        model.train(2, batch_size=size)
    assert model.batch_size == 16 and model._n_updates == 4
    losses = {name for name in model.logger.name_to_value if name.startswith("train/")}
    assert {"train/actor_loss", "train/critic_loss", "train/n_updates"} <= losses


def test_learn_and_on_policy_models_make_their_updates_themselves():
    model = model_of(DDPG)
    with pytest.raises(RuntimeError, match="`learn` is going on"):
        model.learn(10, lambda *_: model.train(1))
    for kind in (AC, STAC):
        with pytest.raises(NotImplementedError, match=r"learn\(\)"):
            kind("MlpPolicy", "Pendulum-v1").train()


class Rewards(VecEnvWrapper):
    """Gives rewards, ends and observations in another form."""

    def __init__(self, venv, form):
        super().__init__(venv)
        self.form = form

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        obs, rewards, dones, infos = self.venv.step_wait()
        return self.form(obs, rewards, dones, infos)


FORMS = {
    "lists": lambda o, r, d, i: (o.tolist(), r.tolist(), d.tolist(), tuple(i)),
    "float64": lambda o, r, d, i: (o.astype(float), r.astype(float), d, i),
    "columns": lambda o, r, d, i: (o, r[:, None], d, i),
    "integers": lambda o, r, d, i: (o, r, d.astype(int), i),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [DDPG, AC])
def test_environments_together_may_answer_in_any_form_that_numpy_reads(kind, form):
    found = []
    for each in (lambda *answer: answer, FORMS[form]):
        env = DummyVecEnv([lambda: gym.make("Pendulum-v1")] * 2)
        env.seed(0)
        more = {"batch_size": 16, "learning_starts": 50} if kind is DDPG else {"n_steps": 50}
        model = kind("MlpPolicy", Rewards(env, each), seed=0, policy_kwargs=dict(NET), **more)
        found.append(learnt(model.learn(200)))
    assert same(*found)


@pytest.mark.parametrize("rewards", [[1.0], [1.0, 2.0, 3.0], []])
def test_too_few_or_too_many_rewards_are_an_error(rewards):
    env = DummyVecEnv([lambda: gym.make("Pendulum-v1")] * 2)
    env = Rewards(env, lambda o, r, d, i: (o, np.array(rewards), d, i))
    with pytest.raises(ValueError, match=rf"returned {len(rewards)} rewards for 2 environments"):
        model_of(DDPG, env).learn(10)


@pytest.mark.parametrize("kind", [DDPG, STSAC])
def test_a_thread_that_samples_changes_nothing(kind):
    found = []
    for samples in (False, True):
        model = model_of(kind, learning_starts=50)
        stop = threading.Event()

        def look(model=model, stop=stop):
            while not stop.wait(0.001):
                if model.replay_buffer.size() > 10:
                    batch = model.replay_buffer.sample(8)
                    assert len(batch.rewards) == 8

        thread = threading.Thread(target=look)
        if samples:
            thread.start()
        model.learn(1_000)
        stop.set()
        if samples:
            thread.join()
        assert model.replay_buffer.size() == 1_000
        found.append((learnt(model), model.replay_buffer.rewards.copy()))
    assert same(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])


def forward(policy):
    policy.actor.forward = lambda obs, deterministic=True: th.zeros(len(obs), 1)


def hook(policy):
    policy.critic.qf0.register_forward_hook(lambda module, given, found: 2 * found)


def activation(policy):
    policy.critic.qf0[1] = th.nn.GELU()


def bounded(policy):
    policy.critic.qf0.append(th.nn.Tanh())


def other_layers(policy):
    policy.critic.qf0[0] = th.nn.Sequential(policy.critic.qf0[0], th.nn.Dropout())


CHANGES = [forward, hook, activation, bounded, other_layers]


@pytest.mark.parametrize("change", CHANGES)
def test_networks_that_were_changed_are_refused_by_name(change):
    model = model_of(STDDPG)
    change(model.policy)
    with pytest.raises(ValueError, match=r"policy: .* would be ignored"):
        model.learn(10)


@pytest.mark.parametrize("kind", [*OFF_POLICY, AC, STAC])
def test_every_class_computes_what_its_networks_do(kind):
    """One forward pass of PyTorch's networks against ours, at the start and after learning."""
    more = {} if kind in (AC, STAC) else {"batch_size": 16, "learning_starts": 50}
    model = kind("MlpPolicy", "Pendulum-v1", seed=0, policy_kwargs=dict(NET), **more)
    obs = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    for _ in range(2):
        ours = model._agent.act(obs).reshape(32, 1)
        theirs = model.policy.predict(obs, deterministic=True)[0]
        assert ours == pytest.approx(theirs, abs=1e-5)
        model.learn(200)


@pytest.mark.parametrize("module", ["stac_bench", "stac_bench.zoo"])
def test_files_of_the_working_folder_shadow_no_module_of_python_m(tmp_path, python, module):
    for name in ("json", "numpy", "torch", "gymnasium"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')\nraise SystemExit(7)\n")
    words = [python, "-m", module, *(["train"] if module.endswith("zoo") else []), "--help"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()


def test_networks_larger_than_the_machine_are_refused_before_they_are_made():
    with pytest.raises(ValueError, match=r"net_arch.*would take .* GB"):
        DDPG("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [16_384] * 100})
